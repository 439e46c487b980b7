"""One request: its host, its route, what the backend gets, what the client gets, and the record of it."""

from __future__ import annotations

import gc
from typing import Any

import pytest
import trio
import trio.testing

REQUEST = b"GET /x?q=1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\n\r\n"


async def test_a_request_goes_to_the_backend_and_its_answer_comes_back(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(REQUEST)
        async with await w.backend.accept() as behind:
            head = await receive_until(behind, b"\r\n\r\n")
            assert head.startswith(b"GET /x?q=1 HTTP/1.1\r\nHost: a.test\r\n")
            assert b"X-Forwarded-For: 127.0.0.1\r\n" in head
            await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert (await receive_until(client, b"ok")).startswith(b"HTTP/1.1 200 OK\r\n")
    [record] = w.told("http.request")
    assert (record.status, record.method, record.path, record.query) == (200, "GET", "/x", "q=1")
    assert (record.backend, record.response_bytes, record.backend_reused) == ("web", 2, False)


async def test_a_defect_costs_its_connection_and_is_no_success_in_the_record(
    world: Any, receive_until: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with world() as w:

        def broken() -> bytes:
            raise ZeroDivisionError

        monkeypatch.setattr(w.traffic, "http_date", broken)
        async with await w.connect() as client:
            await client.send_all(REQUEST)
            async with await w.backend.accept() as behind:
                await receive_until(behind, b"\r\n\r\n")
                await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                assert await client.receive_some() == b""
        [crash] = w.told("server.crash")
        w.events.remove(crash)
    [record] = w.told("http.request")
    assert (crash.error_type, record.error_type) == ("ZeroDivisionError", "internal")


async def test_a_host_that_the_connection_was_not_made_for_is_misdirected(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect("a.test") as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: b.test\r\n\r\n")
        assert b" 421 " in await receive_until(client, b"\r\n\r\n")
        await trio.testing.wait_all_tasks_blocked()
        assert w.traffic.open_connections == 1  # what the client may send on resets nothing
    [record] = w.told("http.request")
    assert (record.error_type, record.status) == ("misdirected", 421)


@pytest.mark.parametrize(
    ("route", "expected"),
    [
        ({"redirect": {"to": "https://{host}/new{path}", "status": 302}}, b"Location: https://a.test/new/x\r\n"),
        ({"respond": {"status": 418, "body": "short"}}, b"HTTP/1.1 418 "),
    ],
)
async def test_a_route_may_answer_by_itself(
    world: Any, receive_until: Any, route: dict[str, Any], expected: bytes
) -> None:
    async with world(routes=[{"path": "/", **route}]) as w, await w.connect() as client:
        await client.send_all(b"GET /x HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert expected in await receive_until(client, b"\r\n\r\n")


async def test_what_no_route_takes_is_not_found_and_the_connection_stays(world: Any, receive_until: Any) -> None:
    async with world(routes=[{"path": "/only", "backend": "web"}]) as w, await w.connect() as client:
        for _ in range(2):
            await client.send_all(REQUEST)
            assert b" 404 " in await receive_until(client, b"address.\n")


async def test_a_backend_that_is_not_there_is_a_bad_gateway(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await w.backend.aclose()
        await client.send_all(REQUEST)
        assert b" 502 " in await receive_until(client, b"\r\n\r\n")
    assert w.told("http.request")[0].error_type == "backend_connect_failed"


async def test_a_body_past_the_limit_is_refused_before_the_backend_hears_of_it(world: Any, receive_until: Any) -> None:
    async with world(limits={"request_body": "10B"}) as w, await w.connect() as client:
        await client.send_all(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\n")
        assert b" 413 " in await receive_until(client, b"\r\n\r\n")


async def test_rules_and_prefixes_shape_what_the_backend_gets(world: Any, receive_until: Any) -> None:
    route = {
        "path": "/api",
        "backend": "web",
        "strip_prefix": True,
        "headers": {"set": {"X-Who": "{client.address}"}, "remove": ["User-Agent"]},
    }
    async with world(routes=[route]) as w, await w.connect() as client:
        await client.send_all(b"GET /api/v1 HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\n\r\n")
        async with await w.backend.accept() as behind:
            head = await receive_until(behind, b"\r\n\r\n")
            assert head.startswith(b"GET /v1 HTTP/1.1\r\n")
            assert b"X-Who: 127.0.0.1\r\n" in head
            assert b"X-Forwarded-Prefix: /api\r\n" in head
            assert b"User-Agent" not in head
            await behind.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            assert b" 204 " in await receive_until(client, b"\r\n\r\n")


async def test_nothing_of_an_exchange_waits_for_the_garbage_collector(world: Any, receive_until: Any) -> None:
    """A cycle would keep heads, bodies and the TLS connection with its buffers until the next collection."""
    async with world() as w:
        gc.collect()
        gc.disable()
        try:
            stream = await w.connect()
            async with stream, trio.open_nursery() as nursery:
                nursery.start_soon(answer_twice, w.backend, receive_until)
                for _ in range(2):
                    await stream.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
                    assert (await receive_until(stream, b"hello")).startswith(b"HTTP/1.1 200")
            while w.traffic.open_connections:
                await trio.testing.wait_all_tasks_blocked()
            gc.set_debug(gc.DEBUG_SAVEALL)
            gc.collect()
            ours = {type(each).__qualname__ for each in gc.garbage if type(each).__module__.startswith("terminator.")}
        finally:
            gc.set_debug(0)
            gc.garbage.clear()
            gc.enable()
    assert not ours


async def answer_twice(listener: trio.SocketListener, receive_until: Any) -> None:
    async with await listener.accept() as backend:
        for _ in range(2):
            await receive_until(backend, b"\r\n\r\n")
            await backend.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
