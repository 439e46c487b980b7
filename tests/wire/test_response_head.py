"""The gate of responses: its verdict table, and what it accepts means the same to h11 and to Python's http.client."""

from __future__ import annotations

import io
from http.client import HTTPResponse
from typing import Any, NamedTuple, cast

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminator.errors import BackendInvalid
from terminator.wire import request_head
from terminator.wire.forwarding import response_fields, spelled
from terminator.wire.response_head import Framing, ResponseHead, parse
from terminator.wire.writing import write_response_head


class Case(NamedTuple):
    claim: str
    raw: bytes
    framing: Framing | None
    """How the content is framed; None when the head is refused."""
    keep_alive: bool
    section: str
    method: str = "GET"

    def __str__(self) -> str:
        return self.claim


def ok(*fields: bytes, line: bytes = b"HTTP/1.1 200 OK") -> bytes:
    return b"\r\n".join((line, *fields, b"", b""))


def status(line: bytes, *fields: bytes) -> bytes:
    return ok(*fields, line=b"HTTP/1." + line)


def refused(claim: str, raw: bytes, section: str, method: str = "GET") -> Case:
    return Case(claim, raw, None, False, section, method)


NONE, LENGTH, CHUNKED, UNTIL_CLOSE = Framing.NONE, Framing.LENGTH, Framing.CHUNKED, Framing.UNTIL_CLOSE
FIVE = b"Content-Length: 5"
TE = b"Transfer-Encoding: chunked"

CASES = [
    Case("a length", ok(FIVE), LENGTH, True, "RFC 9112 §6.2"),
    Case("a length of 0", ok(b"Content-Length: 0"), LENGTH, True, "RFC 9112 §6.2"),
    Case("chunked", ok(TE), CHUNKED, True, "RFC 9112 §7.1"),
    Case("neither", ok(), UNTIL_CLOSE, False, "RFC 9112 §6.3"),
    Case("close", ok(FIVE, b"Connection: close"), LENGTH, False, "RFC 9112 §9.3"),
    Case("close among others", ok(FIVE, b"Connection: a, Close"), LENGTH, False, "RFC 9112 §9.3"),
    Case("HTTP/1.0", status(b"0 200 OK", FIVE), LENGTH, False, "RFC 9112 §9.3"),
    Case("HTTP/1.0, kept", status(b"0 200 OK", FIVE, b"Connection: keep-alive"), LENGTH, True, "RFC 9112 §9.3"),
    Case("HTTP/1.0 until close", status(b"0 200 OK", b"Connection: keep-alive"), UNTIL_CLOSE, False, "RFC 9112 §6.3"),
    Case("HEAD with a length", ok(FIVE), NONE, True, "RFC 9112 §6.3", "HEAD"),
    Case("HEAD, chunked", ok(TE), NONE, True, "RFC 9112 §6.3", "HEAD"),
    Case("HEAD with neither", ok(), NONE, True, "RFC 9112 §6.3", "HEAD"),
    Case("204", status(b"1 204 No Content"), NONE, True, "RFC 9112 §6.3"),
    Case("204 with a length of 0", status(b"1 204 No Content", b"Content-Length: 0"), NONE, True, "RFC 9110 §8.6"),
    Case("204 with a length", status(b"1 204 No Content", FIVE), NONE, False, "RFC 9110 §8.6"),
    Case("204, chunked", status(b"1 204 No Content", TE), NONE, False, "RFC 9112 §6.1"),
    Case("304 with a length", status(b"1 304 Not Modified", FIVE), NONE, True, "RFC 9112 §6.3"),
    Case("100", status(b"1 100 Continue"), NONE, True, "RFC 9112 §6.3"),
    Case("103 with fields", status(b"1 103 Early Hints", b"Link: </a>"), NONE, True, "RFC 8297"),
    Case("100 with a length", status(b"1 100 Continue", FIVE), NONE, False, "RFC 9110 §8.6"),
    Case("no reason", status(b"1 200 ", FIVE), LENGTH, True, "RFC 9112 §4"),
    Case("no reason and no space", status(b"1 200", FIVE), LENGTH, True, "by decision"),
    Case("a reason beyond ASCII", status(b"1 200 D\xe9j\xe0 vu", FIVE), LENGTH, True, "RFC 9112 §4"),
    Case("an unknown status", status(b"1 299 Fine", FIVE), LENGTH, True, "RFC 9110 §15"),
    Case("lengths alike", ok(FIVE, FIVE), LENGTH, True, "RFC 9112 §6.3"),
    Case("repeated fields", ok(FIVE, b"Set-Cookie: a=b", b"Set-Cookie: c=d"), LENGTH, True, "RFC 9110 §5.3"),
    refused("nothing", b"", "RFC 9112 §4"),
    refused("the empty line alone", b"\r\n\r\n", "RFC 9112 §4"),
    refused("an empty line before the status line", b"\r\n" + ok(FIVE), "RFC 9112 §4"),
    refused("two status lines", b"HTTP/1.1 200 OK\r\n" + ok(FIVE), "RFC 9112 §5"),
    refused("a bare LF behind the status line", b"HTTP/1.1 200 OK\nContent-Length: 5\r\n\r\n", "RFC 9112 §2.2"),
    refused("bare LFs", b"HTTP/1.1 200 OK\nContent-Length: 5\n\n", "RFC 9112 §2.2"),
    refused("a bare CR in the reason", status(b"1 200 O\rK", FIVE), "RFC 9112 §4"),
    refused("a NUL in the reason", status(b"1 200 O\0K", FIVE), "RFC 9112 §4"),
    refused("a status of two digits", status(b"1 20 OK", FIVE), "RFC 9110 §15"),
    refused("a status of four digits", status(b"1 2000 OK", FIVE), "RFC 9110 §15"),
    refused("status 600", status(b"1 600 Odd", FIVE), "RFC 9110 §15"),
    refused("status 099", status(b"1 099 Odd", FIVE), "RFC 9110 §15"),
    refused("status with a sign", status(b"1 +20 Odd", FIVE), "RFC 9110 §15"),
    refused("two spaces before the status", status(b"1  200 OK", FIVE), "RFC 9112 §4"),
    refused("HTTP/1.2", status(b"2 200 OK", FIVE), "RFC 9112 §2.3"),
    refused("HTTP/2", ok(FIVE, line=b"HTTP/2 200"), "RFC 9112 §2.3"),
    refused("small letters", ok(FIVE, line=b"http/1.1 200 OK"), "RFC 9112 §2.3"),
    refused("another protocol", ok(FIVE, line=b"ICY 200 OK"), "RFC 9112 §4"),
    refused("HTTP/0.9", b"<html>\r\n\r\n", "RFC 9112 §4"),
    refused("a length beside chunked", ok(FIVE, TE), "RFC 9112 §6.1"),
    refused("chunked beside a length", ok(TE, FIVE), "RFC 9112 §6.1"),
    refused("both, in a response to HEAD", ok(TE, FIVE), "RFC 9112 §6.1", "HEAD"),
    refused("both, in a 204", status(b"1 204 No Content", TE, FIVE), "RFC 9112 §6.1"),
    refused("lengths that differ", ok(FIVE, b"Content-Length: 6"), "RFC 9112 §6.3"),
    refused("lengths that differ, of a 304", status(b"1 304 X", FIVE, b"Content-Length: 6"), "RFC 9112 §6.3"),
    refused("lengths in one line", ok(b"Content-Length: 5, 5"), "by decision"),
    refused("a length with a sign", ok(b"Content-Length: +5"), "RFC 9110 §8.6"),
    refused("an empty length", ok(b"Content-Length:"), "RFC 9110 §8.6"),
    refused("a huge length", ok(b"Content-Length: " + b"9" * 19), "by decision"),
    refused("gzip, chunked", ok(b"Transfer-Encoding: gzip, chunked"), "by decision"),
    refused("identity", ok(b"Transfer-Encoding: identity"), "RFC 9112 §7"),
    refused("chunked twice", ok(TE, TE), "RFC 9112 §6.1"),
    refused("chunked in HTTP/1.0", status(b"0 200 OK", TE), "RFC 9112 §6.1"),
    refused("a space before the colon", ok(b"Content-Length : 5"), "RFC 9112 §5.1"),
    refused("a folded line", ok(b"A: b", b" c", FIVE), "RFC 9112 §5.2"),
    refused("a NUL in a value", ok(b"A: \0", FIVE), "RFC 9110 §5.5"),
    refused("a bare CR in a value", ok(b"A: b\rSet-Cookie: x=y", FIVE), "RFC 9112 §2.2"),
    refused("a bare LF in a value", ok(b"A: b\nSet-Cookie: x=y", FIVE), "RFC 9112 §2.2"),
    refused("a name that is no token", ok(b"A b: c", FIVE), "RFC 9110 §5.1"),
    refused("an empty name", ok(b": c", FIVE), "RFC 9110 §5.1"),
    refused("a line without a colon", ok(b"Content-Length", FIVE), "RFC 9112 §5"),
    refused("too many fields", ok(*[b"A: b"] * 101), "by decision"),
    refused("Content-Length nominated", ok(FIVE, b"Connection: content-length"), "RFC 9110 §7.6.1"),
    refused("an option that is no token", ok(FIVE, b"Connection: a/b"), "RFC 9110 §7.6.1"),
]  # fmt: skip


@pytest.mark.parametrize("case", CASES, ids=str)
def test_verdict(case: Case) -> None:
    if case.framing is None:
        with pytest.raises(BackendInvalid, match="refused: "):
            parse(case.raw, request_method=case.method, max_fields=100)
    else:
        head = parse(case.raw, request_method=case.method, max_fields=100)
        assert (head.framing, head.keep_alive) == (case.framing, case.keep_alive)
        assert_read_alike(case.raw, head, case.method)


def test_claims_are_unique() -> None:
    assert len({case.claim for case in CASES}) == len(CASES)


def test_all_that_is_known_of_a_response() -> None:
    raw = b"HTTP/1.1 206 Partial Content\r\nX-A:  1 \r\nContent-Length: 012\r\nConnection: Keep-Alive, X-A\r\n\r\n"
    assert parse(raw, request_method="GET", max_fields=3) == ResponseHead(
        status=206,
        reason=b"Partial Content",
        version="1.1",
        fields=((b"x-a", b"1"), (b"content-length", b"012"), (b"connection", b"Keep-Alive, X-A")),
        framing=Framing.LENGTH,
        content_length=12,
        connection=frozenset({b"keep-alive", b"x-a"}),
        upgrade=None,
        keep_alive=True,
    )


def test_switching_protocols() -> None:
    raw = b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n"
    head = parse(raw, request_method="GET", max_fields=9)
    assert (head.status, head.framing, head.upgrade) == (101, Framing.NONE, b"websocket")
    not_nominated = parse(raw.replace(b"Connection: Upgrade\r\n", b""), request_method="GET", max_fields=9)
    assert not_nominated.upgrade is None


def test_content_length_of_head_and_304_is_told() -> None:
    """It is what a GET would have had (RFC 9110 §8.6)."""
    assert parse(ok(FIVE), request_method="HEAD", max_fields=9).content_length == 5
    assert parse(status(b"1 304 Not Modified", FIVE), request_method="GET", max_fields=9).content_length == 5
    assert parse(status(b"1 204 No Content", FIVE), request_method="GET", max_fields=9).content_length is None


NASTY = [b"", b"\r", b"\n", b"\0", b" ", b"\t", b":", b",", b"\x0b", b"\x85", b"\r\n", b"\r\n ", b"HTTP/1.1 200 OK\r\n"]
LINES = [FIVE, b"Content-Length: 05", TE, b"Transfer-Encoding:Chunked ", b"Connection: close", b"Connection: upgrade",
         b"Upgrade: websocket", b"Connection: keep-alive", b"Set-Cookie: a=b", b"Server: x"]  # fmt: skip


@st.composite
def heads(draw: st.DrawFn) -> tuple[bytes, str]:
    line = b"HTTP/1.%b %d %b" % (
        draw(st.sampled_from([b"1", b"1", b"0"])),
        draw(st.sampled_from([100, 103, 200, 200, 200, 204, 304, 404, 500])),
        draw(st.binary(max_size=8).map(lambda data: bytes(b for b in data if b >= 32 and b != 127))),
    )
    values = st.binary(max_size=12).map(lambda data: b"X: " + bytes(b for b in data if b >= 32 and b != 127))
    raw = ok(*draw(st.lists(st.sampled_from(LINES) | values, max_size=5)), line=line)
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.sampled_from(NASTY)) + raw[at + draw(st.integers(0, 2)) :]
    return raw, draw(st.sampled_from(["GET", "GET", "HEAD"]))


@given(heads())
@settings(max_examples=1000)
def test_what_is_accepted_is_read_alike_by_all(sent: tuple[bytes, str]) -> None:
    raw, method = sent
    try:
        head = parse(raw, request_method=method, max_fields=20)
    except BackendInvalid:
        return
    assert_read_alike(raw, head, method)


@given(st.binary(max_size=100) | st.builds(lambda data: b"HTTP/1.1 200 " + data + b"\r\n\r\n", st.binary(max_size=100)))
@settings(max_examples=500)
def test_any_bytes_are_accepted_or_refused(raw: bytes) -> None:
    try:
        parse(raw, request_method="GET", max_fields=20)
    except BackendInvalid:
        return
    assert raw.endswith(b"\r\n\r\n")


def assert_read_alike(raw: bytes, head: ResponseHead, method: str) -> None:
    body, content, rest = {
        Framing.NONE: (b"", b"", b""),
        Framing.LENGTH: (b"0\r\n\r\n" * 3, (b"0\r\n\r\n" * 3)[: head.content_length], None),
        Framing.CHUNKED: (b"3\r\nabc\r\n0\r\n\r\n", b"abc", b""),
        Framing.UNTIL_CLOSE: (b"0\r\n\r\n", b"0\r\n\r\n", b""),
    }[head.framing]

    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw + body)
    response = connection.next_event()
    assert isinstance(response, (h11.Response, h11.InformationalResponse))
    assert (response.status_code, response.reason) == (head.status, head.reason)
    assert response.http_version == head.version.encode()
    told = [(n, v.lower() if n == b"transfer-encoding" else v) for n, v in head.fields]
    if sum(name == b"content-length" for name, _ in told) < 2:  # h11 keeps one of them
        assert list(response.headers) == told
    if head.status >= 200:
        if head.framing is Framing.UNTIL_CLOSE:
            connection.receive_data(b"")
        read = b""
        while isinstance(event := connection.next_event(), h11.Data):
            read += event.data
        assert isinstance(event, h11.EndOfMessage)
        assert read == content
        if rest is not None:
            assert connection.trailing_data[0] == rest
        read_by_http_client(head, method, content)


def read_by_http_client(head: ResponseHead, method: str, content: bytes) -> None:
    """What is sent on to the client, in the framing that is written anew."""
    request = request_head.parse(f"{method} / HTTP/1.1\r\nHost: a\r\n\r\n".encode(), max_fields=9)
    fields = spelled(response_fields(head, request))
    if head.framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE):
        assert (b"Transfer-Encoding", b"chunked") in fields
        body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if content else b"0\r\n\r\n"
    else:
        body = content
    data = write_response_head(head.status, head.reason, fields) + body + b"0\r\n\r\n"
    response = HTTPResponse(cast("Any", Conversation(data)), method=method)
    response.begin()
    assert response.status == head.status
    assert [(name.encode(), value.encode("latin-1")) for name, value in response.headers.items()] == fields
    assert response.read() == content


class Conversation:
    """As much of a socket as http.client needs."""

    def __init__(self, data: bytes) -> None:
        self._file = io.BytesIO(data)

    def makefile(self, mode: str) -> io.BytesIO:
        return self._file
