"""What a request is named, hashed by and told with."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("trusted", "own", "kept"),
    [([], b"mine", False), (["127.0.0.0/8"], b"mine", True), (["127.0.0.0/8"], b"x" * 200, False)],
)
async def test_a_request_id_is_the_clients_own_only_if_it_may_give_one(
    world: Any, receive_until: Any, trusted: list[str], own: bytes, kept: bool
) -> None:
    async with world(request_id={"trusted": trusted}) as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Request-ID: " + own + b"\r\n\r\n")
        async with await w.backend.accept() as behind:
            head = await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
            await receive_until(client, b"\r\n\r\n")
        assert head.count(b"X-Request-ID: ") == 1
        assert (b"X-Request-ID: mine\r\n" in head) is kept
    [record] = w.told("http.request")
    assert (record.request_id == "mine") is kept


@pytest.mark.parametrize(
    "route",
    [
        {"path": "/", "redirect": {"to": "/{request.id}"}},
        {"path": "/", "respond": {"body": ""}, "response_headers": {"set": {"X-Name": "{request.id}"}}},
    ],
)
async def test_a_request_id_is_told_wherever_a_text_asks_for_it(
    world: Any, receive_until: Any, route: dict[str, Any]
) -> None:
    async with world(routes=[route], request_id={}) as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        answer = await receive_until(client, b"\r\n\r\n")
    [record] = w.told("http.request")
    assert record.request_id.encode() in answer


@pytest.mark.parametrize(
    ("source", "fields", "same"),
    [
        ("header:X-User", b"X-User: 7\r\n", True),
        ("cookie:id", b"Cookie: a=1; id=7\r\n", True),
        ("client_address", b"", True),
    ],
)
async def test_the_same_key_finds_the_same_server(
    world: Any, receive_until: Any, source: str, fields: bytes, same: bool
) -> None:
    servers = [{"address": f"127.0.0.1:{port}"} for port in (1, 2, 3, 4)]
    backends = {
        "web": {"servers": servers, "balance": "consistent_hash", "hash_key": source, "retries": {"attempts": 0}}
    }
    async with world(backends=backends) as w, await w.connect() as client:
        for _ in range(3):
            await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n")
            assert b" 502 " in await receive_until(client, b"answer.\n")
    tried = w.board.snapshot()["terminator_backend_errors_total"]
    assert (len({server for _, server, _ in tried}) == 1) is same


async def test_variables_stand_for_the_request(world: Any, receive_until: Any) -> None:
    text = "{client.address} {host} {path} {query} {uri} {method} {scheme} {tls.version} {tls.sni} {route} {backend}"
    route = {"path": "/", "backend": "web", "headers": {"set": {"X-All": text}}}
    async with world(routes=[route]) as w, await w.connect() as client:
        await client.send_all(b"GET /p?q HTTP/1.1\r\nHost: a.test\r\n\r\n")
        async with await w.backend.accept() as behind:
            head = await receive_until(behind, b"\r\n\r\n")
    assert b"X-All: 127.0.0.1 a.test /p q /p?q GET https 1.3 a.test / web\r\n" in head
