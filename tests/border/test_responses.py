"""What a backend may say: its bytes → what the client receives byte for byte → whether the connection is used again."""

from __future__ import annotations

import re
from typing import NamedTuple

import pytest
from harness.conversation import Truncated
from harness.daemon import eventually

SECRET = b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret"


def answer(line: bytes, *fields: bytes, body: bytes = b"") -> bytes:
    return b"\r\n".join((line, *fields, b"", b"")) + body


OK = b"HTTP/1.1 200 OK"
END_CHUNK = b"0\r\n\r\n"


class Passed(NamedTuple):
    claim: str
    bytes_in: bytes
    received: bytes
    """The client's bytes, without Via and Date, which are ours."""
    kept: bool
    """Whether the backend's connection serves the next request."""
    section: str
    method: bytes = b"GET"

    def __str__(self) -> str:
        return self.claim


class Refused(NamedTuple):
    claim: str
    bytes_in: bytes
    section: str
    method: bytes = b"GET"

    def __str__(self) -> str:
        return self.claim


PASSED = [
    Passed(
        "a plain response",
        answer(OK, b"Content-Length: 2", body=b"ok"),
        answer(OK, b"Content-Length: 2", body=b"ok"),
        True,
        "RFC 9112 §6.3",
    ),
    Passed(
        "equal lengths",
        answer(OK, b"Content-Length: 2", b"Content-Length: 2", body=b"ok"),
        answer(OK, b"Content-Length: 2", body=b"ok"),
        True,
        "RFC 9112 §6.3",
    ),
    Passed(
        "chunks are written anew",
        answer(OK, b"Transfer-Encoding: Chunked", body=b"02;a=b\r\nok\r\n0;x\r\n\r\n"),
        answer(OK, b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n"),
        True,
        "RFC 9112 §7.1",
    ),
    Passed(
        "no reason",
        answer(b"HTTP/1.1 200", b"Content-Length: 2", body=b"ok"),
        answer(b"HTTP/1.1 200 ", b"Content-Length: 2", body=b"ok"),
        True,
        "RFC 9112 §4",
    ),
    Passed(
        "hop-by-hop fields stay behind",
        answer(
            OK,
            b"Connection: X-Hop",
            b"X-Hop: 1",
            b"Keep-Alive: timeout=5",
            b"Proxy-Connection: x",
            b"Content-Length: 2",
            body=b"ok",
        ),
        answer(OK, b"Content-Length: 2", body=b"ok"),
        True,
        "RFC 9110 §7.6.1",
    ),
    Passed(
        "Connection: close is the backend's own",
        answer(OK, b"Connection: close", b"Content-Length: 2", body=b"ok"),
        answer(OK, b"Content-Length: 2", body=b"ok"),
        False,
        "RFC 9112 §9.6",
    ),
    Passed(
        "HTTP/1.0",
        answer(b"HTTP/1.0 200 OK", b"Content-Length: 2", body=b"ok"),
        answer(OK, b"Content-Length: 2", body=b"ok"),
        False,
        "RFC 9112 §9.3",
    ),
    Passed(
        "bytes behind a response",
        answer(OK, b"Content-Length: 2", body=b"ok") + SECRET,
        answer(OK, b"Content-Length: 2", body=b"ok"),
        False,
        "RFC 9112 §9.2",
    ),
    Passed(
        "bytes behind a chunked response",
        answer(OK, b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n") + SECRET,
        answer(OK, b"Transfer-Encoding: chunked", body=b"2\r\nok\r\n0\r\n\r\n"),
        False,
        "RFC 9112 §9.2",
    ),
    Passed(
        "a body on 204",
        answer(b"HTTP/1.1 204 No Content", body=SECRET),
        answer(b"HTTP/1.1 204 No Content"),
        False,
        "RFC 9112 §6.3",
    ),
    Passed(
        "a length on 204",
        answer(b"HTTP/1.1 204 No Content", b"Content-Length: 6", body=b"secret"),
        answer(b"HTTP/1.1 204 No Content"),
        False,
        "RFC 9110 §8.6",
    ),
    Passed(
        "chunked on 204",
        answer(b"HTTP/1.1 204 No Content", b"Transfer-Encoding: chunked", body=b"0\r\n\r\n"),
        answer(b"HTTP/1.1 204 No Content"),
        False,
        "RFC 9112 §6.1",
    ),
    Passed(
        "a body on 304",
        answer(b"HTTP/1.1 304 Not Modified", b"Content-Length: 45", body=SECRET),
        answer(b"HTTP/1.1 304 Not Modified", b"Content-Length: 45"),
        False,
        "RFC 9112 §6.3",
    ),
    Passed(
        "a body on HEAD",
        answer(OK, b"Content-Length: 6", body=b"secret"),
        answer(OK, b"Content-Length: 6"),
        False,
        "RFC 9112 §6.3",
        b"HEAD",
    ),
    Passed("HEAD", answer(OK, b"Content-Length: 6"), answer(OK, b"Content-Length: 6"), True, "RFC 9112 §6.3", b"HEAD"),
    Passed(
        "interim responses",
        answer(b"HTTP/1.1 103 Early Hints", b"Link: </a>") + answer(OK, b"Content-Length: 2", body=b"ok"),
        answer(b"HTTP/1.1 103 Early Hints", b"Link: </a>") + answer(OK, b"Content-Length: 2", body=b"ok"),
        True,
        "RFC 9110 §15.2",
    ),
]

REFUSED = [
    Refused("two status lines", answer(OK, OK, b"Content-Length: 2", body=b"ok"), "RFC 9112 §5"),
    Refused(
        "CL with TE", answer(OK, b"Content-Length: 2", b"Transfer-Encoding: chunked", body=END_CHUNK), "RFC 9112 §6.3"
    ),
    Refused("lengths that differ", answer(OK, b"Content-Length: 2", b"Content-Length: 3", body=b"ok"), "RFC 9112 §6.3"),
    Refused("a list of lengths", answer(OK, b"Content-Length: 2, 2", body=b"ok"), "RFC 9110 §8.6"),
    Refused("a signed length", answer(OK, b"Content-Length: +2", body=b"ok"), "RFC 9110 §8.6"),
    Refused("gzip, chunked", answer(OK, b"Transfer-Encoding: gzip, chunked", body=END_CHUNK), "RFC 9112 §6.1"),
    Refused(
        "TE in HTTP/1.0", answer(b"HTTP/1.0 200 OK", b"Transfer-Encoding: chunked", body=END_CHUNK), "RFC 9112 §6.1"
    ),
    Refused("a bare LF behind the status", b"HTTP/1.1 200 OK\nContent-Length: 2\r\n\r\nok", "RFC 9112 §2.2"),
    Refused(
        "a bare CR in a value", answer(OK, b"X: a\rSet-Cookie: b", b"Content-Length: 2", body=b"ok"), "RFC 9112 §2.2"
    ),
    Refused("a NUL in a value", answer(OK, b"X: \0", b"Content-Length: 2", body=b"ok"), "RFC 9110 §5.5"),
    Refused("a folded line", answer(OK, b"X: a", b" b", b"Content-Length: 2", body=b"ok"), "RFC 9112 §5.2"),
    Refused("a space before the colon", answer(OK, b"Content-Length : 2", body=b"ok"), "RFC 9112 §5.1"),
    Refused("an empty name", answer(OK, b": x", b"Content-Length: 2", body=b"ok"), "RFC 9110 §5.1"),
    Refused("a status of four digits", answer(b"HTTP/1.1 2000 OK", b"Content-Length: 2", body=b"ok"), "RFC 9112 §4"),
    Refused("a status of 099", answer(b"HTTP/1.1 099 X", b"Content-Length: 2", body=b"ok"), "RFC 9110 §15"),
    Refused("HTTP/2.0", answer(b"HTTP/2.0 200 OK", b"Content-Length: 2", body=b"ok"), "RFC 9112 §2.3"),
    Refused("HTTP/0.9", b"<html>hello</html>\r\n\r\n", "RFC 9112 §4"),
    Refused("a status line of another protocol", b"ICY 200 OK\r\n\r\n", "RFC 9112 §4"),
    Refused("an empty line first", b"\r\n" + answer(OK, b"Content-Length: 2", body=b"ok"), "RFC 9112 §4"),
    Refused(
        "101 that was not asked for",
        answer(b"HTTP/1.1 101 Switching Protocols", b"Connection: upgrade", b"Upgrade: websocket") + SECRET,
        "RFC 9110 §7.8",
    ),
    Refused("an endless head", OK + b"\r\nX: " + b"x" * 100_000, "by decision"),
    Refused("endless fields", OK + b"\r\n" + b"X: 1\r\n" * 1000 + b"\r\n", "by decision"),
]


@pytest.mark.parametrize("case", PASSED, ids=str)
def test_passed(border, warm, case) -> None:
    backend = border.backend
    backend.forget()
    backend.answer = lambda head, _: case.bytes_in
    request = case.method + b" / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    with border.connect() as client:
        warm(client, request)
        client.send(request)
        received = bytearray(client.receive_until(b"\r\n\r\n"))
        if received.startswith(b"HTTP/1.1 103"):
            received += client.receive_until(b"\r\n\r\n")
        body = case.received.rpartition(b"\r\n\r\n")[2] if b"chunked" not in case.received else b"2\r\nok\r\n0\r\n\r\n"
        received += client.receive_exactly(len(body))
        assert re.sub(rb"(?:Via|Date): [^\r\n]*\r\n", b"", bytes(received)) == case.received
        assert client.is_open()  # not a byte more, and another request may follow
        count = backend.connections
        backend.next_request()
        backend.answer = lambda head, _: answer(OK, b"Content-Length: 4", body=b"next")
        client.send(b"GET /next HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.receive_response().body == b"next"
        assert (backend.connections == count) is case.kept


@pytest.mark.parametrize("case", REFUSED, ids=str)
def test_refused(border, warm, case) -> None:
    backend = border.backend
    backend.forget()
    backend.answer = lambda head, _: case.bytes_in
    request = case.method + b" / HTTP/1.1\r\nHost: shop.example\r\n\r\n"
    with border.connect() as client:
        warm(client, request)
        client.send(request)
        response = client.receive_response()
        assert response.status == 502
        assert b"secret" not in client.received
        count = backend.connections
        backend.answer = lambda head, _: answer(OK, b"Content-Length: 4", body=b"next")
        client.send(b"GET /next HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.receive_response().body == b"next"
        assert backend.connections == count + 1, "a connection that spoke nonsense was used again"


def test_a_flood_of_interim_responses_ends(border) -> None:
    """RFC 9110 §15.2 sets no bound; ours is backend.connection.MAX_INTERIM_RESPONSES."""
    border.backend.answer = lambda head, _: answer(b"HTTP/1.1 102 Processing") * 5000
    with border.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        received = client.receive_until(b"HTTP/1.1 502")
        assert received.count(b"HTTP/1.1 102") <= 100


@pytest.mark.parametrize(
    "body",
    [
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhelloXX0\r\n\r\n",
        b"zz\r\n",
        b"5\r\nhello\r\n0\r\nX: 1\n\r\n",
        b"5;a\rb\r\nhello\r\n0\r\n\r\n",
    ],
    ids=["a bare LF", "too long", "no size", "a bare LF in trailers", "a bare CR in an extension"],
)
def test_broken_chunks_are_seen_as_a_truncation(border, body) -> None:
    """RFC 9112 §8: whoever receives an incomplete message must be able to tell."""
    border.backend.answer = lambda head, _: answer(OK, b"Transfer-Encoding: chunked", body=body)
    with border.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        with pytest.raises(Truncated):  # noqa: PT012
            while client.receive():
                continue
        assert b"0\r\n\r\n" not in client.received


@pytest.mark.parametrize("early", [SECRET, b"\r\n", b"HTTP/1.1 408 Request Timeout\r\n\r\n", b"x"])
def test_early_data_on_an_idle_connection_is_nobodys_response(border, early) -> None:
    backend = border.backend
    kept = []
    backend.forget()
    backend.answer = lambda _, behind: (kept.append(behind), answer(OK, b"Content-Length: 2", body=b"ok"))[1]
    with border.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.receive_response().body == b"ok"
        kept[0].send(early)
        eventually(lambda: not kept[0].under_way())  # the daemon looks before it uses the connection again
        count = backend.connections
        backend.answer = lambda head, _: answer(OK, b"Content-Length: 4", body=b"next")
        client.send(b"GET /next HTTP/1.1\r\nHost: shop.example\r\n\r\n")
        assert client.receive_response().body == b"next"
        assert backend.connections == count + 1
