"""The verdict table of request heads: bytes in, the answer, the section that asks for it, and what is forwarded.

Data only, for the parser's test and for any other that sends the same bytes through the whole daemon. A test loads it
with `runpy.run_path(path)["CASES"]`: test folders are no packages.
"""

from __future__ import annotations

from typing import NamedTuple


class Case(NamedTuple):
    claim: str
    raw: bytes
    """What the client sends: a whole head, or bytes that are refused before one is whole."""
    status: int | None
    """The answer that refuses it; None when it is accepted."""
    section: str
    forwarded: tuple[bytes, ...] = ()
    """Of an accepted head: the request line and the fields to the backend, those left out that speak of the client."""

    def __str__(self) -> str:
        return self.claim


HOST = b"Host: shop.example"
BY = "by decision"  # the RFCs would allow more; the module's docstring says why not


def head(line: bytes, *fields: bytes) -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


def get(*fields: bytes) -> bytes:
    return head(b"GET / HTTP/1.1", HOST, *fields)


def post(*fields: bytes) -> bytes:
    return head(b"POST /form HTTP/1.1", HOST, *fields)


def to(target: bytes, method: bytes = b"GET") -> bytes:
    return head(method + b" " + target + b" HTTP/1.1", HOST)


def host(*values: bytes, version: bytes = b"1.1") -> bytes:
    return head(b"GET / HTTP/" + version, *(b"Host: " + value for value in values))


def refused(claim: str, raw: bytes, section: str, status: int = 400) -> Case:
    return Case(claim, raw, status, section)


def accepted(claim: str, raw: bytes, section: str, *forwarded: bytes) -> Case:
    return Case(claim, raw, None, section, forwarded)


GET = b"GET / HTTP/1.1"
POST = b"POST /form HTTP/1.1"

CASES = [
    # ------------------------------------------------------------------------------------------- the request line
    accepted("the plainest request", get(), "RFC 9112 §3", GET, HOST),
    accepted("a query", to(b"/a?b=c&d"), "RFC 9112 §3.2.1", b"GET /a?b=c&d HTTP/1.1", HOST),
    accepted("an empty query differs from none", to(b"/a?"), "RFC 3986 §3.4", b"GET /a? HTTP/1.1", HOST),
    accepted("a question mark in the query", to(b"/?a?b"), "RFC 3986 §3.4", b"GET /?a?b HTTP/1.1", HOST),
    accepted("percent-encoding stays as sent", to(b"/%7ea%2Fb"), "RFC 3986 §2.1", b"GET /%7ea%2Fb HTTP/1.1", HOST),
    accepted("two slashes stay as sent", to(b"//a//b"), "RFC 9112 §3.2.1", b"GET //a//b HTTP/1.1", HOST),
    accepted("brackets and bars as browsers send them", to(b"/[x]?a={b}|`^"), BY, b"GET /[x]?a={b}|`^ HTTP/1.1", HOST),
    accepted("a lone percent sign in a query", to(b"/?q=50%"), BY, b"GET /?q=50% HTTP/1.1", HOST),
    accepted("a method nobody knows", to(b"/", b"BREW"), "RFC 9110 §9.1", b"BREW / HTTP/1.1", HOST),
    accepted("methods know their case", to(b"/", b"get"), "RFC 9110 §9.1", b"get / HTTP/1.1", HOST),
    accepted("a method of all token bytes", to(b"/", b"!#$%&'*+-.^_`|~"), "RFC 9110 §9.1",
             b"!#$%&'*+-.^_`|~ / HTTP/1.1", HOST),
    accepted("one empty line before the request", b"\r\n" + get(), "RFC 9112 §2.2", GET, HOST),
    accepted("the asterisk of OPTIONS", to(b"*", b"OPTIONS"), "RFC 9112 §3.2.4", b"OPTIONS * HTTP/1.1", HOST),
    refused("two empty lines before the request", b"\r\n\r\n" + get(), "RFC 9112 §2.2"),
    refused("a bare LF before the request", b"\n" + get(), "RFC 9112 §2.2"),
    refused("a space before the method", b" " + get(), "RFC 9112 §3"),
    refused("two spaces before the target", to(b" /"), "RFC 9112 §3"),
    refused("two spaces before the version", to(b"/ "), "RFC 9112 §3"),
    refused("a tab for a space", head(b"GET\t/\tHTTP/1.1", HOST), "RFC 9112 §3"),
    refused("a space behind the version", head(b"GET / HTTP/1.1 ", HOST), "RFC 9112 §3"),
    refused("no target", head(b"GET HTTP/1.1", HOST), "RFC 9112 §3"),
    refused("an empty target", head(b"GET  HTTP/1.1", HOST), "RFC 9112 §3.2"),
    refused("no method", head(b" / HTTP/1.1", HOST), "RFC 9112 §3"),
    refused("a bare LF behind the request line", b"GET / HTTP/1.1\nHost: shop.example\r\n\r\n", "RFC 9112 §2.2"),
    refused("bare LFs everywhere", b"GET / HTTP/1.1\nHost: shop.example\n\n", "RFC 9112 §2.2"),
    refused("a bare CR in the request line", head(b"GET /\r HTTP/1.1", HOST), "RFC 9112 §2.2"),
    refused("a bare CR behind the version", head(b"GET / HTTP/1.1\r", HOST), "RFC 9112 §2.2"),
    refused("a method with a colon", to(b"/", b"GE:T"), "RFC 9110 §9.1"),
    refused("a method with a NUL", to(b"/", b"GE\0T"), "RFC 9110 §9.1"),
    refused("a method beyond ASCII", to(b"/", b"G\xc3\x89T"), "RFC 9110 §9.1"),
    refused("a method of 33 bytes", to(b"/", b"A" * 33), BY),
    refused("CONNECT", head(b"CONNECT shop.example:443 HTTP/1.1", HOST), "RFC 9110 §9.3.6", 501),
    refused("CONNECT to a path", to(b"/", b"CONNECT"), "RFC 9110 §9.3.6", 501),
    refused("CONNECT in small letters", to(b"/", b"connect"), BY, 501),
    refused("TRACE", to(b"/", b"TRACE"), "RFC 9110 §9.3.8", 501),
    # -------------------------------------------------------------------------------------------------- the version
    accepted("HTTP/1.0 with Host", host(b"shop.example", version=b"1.0"), "RFC 9112 §2.3", GET, HOST),
    refused("HTTP/0.9", b"GET /\r\n\r\n", "RFC 9112 §3"),
    refused("HTTP/0.9 with a version", head(b"GET / HTTP/0.9", HOST), "RFC 9110 §15.6.6", 505),
    refused("HTTP/1.2", head(b"GET / HTTP/1.2", HOST), BY, 505),
    refused("HTTP/2.0 in a request line", head(b"GET / HTTP/2.0", HOST), "RFC 9110 §15.6.6", 505),
    refused("the preface of HTTP/2", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "RFC 9113 §3.4", 505),
    refused("a version of two digits", head(b"GET / HTTP/1.10", HOST), "RFC 9112 §2.3"),
    refused("a version without minor", head(b"GET / HTTP/1", HOST), "RFC 9112 §2.3"),
    refused("a version with a comma", head(b"GET / HTTP/1,1", HOST), "RFC 9112 §2.3"),
    refused("http in small letters", head(b"GET / http/1.1", HOST), "RFC 9112 §2.3"),
    refused("another protocol", head(b"GET / ICY/1.1", HOST), "RFC 9112 §2.3"),
    refused("a line of SSH", b"SSH-2.0-OpenSSH_9.2\r\n\r\n", "RFC 9112 §3"),
    # --------------------------------------------------------------------------------------------------- the target
    refused("a target without its slash", to(b"index.html"), "RFC 9112 §3.2.1"),
    refused("a fragment", to(b"/a#b"), "RFC 9112 §3.2"),
    refused("a fragment in the query", to(b"/?a#b"), "RFC 9112 §3.2"),
    refused("a space in the target", to(b"/a b"), "RFC 9112 §3.2"),
    refused("a space in the query", to(b"/?a=b c"), "RFC 9112 §3.2"),
    refused("a tab in the target", to(b"/a\tb"), "RFC 9112 §3.2"),
    refused("a NUL in the target", to(b"/a\0b"), "RFC 3986 §2"),
    refused("DEL in the target", to(b"/a\x7fb"), "RFC 3986 §2"),
    refused("UTF-8 in the target", to(b"/caf\xc3\xa9"), "RFC 3986 §2"),
    refused("a backslash in the path", to(b"/a\\..\\b"), "RFC 3986 §3.3"),
    refused("a backslash in the query", to(b"/?a\\b"), "RFC 3986 §3.4"),
    refused("quotes in the target", to(b'/"a"'), "RFC 3986 §2"),
    refused("angle brackets in the target", to(b"/<script>"), "RFC 3986 §2"),
    refused("a percent sign without hex in the path", to(b"/%zz"), "RFC 3986 §2.1"),
    refused("a percent sign at the path's end", to(b"/a%"), "RFC 3986 §2.1"),
    refused("half a percent-encoding before the query", to(b"/a%4?1"), "RFC 3986 §2.1"),
    refused("an encoded NUL in the path", to(b"/a%00.html"), "RFC 3986 §7.3"),
    refused("an encoded NUL in the query", to(b"/?a=%00"), "RFC 3986 §7.3"),
    refused("the asterisk of another method", to(b"*"), "RFC 9112 §3.2.4"),
    refused("an asterisk and more", to(b"*a", b"OPTIONS"), "RFC 9112 §3.2.4"),
    refused("authority-form", to(b"shop.example:80"), "RFC 9112 §3.2.3"),
    # ------------------------------------------------------------------------------------------------ absolute-form
    accepted("absolute-form", to(b"http://shop.example/a?b"), "RFC 9112 §3.2.2", b"GET /a?b HTTP/1.1", HOST),
    accepted("absolute-form with https", to(b"https://shop.example/"), "RFC 9112 §3.2.2", GET, HOST),
    accepted("absolute-form, scheme in capitals", to(b"HTTPS://shop.example/"), "RFC 3986 §3.1", GET, HOST),
    accepted("absolute-form without a path", to(b"http://shop.example"), "RFC 9112 §3.2.1", GET, HOST),
    accepted("absolute-form, query without a path", to(b"http://shop.example?a"), "RFC 9112 §3.2.1",
             b"GET /?a HTTP/1.1", HOST),
    accepted("absolute-form, the host in capitals", to(b"http://SHOP.example/"), "RFC 9110 §4.2.3",
             GET, b"Host: SHOP.example"),
    accepted("absolute-form with the default port", to(b"https://shop.example:443/"), "RFC 9110 §4.2.3",
             GET, b"Host: shop.example:443"),
    accepted("absolute-form of OPTIONS for the server", to(b"http://shop.example", b"OPTIONS"), "RFC 9112 §3.2.4",
             b"OPTIONS * HTTP/1.1", HOST),
    accepted("absolute-form of HTTP/1.0 without Host", head(b"GET http://shop.example/a HTTP/1.0"), "RFC 9112 §3.2.2",
             b"GET /a HTTP/1.1", HOST),
    refused("absolute-form that contradicts Host", to(b"http://other.example/"), "RFC 9112 §3.2.2"),
    refused("absolute-form with another port", to(b"https://shop.example:8443/"), "RFC 9112 §3.2.2"),
    refused("absolute-form with http's port for https", to(b"https://shop.example:80/"), "RFC 9110 §4.2.3"),
    refused("absolute-form without Host in HTTP/1.1", head(b"GET http://shop.example/ HTTP/1.1"), "RFC 9112 §3.2"),
    refused("absolute-form with userinfo", to(b"http://me:secret@shop.example/"), "RFC 9110 §4.2.4"),
    refused("absolute-form without a host", to(b"http:///a"), "RFC 9110 §4.2.1"),
    refused("absolute-form of ftp", to(b"ftp://shop.example/"), "RFC 9112 §3.2.2"),
    refused("absolute-form with a fragment", to(b"http://shop.example/#a"), "RFC 9112 §3.2.2"),
    refused("absolute-form with a backslash", to(b"http://shop.example\\@other.example/"), "RFC 3986 §3.2"),
    refused("a scheme without slashes", to(b"http:shop.example/"), "RFC 9112 §3.2.2"),
    # --------------------------------------------------------------------------------------------------------- Host
    accepted("Host with a port", host(b"shop.example:8443"), "RFC 9110 §7.2", GET, b"Host: shop.example:8443"),
    accepted("Host with a trailing dot", host(b"shop.example."), "RFC 9110 §7.2", GET, b"Host: shop.example."),
    accepted("Host in capitals", host(b"SHOP.Example"), "RFC 9110 §4.2.3", GET, b"Host: SHOP.Example"),
    accepted("Host with an underscore", host(b"a_b.example"), BY, GET, b"Host: a_b.example"),
    accepted("Host as IPv4", host(b"192.0.2.1"), "RFC 3986 §3.2.2", GET, b"Host: 192.0.2.1"),
    accepted("Host as IPv6", host(b"[2001:db8::1]:443"), "RFC 3986 §3.2.2", GET, b"Host: [2001:db8::1]:443"),
    accepted("whitespace around Host", head(GET, b"Host:  \tshop.example \t"), "RFC 9112 §5.1", GET, HOST),
    accepted("Host behind other fields is sent first", head(GET, b"Accept: */*", HOST), "RFC 9110 §7.2",
             GET, HOST, b"Accept: */*"),
    refused("no Host", head(GET), "RFC 9112 §3.2"),
    refused("an empty Host", host(b""), "RFC 9110 §4.2.1"),
    refused("an empty Host in HTTP/1.0", host(b"", version=b"1.0"), "RFC 9110 §4.2.1"),
    refused("two Hosts", host(b"shop.example", b"other.example"), "RFC 9112 §3.2"),
    refused("two Hosts alike", host(b"shop.example", b"shop.example"), "RFC 9112 §3.2"),
    refused("two Hosts in HTTP/1.0", host(b"shop.example", b"a.example", version=b"1.0"), "RFC 9112 §3.2"),
    refused("two Hosts of different case", head(GET, HOST, b"hOST: other.example"), "RFC 9112 §3.2"),
    refused("Hosts joined by a comma", host(b"shop.example, other.example"), "RFC 9112 §3.2"),
    refused("a space in Host", host(b"shop.example other.example"), "RFC 9112 §3.2"),
    refused("userinfo in Host", host(b"shop.example@other.example"), "RFC 9110 §4.2.4"),
    refused("a path in Host", host(b"shop.example/a"), "RFC 9112 §3.2"),
    refused("a query in Host", host(b"shop.example?a"), "RFC 9112 §3.2"),
    refused("a scheme in Host", host(b"https://shop.example"), "RFC 9112 §3.2"),
    refused("a port that is no number", host(b"shop.example:https"), "RFC 9112 §3.2"),
    refused("a port with a sign", host(b"shop.example:+80"), "RFC 9112 §3.2"),
    refused("a port beyond 65535", host(b"shop.example:65536"), "RFC 9110 §4.2"),
    refused("port 0", host(b"shop.example:0"), BY),
    refused("a colon without a port", host(b"shop.example:"), BY),
    refused("two ports", host(b"shop.example:80:443"), "RFC 9112 §3.2"),
    refused("a port and no name", host(b":443"), "RFC 9110 §4.2.1"),
    refused("an empty label", host(b"shop..example"), "RFC 1035 §2.3.1"),
    refused("a dot alone", host(b"."), "RFC 1035 §2.3.1"),
    refused("two trailing dots", host(b"shop.example.."), "RFC 1035 §2.3.1"),
    refused("a label of 64 bytes", host(b"a" * 64 + b".example"), "RFC 1035 §2.3.4"),
    refused("a name of 254 bytes", host(b".".join([b"a" * 62] * 4) + b".ab"), "RFC 1035 §2.3.4"),
    refused("percent-encoding in Host", host(b"shop%2eexample"), BY),
    refused("Host beyond ASCII", host(b"caf\xc3\xa9.example"), "RFC 3986 §3.2.2"),
    refused("a NUL in Host", host(b"shop.example\0"), "RFC 9110 §5.5"),
    refused("IPv6 without brackets", host(b"2001:db8::1"), "RFC 3986 §3.2.2"),
    refused("IPv6 that is none", host(b"[::1::]"), "RFC 3986 §3.2.2"),
    refused("IPv6 with a zone", host(b"[fe80::1%25eth0]"), "RFC 9110 §4.2"),
    refused("an open bracket", host(b"[::1"), "RFC 3986 §3.2.2"),
    refused("IP of the future", host(b"[v1.a]"), BY),
    # -------------------------------------------------------------------------------------------------- field lines
    accepted("whitespace around a value", get(b"A: \t b c \t"), "RFC 9112 §5.1", GET, HOST, b"A: b c"),
    accepted("a tab within a value", get(b"A: b\tc"), "RFC 9110 §5.5", GET, HOST, b"A: b\tc"),
    accepted("no space behind the colon", get(b"A:b"), "RFC 9112 §5", GET, HOST, b"A: b"),
    accepted("an empty value", get(b"A:"), "RFC 9110 §5.5", GET, HOST, b"A: "),
    accepted("bytes beyond ASCII in a value", get(b"A: caf\xc3\xa9"), "RFC 9110 §5.5", GET, HOST, b"A: caf\xc3\xa9"),
    accepted("a colon within a value", get(b"A: b:c"), "RFC 9112 §5", GET, HOST, b"A: b:c"),
    accepted("repeated fields keep their order", get(b"A: 1", b"B: 2", b"a: 3"), "RFC 9110 §5.3",
             GET, HOST, b"A: 1", b"B: 2", b"A: 3"),
    accepted("names in their customary case", get(b"aCCEPT-lANGUAGE: de", b"dnt: 1"), "RFC 9110 §5.1",
             GET, HOST, b"Accept-Language: de", b"DNT: 1"),
    accepted("Content-Type twice", get(b"Content-Type: a/b", b"Content-Type: c/d"), "RFC 9110 §5.3",
             GET, HOST, b"Content-Type: a/b", b"Content-Type: c/d"),
    refused("a space before the colon", get(b"A : b"), "RFC 9112 §5.1"),
    refused("a tab before the colon", get(b"A\t: b"), "RFC 9112 §5.1"),
    refused("a space before Transfer-Encoding's colon", post(b"Transfer-Encoding : chunked"), "RFC 9112 §5.1"),
    refused("a space before the name", head(GET, HOST, b" A: b"), "RFC 9112 §5.2"),
    refused("a space before the first name", head(GET, b" A: b", HOST), "RFC 9112 §2.2"),
    refused("a folded line", get(b"A: b", b" c"), "RFC 9112 §5.2"),
    refused("a line folded by a tab", get(b"A: b", b"\tc"), "RFC 9112 §5.2"),
    refused("a folded line of whitespace alone", get(b"A: b", b" "), "RFC 9112 §5.2"),
    refused("Transfer-Encoding folded", post(b"Transfer-Encoding:", b" chunked"), "RFC 9112 §5.2"),
    refused("a line without a colon", get(b"Accept"), "RFC 9112 §5"),
    refused("an empty name", get(b": a"), "RFC 9110 §5.1"),
    refused("a space within a name", get(b"A b: c"), "RFC 9110 §5.1"),
    refused("a slash in a name", get(b"A/b: c"), "RFC 9110 §5.1"),
    refused("a quote in a name", get(b'"A": c'), "RFC 9110 §5.1"),
    refused("a bracket in a name", get(b"A[]: c"), "RFC 9110 §5.1"),
    refused("a name beyond ASCII", get(b"\xc3\x84: b"), "RFC 9110 §5.1"),
    refused("a NUL in a name", get(b"A\0: b"), "RFC 9110 §5.1"),
    refused("a control byte in a name", get(b"\x0bTransfer-Encoding: chunked"), "RFC 9110 §5.1"),
    refused("a name of 257 bytes", get(b"a" * 257 + b": b"), BY),
    refused("a bare CR in a value", get(b"A: b\rc"), "RFC 9112 §2.2"),
    refused("a bare CR before the line's end", get(b"A: b\r"), "RFC 9112 §2.2"),
    refused("a bare LF in a value", get(b"A: b\nc: d"), "RFC 9112 §2.2"),
    refused("a bare LF ends a line", b"GET / HTTP/1.1\r\nHost: shop.example\nA: b\r\n\r\n", "RFC 9112 §2.2"),
    refused("LF CR", b"GET / HTTP/1.1\r\nHost: shop.example\n\r\r\n\r\n", "RFC 9112 §2.2"),
    refused("the empty line ends with a bare LF", b"GET / HTTP/1.1\r\nHost: shop.example\r\n\n", "RFC 9112 §2.2"),
    refused("a NUL in a value", get(b"A: b\0c"), "RFC 9110 §5.5"),
    refused("a vertical tab in a value", get(b"A: b\x0bc"), "RFC 9110 §5.5"),
    refused("a form feed around chunked", post(b"Transfer-Encoding: \x0cchunked"), "RFC 9110 §5.5"),
    refused("an escape in a value", get(b"A: \x1b[31m"), "RFC 9110 §5.5"),
    refused("DEL in a value", get(b"A: b\x7f"), "RFC 9110 §5.5"),
    accepted("100 field lines", get(*[b"A: b"] * 99), "RFC 6585 §5", GET, HOST, *[b"A: b"] * 99),
    refused("101 field lines", get(*[b"A: b"] * 100), "RFC 6585 §5", 431),
    # ------------------------------------------------------------------------------------------------------ framing
    accepted("Content-Length", post(b"Content-Length: 5"), "RFC 9112 §6.2", POST, HOST, b"Content-Length: 5"),
    accepted("Content-Length 0", post(b"Content-Length: 0"), "RFC 9110 §8.6", POST, HOST, b"Content-Length: 0"),
    accepted("leading zeros are not sent on", post(b"Content-Length: 0005"), "RFC 9110 §8.6",
             POST, HOST, b"Content-Length: 5"),
    accepted("Content-Length of 18 digits", post(b"Content-Length: " + b"9" * 18), BY,
             POST, HOST, b"Content-Length: " + b"9" * 18),
    accepted("a body of GET", get(b"Content-Length: 5"), "RFC 9110 §9.3.1", GET, HOST, b"Content-Length: 5"),
    accepted("no body and no length", post(), "RFC 9112 §6.3", POST, HOST),
    accepted("chunked", post(b"Transfer-Encoding: chunked"), "RFC 9112 §7.1",
             POST, HOST, b"Transfer-Encoding: chunked"),
    accepted("chunked in capitals", post(b"TRANSFER-ENCODING: ChunKed"), "RFC 9112 §7",
             POST, HOST, b"Transfer-Encoding: chunked"),
    accepted("a name that looks like Transfer-Encoding", get(b"Transfer_Encoding: chunked"), BY, GET, HOST),
    accepted("a name that looks like Content-Length", get(b"Content_Length: 5"), BY, GET, HOST),
    refused("Content-Length beside Transfer-Encoding", post(b"Content-Length: 5", b"Transfer-Encoding: chunked"),
            "RFC 9112 §6.1"),
    refused("Transfer-Encoding beside Content-Length", post(b"Transfer-Encoding: chunked", b"Content-Length: 5"),
            "RFC 9112 §6.1"),
    refused("Content-Length 0 beside Transfer-Encoding", post(b"Content-Length: 0", b"Transfer-Encoding: chunked"),
            "RFC 9112 §6.1"),
    refused("two lengths", post(b"Content-Length: 5", b"Content-Length: 6"), "RFC 9112 §6.3"),
    refused("two lengths alike", post(b"Content-Length: 5", b"Content-Length: 5"), BY),
    refused("lengths joined by a comma", post(b"Content-Length: 5, 5"), BY),
    refused("different lengths joined by a comma", post(b"Content-Length: 5,6"), "RFC 9112 §6.3"),
    refused("a length with plus", post(b"Content-Length: +5"), "RFC 9110 §8.6"),
    refused("a length with minus", post(b"Content-Length: -5"), "RFC 9110 §8.6"),
    refused("a length in hex", post(b"Content-Length: 0x5"), "RFC 9110 §8.6"),
    refused("a length with an underscore", post(b"Content-Length: 1_0"), "RFC 9110 §8.6"),
    refused("a length with a space", post(b"Content-Length: 1 0"), "RFC 9110 §8.6"),
    refused("a length with a point", post(b"Content-Length: 5.0"), "RFC 9110 §8.6"),
    refused("an exponent", post(b"Content-Length: 1e1"), "RFC 9110 §8.6"),
    refused("an empty length", post(b"Content-Length:"), "RFC 9110 §8.6"),
    refused("digits beyond ASCII", post("Content-Length: ٥".encode()), "RFC 9110 §8.6"),
    refused("a length of 19 digits", post(b"Content-Length: " + b"9" * 19), BY),
    refused("a length of zeros without end", post(b"Content-Length: " + b"0" * 400), BY),
    refused("chunked in HTTP/1.0", head(b"POST / HTTP/1.0", HOST, b"Transfer-Encoding: chunked"), "RFC 9112 §6.1"),
    refused("identity", post(b"Transfer-Encoding: identity"), "RFC 9112 §7"),
    refused("gzip", post(b"Transfer-Encoding: gzip"), "RFC 9112 §6.3"),
    refused("gzip, chunked", post(b"Transfer-Encoding: gzip, chunked"), BY),
    refused("chunked, gzip", post(b"Transfer-Encoding: chunked, gzip"), "RFC 9112 §6.3"),
    refused("chunked, identity", post(b"Transfer-Encoding: chunked, identity"), "RFC 9112 §6.3"),
    refused("chunked twice", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked"), "RFC 9112 §6.1"),
    refused("chunked, chunked", post(b"Transfer-Encoding: chunked, chunked"), "RFC 9112 §6.1"),
    refused("chunked and another line", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: x"), "RFC 9112 §6.1"),
    refused("xchunked", post(b"Transfer-Encoding: xchunked"), "RFC 9112 §7"),
    refused("chunked in quotes", post(b'Transfer-Encoding: "chunked"'), "RFC 9112 §7"),
    refused("chunked with a parameter", post(b"Transfer-Encoding: chunked;a=b"), "RFC 9112 §7.1"),
    refused("chunked with a comma behind it", post(b"Transfer-Encoding: chunked,"), BY),
    refused("an empty Transfer-Encoding", post(b"Transfer-Encoding:"), "RFC 9112 §6.1"),
    refused("chunked with a byte beyond ASCII", post(b"Transfer-Encoding: chunked\xa0"), "RFC 9112 §7"),
    refused("Kelvin's chunKed", post("Transfer-Encoding: chun\u212aed".encode()), "RFC 9112 §7"),
    # --------------------------------------------------------------------------------------- connection and upgrade
    accepted("close is not sent on", get(b"Connection: close"), "RFC 9110 §7.6.1", GET, HOST),
    accepted("nominated fields are not sent on", get(b"Connection: X-Hop, close", b"X-Hop: 1"), "RFC 9110 §7.6.1",
             GET, HOST),
    accepted("nominated in another line", get(b"Connection: a", b"X-Hop: 1", b"Connection: x-hop"), "RFC 9110 §5.3",
             GET, HOST),
    accepted("nominated and without effect", get(b"Connection: X-Forwarded-For"), "RFC 9110 §7.6.1", GET, HOST),
    accepted("empty list elements", get(b"Connection: ,close, ,"), "RFC 9110 §5.6.1.2", GET, HOST),
    accepted("fields of one connection", get(b"Keep-Alive: 5", b"Proxy-Connection: close", b"TE: gzip"),
             "RFC 9110 §7.6.1", GET, HOST),
    accepted("a variable of CGI", get(b"Proxy: evil.example:80"), "CVE-2016-5385", GET, HOST),
    accepted("credentials for another proxy", get(b"Proxy-Authorization: x"), "RFC 9110 §11.7.2", GET, HOST),
    accepted("TE: trailers", get(b"TE: gzip;q=0.5, trailers", b"Connection: TE"), "RFC 9110 §10.1.4",
             GET, HOST, b"TE: trailers", b"Connection: TE"),
    accepted("WebSocket", get(b"Connection: keep-alive, Upgrade", b"Upgrade: websocket"), "RFC 9110 §7.8",
             GET, HOST, b"Upgrade: websocket", b"Connection: upgrade"),
    accepted("Upgrade that is not nominated", get(b"Upgrade: websocket"), "RFC 9110 §7.8", GET, HOST),
    accepted("Upgrade with a body", post(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5"), BY,
             POST, HOST, b"Content-Length: 5"),
    accepted("Upgrade with a chunked body",
             post(b"Connection: upgrade", b"Upgrade: tcp", b"Transfer-Encoding: chunked"), BY,
             POST, HOST, b"Transfer-Encoding: chunked"),
    accepted("Upgrade with an empty body", post(b"Connection: upgrade", b"Upgrade: SPDY/3.1", b"Content-Length: 0"),
             "RFC 9110 §7.8", POST, HOST, b"Upgrade: SPDY/3.1", b"Connection: upgrade", b"Content-Length: 0"),
    accepted("Upgrade to HTTP/2", get(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AA"),
             "RFC 9113 §3.1", GET, HOST),
    accepted("Upgrade to a list", get(b"Connection: Upgrade", b"Upgrade: websocket, h2c"), BY, GET, HOST),
    accepted("Upgrade in HTTP/1.0",
             head(b"GET / HTTP/1.0", HOST, b"Connection: upgrade", b"Upgrade: websocket"), "RFC 9110 §7.8", GET, HOST),
    refused("a connection option that is no token", get(b"Connection: a b"), "RFC 9110 §7.6.1"),
    refused("a connection option in quotes", get(b'Connection: "close"'), "RFC 9110 §7.6.1"),
    refused("Host nominated", get(b"Connection: close, Host"), "RFC 9110 §7.6.1"),
    refused("Content-Length nominated", post(b"Connection: Content-Length", b"Content-Length: 5"), "RFC 9110 §7.6.1"),
    refused("Transfer-Encoding nominated", post(b"Connection: transfer-encoding", b"Transfer-Encoding: chunked"),
            "RFC 9110 §7.6.1"),
    refused("Authorization nominated", get(b"Connection: authorization", b"Authorization: x"), "RFC 9110 §7.6.1"),
    # ------------------------------------------------------------------------------------------------------- Expect
    accepted("100-continue", post(b"Expect: 100-Continue", b"Content-Length: 5"), "RFC 9110 §10.1.1",
             POST, HOST, b"Expect: 100-continue", b"Content-Length: 5"),
    accepted("100-continue without a body", get(b"Expect: 100-continue"), "RFC 9110 §10.1.1", GET, HOST),
    accepted("100-continue in HTTP/1.0",
             head(b"POST /form HTTP/1.0", HOST, b"Expect: 100-continue", b"Content-Length: 5"), "RFC 9110 §10.1.1",
             POST, HOST, b"Content-Length: 5"),
    refused("another expectation", post(b"Expect: 200-ok", b"Content-Length: 5"), "RFC 9110 §10.1.1", 417),
    refused("two expectations", post(b"Expect: 100-continue, x", b"Content-Length: 5"), "RFC 9110 §10.1.1", 417),
    refused("an expectation twice", post(b"Expect: 100-continue", b"Expect: 100-continue"), BY),
    # --------------------------------------------------------------------------------- what a client may not say
    accepted("another address", get(b"X-Forwarded-For: 1.1.1.1", b"X-Real-IP: 1.1.1.1", b"Forwarded: for=1.1.1.1"),
             "RFC 7239 §8.1", GET, HOST),
    accepted("another address by CGI's spelling", get(b"X_Forwarded_For: 1", b"X.Real.IP: 1", b"X-Forwarded_Proto: a"),
             "RFC 3875 §4.1.18", GET, HOST),
    accepted("a certificate", get(b"Client-Cert: :AA==:", b"Client_Cert: x", b"X-Client-Cert-Subject: CN=admin"),
             "RFC 9440 §4", GET, HOST),
]  # fmt: skip
