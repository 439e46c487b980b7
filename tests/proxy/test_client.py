"""The life of a connection between its requests: idle time, slow heads, refusals, and the drain."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import trio


async def test_an_idle_connection_is_closed_cleanly(world: Any) -> None:
    async with world(timeouts={"client_idle": "50ms"}) as w, await w.connect() as client:
        with trio.fail_after(10):
            assert await client.receive_some() == b""


async def test_a_head_that_does_not_come_to_its_end_gets_a_408(world: Any, receive_until: Any) -> None:
    async with world(timeouts={"request_head": "50ms"}) as w, await w.connect() as client:
        await client.send_all(b"GET / HT")
        assert b" 408 " in await receive_until(client, b"\r\n\r\n")
    [record] = w.told("http.request")
    assert (record.error_type, record.status, record.method) == ("request_head_timeout", 408, None)


async def test_a_head_that_is_refused_ends_the_connection(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n")
        answer = await receive_until(client, b"\r\n\r\n")
        assert b" 400 " in answer
        assert b"Connection: close\r\n" in answer
        with trio.fail_after(10):
            while await client.receive_some():
                continue
    assert w.told("http.request")[0].error_type == "bad_request"


async def test_whoever_sends_behind_its_last_request_is_not_reset(world: Any, receive_until: Any) -> None:
    async with world(routes=[{"path": "/", "backend": "web"}]) as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\nmore than was asked for")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await receive_until(client, b"ok")
        with trio.fail_after(10):
            assert await client.receive_some() == b""
        sock = client.transport_stream.socket
        assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1) == b"\x01"  # established: neither end nor reset
        await trio.aclose_forcefully(client)
        with trio.fail_after(10):
            while w.traffic.open_connections:
                await trio.sleep(0.001)


async def test_a_drain_ends_idle_connections_and_lets_a_new_one_ask_once(world: Any, receive_until: Any) -> None:
    async with world(routes=[{"path": "/", "respond": {"body": "served"}}]) as w:
        idle, fresh = await w.connect(), await w.connect()
        await idle.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await receive_until(idle, b"served")
        w.traffic.drain(30)
        with trio.fail_after(10):
            assert await idle.receive_some() == b""
        await fresh.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        answer = await receive_until(fresh, b"served")
        assert b"Connection: close\r\n" in answer
        await idle.aclose()
        await fresh.aclose()


async def test_a_client_that_is_silent_in_a_drain_gets_the_time_of_a_head_only(world: Any) -> None:
    async with world(timeouts={"client_idle": "1h", "request_head": "100ms"}) as w:
        silent = await w.connect()
        context = ssl.create_default_context()
        w.authority.configure_trust(context)
        late = trio.SSLStream(
            await trio.open_tcp_stream(*w.https), context, server_hostname="a.test", https_compatible=True
        )
        with trio.fail_after(10):
            while w.traffic.open_connections < 2:
                await trio.sleep(0.01)
            w.traffic.drain(1000)
            await late.do_handshake()
            for client in (silent, late):
                assert await client.receive_some() == b""
                await client.aclose()
