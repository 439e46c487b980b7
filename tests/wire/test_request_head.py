"""The gate of requests: its verdict table, and what it accepts means the same to every other parser."""

from __future__ import annotations

import contextlib
import io
import re
import runpy
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import h11
import httptools
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminator.errors import (
    BadRequest,
    ClientError,
    ExpectationFailed,
    HeadTooLarge,
    MethodNotImplemented,
    UriTooLong,
    VersionNotSupported,
)
from terminator.wire.forwarding import ClientSide, request_fields, spelled
from terminator.wire.head_buffer import HeadBuffer
from terminator.wire.request_head import Framing, RequestHead, parse, too_large
from terminator.wire.writing import write_request_head

CASES = runpy.run_path(str(Path(__file__).with_name("request_cases.py")))["CASES"]
ACCEPTED = [case for case in CASES if case.status is None]
CLIENT = ClientSide("192.0.2.7", 40000, "https", 443)
OURS = (b"via", b"forwarded", b"x-forwarded-", b"x-real-ip")


def received(data: bytes) -> bytes:
    """The head as the connection's buffer hands it to the parser."""
    buffer = HeadBuffer(1 << 20)
    buffer.feed(data)
    buffer.skip_empty_line()
    head = buffer.take_head()
    assert head is not None
    return head


def forwarded(head: RequestHead) -> bytes:
    return write_request_head(head.method, head.target, fields_of(head))


def fields_of(head: RequestHead) -> list[tuple[bytes, bytes]]:
    return request_fields(head, CLIENT, authority=head.authority or "shop.example")


@pytest.mark.parametrize("case", CASES, ids=str)
def test_verdict(case: Any) -> None:
    if case.status is None:
        parse(received(case.raw), max_fields=100)
    else:
        with pytest.raises(ClientError) as refusal:
            parse(received(case.raw), max_fields=100)
        assert refusal.value.status == case.status
        assert str(refusal.value)


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_forwarded_bytes(case: Any) -> None:
    lines = forwarded(parse(received(case.raw), max_fields=100)).split(b"\r\n")
    assert lines[-2:] == [b"", b""]
    own = [line for line in lines[:-2] if not line.lower().startswith(OURS)]
    assert tuple(own) == case.forwarded


@pytest.mark.parametrize("case", ACCEPTED, ids=str)
def test_other_parsers_read_the_same(case: Any) -> None:
    head = parse(received(case.raw), max_fields=100)
    assert_read_alike_by_h11(received(case.raw), head)
    assert_forwarded_alike(head)


def test_claims_are_unique() -> None:
    assert len({case.claim for case in CASES}) == len(CASES)


def test_all_that_is_known_of_a_request() -> None:
    raw = (
        b"POST /a%20b/c?d=e HTTP/1.1\r\nHOST: Shop.Example.:8443\r\nX-A:  1 \r\nContent-Length: 12\r\n"
        b"Expect: 100-continue\r\nConnection: Keep-Alive\r\n\r\n"
    )
    assert parse(raw, max_fields=5) == RequestHead(
        method="POST",
        target="/a%20b/c?d=e",
        path="/a%20b/c",
        query="d=e",
        authority="Shop.Example.:8443",
        hostname="shop.example",
        version="1.1",
        fields=(
            (b"host", b"Shop.Example.:8443"),
            (b"x-a", b"1"),
            (b"content-length", b"12"),
            (b"expect", b"100-continue"),
            (b"connection", b"Keep-Alive"),
        ),
        framing=Framing.LENGTH,
        content_length=12,
        expect_continue=True,
        upgrade=None,
        connection=frozenset({b"keep-alive"}),
        keep_alive=True,
    )


@pytest.mark.parametrize(
    ("version", "connection", "kept"),
    [
        (b"1.1", b"", True),
        (b"1.1", b"Connection: keep-alive\r\n", True),
        (b"1.1", b"Connection: Close\r\n", False),
        (b"1.1", b"Connection: close, keep-alive\r\n", False),
        (b"1.1", b"Connection: keep-alive\r\nConnection: close\r\n", False),
        (b"1.0", b"", False),
        (b"1.0", b"Connection: keep-alive\r\n", False),
    ],
)
def test_keep_alive(version: bytes, connection: bytes, kept: bool) -> None:
    """RFC 9112 §9.3; HTTP/1.0 connections serve one request."""
    assert parse(b"GET / HTTP/%b\r\nHost: a\r\n%b\r\n" % (version, connection), max_fields=9).keep_alive is kept


@pytest.mark.parametrize(
    ("authority", "hostname"),
    [
        (b"a.example", "a.example"),
        (b"A.EXAMPLE.", "a.example"),
        (b"a.example:8443", "a.example"),
        (b"[2001:DB8:0::1]", "2001:db8::1"),
        (b"[2001:db8:0:0:0:0:0:1]:443", "2001:db8::1"),
    ],
)
def test_hostname_is_comparable(authority: bytes, hostname: str) -> None:
    head = parse(b"GET / HTTP/1.1\r\nHost: %b\r\n\r\n" % authority, max_fields=9)
    assert (head.authority, head.hostname) == (authority.decode(), hostname)


def test_http_1_0_may_lack_host() -> None:
    head = parse(b"GET / HTTP/1.0\r\n\r\n", max_fields=9)
    assert (head.authority, head.hostname, head.version) == ("", "", "1.0")


@pytest.mark.parametrize(
    ("fields", "offered"),
    [
        (b"Connection: Upgrade\r\nUpgrade: websocket\r\n", b"websocket"),
        (b"Connection: upgrade\r\nUpgrade: Foo/2.1\r\n", b"Foo/2.1"),
        (b"Connection: upgrade\r\n", None),
        (b"Upgrade: websocket\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: H2C\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: HTTP/2.0\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: TLS/1.3\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: websocket\r\nUpgrade: h2c\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: a b\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: SPDY/3.1\r\nContent-Length: 0\r\n", b"SPDY/3.1"),
        (b"Connection: upgrade\r\nUpgrade: tcp\r\nContent-Length: 5\r\n", None),
        (b"Connection: upgrade\r\nUpgrade: tcp\r\nTransfer-Encoding: chunked\r\n", None),
    ],
)
def test_upgrade(fields: bytes, offered: bytes | None) -> None:
    assert parse(b"GET / HTTP/1.1\r\nHost: a\r\n" + fields + b"\r\n", max_fields=9).upgrade == offered


def test_limit_of_field_lines() -> None:
    raw = b"GET / HTTP/1.1\r\nHost: a\r\nA: b\r\nA: b\r\n\r\n"
    assert len(parse(raw, max_fields=3).fields) == 3
    with pytest.raises(HeadTooLarge):
        parse(raw, max_fields=2)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"GET /" + b"x" * 100, UriTooLong),
        (b"GET /" + b"x" * 100 + b" HTTP/1.1\r\nHost: a\r\n\r\n", UriTooLong),
        (b"GET /" + b"x" * 45 + b" HTTP/1.1\r\n", HeadTooLarge),  # with the line's end 61 bytes
        (b"GET /" + b"x" * 44 + b" HTTP/1.1\r\nHost: a\r\n\r\n", HeadTooLarge),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 100, HeadTooLarge),
    ],
)
def test_a_line_that_is_too_long_is_told_from_fields(raw: bytes, error: type[ClientError]) -> None:
    assert type(too_large(raw, 61)) is error


@pytest.mark.parametrize("cut", range(len(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")))
def test_a_part_of_a_head_is_refused(cut: int) -> None:
    with pytest.raises(BadRequest):
        parse(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"[:cut], max_fields=9)


def test_refusals_echo_nothing() -> None:
    for case in CASES:
        if case.status is not None:
            with pytest.raises(ClientError) as refusal:
                parse(received(case.raw), max_fields=100)
            assert "example" not in str(refusal.value)


# ------------------------------------------------------------------------------------------------------- properties

NASTY = [b"\r", b"\n", b"\r\n", b"\0", b" ", b"\t", b":", b",", b";", b"\x0b", b"\x85", b"\xa0", b"\x7f", b"%", b"#",
         b"\\", b"@", b"\r\n\r\n", b"\r\n ", b"chunked", b"Host: b\r\n", b"Content-Length: 3\r\n"]  # fmt: skip
LINES = [
    b"Content-Length: 5", b"Content-Length: 05", b"content-length: 0", b"Transfer-Encoding: chunked",
    b"Transfer-Encoding: Chunked", b"Transfer-Encoding:\tchunked ", b"Connection: close", b"Connection: TE, x-a",
    b"TE: trailers", b"Expect: 100-continue", b"Connection: Upgrade", b"Upgrade: websocket", b"Host: shop.example",
    b"X-Forwarded-For: 1", b"x_forwarded_for: 1", b"Via: 1.0 a", b"Cookie: a=b", b"Forwarded: for=x", b"TE: x",
]  # fmt: skip
TARGETS = st.from_regex(
    r"(https?://shop\.example(:443)?)?/[a-zA-Z0-9\-._~!$&'()*+,;=:@/%\[\]^`{|}?]{0,20}", fullmatch=True
)
TOKENS = st.from_regex(r"[-!#$%&'*+.^_`|~0-9a-zA-Z]{1,12}", fullmatch=True)
VALUES = st.binary(max_size=20).map(lambda data: bytes(b for b in data if b == 9 or (b >= 32 and b != 127)))


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Heads that are valid more often than not, and close to valid else."""
    method = draw(st.sampled_from(["GET", "POST", "OPTIONS", "PUT", "HEAD"]) | TOKENS).encode()
    target = draw(TARGETS | st.just("*")).encode()
    version = draw(st.sampled_from([b"1.1", b"1.1", b"1.1", b"1.0"]))
    random = st.tuples(TOKENS, VALUES).map(lambda pair: pair[0].encode() + b":" + pair[1])
    lines = draw(st.lists(st.sampled_from(LINES) | random, max_size=6))
    lines.insert(draw(st.integers(0, len(lines))), b"Host: shop.example")
    return b"%b %b HTTP/%b\r\n%b\r\n\r\n" % (method, target, version, b"\r\n".join(lines))


@st.composite
def mutilated(draw: st.DrawFn) -> bytes:
    """Heads with a nasty piece put in, or a piece cut out."""
    raw = draw(heads())
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.sampled_from([b"", *NASTY])) + raw[at + draw(st.integers(0, 3)) :]
    return raw


@given(heads() | mutilated())
@settings(max_examples=1500)
def test_what_is_accepted_is_read_alike_by_all(raw: bytes) -> None:
    try:
        head = parse(raw, max_fields=20)
    except ClientError:
        return
    assert_read_alike_by_h11(raw, head)
    assert_forwarded_alike(head)


@given(st.binary(max_size=200) | mutilated() | st.builds(lambda data: data + b"\r\n\r\n", st.binary(max_size=200)))
@settings(max_examples=1000)
def test_any_bytes_are_accepted_or_refused(raw: bytes) -> None:
    with contextlib.suppress(BadRequest, HeadTooLarge, VersionNotSupported, MethodNotImplemented, ExpectationFailed):
        parse(raw, max_fields=20)


@given(heads())
@settings(max_examples=500)
def test_what_is_forwarded_is_accepted_again_unchanged(raw: bytes) -> None:
    try:
        head = parse(raw, max_fields=20)
    except ClientError:
        return
    again = parse(forwarded(head), max_fields=40)
    assert (again.method, again.target, again.framing, again.content_length, again.upgrade, again.expect_continue) == (
        head.method, head.target, head.framing, head.content_length, head.upgrade, head.expect_continue,
    )  # fmt: skip


def assert_read_alike_by_h11(raw: bytes, head: RequestHead) -> None:
    """h11 frames the body from the client's own bytes, so it must see in them what we saw."""
    body, content, ends = body_of(head)
    connection = h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20)
    connection.receive_data(raw + body)
    request = connection.next_event()
    assert isinstance(request, h11.Request)
    assert request.method == head.method.encode()
    target = re.sub(rb"(?i)^https?://[^/?]*", b"", request.target)
    assert head.target.encode() in (target, b"/" + target, target or b"*")
    assert request.http_version == head.version.encode()
    assert list(request.headers) == [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in head.fields]
    read = b""
    while isinstance(event := connection.next_event(), h11.Data):
        read += event.data
    assert (read, isinstance(event, h11.EndOfMessage)) == (content, ends)


def assert_forwarded_alike(head: RequestHead) -> None:
    """Three independent parsers read the same request in the bytes that are sent to a backend."""
    raw = forwarded(head)
    fields = spelled(fields_of(head))
    body, content, ends = body_of(head)

    again = parse(raw, max_fields=200)
    assert_read_alike_by_h11(raw, again)
    assert again.fields == tuple((name.lower(), value) for name, value in fields)

    if head.method in ("GET", "POST", "OPTIONS", "PUT", "HEAD"):  # llhttp knows methods by name
        seen = Llhttp()
        parser = httptools.HttpRequestParser(seen)
        try:
            parser.feed_data(raw + body)
        except httptools.HttpParserUpgrade:
            assert head.upgrade is not None
        assert (parser.get_method(), seen.target) == (head.method.encode(), head.target.encode())
        assert seen.fields == fields
        assert (seen.content, seen.complete) == (content, ends)
        assert parser.get_http_version() == "1.1"

    if len(fields) > 100:  # http.server takes no more
        return
    server = HttpServer(raw)
    assert server.parse_request()
    assert server.requestline == f"{head.method} {head.target} HTTP/1.1"
    assert server.command == head.method
    assert [(n.encode(), v.encode("latin-1")) for n, v in server.headers.items()] == fields


def body_of(head: RequestHead) -> tuple[bytes, bytes, bool]:
    """(bytes that follow the head, the content they are, whether it is whole), such that a parser which frames them
    in another way comes to another result."""
    if head.framing is Framing.CHUNKED:
        return b"3\r\nabc\r\n0\r\n\r\n", b"abc", True
    length = head.content_length or 0
    content = (b"0\r\n\r\n" * 20)[: min(length, 100)]
    return content, content, length <= 100


class Llhttp:
    """What httptools saw."""

    def __init__(self) -> None:
        self.target = self.content = b""
        self.fields: list[tuple[bytes, bytes]] = []
        self.complete = False

    def on_url(self, url: bytes) -> None:
        self.target += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.fields.append((name, value))

    def on_body(self, body: bytes) -> None:
        self.content += body

    def on_message_complete(self) -> None:
        self.complete = True


class HttpServer(BaseHTTPRequestHandler):
    """The parser of Python's http.server, without its socket."""

    def __init__(self, raw: bytes) -> None:
        self.rfile = io.BytesIO(raw)
        self.wfile = io.BytesIO()
        self.raw_requestline = self.rfile.readline()
        self.client_address = ("192.0.2.7", 40000)

    def log_message(self, format: str, *args: object) -> None:
        raise AssertionError(format % args)
