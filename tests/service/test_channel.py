"""Frames over a real socketpair: whole, cut anywhere, with descriptors, too long, or broken off."""

from __future__ import annotations

import json
import os
import pickle
import socket
from collections.abc import Iterator

import pytest
import trio

from terminator.service import channel
from terminator.service.channel import ChannelBroken, ChildEnd, MasterEnd


@pytest.fixture
def sockets() -> Iterator[tuple[socket.socket, socket.socket]]:
    ours, theirs = channel.pair()
    yield ours, theirs
    ours.close()
    theirs.close()


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


async def test_what_is_sent_arrives_in_both_directions(sockets: tuple[socket.socket, socket.socket]) -> None:
    master, child = MasterEnd(sockets[0]), ChildEnd(sockets[1])
    master.send(("prepare", {"a": 1}))
    master.send("commit")
    assert [await child.receive(), await child.receive()] == [("prepare", {"a": 1}), "commit"]
    assert master.receive() == []
    await child.send({"kind": "ready"})
    await child.send({"kind": "beat", "connections": 3})
    assert master.receive() == [{"kind": "ready"}, {"kind": "beat", "connections": 3}]


async def test_a_message_far_larger_than_the_socket_s_buffer(sockets: tuple[socket.socket, socket.socket]) -> None:
    master, child = MasterEnd(sockets[0]), ChildEnd(sockets[1])
    payload = os.urandom(5_000_000)
    master.send(payload)
    assert master.wants_to_send
    received = []

    async def receive() -> None:
        received.append(await child.receive())

    async with trio.open_nursery() as nursery:
        nursery.start_soon(receive)
        while master.wants_to_send:
            master.flush()
            await trio.sleep(0)
    assert received == [payload]


async def test_the_master_never_waits_for_a_child_that_does_not_read(
    sockets: tuple[socket.socket, socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channel, "MAX_TO_CHILD_BYTES", 3_000_000)
    master = MasterEnd(sockets[0])
    master.send(bytes(1_000_000))
    master.send(bytes(1_000_000))
    with pytest.raises(ChannelBroken, match="does not read"):
        master.send(bytes(2_000_000))


@pytest.mark.parametrize("cut", range(1, 20))
def test_a_message_may_come_in_pieces(sockets: tuple[socket.socket, socket.socket], cut: int) -> None:
    master = MasterEnd(sockets[0])
    data = frame(json.dumps({"kind": "ready"}).encode())
    sockets[1].send(data[:cut])
    assert master.receive() == []
    sockets[1].send(data[cut:])
    assert master.receive() == [{"kind": "ready"}]


async def test_descriptors_arrive_with_their_message(sockets: tuple[socket.socket, socket.socket]) -> None:
    master, child = MasterEnd(sockets[0]), ChildEnd(sockets[1])
    pipes = [os.pipe() for _ in range(3)]
    master.send("none")
    master.send("two", [pipes[0][1], pipes[1][1]])
    master.send(b"x" * 300_000, [pipes[2][1]])
    for _, writer in pipes[:2]:
        os.close(writer)
    assert await child.receive() == "none"
    assert await child.receive() == "two"
    fds = child.take_fds(2)
    async with trio.open_nursery() as nursery:

        @nursery.start_soon
        async def flush() -> None:
            while master.wants_to_send:
                master.flush()
                await trio.sleep(0)

        assert await child.receive() == b"x" * 300_000
    os.close(pipes[2][1])
    fds += child.take_fds(1)
    for fd, (reader, _) in zip(fds, pipes, strict=True):
        assert not os.get_inheritable(fd)
        os.write(fd, b"hello")
        os.close(fd)
        assert os.read(reader, 10) == b"hello"
        os.close(reader)


@pytest.mark.parametrize("count", [channel.MAX_FDS, channel.MAX_FDS + 1, 2 * channel.MAX_FDS + 7])
async def test_more_descriptors_than_one_byte_carries(sockets: tuple[socket.socket, socket.socket], count: int) -> None:
    """As when a reload adds hundreds of listeners."""
    master, child = MasterEnd(sockets[0]), ChildEnd(sockets[1])
    reader, writer = os.pipe()
    master.send("many", [writer] * count)
    master.send("one", [reader])
    assert await child.receive() == "many"
    many = child.take_fds(count)
    assert await child.receive() == "one"
    (one,) = child.take_fds(1)
    assert {os.fstat(fd).st_ino for fd in many} == {os.fstat(writer).st_ino}
    for fd in (*many, one, reader, writer):
        os.close(fd)


@pytest.mark.parametrize(
    ("data", "complaint"),
    [
        (frame(b"not json"), "not JSON"),
        (frame(b"[1]"), "not an object"),
        (frame(pickle.dumps({"kind": "ready"})), "not JSON"),
        ((33 << 20).to_bytes(4, "big"), "too long"),
        (b"\xff\xff\xff\xff", "too long"),
    ],
)
def test_a_child_that_does_not_keep_to_the_protocol_is_lost(
    sockets: tuple[socket.socket, socket.socket], data: bytes, complaint: str
) -> None:
    sockets[1].send(data)
    with pytest.raises(ChannelBroken, match=complaint):
        MasterEnd(sockets[0]).receive()


def test_the_last_words_of_a_child_count(sockets: tuple[socket.socket, socket.socket]) -> None:
    master = MasterEnd(sockets[0])
    sockets[1].send(frame(b'{"kind": "drained"}'))
    sockets[1].close()
    assert master.receive() == [{"kind": "drained"}]
    with pytest.raises(ChannelBroken, match="closed"):
        master.receive()
    with pytest.raises(ChannelBroken):
        master.send("anybody there?")


async def test_the_end_of_the_master_is_seen(sockets: tuple[socket.socket, socket.socket]) -> None:
    child = ChildEnd(sockets[1])
    sockets[0].send(frame(pickle.dumps("commit")) + b"\0\0")
    sockets[0].close()
    assert await child.receive() == "commit"
    assert await child.receive() is None
    with pytest.raises(trio.BrokenResourceError):
        await child.send({"kind": "beat"})


async def test_a_message_too_long_for_the_master_is_not_sent(sockets: tuple[socket.socket, socket.socket]) -> None:
    with pytest.raises(ValueError, match="too long"):
        await ChildEnd(sockets[1]).send({"text": "x" * channel.MAX_TO_MASTER_BYTES})
