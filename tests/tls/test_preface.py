"""Looking at first bytes without consuming them, and the PROXY header that is consumed to the byte."""

from __future__ import annotations

import socket
import struct
from collections.abc import Awaitable, Callable
from functools import partial

import pytest
import trio
import trio.testing

from terminator.tls.handshake_facts import HandshakeFailed
from terminator.tls.preface import EndOfInput, look, read_proxy_header
from terminator.wire.client_hello import NeedMore
from terminator.wire.proxy_header import ProxyHeader, encode_v2

V1 = b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n"
V2 = encode_v2(("192.0.2.1", 56324), ("198.51.100.2", 443), authority="shop.example", checksum=True)


def loopback() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server, _ = listener.accept()
    server.setblocking(False)
    return server, client


def exactly(count: int) -> Callable[[bytes], bytes | NeedMore]:
    def parse(data: bytes) -> bytes | NeedMore:
        return data[:count] if len(data) >= count else NeedMore(count - len(data))

    return parse


def readable(sock: socket.socket) -> Callable[[], Awaitable[None]]:
    return partial(trio.lowlevel.wait_readable, sock)


async def test_what_was_looked_at_is_still_there() -> None:
    server, client = loopback()
    arrivals: list[int] = []
    with server, client:
        client.sendall(b"hello, world")
        assert await look(server, exactly(5), lambda: arrivals.append(1), readable(server)) == b"hello"
        assert server.recv(100) == b"hello, world"
    assert arrivals == [1]


@pytest.mark.parametrize("count", [4095, 4096, 4097, 60_000])
async def test_more_than_the_first_look(count: int) -> None:
    server, client = loopback()
    with server, client:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, lambda: client.sendall(b"x" * 100_000))
            assert await look(server, exactly(count), lambda: None, readable(server)) == b"x" * count
            left = 100_000
            while left:
                await trio.lowlevel.wait_readable(server)
                left -= len(server.recv(left))


@pytest.mark.parametrize("sent", [b"", b"abc"])
async def test_the_end_of_input_is_told(sent: bytes) -> None:
    server, client = loopback()
    with server, client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(EndOfInput):
            await look(server, exactly(5), lambda: None, readable(server))
        assert server.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
@pytest.mark.parametrize("following", [b"", b"\x16\x03\x01 the client's own"])
async def test_a_proxy_header_is_consumed_exactly(header: bytes, following: bytes) -> None:
    server, client = loopback()
    with server, client:
        client.sendall(header + following + b"!")
        read = await read_proxy_header(server, accepted_at=trio.current_time(), deadline_seconds=15)
        assert isinstance(read, ProxyHeader)
        assert read.source == ("192.0.2.1", 56324)
        assert server.recv(100) == following + b"!"


@pytest.mark.parametrize("header", [V1, V2], ids=["v1", "v2"])
async def test_a_proxy_header_byte_by_byte(header: bytes) -> None:
    server, client = loopback()
    with server, client:
        async with trio.open_nursery() as nursery:

            async def drip() -> None:
                for byte in header + b"next":
                    client.sendall(bytes([byte]))
                    await trio.testing.wait_all_tasks_blocked(0.0002)

            nursery.start_soon(drip)
            read = await read_proxy_header(server, accepted_at=trio.current_time(), deadline_seconds=15)
        assert read.length == len(header)
        assert server.recv(100) == b"next"


@pytest.mark.parametrize(
    ("sent", "reason"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "proxy_header_missing"),
        (b"GET / HTTP/1.1\r\n", "proxy_header_missing"),
        (b"PROXY TCP4 nonsense\r\n", "proxy_header_invalid"),
        (V2[:12] + b"\x99\x11\x00\x00", "proxy_header_invalid"),
        (V2[:-1] + bytes([V2[-1] ^ 1]), "proxy_header_invalid"),
        (b"", "client_closed"),
        (V2[:20], "client_closed"),
        (V1[:20], "client_closed"),
    ],
)
async def test_a_trusted_peer_without_its_header(sent: bytes, reason: str) -> None:
    server, client = loopback()
    with client:
        client.sendall(sent)
        client.shutdown(socket.SHUT_WR)
        with pytest.raises(HandshakeFailed) as failed:
            await read_proxy_header(server, accepted_at=trio.current_time(), deadline_seconds=15)
    assert (failed.value.error_type, failed.value.phase) == (reason, "first_byte")
    assert server.fileno() == -1


async def test_a_proxy_header_that_does_not_come() -> None:
    server, client = loopback()
    with client:
        client.sendall(V2[:20])
        with pytest.raises(HandshakeFailed) as failed:
            await read_proxy_header(server, accepted_at=trio.current_time(), deadline_seconds=0.05)
    assert (failed.value.error_type, failed.value.phase) == ("timeout", "first_byte")
    assert failed.value.facts.spans["first_byte"] >= 0.05
    assert server.fileno() == -1


async def test_a_reset_amid_the_proxy_header() -> None:
    server, client = loopback()
    client.sendall(V2[:20])
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()
    with pytest.raises(HandshakeFailed) as failed:
        await read_proxy_header(server, accepted_at=trio.current_time(), deadline_seconds=15)
    assert failed.value.error_type == "client_closed"


async def test_cancelled_it_closes_the_socket() -> None:
    server, client = loopback()
    with client, trio.move_on_after(0.05):
        await read_proxy_header(server, accepted_at=trio.current_time(), deadline_seconds=15)
    assert server.fileno() == -1
