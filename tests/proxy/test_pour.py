"""Bulk poured through the shared buffer is the same bytes as any other way, however slowly the sink takes them."""

from __future__ import annotations

import os
import socket

import pytest
import trio

from terminator.errors import BackendClosed, BackendTruncated, ClientGone
from terminator.proxy.pour import SCRATCH_BYTES, pour
from terminator.transport.stream import Stream


def nothing() -> None:
    """What a caller that keeps no clock does around waiting."""


def streams() -> tuple[socket.socket, Stream, Stream, socket.socket]:
    backend, source = socket.socketpair()
    sink, client = socket.socketpair()
    for sock in (source, sink, client):
        sock.setblocking(False)
    return backend, Stream(source, BackendClosed), Stream(sink, ClientGone), client


@pytest.mark.parametrize("size", [1, SCRATCH_BYTES, SCRATCH_BYTES + 1, 5 * SCRATCH_BYTES + 77])
@pytest.mark.parametrize("reads", [1000, 1 << 20])
async def test_every_byte_arrives_in_its_place(size: int, reads: int) -> None:
    data = os.urandom(size)
    backend, source, sink, client = streams()
    received, moved = bytearray(), []

    async def read() -> None:
        while len(received) < size:
            await trio.lowlevel.wait_readable(client)
            received.extend(client.recv(reads))

    with backend, source.sock, sink.sock, client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(trio.to_thread.run_sync, backend.sendall, data + b"of the next response")
            await pour(source, sink, size, before_wait=nothing, after_wait=nothing, moved=moved.append)
        assert bytes(received) == data
        assert sum(moved) == size
        assert await source.receive() == b"of the next response"[:65536]


async def test_two_at_once_do_not_mix() -> None:
    size = 3 * SCRATCH_BYTES
    async with trio.open_nursery() as nursery:
        for mark in (b"a", b"b"):
            nursery.start_soon(_one_of_two, mark, size)


async def _one_of_two(mark: bytes, size: int) -> None:
    backend, source, sink, client = streams()
    received = bytearray()

    async def read() -> None:
        while len(received) < size:
            await trio.lowlevel.wait_readable(client)
            received.extend(client.recv(3000))

    with backend, source.sock, sink.sock, client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(read)
            nursery.start_soon(trio.to_thread.run_sync, backend.sendall, mark * size)
            await pour(source, sink, size, before_wait=nothing, after_wait=nothing, moved=lambda _: None)
    assert bytes(received) == mark * size


async def test_an_early_end_is_a_truncation() -> None:
    backend, source, sink, client = streams()
    with source.sock, sink.sock, client:
        backend.sendall(b"some")
        backend.close()
        with pytest.raises(BackendTruncated):
            await pour(source, sink, 100, before_wait=nothing, after_wait=nothing, moved=lambda _: None)
        assert client.recv(100) == b"some"
