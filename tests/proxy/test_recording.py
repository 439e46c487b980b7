"""What `http.request` says of a request that came to nothing, and of one that was served."""

from __future__ import annotations

from typing import Any


async def test_what_never_came_is_left_out(world: Any, receive_until: Any) -> None:
    async with world(routes=[{"path": "/only", "backend": "web"}]) as w, await w.connect() as client:
        await client.send_all(b"GET /else HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await receive_until(client, b"\r\n\r\n")
    [record] = w.told("http.request")
    assert (record.status, record.host, record.path, record.error_type) == (404, "a.test", "/else", "no_route")
    assert (record.user_agent, record.route, record.backend, record.server, record.retries) == (None,) * 5
    assert (record.queue_ms, record.connect_ms, record.response_ms, record.transfer_ms) == (None,) * 4


async def test_the_times_of_a_request_are_parts_of_its_whole(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\xe9\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await receive_until(client, b"ok")
    [record] = w.told("http.request")
    parts = (record.head_ms, record.queue_ms, record.connect_ms, record.response_ms, record.transfer_ms)
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= record.total_ms + 0.01  # each is rounded to a µs
    assert record.user_agent == "t\udce9"
    assert (record.route, record.backend, record.backend_reused) == ("/", "web", False)
