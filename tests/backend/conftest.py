"""A connection to a backend that the test plays: both ends of a socket pair."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

import pytest

from terminator.backend.connection import BackendConnection

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
