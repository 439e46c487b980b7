"""Connections that begin with one client's PROXY header are kept for this client, one for each server."""

from __future__ import annotations

import socket
from collections.abc import Callable

from terminator.backend.connection import BackendConnection
from terminator.backend.private import PrivateConnections
from terminator.backend.server import Server
from terminator.config.values import parse_tcp_address

Connected = Callable[[], tuple[BackendConnection, socket.socket]]


def server(port: int) -> Server:
    return Server("b", parse_tcp_address(f"127.0.0.1:{port}"))


async def test_one_is_kept_for_each_server(connected: Connected) -> None:
    private, one, two = PrivateConnections(b"PROXY"), server(1), server(2)
    first, second, other = (connected()[0] for _ in range(3))
    private.keep(one, first, 0)
    private.keep(two, other, 0)
    private.keep(one, second, 0)
    assert first.stream.sock.fileno() == -1
    assert private.take_idle(one, 1, 60) is second
    assert private.take_idle(one, 1, 60) is None
    private.close()
    assert other.stream.sock.fileno() == -1
    assert second.stream.sock.fileno() != -1  # it is lent out


async def test_dead_and_old_ones_are_closed(connected: Connected) -> None:
    private, one = PrivateConnections(b""), server(1)
    (dead, end), (old, _) = connected(), connected()
    private.keep(one, dead, 0)
    end.close()
    assert private.take_idle(one, 1, 60) is None
    private.keep(one, old, 0)
    assert private.take_idle(one, 61, 60) is None
    assert dead.stream.sock.fileno() == old.stream.sock.fileno() == -1


async def test_none_is_kept_to_a_server_that_a_reload_has_removed(connected: Connected) -> None:
    private, one, (lent, _) = PrivateConnections(b""), server(1), connected()
    one.configured = False
    private.keep(one, lent, 0)
    assert lent.stream.sock.fileno() == -1
    assert private.take_idle(one, 0, 60) is None
