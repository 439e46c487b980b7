"""A TLS stream over a real connection: its ends, its goodbye, and what is said to a peer when there was none."""

from __future__ import annotations

import os
import socket
import ssl
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial

import pytest
import trio
import trio.testing
import trustme

from terminator.errors import ClientGone, ClientStalled
from terminator.tls.stream import RECORD_BYTES, TlsStream


@dataclass
class Connection:
    stream: TlsStream
    peer: ssl.SSLSocket


@pytest.fixture(params=[True, False], ids=["close_notify alone", "by unwrap"])
async def connection(request: pytest.FixtureRequest) -> AsyncIterator[Connection]:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        theirs = socket.create_connection(listening.getsockname())
        ours, _ = listening.accept()
    ours.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # as the acceptor does
    async with joined(ours, theirs, ends_alone=request.param) as found:
        yield found


@asynccontextmanager
async def joined(ours: socket.socket, theirs: socket.socket, *, ends_alone: bool = True) -> AsyncIterator[Connection]:
    """A connection after its handshake, `theirs` being the client's side."""
    authority = trustme.CA()
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("a.test").configure_cert(server)
    server.num_tickets = 0  # unread by the peer, they would make a reset of its close
    server.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    client = ssl.create_default_context()
    client.options &= ~getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    authority.configure_trust(client)
    theirs.settimeout(10)
    accept = partial(server.wrap_socket, ours, server_side=True, suppress_ragged_eofs=False)
    wrapped = []
    async with trio.open_nursery() as nursery:

        async def shake() -> None:
            wrapped.append(await trio.to_thread.run_sync(accept))

        nursery.start_soon(shake)
        peer = await trio.to_thread.run_sync(
            partial(client.wrap_socket, theirs, server_hostname="a.test", suppress_ragged_eofs=False)
        )
    wrapped[0].setblocking(False)
    with peer, wrapped[0]:
        yield Connection(TlsStream(wrapped[0], ends_alone=ends_alone), peer)


async def test_bytes_go_both_ways(connection: Connection) -> None:
    connection.peer.send(b"question")
    assert await connection.stream.receive() == b"question"
    await connection.stream.send(b"answer")
    assert connection.peer.recv(100) == b"answer"


@pytest.mark.parametrize("how", ["close", "end"])
async def test_last_words_and_the_goodbye_come_in_one_segment(connection: Connection, how: str) -> None:
    before = segments_in(connection.peer)
    connection.stream.last_words()
    await connection.stream.send(b"answer")
    if how == "close":
        connection.stream.close()
    else:
        await connection.stream.end()
        assert not connection.stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)
    assert connection.peer.recv(100) == b"answer"
    assert connection.peer.recv(100) == b""
    assert segments_in(connection.peer) == before + 1


async def test_long_last_words_arrive_whole(connection: Connection) -> None:
    connection.stream.last_words()
    data = os.urandom(100_000)
    assert connection.stream.send_now(data) == len(data)
    connection.stream.close()
    received = b""
    while more := connection.peer.recv(65536):
        received += more
    assert received == data


async def test_last_words_reach_a_peer_that_sends_on(connection: Connection) -> None:
    """What it sends is not read any more, so that closing resets the connection."""
    connection.stream.last_words()
    await connection.stream.send(b"answer")
    connection.peer.send(b"one more")
    await trio.lowlevel.wait_readable(connection.stream.sock)
    connection.stream.close()
    assert connection.peer.recv(100) == b"answer"


def segments_in(sock: socket.socket) -> int:
    """With data: `tcpi_data_segs_in` of struct tcp_info (linux/tcp.h)."""
    return int.from_bytes(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)[152:156], "little")


async def test_more_than_a_record_is_readable_without_the_kernel(connection: Connection) -> None:
    connection.peer.send(b"x" * 10)
    assert await connection.stream.receive(4) == b"xxxx"
    with trio.fail_after(5):
        await connection.stream.wait_readable()
    assert await connection.stream.receive() == b"xxxxxx"


async def test_close_notify_is_a_clean_end(connection: Connection) -> None:
    connection.peer.settimeout(0)
    with pytest.raises(ssl.SSLWantReadError):  # sent; the answer is not waited for
        connection.peer.unwrap()
    assert await connection.stream.receive() == b""
    assert connection.stream.clean_end


async def test_an_end_without_close_notify_is_not_clean(connection: Connection) -> None:
    connection.peer.close()
    assert await connection.stream.receive() == b""
    assert connection.stream.ended
    assert not connection.stream.clean_end


async def test_close_says_goodbye(connection: Connection) -> None:
    connection.stream.close()
    assert connection.peer.recv(100) == b""


async def test_after_giving_up_the_peer_sees_a_truncation(connection: Connection) -> None:
    connection.stream.give_up()
    connection.stream.close()
    with pytest.raises(ssl.SSLError, match=r"EOF|eof"):
        connection.peer.recv(100)


async def test_after_our_end_the_peer_may_go_on_until_its_own(connection: Connection) -> None:
    await connection.stream.end()
    assert connection.peer.recv(100) == b""
    with pytest.raises(ClientGone):
        await connection.stream.send(b"more")


@pytest.mark.parametrize("connection", [True], indirect=True)
async def test_what_arrives_as_we_end_is_not_lost(connection: Connection) -> None:
    connection.peer.send(b"still here")
    await connection.stream.wait_readable()
    await connection.stream.end()
    assert await connection.stream.receive() == b"still here"
    connection.peer.settimeout(10)
    assert connection.peer.recv(1) == b""


async def test_a_reader_that_takes_nothing_has_stalled(connection: Connection) -> None:
    connection.stream.stall_seconds = 0.05
    with pytest.raises(ClientStalled):
        await connection.stream.send(b"x" * (64 << 20))
    assert connection.stream.broken


def corked(stream: TlsStream) -> int:
    return stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_CORK)


def segments_sent(stream: TlsStream) -> int:
    """With data: `tcpi_data_segs_out` of struct tcp_info (linux/tcp.h)."""
    return int.from_bytes(stream.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 256)[156:160], "little")


def read_exactly(peer: ssl.SSLSocket, size: int) -> bytes:
    read = bytearray()
    while len(read) < size:
        read += peer.recv(size - len(read))
    return bytes(read)


async def test_a_large_piece_leaves_in_fewer_segments_than_it_has_records(connection: Connection) -> None:
    piece = bytes(6 * RECORD_BYTES)
    for _ in range(10):
        before = segments_sent(connection.stream)
        await connection.stream.send(piece)
        await trio.to_thread.run_sync(read_exactly, connection.peer, len(piece))
        assert segments_sent(connection.stream) - before < 6
        assert not corked(connection.stream)


async def test_a_send_that_waits_leaves_no_cork_and_loses_no_byte(connection: Connection) -> None:
    data = os.urandom(16 << 20)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(connection.stream.send, data)
        await trio.testing.wait_all_tasks_blocked()
        assert connection.stream.broken  # it waits amid a piece
        assert not corked(connection.stream)
        assert await trio.to_thread.run_sync(read_exactly, connection.peer, len(data)) == data


async def test_no_cork_is_left_by_a_send_that_fails(connection: Connection) -> None:
    connection.peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.peer.close()
    with pytest.raises(ClientGone):
        await connection.stream.send(bytes(4 * RECORD_BYTES))
    assert not corked(connection.stream)


async def test_large_pieces_go_through_a_unix_socket_too() -> None:
    data = os.urandom(4 << 20)
    async with joined(*socket.socketpair()) as connection, trio.open_nursery() as nursery:
        nursery.start_soon(connection.stream.send, data)
        assert await trio.to_thread.run_sync(read_exactly, connection.peer, len(data)) == data
