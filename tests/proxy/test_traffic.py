"""A worker's traffic: listeners come and go, capacity waits, a drain ends it, a new generation takes over in place."""

from __future__ import annotations

import socket
from dataclasses import replace
from typing import Any

import pytest
import trio
import trio.testing

from terminator.proxy.acceptor import Listening
from terminator.proxy.generation import Generation


async def test_a_listener_may_be_added_and_removed(world: Any) -> None:
    async with world() as w:
        sock = socket.create_server(("127.0.0.1", 0))
        sock.setblocking(False)
        place = sock.getsockname()
        w.traffic.add_listener(Listening("more", sock, w.config.listeners[1]))
        async with await trio.open_tcp_stream(*place) as stream:
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 308 ")
        w.traffic.remove_listener("more")
        with trio.fail_after(10):
            while sock.fileno() >= 0:
                await trio.lowlevel.checkpoint()
        with pytest.raises(OSError, match=r"connect|refused"):
            await trio.open_tcp_stream(*place)


async def test_connections_are_counted_by_the_generation_they_were_made_under(world: Any) -> None:
    async with world() as w:
        first = await w.connect()
        old: Generation = w.traffic.generation
        w.traffic.adopt(replace(old, number=2))
        second = await w.connect()
        assert w.traffic.by_generation() == {1: 1, 2: 1}
        assert w.traffic.open_connections == 2
        await first.aclose()
        await second.aclose()


async def test_a_connection_is_counted_in_its_state(world: Any) -> None:
    async def until(handshake: int, idle: int) -> None:
        with trio.fail_after(10):
            while True:
                w.traffic.note_gauges()
                counted = w.board.snapshot()["terminator_connections"]
                if counted == {("handshake",): handshake, ("idle",): idle, ("active",): 0}:
                    return
                await trio.lowlevel.checkpoint()

    async with world() as w:
        silent = await trio.open_tcp_stream(*w.https)
        async with await w.connect():
            await until(handshake=1, idle=1)
            await silent.aclose()
            await until(handshake=0, idle=1)
        await until(handshake=0, idle=0)


async def test_beyond_its_connections_a_worker_lets_the_kernel_queue(world: Any) -> None:
    async with world(limits={"connections": 1}) as w:
        first = await w.connect()
        waiting = trio.Event()

        async def second() -> None:
            async with await w.connect():
                waiting.set()

        async with trio.open_nursery() as nursery:
            nursery.start_soon(second)
            with trio.fail_after(10):
                while not w.told("server.saturated"):
                    await trio.sleep(0.01)
            assert not waiting.is_set()
            await first.aclose()
            with trio.fail_after(10):
                await waiting.wait()
    assert w.told("server.saturated")[0].reason == "connections"


async def test_what_a_drain_cannot_wait_for_is_cut_and_counted(world: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        behind = await w.backend.accept()
        w.traffic.drain(0)
        with trio.fail_after(10):
            while w.traffic.open_connections:
                await trio.lowlevel.checkpoint()
        await behind.aclose()
    assert [record.status for record in w.told("http.request")] == [None]


async def test_a_drain_before_the_start_leaves_no_socket_open(world: Any) -> None:
    """SIGTERM may come while the worker is still being made."""
    async with world() as w:
        w.traffic.drain(0)


@pytest.mark.parametrize("seconds", [(60, 0), (0, 60)])
async def test_a_second_drain_may_shorten_the_time_and_never_lengthens_it(
    world: Any, seconds: tuple[float, float]
) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        behind = await w.backend.accept()
        w.traffic.drain(seconds[0])
        if seconds[0]:
            await trio.testing.wait_all_tasks_blocked()
            assert w.traffic.open_connections == 1
        w.traffic.drain(seconds[1])
        with trio.fail_after(10):
            while w.traffic.open_connections:
                await trio.lowlevel.checkpoint()
        await behind.aclose()


@pytest.mark.parametrize("end", ["drain", "removal"])
async def test_who_waits_in_the_queue_of_a_listener_that_ends_is_served(world: Any, end: str) -> None:
    async with world() as w:
        await trio.testing.wait_all_tasks_blocked()
        clients = [socket.create_connection(w.http) for _ in range(100)]  # more than are accepted at a time
        if end == "drain":
            w.traffic.drain(20)
        else:
            w.traffic.remove_listener("http")
        for client in clients:
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(client))
            await stream.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            with trio.fail_after(10):
                assert (await stream.receive_some()).startswith(b"HTTP/1.1 308 ")
            await stream.aclose()
