"""The gate of requests: what a head must satisfy before anything of it may be forwarded.

Theory of operation. One strict grammar reads the head's bytes; what it does not take whole is refused, and only then is
the reason looked for. h11 reads the same bytes afterwards for the framing of the body: whatever passes here means the
same to h11 and to every other careful parser (tests/wire/test_request_head.py). The law: *nothing is repaired*. A head
that two parsers could read in two ways is an attack on the backend or a defect of the client, and both get a 400.

Decisions where the RFCs leave room:
- Host is a name of letters, digits, `-` and `_`, an IPv4 address or an IPv6 address in brackets, with a port of 1 to
  65535 or none. The grammar of RFC 3986 §3.2.2 would allow `%41`, `!` or an empty host; no backend should have to.
- A target holds what RFC 3986 §3.3 and §3.4 allow, and [ ] ^ ` { | } besides, which browsers send as they are (WHATWG
  URL, path and query percent-encode sets). Quotes, angle brackets, backslash, `#` and bytes beyond ASCII are refused.
- A `%` without two hex digits is refused in a path, and passes in a query: browsers send `?q=50%` so, and nothing
  on the way decodes a query. `%00` is refused in both.
- Leading zeros of Content-Length pass: the number is written anew, in decimal, without them.
- HTTP/1.0 connections serve one request (RFC 9112 §9.3 lets the recipient choose).
- The value of Upgrade is taken only if it is one protocol, and no kind of HTTP: a request for `h2c` is served as
  HTTP/1.1, which RFC 9110 §7.8 always allows, since behind a switch to HTTP/2 no route would hold.
- Upgrade with content is served as HTTP/1.1 too, as HAProxy did before 3.1; nginx passes it on. It is read in two ways:
  RFC 9112 §6 finds content behind the head, httptools (with which uvicorn reads) the bytes of the other protocol. A
  backend of that kind which stays with HTTP loses the content, or takes it for a next request, which no route has seen.
  `Content-Length: 0`, as `kubectl exec` has it, is read in one way.
"""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache

from terminator.errors import (
    BadRequest,
    ExpectationFailed,
    HeadTooLarge,
    MethodNotImplemented,
    UriTooLong,
    VersionNotSupported,
)
from terminator.record import record
from terminator.wire.framing import (
    TOKEN,
    Fields,
    Framing,
    Malformed,
    check_transfer_encoding,
    connection_options,
    content_length,
    field_lines,
    joined,
    one,
)

__all__ = ["MAX_HOST_BYTES", "MAX_METHOD_BYTES", "Framing", "RequestHead", "parse", "parse_authority", "too_large"]

MAX_METHOD_BYTES = 32
"""Bytes of a method. The longest registered one, UPDATEREDIRECTREF, has 17."""

MAX_HOST_BYTES = 262
"""Bytes of a Host field: a name of 253 characters, its trailing dot, a colon and a port, with a little air."""


@record
class RequestHead:
    """A request that may be forwarded. All text is ASCII, as sent: nothing has been decoded."""

    method: str
    target: str
    """As to be forwarded: origin-form, or `*` for the server as a whole (OPTIONS)."""
    path: str
    """The target up to its query; `*` for the server as a whole."""
    query: str | None
    """What follows the first `?`; None without one, which differs from an empty one."""
    authority: str
    """Host as sent, the port included; "" only for HTTP/1.0 without Host."""
    hostname: str
    """The authority's host, comparable: lower case, no port, no trailing dot, IPv6 canonical and without brackets."""
    version: str
    """`1.1` or `1.0`."""
    fields: Fields
    """All field lines in order, hop-by-hop ones too: (name in lower case, value without whitespace around it)."""
    framing: Framing
    content_length: int | None
    """Bytes of content, set if and only if `framing` is LENGTH; may be 0."""
    expect_continue: bool
    """The client waits for 100 (Continue) before it sends its content."""
    upgrade: bytes | None
    """The protocol the client offers to switch to, None if there is none that may be passed on."""
    connection: frozenset[bytes]
    """Connection options in lower case: `close`, `keep-alive`, and names of fields meant for this connection only."""
    keep_alive: bool
    """Another request may follow on this connection (RFC 9112 §9.3)."""


# `[`…`}` is what browsers send beyond RFC 3986; `%` is looked at afterwards, since few targets hold one.
PATH_BYTES = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/%\[\]^`{|}]*"
QUERY_BYTES = rb"[A-Za-z0-9\-._~!$&'()*+,;=:@/%\[\]^`{|}?]*"
_METHOD = rb"%b{1,%d}" % (TOKEN, MAX_METHOD_BYTES)

# Path and query as groups: in the common form the whole line is read by one match.
_ORIGIN_FORM = re.compile(rb"(%b) ((/%b)(?:\?(%b))?) HTTP/1\.([01])\r\n" % (_METHOD, PATH_BYTES, QUERY_BYTES))
_ABSOLUTE_FORM = re.compile(rb"(?i:(https?)://)([^/?#]*)((/%b)?(?:\?(%b))?)" % (PATH_BYTES, QUERY_BYTES))
_ANY_LINE = re.compile(rb"([^ ]*) (.*) HTTP/([0-9])\.([0-9])")
_BAD_PERCENT = re.compile(rb"%(?![0-9A-Fa-f]{2})")

_METHODS = {
    name.encode(): name
    for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "PROPFIND", "REPORT", "QUERY")
}
_REFUSED_METHODS = frozenset({b"CONNECT", b"TRACE"})

# No possessive repetition of a group: CPython 3.11.2 takes "a.." for a name then.
_HOST_NAME = rb"[A-Za-z0-9_-]{1,63}(?:\.[A-Za-z0-9_-]{1,63})*\.?"
_AUTHORITY = re.compile(rb"(%b|\[[0-9A-Fa-f:.]{2,45}\])(?::([1-9][0-9]{0,4}))?" % _HOST_NAME)

_PROTOCOL = re.compile(rb"%b+(?:/%b+)?" % (TOKEN, TOKEN))
_NO_TUNNEL = (b"h2", b"http", b"tls")

_NO_OPTIONS: frozenset[bytes] = frozenset()


def parse(raw: bytes, *, max_fields: int) -> RequestHead:
    """Reads a request head, which ends with its empty line.

    Raises BadRequest, HeadTooLarge (more than `max_fields` field lines), VersionNotSupported, MethodNotImplemented or
    ExpectationFailed; nothing else, whatever the bytes. After any of them the connection's framing is lost.
    """
    try:
        return _parse(raw, max_fields)
    except Malformed as error:
        raise BadRequest(str(error)) from None


def too_large(raw: bytes, max_bytes: int) -> HeadTooLarge | UriTooLong:
    """What to raise for a head, whole or not, of more than `max_bytes`: is its first line alone too long already? Then
    it is the target that is, nearly always: the client can mend that, and no field that it would look for in vain."""
    if raw.find(b"\n", 0, max_bytes) < 0:
        return UriTooLong(f"the request line passes {max_bytes} bytes")
    return HeadTooLarge(f"the request head passes {max_bytes} bytes")


def _parse(raw: bytes, max_fields: int) -> RequestHead:
    target_authority = None
    if line := _ORIGIN_FORM.match(raw):
        method, target, path, query, minor = line.groups()
        start = line.end()
    else:
        start, method, target, path, query, minor, target_authority = _uncommon_line(raw)
    if b"%" in target:
        _check_percent(path, target)
    if max_fields and raw.count(b"\n", start) - 1 > max_fields:
        raise HeadTooLarge(f"more than {max_fields} field lines")
    if not raw.endswith(b"\r\n\r\n"):
        raise Malformed("the head does not end with an empty line (RFC 9112 §2.1)")
    method_text = _METHODS.get(method) or _uncommon_method(method)

    fields = field_lines(raw, start)
    values = dict(fields)
    if len(values) != len(fields):
        _settle_repeated(fields, values)
    authority, hostname = _host(values.get(b"host"), minor, target_authority)

    framing, length = Framing.NONE, None
    length_value = values.get(b"content-length")
    if (encoding := values.get(b"transfer-encoding")) is not None:
        check_transfer_encoding(encoding, minor, length_value)
        framing = Framing.CHUNKED
    elif length_value is not None:
        framing, length = Framing.LENGTH, content_length(length_value)

    connection, upgrade = _NO_OPTIONS, None
    if (options := values.get(b"connection")) is not None:
        connection = connection_options(options)
        if b"upgrade" in connection and minor == b"1" and framing is not Framing.CHUNKED and not length:
            upgrade = _tunnel(values.get(b"upgrade", b""))

    expect_continue = False
    if (expect := values.get(b"expect")) is not None and minor == b"1":
        if expect.lower() != b"100-continue":
            raise ExpectationFailed("an expectation other than 100-continue (RFC 9110 §10.1.1)")
        expect_continue = framing is Framing.CHUNKED or bool(length)

    return RequestHead(
        method_text,
        target.decode("ascii"),
        path.decode("ascii"),
        None if query is None else query.decode("ascii"),
        authority,
        hostname,
        "1.1" if minor == b"1" else "1.0",
        fields,
        framing,
        length,
        expect_continue,
        upgrade,
        connection,
        minor == b"1" and b"close" not in connection,
    )


# ------------------------------------------------------------------------------------------------- the request line


def _uncommon_method(method: bytes) -> str:
    if method.upper() in _REFUSED_METHODS:
        raise MethodNotImplemented("CONNECT and TRACE are not served (RFC 9110 §9.3.6, §9.3.8)")
    return method.decode("ascii")


def _uncommon_line(raw: bytes) -> tuple[int, bytes, bytes, bytes, bytes | None, bytes, bytes | None]:
    """(end of the line, method, target, path, query, minor version, authority in the target) of a request line that is
    not in origin-form. Raises for all that is no request line."""
    line, end, _ = raw.partition(b"\r\n")
    if b"\n" in line:
        raise BadRequest("the request line ends with a bare LF (RFC 9112 §2.2)")
    if not line:
        raise BadRequest("an empty line where a request line should be (RFC 9112 §2.2)")
    parts = _ANY_LINE.fullmatch(line)
    if not end or parts is None:
        raise BadRequest("not a request line: method, target and version, one space between them (RFC 9112 §3)")
    method, target, major, minor = parts.groups()
    if major != b"1" or minor not in (b"0", b"1"):
        raise VersionNotSupported("neither HTTP/1.1 nor HTTP/1.0 (RFC 9110 §15.6.6)")
    if not re.fullmatch(_METHOD, method):
        raise BadRequest(f"the method is no token of 1 to {MAX_METHOD_BYTES} bytes (RFC 9110 §9.1)")
    start = len(line) + 2
    if target == b"*":
        if method != b"OPTIONS":
            raise BadRequest("the target * belongs to OPTIONS (RFC 9112 §3.2.4)")
        return start, method, target, target, None, minor, None
    _uncommon_method(method)  # before its target is looked at: CONNECT has one of its own kind (RFC 9112 §3.2.3)
    if absolute := _ABSOLUTE_FORM.fullmatch(target):
        scheme, authority, target, path, query = absolute.groups()
        if not path and query is None and method == b"OPTIONS":
            return start, method, b"*", b"*", None, minor, scheme.lower() + b"://" + authority  # RFC 9112 §3.2.4
        path = path or b"/"
        target = path if query is None else path + b"?" + query
        return start, method, target, path, query, minor, scheme.lower() + b"://" + authority
    raise BadRequest(_target_fault(target))


def _target_fault(target: bytes) -> str:
    if not target:
        return "the target is empty (RFC 9112 §3.2)"
    if b" " in target or b"\t" in target:
        return "whitespace in the target (RFC 9112 §3.2)"
    if b"#" in target:
        return "a fragment in the target (RFC 9112 §3.2)"
    if b"\\" in target:
        return "a backslash in the target (RFC 3986 §3.3)"
    if not target.isascii():
        return "bytes beyond ASCII in the target (RFC 3986 §2)"
    if target.startswith(b"/") or re.match(rb"(?i)https?://", target):
        return "a byte in the target that no URI may hold (RFC 3986 §2)"
    return "the target is in none of the forms a reverse proxy serves (RFC 9112 §3.2)"


def _check_percent(path: bytes, target: bytes) -> None:
    if _BAD_PERCENT.search(path):
        raise Malformed("a percent sign without two hex digits in the path (RFC 3986 §2.1)")
    if b"%00" in target:
        raise Malformed("an encoded NUL in the target (RFC 3986 §7.3)")


# ------------------------------------------------------------------------------------------------------- the fields


def _settle_repeated(fields: Fields, values: dict[bytes, bytes]) -> None:
    """Some field stands here more than once: not these, and Connection is a list."""
    one(fields, b"host", "RFC 9112 §3.2")
    one(fields, b"content-length", "RFC 9112 §6.3")
    one(fields, b"transfer-encoding", "RFC 9112 §6.1")
    one(fields, b"expect", "RFC 9110 §10.1.1")
    for name in (b"connection", b"upgrade"):
        if (value := joined(fields, name)) is not None:
            values[name] = value


def _host(value: bytes | None, minor: bytes, in_target: bytes | None) -> tuple[str, str]:
    """(authority, hostname) from the Host field and an absolute-form target, which must agree (RFC 9112 §3.2.2)."""
    if value is None and minor == b"1":
        raise Malformed("no Host field (RFC 9112 §3.2)")
    if in_target is None:
        if value is None:
            return "", ""
        authority, hostname, _ = parse_authority(value)
        return authority, hostname
    scheme, _, written = in_target.partition(b"://")
    authority, hostname, port = parse_authority(written)
    if value is not None:
        default = 443 if scheme == b"https" else 80
        _, host_name, host_port = parse_authority(value)
        if (hostname, port or default) != (host_name, host_port or default):
            raise Malformed("the target's authority is not the Host field's (RFC 9112 §3.2.2)")
    return authority, hostname


def parse_authority(value: bytes) -> tuple[str, str, int | None]:
    """(as written, host name in its comparable form, port or None) of a Host field. Raises Malformed."""
    if len(value) > MAX_HOST_BYTES:
        raise Malformed("the host is longer than any name (RFC 1035 §2.3.4)")
    return _parse_authority(value)


@lru_cache(maxsize=1024)
def _parse_authority(value: bytes) -> tuple[str, str, int | None]:
    found = _AUTHORITY.fullmatch(value)
    if found is None:
        raise Malformed("an invalid host or port (RFC 9112 §3.2)")
    host, digits = found.groups()
    port = None if digits is None else int(digits)
    if port is not None and port > 65535:
        raise Malformed("a port beyond 65535 (RFC 9110 §4.2)")
    if host.startswith(b"["):
        try:
            name = str(ipaddress.IPv6Address(host[1:-1].decode("ascii")))
        except ValueError:
            raise Malformed("an invalid IPv6 address in Host (RFC 3986 §3.2.2)") from None
    else:
        name = host.lower().removesuffix(b".").decode("ascii")
        if len(name) > 253:
            raise Malformed("the host is longer than any name (RFC 1035 §2.3.4)")
    return value.decode("ascii"), name, port


def _tunnel(value: bytes) -> bytes | None:
    """The one protocol of an Upgrade field that may be passed on, else None: the field is then ignored."""
    if len(value) > 64 or not _PROTOCOL.fullmatch(value) or value.lower().startswith(_NO_TUNNEL):
        return None
    return value
