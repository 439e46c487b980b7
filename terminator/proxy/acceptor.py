"""The accept loop of one listener: takes connections while there is room, waits without spinning when there is none."""

from __future__ import annotations

import errno
import socket
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

import trio

from terminator.config import model
from terminator.telemetry.events import Event, ServerSaturated

BATCH = 64
"""Connections accepted before the others get their turn."""

OUT_OF_RESOURCES = {errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM}
BACK_OFF_SECONDS = 0.2
"""How long accepting waits for a descriptor to come free, unless a connection of this worker closes before."""

LOOK_AGAIN_SECONDS = 1.0
"""How long accepting waits at the limit of connections before it looks again: a reload may have raised the limit."""

NOTICE_SECONDS = 30.0
"""Saturation is said at most this often per listener."""


@dataclass(frozen=True, slots=True, eq=False)
class Listening:
    """A listening socket, non-blocking, with its configuration. Whoever runs the accept loop closes it at the end."""

    name: str
    sock: socket.socket
    config: model.Listener
    port: int = field(init=False)
    """The one that clients connect to; 443 for a unix socket, whose clients come through a proxy in front."""

    def __post_init__(self) -> None:
        name = self.sock.getsockname()
        object.__setattr__(self, "port", name[1] if isinstance(name, tuple) else 443)


class Room(Protocol):
    """Where connections are counted."""

    open_connections: int

    def has_room(self) -> bool: ...

    async def wait_for_room(self, seconds: float) -> None:
        """Until a connection has closed, or the time is up."""
        ...


async def accept(
    listening: Listening,
    room: Room,
    handle: Callable[[Listening, socket.socket, object, float], None],
    emit: Callable[[Event], None],
) -> None:
    """Until cancelled: `handle(listening, sock, peer, accepted_at)` starts the task of each connection."""
    sock, clock = listening.sock, trio.lowlevel.current_clock()
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # accepted sockets inherit it on Linux
    noticed_at = float("-inf")

    def saturated(reason: str) -> None:
        nonlocal noticed_at
        if trio.current_time() - noticed_at >= NOTICE_SECONDS:
            noticed_at = trio.current_time()
            emit(ServerSaturated(listener=listening.name, reason=reason, connections=room.open_connections))

    while True:
        await trio.lowlevel.wait_readable(sock)
        for _ in range(BATCH):
            if not room.has_room():
                saturated("connections")
                await room.wait_for_room(LOOK_AGAIN_SECONDS)
                break
            try:
                accepted, peer = sock.accept()
            except BlockingIOError:
                break
            except OSError as error:
                if error.errno in OUT_OF_RESOURCES:
                    saturated("file_descriptors")
                    await room.wait_for_room(BACK_OFF_SECONDS)
                    break
                if error.errno in (errno.EBADF, errno.EINVAL, errno.ENOTSOCK):
                    raise  # the listening socket itself is gone: a defect, not the peer's doing
                continue  # the peer was gone before it was accepted (ECONNABORTED and the network's errors, accept(2))
            accepted.setblocking(False)
            handle(listening, accepted, peer, clock.current_time())


def take_waiting(
    listening: Listening, room: Room, handle: Callable[[Listening, socket.socket, object, float], None]
) -> None:
    """What waits in the queue of a socket that is about to be closed: the kernel has told these clients that they are
    connected, and would reset them. At most as many as the queue holds, lest newcomers keep the socket open."""
    for _ in range(listening.config.backlog):
        if not room.has_room():
            return
        try:
            accepted, peer = listening.sock.accept()
        except OSError as error:
            if isinstance(error, BlockingIOError) or error.errno in OUT_OF_RESOURCES:
                return
            continue
        accepted.setblocking(False)
        handle(listening, accepted, peer, trio.current_time())
