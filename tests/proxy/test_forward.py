"""A request and its attempts: another one only where nothing can have happened twice, and never after a response."""

from __future__ import annotations

from typing import Any

import pytest

GET = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 2\r\n\r\nab"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


async def test_a_kept_connection_that_is_dead_is_replaced_unseen(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(GET)
        first = await w.backend.accept()
        await receive_until(first, b"\r\n\r\n")
        await first.send_all(ANSWER)
        await receive_until(client, b"ok")
        await client.send_all(GET)
        await receive_until(first, b"\r\n\r\n")
        await first.aclose()  # read, and closed without a word: the race on a kept connection
        async with await w.backend.accept() as second:
            await receive_until(second, b"\r\n\r\n")
            await second.send_all(ANSWER)
            assert b" 200 " in await receive_until(client, b"ok")
    assert [record.retries for record in w.told("http.request")] == [None, 1]
    assert w.board.snapshot()["terminator_backend_retries_total"] == {("web",): 1}


@pytest.mark.parametrize("request_bytes", [GET, POST])
async def test_with_no_other_server_the_first_failure_is_the_answer(
    world: Any, receive_until: Any, request_bytes: bytes
) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(request_bytes)
        async with await w.backend.accept() as behind:
            await receive_until(behind, request_bytes[-2:])
        assert b" 502 " in await receive_until(client, b"\r\n\r\n")
    [record] = w.told("http.request")
    assert (record.error_type, record.status) == ("backend_closed", 502)


async def test_an_upgrade_becomes_a_tunnel_and_is_told_when_it_ends(world: Any, receive_until: Any) -> None:
    async with world() as w:
        client = await w.connect()
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\nhi")
            assert (await receive_until(client, b"hi")).startswith(b"HTTP/1.1 101 ")
            await client.send_all(b"there")
            assert await receive_until(behind, b"there") == b"there"
        await client.aclose()
    [closed] = w.told("tunnel.closed")
    assert (closed.client_bytes, closed.backend_bytes, closed.route) == (5, 2, "/")
