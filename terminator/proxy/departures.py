"""Notices at once that a client has gone while it waits for its response.

Nobody reads a client's socket during that wait (the next request must stay where it is), so its end would be seen only
when the response is written. One epoll for all clients of a worker listens for the peer's end alone (EPOLLRDHUP, edge
triggered): it costs one system call per connection, nothing per request and no task per client. A client that only
half-closes after its request is taken for gone, as by nginx and HAProxy.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Callable

import trio


class Departures:
    """Owned by a worker's traffic; `run` is its only task."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}

    def watch(self, sock: socket.socket, gone: Callable[[], None]) -> None:
        """Calls `gone` once when the peer of `sock` ends or resets. `forget` must be called when `sock` is about to be
        closed, and only then."""
        descriptor = sock.fileno()
        self._watched[descriptor] = gone
        self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)

    def forget(self, sock: socket.socket) -> None:
        """Harmless for a socket that is not watched."""
        # Closing takes the descriptor out of the epoll; it is closed next, so one system call is spared here.
        self._watched.pop(sock.fileno(), None)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for descriptor, _ in self._epoll.poll(0, 64):
                    if (gone := self._watched.get(descriptor)) is not None:
                        gone()
        finally:
            self._epoll.close()
