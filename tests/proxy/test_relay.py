"""Bodies stream both ways as they come; early answers, interim answers and upgrades keep their order."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio
import trio.testing

from terminator.backend.connection import BackendConnection
from terminator.errors import ClientGone, ClientStalled
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.proxy.relay import Relay
from terminator.proxy.treatment import Patience
from terminator.transport.alarms import Alarms
from terminator.transport.stream import Stream

POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n"


async def test_each_piece_goes_on_at_once_and_trailers_follow(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(POST)
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            for piece in (b"one", b"two"):
                await client.send_all(b"3\r\n%b\r\n" % piece)
                assert piece in await receive_until(behind, piece)
            await client.send_all(b"0\r\nX-Sum: 6\r\n\r\n")
            assert b"X-Sum: 6\r\n\r\n" in await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert b" 200 " in await receive_until(client, b"\r\n\r\n")


async def test_trailers_follow_a_response(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n")
            assert b"\r\n3\r\none\r\n" in await receive_until(client, b"one\r\n")
            await behind.send_all(b"0\r\nX-Sum: 1\r\nConnection: close\r\n\r\n")
            assert await receive_until(client, b"\r\n\r\n") == b"0\r\nX-Sum: 1\r\n\r\n"


async def test_an_early_refusal_ends_the_upload(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\nsome")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"some")
            await behind.send_all(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
            answer = await receive_until(client, b"no")
            assert b" 403 " in answer
            assert b"Connection: close\r\n" in answer


async def test_interim_answers_come_first(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n")
            assert b" 103 " in await receive_until(client, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            assert b" 200 " in await receive_until(client, b"\r\n\r\n")


async def test_a_101_that_was_not_asked_for_is_refused(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n")
            assert b" 502 " in await receive_until(client, b"\r\n\r\n")


async def test_a_body_that_stands_still_is_timed_out(world: Any, receive_until: Any) -> None:
    async with world(timeouts={"body_idle": "100ms"}) as w, await w.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nsome")
        assert b" 408 " in await receive_until(client, b"\r\n\r\n")
    assert w.told("http.request")[0].error_type == "request_body_timeout"


async def test_a_backend_that_says_nothing_is_timed_out(world: Any, receive_until: Any) -> None:
    async with world(timeouts={"backend_response": "100ms"}) as w, await w.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
        assert b" 504 " in await receive_until(client, b"\r\n\r\n")


async def test_who_has_sent_all_may_read_the_rest_of_the_response_slowly(
    autojump_clock: trio.testing.MockClock,
) -> None:
    """The answer begins while the request still comes. The limit on the request's body ends with it, although the
    response is at that moment held up by its reader, who takes much longer in all than a body may stand still."""
    size, idle = 8_000_000, 10.0
    ours, theirs = zip(*(socket.socketpair() for _ in range(2)), strict=True)
    for sock in ours:
        sock.setblocking(False)
    client, behind = (trio.SocketStream(trio.socket.from_stdlib_socket(sock)) for sock in theirs)
    half, connection, alarms = (
        ClientHalf(Stream(ours[0], ClientGone, ClientStalled)),
        BackendConnection(ours[1]),
        Alarms(),
    )
    deadline, received = Deadline(alarms), 0
    async with client, behind, trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\nsome")
        assert await half.wait_for_request()
        head = half.head_now(1000, 10)
        assert head is not None
        patience = Patience(backend_response=idle, body_idle=idle, tunnel_idle=idle)
        relay = Relay(
            half, connection, head, deadline, patience, 0, lambda answer: (list(answer.fields), answer.framing, False)
        )
        deadline.begin(connection.stream, half.stream)
        connection.begin("POST", "/", head.fields, head.framing, upgrading=False)
        nursery.start_soon(relay.run)
        nursery.start_soon(behind.send_all, b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))
        await trio.sleep(1)  # by then the response is under way, and waits for its reader
        nursery.start_soon(client.send_all, bytes(99_996))
        uploaded = 0
        while uploaded < 100_000:
            uploaded += len(await behind.receive_some())
        while received < size:
            await trio.sleep(idle / 2)
            received += len(await client.receive_some(size // 20))
            assert received
        assert trio.current_time() > 3 * idle
        nursery.cancel_scope.cancel()
    deadline.end()
    for sock in ours:
        sock.close()


HEAD = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n"


async def test_a_body_that_stands_still_after_its_beginning_is_timed_out(world: Any, receive_until: Any) -> None:
    async with world(timeouts={"body_idle": "300ms"}) as w, await w.connect() as client:
        await client.send_all(HEAD + b"\r\n")
        async with await w.backend.accept() as behind:
            await client.send_all(b"some")
            await receive_until(behind, b"some")
            assert b" 408 " in await receive_until(client, b"\r\n\r\n")
    assert w.told("http.request")[0].error_type == "request_body_timeout"


async def test_a_backend_that_neither_lets_go_on_nor_answers_is_timed_out(world: Any, receive_until: Any) -> None:
    async with world(timeouts={"backend_response": "100ms"}) as w, await w.connect() as client:
        await client.send_all(HEAD + b"Expect: 100-continue\r\n\r\n")
        assert b" 504 " in await receive_until(client, b"\r\n\r\n")
    assert w.told("http.request")[0].error_type == "backend_timeout"


async def test_a_body_that_does_not_come_although_it_may_is_timed_out(world: Any, receive_until: Any) -> None:
    timeouts = {"backend_response": "1h", "body_idle": "100ms"}
    async with world(timeouts=timeouts) as w, await w.connect() as client:
        await client.send_all(HEAD + b"Expect: 100-continue\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 100 Continue\r\n\r\n")
            assert b" 100 " in await receive_until(client, b"\r\n\r\n")
            assert b" 408 " in await receive_until(client, b"\r\n\r\n")
    assert w.told("http.request")[0].error_type == "request_body_timeout"


@pytest.mark.parametrize("begun", [10, 400_000], ids=["plain", "poured"])
async def test_a_response_that_stands_still_is_timed_out(world: Any, receive_until: Any, begun: int) -> None:
    async with world(timeouts={"body_idle": "300ms"}) as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n" + bytes(begun) + b"begun")
            assert (await receive_until(client, b"more")).endswith(b"begun")  # and the connection has ended
    assert w.told("http.request")[0].error_type == "backend_timeout"


async def test_a_backend_that_takes_no_more_of_a_body_is_to_blame_for_it(world: Any, receive_until: Any) -> None:
    """Not the client, whose body stands still because nobody takes it."""
    size = 50_000_000

    async def upload() -> None:
        # To its end, though it was answered before: what nobody wants is dropped.
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % size + bytes(size))

    async with world(timeouts={"body_idle": "200ms", "backend_response": "200ms"}) as w, await w.connect() as client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(upload)
            behind = await w.backend.accept()
            assert b" 504 " in await receive_until(client, b"\r\n\r\n")
        await behind.aclose()
    assert w.told("http.request")[0].error_type == "backend_timeout"
