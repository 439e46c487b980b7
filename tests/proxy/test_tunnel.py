"""Two streams joined: bytes both ways, each direction ending by itself, and every end told by its name."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
import trio
import trio.testing

from terminator.errors import BackendClosed, ClientGone
from terminator.proxy.tunnel import Tunnel
from terminator.transport.stream import Stream


@dataclass
class Ends:
    tunnel: Tunnel
    client: socket.socket
    backend: socket.socket


@pytest.fixture
def ends() -> Iterator[Ends]:
    client, ours = socket.socketpair()
    backend, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with client, ours, backend, theirs:
        yield Ends(Tunnel(Stream(ours, ClientGone), Stream(theirs, BackendClosed), 60), client, backend)


async def read(sock: socket.socket) -> bytes:
    return await trio.to_thread.run_sync(sock.recv, 100)


async def test_bytes_go_both_ways_what_was_said_before_first(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.tunnel.run, b"early ", b"hello ")
        assert await read(ends.backend) == b"early "
        assert await read(ends.client) == b"hello "
        ends.client.send(b"question")
        assert await read(ends.backend) == b"question"
        ends.backend.send(b"answer")
        assert await read(ends.client) == b"answer"
        ends.client.close()
        assert await read(ends.backend) == b""
        ends.backend.close()
    assert (ends.tunnel.client_bytes, ends.tunnel.backend_bytes) == (14, 12)
    assert ends.tunnel.closed_by == "client"


async def test_one_direction_may_end_while_the_other_goes_on(ends: Ends) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(ends.tunnel.run, b"", b"")
        ends.client.shutdown(socket.SHUT_WR)
        assert await read(ends.backend) == b""
        ends.backend.send(b"still talking")
        assert await read(ends.client) == b"still talking"
        ends.backend.close()
    assert ends.tunnel.closed_by == "client"


async def test_silence_ends_it(ends: Ends, autojump_clock: trio.testing.MockClock) -> None:
    await ends.tunnel.run(b"", b"")
    assert ends.tunnel.closed_by == "idle_timeout"
    assert trio.current_time() == 60


async def test_a_peer_that_vanishes_leaves_the_other_a_truncation() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        backend = socket.create_connection(server.getsockname())
        theirs, _ = server.accept()
    client, ours = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with client, ours, theirs:
        client_stream = Stream(ours, ClientGone)
        tunnel = Tunnel(client_stream, Stream(theirs, BackendClosed), 60)
        backend.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
        backend.close()
        with trio.fail_after(5):
            await tunnel.run(b"", b"")
        assert tunnel.closed_by == "backend_error"
        assert client_stream.broken
