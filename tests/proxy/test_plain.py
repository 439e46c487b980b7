"""A plain listener redirects to https, serves challenges, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import trio


async def answer(world: Any, receive_until: Any, request: bytes) -> bytes:
    async with world() as w, await trio.open_tcp_stream(*w.http) as stream:
        await stream.send_all(request)
        return await receive_until(stream, b"\r\n\r\n")


@pytest.mark.parametrize(
    ("request_line", "expected"),
    [
        (b"GET /x?y=1", b"Location: https://a.test/x?y=1\r\n"),
        (b"GET /.well-known/acme-challenge/missing", b" 404 "),
        (b"GET /.well-known/acme-challenge/../../key.pem", b" 404 "),
        (b"POST /.well-known/acme-challenge/token", b" 404 "),
    ],
)
async def test_answers(world: Any, receive_until: Any, request_line: bytes, expected: bytes) -> None:
    head = request_line + b" HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n"
    assert expected in await answer(world, receive_until, head)


async def test_a_host_that_is_not_served_is_not_redirected(world: Any, receive_until: Any) -> None:
    assert b" 404 " in await answer(world, receive_until, b"GET / HTTP/1.1\r\nHost: stranger.test\r\n\r\n")


async def test_a_bad_head_is_refused(world: Any, receive_until: Any) -> None:
    assert b" 400 " in await answer(world, receive_until, b"GET / HTTP/1.1\nHost: a.test\n\n")


async def test_a_challenge_is_served_but_never_through_a_link(world: Any, receive_until: Any, tmp_path: Path) -> None:
    folder = tmp_path / ".well-known" / "acme-challenge"
    folder.mkdir(parents=True)
    (folder / "token").write_text("token.thumbprint")
    (folder / "link").symlink_to(tmp_path / "key.pem")
    async with world() as w, await trio.open_tcp_stream(*w.http) as stream:
        await stream.send_all(b"GET /.well-known/acme-challenge/token HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert b"token.thumbprint" in await receive_until(stream, b"thumbprint")
        await stream.send_all(b"GET /.well-known/acme-challenge/link HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert b" 404 " in await receive_until(stream, b"\r\n\r\n")


async def test_a_head_that_does_not_come_to_its_end_gets_a_408(world: Any, receive_until: Any) -> None:
    async with world(timeouts={"request_head": "50ms"}) as w:
        client = await trio.open_tcp_stream(*w.http)
        await client.send_all(b"GET / HT")
        assert b" 408 " in await receive_until(client, b"\r\n\r\n")
        await client.aclose()


async def test_an_idle_connection_is_closed_and_a_drain_does_not_wait_for_it(world: Any, receive_until: Any) -> None:
    for timeout, drains in (("50ms", False), ("1h", True)):
        async with world(timeouts={"client_idle": timeout}) as w:
            client = await trio.open_tcp_stream(*w.http)
            await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
            await receive_until(client, b"\r\n\r\n")
            if drains:
                w.traffic.drain(1000)
            with trio.fail_after(10):
                while await client.receive_some():
                    continue
            await client.aclose()
