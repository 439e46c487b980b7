"""Bodies stream both ways as they come; early answers, interim answers and upgrades keep their order."""

from __future__ import annotations

from typing import Any

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
