"""The accept loop: takes what comes, waits for room and descriptors without spinning, survives peers that vanish."""

from __future__ import annotations

import errno
import socket
from dataclasses import dataclass, field

import pytest
import trio
import trio.testing

from terminator.config.model import Listener
from terminator.proxy.acceptor import LOOK_AGAIN_SECONDS, Listening, accept
from terminator.telemetry.events import Event

CONFIG = Listener.model_validate({"name": "https", "bind": "127.0.0.1:443"})


@dataclass
class Room:
    most: int = 1000
    open_connections: int = 0
    waits: list[float] = field(default_factory=list)

    def has_room(self) -> bool:
        return self.open_connections < self.most

    async def wait_for_room(self, seconds: float) -> None:
        self.waits.append(seconds)
        await trio.sleep(0.01)
        self.most = 1000


class Failing(socket.socket):
    """A listening socket whose next accepts fail as the kernel's may."""

    failures: list[int]

    def accept(self) -> tuple[socket.socket, object]:
        if self.failures:
            raise OSError(self.failures.pop(0), "made to fail")
        return super().accept()


def listening(kind: type[socket.socket] = socket.socket) -> socket.socket:
    sock = kind(socket.AF_INET, socket.SOCK_STREAM)
    sock.bind(("127.0.0.1", 0))
    sock.listen()
    sock.setblocking(False)
    return sock


async def accepted(sock: socket.socket, room: Room, clients: int) -> tuple[int, list[Event]]:
    """How many connections were taken, and what was told."""
    taken, events = [], []
    done = trio.Event()

    def handle(_: Listening, connection: socket.socket, peer: object, at: float) -> None:
        assert connection.getblocking() is False
        assert connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        room.open_connections += 1
        taken.append(connection)
        if len(taken) == clients:
            done.set()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(accept, Listening("https", sock, CONFIG), room, handle, events.append)
        await trio.testing.wait_all_tasks_blocked()
        peers = [socket.create_connection(sock.getsockname()) for _ in range(clients)]
        with trio.fail_after(10):
            await done.wait()
        nursery.cancel_scope.cancel()
    for one in [*peers, *taken, sock]:
        one.close()
    return len(taken), events


async def test_takes_what_comes() -> None:
    assert await accepted(listening(), Room(), 100) == (100, [])


async def test_waits_for_room_and_says_so() -> None:
    room = Room(most=0)
    _, [event] = await accepted(listening(), room, 1)
    assert event.reason == "connections"
    assert room.waits == [LOOK_AGAIN_SECONDS]  # nobody wakes it when a reload raises the limit


@pytest.mark.parametrize("code", [errno.EMFILE, errno.ENFILE, errno.ENOMEM])
async def test_backs_off_when_the_process_has_nothing_left(code: int) -> None:
    sock = listening(Failing)
    sock.failures = [code]
    room = Room()
    _, [event] = await accepted(sock, room, 1)
    assert event.reason == "file_descriptors"
    assert len(room.waits) == 1


@pytest.mark.parametrize("code", [errno.ECONNABORTED, errno.ENETDOWN, errno.EPROTO])
async def test_a_peer_that_vanishes_is_nothing_to_tell(code: int) -> None:
    sock = listening(Failing)
    sock.failures = [code]
    assert await accepted(sock, Room(), 1) == (1, [])
