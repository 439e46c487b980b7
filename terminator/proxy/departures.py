"""Notices at once that a client has gone while it waits for its response.

Nobody reads a client's socket during that wait (the next request must stay where it is), so its end would be seen only
when the response is written. One epoll for all clients of a worker listens for the peer's end alone (EPOLLRDHUP, edge
triggered): it costs one system call per connection, nothing per request and no task per client. Not even that for the
many connections that are over within a tenth of a second: the epoll gets those that have lasted longer. A client that
only half-closes after its request is taken for gone, as by nginx and HAProxy.
"""

from __future__ import annotations

import math
import select
import socket
from collections.abc import Callable

import trio

from terminator.transport.alarms import TICK_SECONDS, Alarm, Alarms


class Departures:
    """Owned by a worker's traffic; `run` is its only task."""

    def __init__(self, alarms: Alarms) -> None:
        self._epoll = select.epoll()
        self._watched: dict[int, Callable[[], None]] = {}
        self._fresh: set[int] = set()
        """Those of `_watched` that the epoll does not have yet."""
        self._alarm = Alarm(alarms, self._take_up)

    def watch(self, sock: socket.socket, gone: Callable[[], None]) -> None:
        """Calls `gone` once when the peer of `sock` ends or resets; in the first two tenths of a second that may wait
        until these are over. `forget` must be called when `sock` is about to be closed, and only then."""
        descriptor = sock.fileno()
        self._watched[descriptor] = gone
        self._fresh.add(descriptor)
        if self._alarm.at == math.inf:
            self._alarm.set(trio.current_time() + TICK_SECONDS)

    def forget(self, sock: socket.socket) -> None:
        """Harmless for a socket that is not watched."""
        # Closing takes the descriptor out of the epoll; it is closed next, so one system call is spared here.
        descriptor = sock.fileno()
        self._watched.pop(descriptor, None)
        self._fresh.discard(descriptor)

    def _take_up(self) -> None:
        """Who had gone before shows at once."""
        for descriptor in self._fresh:
            try:
                self._epoll.register(descriptor, select.EPOLLRDHUP | select.EPOLLET)
            except OSError:
                # The kernel has no room for one more (`max_user_watches`, epoll(7)). This client's end is then seen
                # when its response is written.
                self._watched.pop(descriptor, None)
        self._fresh.clear()

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                await trio.lowlevel.wait_readable(self._epoll.fileno())
                for descriptor, _ in self._epoll.poll(0, 64):
                    if (gone := self._watched.get(descriptor)) is not None:
                        gone()
        finally:
            self._alarm.end()
            self._epoll.close()
