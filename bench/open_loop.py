#!/usr/bin/env python3
"""GETs over kept TLS connections at a constant rate, each timed from the moment it was due.

    python bench/open_loop.py --port 8443 --rate 2000 [--path /hello] [--seconds 10] [--connections 64]

Request n is due n/rate seconds after the start, answered or not what came before, and leaves on the connection that
has been free longest; when none is free it waits for one, and that counts, as it would for a user (a load that waits
for answers before it asks again hides every stall: "coordinated omission"). Prints one JSON object, times in µs:

    requests, rate      how many were answered, and how many per second that was
    unanswered          were due and had no answer when the run was given up, or the connection was closed
    latency             p50, p99, p99.9 and max from due to answered
    late                the same of how late this generator was: from due to sent, where a connection was free
    queued              requests that found no free connection

The generator is one process, some 30 to 40 µs of CPU per request: `late` says whether it kept its own time.
"""

# ruff: noqa: T201 -- a command that prints its result

from __future__ import annotations

import argparse
import contextlib
import gc
import json
import pathlib
import select
import socket
import ssl
import time
from collections import deque

PATIENCE_SECONDS = 5.0
"""After the last request was due: what is unanswered then is told as such."""


class Connection:
    """One kept connection, with at most one request on its way."""

    def __init__(self, port: int) -> None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        plain = socket.create_connection(("127.0.0.1", port), 5)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = context.wrap_socket(plain, server_hostname="localhost")
        self.sock.setblocking(False)
        self.due = 0.0
        self._size = 0
        """Of a whole response, as the last one was."""

    def answered(self) -> bool:
        """Whether the response is complete. Raises OSError or ValueError for one that is not a good one."""
        received = b""
        while True:
            try:
                data = self.sock.recv(65536)
            except ssl.SSLWantReadError:
                if not received:
                    return False  # a session ticket
                select.select([self.sock], [], [], 1)
                continue
            if not data:
                raise ConnectionError("closed amid a response")
            received += data
            if len(received) == self._size:
                return True
            self._size = _size(received)
            if len(received) >= self._size > 0:
                return True


def _size(received: bytes) -> int:
    """Of the response that begins so; 0 when its head is not complete."""
    head, end, _ = received.partition(b"\r\n\r\n")
    if not end:
        return 0
    if not head.startswith(b"HTTP/1.1 200 "):
        raise ValueError(f"not what was asked for: {head[:60]!r}")
    return len(head) + 4 + int(head.lower().partition(b"content-length:")[2].split(b"\r\n")[0])


class Load:
    """One run. `late` and `latency` are seconds."""

    def __init__(self, port: int, path: str, rate: float, seconds: float, connections: int) -> None:
        self._request = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
        self._by_fd = {each.sock.fileno(): each for each in (Connection(port) for _ in range(connections))}
        self._free = deque(self._by_fd.values())
        self._poll = select.epoll()
        for fd in self._by_fd:
            self._poll.register(fd, select.EPOLLIN)
        self._rate = rate
        self._total = max(1, int(rate * seconds))
        self._sent = self._lost = 0
        self._start = 0.0
        self._freed = 0.0
        """When a connection became free that requests had waited for."""
        self.queued = 0
        self.late: list[float] = []
        self.latency: list[float] = []

    def run(self) -> dict[str, object]:
        """The result as the module's docstring describes it."""
        self._start = time.perf_counter() + 0.02
        give_up = self._start + self._total / self._rate + PATIENCE_SECONDS
        while len(self.latency) + self._lost < self._total and self._by_fd:
            self._send_what_is_due()
            waiting = self._free and self._sent < self._total
            wait = (self._start + self._sent / self._rate if waiting else give_up) - time.perf_counter()
            if not waiting and wait <= 0:
                break
            if wait > 0:
                select.select([self._poll], [], [], wait)  # epoll's own timeout counts in milliseconds
            self._take_answers()
        took = time.perf_counter() - self._start
        for connection in self._by_fd.values():
            connection.sock.close()
        return {
            "requests": len(self.latency),
            "rate": round(len(self.latency) / took, 1),
            "unanswered": self._total - len(self.latency),
            "latency": percentiles(self.latency),
            "late": percentiles(self.late),
            "queued": self.queued,
        }

    def _send_what_is_due(self) -> None:
        now = time.perf_counter()
        while self._free and self._sent < self._total and (due := self._start + self._sent / self._rate) <= now:
            if due < self._freed:
                self.queued += 1
            else:
                self.late.append(now - due)
            connection = self._free.popleft()
            connection.due = due
            self._sent += 1
            try:
                connection.sock.send(self._request)
            except OSError:
                self._drop(connection)
            now = time.perf_counter()

    def _take_answers(self) -> None:
        for fd, _ in self._poll.poll(0):
            connection = self._by_fd[fd]
            try:
                if not connection.answered():
                    continue
            except (OSError, ValueError):
                self._drop(connection)
                continue
            now = time.perf_counter()
            self.latency.append(now - connection.due)
            if not self._free:
                self._freed = now
            self._free.append(connection)

    def _drop(self, connection: Connection) -> None:
        self._lost += 1
        del self._by_fd[connection.sock.fileno()]
        self._poll.unregister(connection.sock)
        connection.sock.close()


def percentiles(seconds: list[float]) -> dict[str, float]:
    """In µs; nothing of nothing."""
    ordered = sorted(seconds)
    if not ordered:
        return {}
    found = {name: ordered[int(len(ordered) * part)] for name, part in (("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999))}
    return {name: round(value * 1e6, 1) for name, value in (*found.items(), ("max", ordered[-1]))}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--port", type=int, required=True, help="on 127.0.0.1")
    parser.add_argument("--rate", type=float, required=True, help="requests per second")
    parser.add_argument("--path", default="/hello")
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--connections", type=int, default=64)
    arguments = parser.parse_args()
    with contextlib.suppress(OSError):
        pathlib.Path("/proc/self/timerslack_ns").write_text("1000")  # the kernel rounds waits up to 50 µs otherwise
    gc.disable()
    load = Load(arguments.port, arguments.path, arguments.rate, arguments.seconds, arguments.connections)
    print(json.dumps(load.run()))


if __name__ == "__main__":
    main()
