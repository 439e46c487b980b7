"""A server's idle connections: the last used first, never a dead or a talkative one, and no more than allowed."""

from __future__ import annotations

import socket
from collections.abc import Callable

from terminator.backend.connection import BackendConnection
from terminator.backend.server import Server
from terminator.config.values import parse_tcp_address

Connected = Callable[[], tuple[BackendConnection, socket.socket]]


def server() -> Server:
    return Server("b", parse_tcp_address("127.0.0.1:9"))


async def test_the_connection_used_last_is_taken_first(connected: Connected) -> None:
    one, first, second = server(), connected()[0], connected()[0]
    one.keep(first, 0, most=8)
    one.keep(second, 1, most=8)
    assert one.idle_connections == 2
    assert one.take_idle(2, 60) is second
    assert one.take_idle(2, 60) is first
    assert one.take_idle(2, 60) is None


async def test_dead_and_talkative_connections_are_closed_instead(connected: Connected) -> None:
    one = server()
    (good, _), (dead, end), (talkative, other) = connected(), connected(), connected()
    for connection in (good, dead, talkative):
        one.keep(connection, 0, most=8)
    end.close()
    other.sendall(b"HTTP/1.1 408 Request Timeout\r\n\r\n")
    assert one.take_idle(1, 60) is good
    assert dead.stream.sock.fileno() == talkative.stream.sock.fileno() == -1


async def test_connections_past_their_time_are_closed(connected: Connected) -> None:
    one, old, young = server(), connected()[0], connected()[0]
    one.keep(old, 0, most=8)
    one.keep(young, 50, most=8)
    one.sweep(61, 60)
    assert one.idle_connections == 1
    assert old.stream.sock.fileno() == -1
    assert one.take_idle(111, 60) is None


async def test_the_oldest_goes_when_there_are_too_many(connected: Connected) -> None:
    one, connections = server(), [connected()[0] for _ in range(3)]
    for now, connection in enumerate(connections):
        one.keep(connection, now, most=2)
    assert one.idle_connections == 2
    assert connections[0].stream.sock.fileno() == -1
    one.close()
    assert one.idle_connections == 0
    assert all(connection.stream.sock.fileno() == -1 for connection in connections)


async def test_private_connections_end_as_the_others_do(connected: Connected) -> None:
    """By their time, by their server, by a reload; none is taken for one that any client may have."""
    one, connections = server(), [connected() for _ in range(4)]
    (old, _), (dead, end), (young, _), (kept, _) = connections
    one.keep_private("old", old, 0)
    one.keep_private("dead", dead, 50)
    one.keep_private("young", young, 50)
    end.close()
    assert (one.idle_connections, one.take_idle(51, 60)) == (3, None)
    one.sweep(61, 60)
    assert (one.idle_connections, old.stream.sock.fileno(), dead.stream.sock.fileno()) == (1, -1, -1)
    assert one.take_private("other", 61, 60) is None
    assert one.take_private("young", 61, 60) is young
    one.keep_private("young", kept, 61)
    one.close()
    assert (one.idle_connections, kept.stream.sock.fileno()) == (0, -1)
