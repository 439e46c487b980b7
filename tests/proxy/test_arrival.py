"""From accept to an established connection: which host, who may come in, and the record of it."""

from __future__ import annotations

import dataclasses
import gc
import ssl
from typing import Any

import pytest
import trio
import trio.testing

from terminator.proxy import facts
from terminator.proxy.generation import Generation


async def test_a_handshake_is_told_and_counted(world: Any) -> None:
    async with world() as w, await w.connect("a.test"):
        pass
    [event] = w.told("tls.handshake")
    assert (event.established, event.host, event.server_name, event.listener) == (True, "a.test", "a.test", "https")
    assert event.client_address == "127.0.0.1"
    counted = w.board.snapshot()["terminator_tls_handshakes_total"]
    assert counted[("a.test", "1.3", "no", "established")] == 1


async def test_a_name_that_no_host_answers_to_is_refused_with_its_alert(world: Any) -> None:
    async with world() as w:
        with pytest.raises(trio.BrokenResourceError) as caught:
            await w.connect("stranger.test")
        assert "UNRECOGNIZED_NAME" in str(caught.value.__cause__)
    [event] = w.told("tls.handshake")
    assert (event.established, event.error_type, event.alert_sent) == (False, "unrecognized_name", "unrecognized_name")
    assert w.board.snapshot()["terminator_tls_handshake_failures_total"][("https", "unrecognized_name")] == 1


async def test_handshakes_of_one_address_are_bounded(world: Any) -> None:
    async with world(limits={"handshakes_per_ip": 1}) as w:
        async with await w.connect():
            pass
        refused = 0
        for _ in range(20):  # a new second may begin in between
            try:
                await (await w.connect()).aclose()
            except trio.BrokenResourceError:
                refused += 1
        assert refused
    assert any(event.error_type == "too_many_handshakes" for event in w.told("tls.handshake"))


async def test_connections_of_one_address_are_bounded(world: Any) -> None:
    async with world(limits={"connections_per_ip": 1}) as w, await w.connect():
        with pytest.raises(trio.BrokenResourceError):
            await w.connect()
        assert w.board.snapshot()["terminator_connections_refused_total"][("connections_per_ip",)] == 1


async def test_the_proxy_header_of_a_trusted_peer_names_the_client(world: Any, receive_until: Any) -> None:
    listeners = [
        {"name": "https", "bind": "127.0.0.1:443", "proxy_protocol": {"trusted": ["127.0.0.0/8"]}},
        {"name": "http", "bind": "127.0.0.1:80", "tls": False},
    ]
    async with world(listeners=listeners) as w:
        plain = await trio.open_tcp_stream(*w.https)
        await plain.send_all(b"PROXY TCP4 192.0.2.7 198.51.100.1 1234 443\r\n")
        context = ssl.create_default_context()
        w.authority.configure_trust(context)
        client = trio.SSLStream(plain, context, server_hostname="a.test", https_compatible=True)
        await client.do_handshake()
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n")
        async with await w.backend.accept() as behind:
            assert b"X-Forwarded-For: 192.0.2.7\r\n" in await receive_until(behind, b"\r\n\r\n")
        await client.aclose()
    [event] = w.told("tls.handshake")
    assert (event.client_address, event.client_port, event.proxy_address) == ("192.0.2.7", 1234, "127.0.0.1")


def test_a_unix_socket_has_no_address_and_is_within_any_network() -> None:
    assert facts.Origin("", 0, 443).within(())


REQUEST = b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"


@pytest.mark.parametrize("asks", [False, True], ids=["silent", "asked before"])
async def test_a_connection_that_waits_keeps_no_old_generation(world: Any, receive_until: Any, asks: bool) -> None:
    """A generation may hold thousands of hosts, and a connection may last for days."""
    async with world() as w, await w.connect() as client:
        if asks:
            await client.send_all(REQUEST)
            async with await w.backend.accept() as behind:
                for again in (REQUEST, b""):  # the second one comes on a kept connection
                    await receive_until(behind, b"\r\n\r\n")
                    await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                    await receive_until(client, b"ok")
                    await client.send_all(again)
        await trio.testing.wait_all_tasks_blocked()
        w.traffic.generation = dataclasses.replace(w.traffic.generation, number=2)
        gc.collect()
        assert [each.number for each in gc.get_objects() if isinstance(each, Generation)] == [2]
