"""A plain stream on real sockets: pieces, ends, fairness, and what a cancelled send forbids."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
import trio
import trio.testing

from terminator.errors import ClientGone
from terminator.transport.stream import PIECE_BYTES, TURN_BYTES, Stream

Pair = tuple[Stream, socket.socket]


@pytest.fixture
def pair() -> Iterator[Pair]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    with ours, theirs:
        yield Stream(ours, ClientGone), theirs


async def test_receive_waits_for_bytes_and_sees_the_end(pair: Pair) -> None:
    stream, peer = pair
    received: list[bytes] = []

    async def read() -> None:
        received.append(await stream.receive())
        received.append(await stream.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await trio.testing.wait_all_tasks_blocked()
        peer.send(b"hello")
        await trio.testing.wait_all_tasks_blocked()
        peer.shutdown(socket.SHUT_WR)
    assert received == [b"hello", b""]
    assert stream.ended
    assert stream.clean_end


async def test_receive_now_never_waits(pair: Pair) -> None:
    stream, peer = pair
    assert stream.receive_now() is None
    peer.send(b"x")
    assert stream.receive_now() == b"x"


async def test_a_large_send_goes_through_whole_while_the_peer_reads_slowly(pair: Pair) -> None:
    stream, peer = pair
    data = bytes(range(256)) * 4096 * 4
    got = bytearray()

    async def read() -> None:
        while len(got) < len(data):
            await trio.lowlevel.wait_readable(peer)
            got.extend(peer.recv(10_000))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(read)
        await stream.send(data)
    assert bytes(got) == data


async def test_a_reset_is_the_given_error_and_breaks_the_stream() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        peer = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    stream = Stream(ours, ClientGone)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
    peer.close()
    with pytest.raises(ClientGone):
        await stream.receive()
    assert stream.broken
    with pytest.raises(ClientGone):
        await stream.send(b"more")
    stream.close()


async def test_after_a_cancelled_send_nothing_more_may_be_sent(pair: Pair) -> None:
    stream, _ = pair
    with trio.move_on_after(0.01):
        await stream.send(b"x" * (PIECE_BYTES * 100))
    assert stream.broken
    with pytest.raises(ClientGone):
        await stream.send(b"y")


async def test_a_stream_that_never_waits_gives_others_their_turn(pair: Pair) -> None:
    stream, peer = pair
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            turns += 1
            await trio.lowlevel.checkpoint()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(count)
        moved = 0
        while moved < 3 * TURN_BYTES:
            peer.send(b"x" * 32768)
            while (data := stream.receive_now()) is not None:
                moved += len(data)
            peer.send(b"x")
            moved += len(await stream.receive()) + 32768
        nursery.cancel_scope.cancel()
    assert turns >= 1


async def test_end_tells_the_peer_and_receiving_goes_on(pair: Pair) -> None:
    stream, peer = pair
    await stream.end()
    assert peer.recv(10) == b""
    peer.send(b"still here")
    assert await stream.receive() == b"still here"


async def test_linger_drops_what_comes_and_returns_at_the_peers_end(pair: Pair) -> None:
    stream, peer = pair
    peer.send(b"unread request body")
    peer.shutdown(socket.SHUT_WR)
    with trio.fail_after(5):
        await stream.linger(60)


@pytest.mark.parametrize("seconds", [(5, 60), (60, 5)], ids=["the whole", "silence"])
async def test_linger_is_bounded_in_time(
    pair: Pair, seconds: tuple[float, float], autojump_clock: trio.testing.MockClock
) -> None:
    stream, peer = pair
    peer.send(b"x" * 100)
    await stream.linger(*seconds)
    assert 5 <= trio.current_time() < 6


async def test_linger_is_bounded_in_bytes(pair: Pair) -> None:
    stream, peer = pair
    peer.send(b"x" * 4000)
    with trio.fail_after(5):
        await stream.linger(60, max_bytes=1000)
