"""A connection whose far end the test plays, servers that answer by themselves, groups from a configuration's words."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Callable, Iterator
from typing import Any

import pytest
import trio

from terminator.backend.connection import BackendConnection
from terminator.backend.fleet import Fleet
from terminator.backend.group import BackendGroup
from terminator.config import model

Pair = tuple[BackendConnection, socket.socket]


@pytest.fixture
def connected() -> Iterator[Callable[[], Pair]]:
    """Makes (our end, the backend's end). What the test has not closed is closed at its end."""
    made: list[Pair] = []

    def make() -> Pair:
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        theirs.settimeout(5)
        made.append((BackendConnection(ours), theirs))
        return made[-1]

    yield make
    for connection, theirs in made:
        connection.stream.sock.close()
        theirs.close()


OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Answering:
    """Answers each request without a body by `answer`; None keeps silent, b"" closes."""

    def __init__(self, answer: bytes | None) -> None:
        self.answer = answer
        self.received: list[bytes] = []
        self._sock = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._sock.getsockname()[1]}"

    async def run(self) -> None:
        await trio.serve_listeners(self._serve, [trio.SocketListener(trio.socket.from_stdlib_socket(self._sock))])

    async def _serve(self, stream: trio.SocketStream) -> None:
        received = b""
        try:
            while more := await stream.receive_some():
                received += more
                if received.endswith(b"\r\n\r\n"):
                    self.received.append(received)
                    received = b""
                    if self.answer == b"":
                        return
                    if self.answer is not None:
                        await stream.send_all(self.answer)
        except trio.BrokenResourceError:
            return
        finally:
            await stream.aclose()


Serve = Callable[..., Answering]


@pytest.fixture
async def serve(nursery: trio.Nursery) -> Serve:
    def make(answer: bytes | None = OK) -> Answering:
        server = Answering(answer)
        nursery.start_soon(server.run)
        return server

    return make


Groups = Callable[..., BackendGroup]


@pytest.fixture
async def fleet() -> AsyncIterator[Fleet]:
    events: list[Any] = []
    made = Fleet(events.append)
    made.events = events  # type: ignore[attr-defined]
    yield made
    made.close()


@pytest.fixture
def adopt(fleet: Fleet) -> Groups:
    """Puts a backend `b` in force: `adopt("127.0.0.1:80", balance=…)`; a server may be a mapping."""

    def put(*servers: Any, **keys: Any) -> BackendGroup:
        each = [one if isinstance(one, dict) else {"address": one} for one in servers]
        group = fleet.group("b", model.Backend(servers=each, **keys))
        fleet.adopt({"b": group})
        return group

    return put
