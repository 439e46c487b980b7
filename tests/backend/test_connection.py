"""One connection to a backend: requests written in one form, responses read strictly, and whether it serves again."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from terminator.backend.connection import MAX_HEAD_BYTES, MAX_INTERIM_RESPONSES, BackendConnection
from terminator.errors import BackendClosed, BackendError, BackendInvalid, BackendTruncated
from terminator.wire.framing import Framing

Connected = Callable[[], tuple[BackendConnection, socket.socket]]


FIELDS = [(b"host", b"a.test")]
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def ask(connection: BackendConnection, method: str = "GET", *, upgrading: bool = False) -> None:
    connection.begin(method, "/", FIELDS, Framing.NONE, upgrading=upgrading)
    await connection.finish()


async def whole_body(connection: BackendConnection) -> bytes:
    body = b""
    while piece := await connection.receive_body():
        body += piece
    return body


async def test_head_and_body_leave_together(connected: Connected) -> None:
    connection, backend = connected()
    connection.begin("POST", "/a?b", [*FIELDS, (b"content-length", b"5")], Framing.LENGTH, upgrading=False)
    connection.queue_body(b"hello")
    await connection.finish()
    assert backend.recv(65536) == b"POST /a?b HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nhello"


async def test_chunks_and_trailers_are_framed_here(connected: Connected) -> None:
    connection, backend = connected()
    connection.begin("POST", "/", [(b"transfer-encoding", b"chunked")], Framing.CHUNKED, upgrading=False)
    await connection.send_body(b"hello")
    await connection.finish([(b"x-sum", b"1")])
    assert backend.recv(65536).endswith(b"\r\n\r\n5\r\nhello\r\n0\r\nX-Sum: 1\r\n\r\n")


@pytest.mark.parametrize(
    ("said", "body", "reusable"),
    [
        (OK, b"ok", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nok\r\n0\r\nX: y\r\n\r\n", b"ok", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok", b"ok", False),
        (b"HTTP/1.1 200 OK\r\n\r\nuntil the end", b"until the end", False),
        (OK + OK, b"ok", False),
        (OK + b"\n", b"ok", False),
    ],
    ids=[
        "length",
        "204",
        "chunked",
        "h11's chunks",
        "close",
        "HTTP/1.0",
        "until close",
        "more behind",
        "a byte behind",
    ],
)
async def test_responses_and_what_may_follow(connected: Connected, said: bytes, body: bytes, reusable: bool) -> None:
    connection, backend = connected()
    await ask(connection)
    backend.sendall(said)
    if body.startswith(b"until"):
        backend.shutdown(socket.SHUT_WR)
    assert (await connection.receive_head()).status in (200, 204)
    assert await whole_body(connection) == body
    assert connection.reusable is reusable


@pytest.mark.parametrize(
    ("length", "received", "said", "body", "reusable"),
    [
        (2, b"", b"ok", b"ok", True),
        (2, b"o", b"k", b"ok", True),
        (2, b"ok", b"", b"ok", True),
        (0, b"", b"", b"", True),
        (0, b"ok", b"", b"", False),
        (2, b"o", b"k!", b"ok", False),
        (None, b"", b"2\r\nok\r\n0\r\n\r\n", b"ok", True),
        (None, b"2\r\no", b"k\r\n0\r\nX-Sum: 1\r\n\r\n", b"ok", True),
        (None, b"2\r\nok\r\n0\r\n\r\n", b"", b"ok", True),
        (None, b"2\r\nok\r\n0\r\n\r\n!", b"", b"ok", False),
    ],
)
async def test_a_response_whose_head_somebody_else_has_read(
    connected: Connected, length: int | None, received: bytes, said: bytes, body: bytes, reusable: bool
) -> None:
    connection, backend = connected()
    await ask(connection)
    backend.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nclose")
    await connection.receive_head()  # what an earlier response has said is forgotten
    assert await whole_body(connection) == b"close"
    connection.take_over_body(length, received)
    backend.sendall(said)
    assert await whole_body(connection) == body
    assert connection.reusable is reusable


async def test_what_one_response_has_said_does_not_hold_for_the_next_one(connected: Connected) -> None:
    connection, backend = connected()
    connection.take_over_body(0, b"")
    assert connection.reusable
    await ask(connection)
    assert not connection.reusable
    backend.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
    await connection.receive_head()
    assert not connection.reusable


async def test_a_connection_serves_one_exchange_after_the_other(connected: Connected) -> None:
    connection, backend = connected()
    for _ in range(3):
        await ask(connection)
        backend.sendall(OK)
        await connection.receive_head()
        assert await whole_body(connection) == b"ok"
        assert connection.reusable
        assert connection.still_silent()


@pytest.mark.parametrize("speaks", [True, False], ids=["speaks", "closes"])
async def test_idle_connections_must_be_silent(connected: Connected, speaks: bool) -> None:
    """RFC 9112 §9.2: bytes between exchanges are nobody's response."""
    connection, backend = connected()
    assert connection.still_silent()
    if speaks:
        backend.sendall(OK)
    else:
        backend.close()
    assert not connection.still_silent()


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"", BackendClosed),
        (b"HTTP/1.1 200", BackendTruncated),
        (b"SSH-2.0\r\n\r\n", BackendInvalid),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * MAX_HEAD_BYTES, BackendInvalid),
        (b"HTTP/1.1 102 Processing\r\n\r\n" * (MAX_INTERIM_RESPONSES + 1), BackendInvalid),
    ],
    ids=["nothing", "a part of a head", "no HTTP", "an endless head", "interim responses without end"],
)
async def test_heads_that_are_none(connected: Connected, said: bytes, error: type[BackendError]) -> None:
    connection, backend = connected()
    await ask(connection)
    backend.sendall(said)
    backend.shutdown(socket.SHUT_WR)
    with pytest.raises(error):  # noqa: PT012
        while (await connection.receive_head()).status < 200:
            continue
    assert not connection.reusable


@pytest.mark.parametrize(
    ("said", "error"),
    [
        (b"Content-Length: 9\r\n\r\nshort", BackendTruncated),
        (b"Transfer-Encoding: chunked\r\n\r\n9\r\nshort", BackendTruncated),
        (b"Transfer-Encoding: chunked\r\n\r\n5\r\nshort\r\n", BackendTruncated),
        (b"Transfer-Encoding: chunked\r\n\r\n3\r\nshort\r\n0\r\n\r\n", BackendInvalid),
    ],
    ids=["length", "amid a chunk", "between chunks", "a chunk too long"],
)
async def test_bodies_that_break_off(connected: Connected, said: bytes, error: type[BackendError]) -> None:
    connection, backend = connected()
    await ask(connection)
    backend.sendall(b"HTTP/1.1 200 OK\r\n" + said)
    if error is BackendTruncated:
        backend.shutdown(socket.SHUT_WR)
    await connection.receive_head()
    with pytest.raises(error):
        await whole_body(connection)
    assert not connection.reusable


async def test_bulk_is_handed_out_once(connected: Connected) -> None:
    connection, backend = connected()
    await ask(connection)
    backend.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhello")
    await connection.receive_head()
    assert connection.body_in_bulk() == 0  # the beginning is here and must be taken first
    assert connection.body_now() == b"hello"
    assert connection.body_in_bulk() == 5
    assert connection.response_complete
    assert connection.body_in_bulk() == 0


async def test_after_a_101_the_rest_is_the_new_protocols(connected: Connected) -> None:
    connection, backend = connected()
    await ask(connection, upgrading=True)
    backend.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\nhello")
    assert (await connection.receive_head()).status == 101
    assert connection.take_rest() == b"hello"
    assert not connection.reusable
