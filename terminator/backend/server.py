"""One server of a backend, with everything this worker has learnt about it: load, health, idle connections.

It outlives generations: a reload that leaves a server in the configuration keeps its connections and its record.
"""

from __future__ import annotations

from collections import deque

from terminator.backend.connection import BackendConnection
from terminator.config.values import Address
from terminator.routing.health import Health
from terminator.telemetry.board import Gauge
from terminator.transport.connect import connect


class Server:
    """Named by its backend and its address."""

    def __init__(self, backend: str, address: Address) -> None:
        self.backend = backend
        self.address = address
        self.key = str(address)
        self.health = Health()
        self.reason = ""
        """Why its state changed last."""
        self.in_flight = 0
        """Requests of this worker that are with the server now."""
        self.elsewhere = 0
        """Those of the other workers, when last looked at."""
        self.gauge: Gauge | None = None
        """Where the other workers see `in_flight`."""
        self.configured = True
        """Some generation in force names it; else no connection to it is kept."""
        self._idle: deque[BackendConnection] = deque()
        self._private: dict[object, BackendConnection] = {}
        """Idle ones that serve one client only, under this client's key."""

    def count(self, requests: int) -> None:
        """Adds to the requests in flight."""
        self.in_flight += requests
        if self.gauge is not None:
            self.gauge.set(self.in_flight)

    def take_idle(self, now: float, idle_seconds: float) -> BackendConnection | None:
        """A kept connection that is alive, the one used last; None if there is none."""
        while self._idle:
            connection = self._idle.pop()
            if _alive(connection, now, idle_seconds):
                return connection
            connection.close()
        return None

    def keep(self, connection: BackendConnection, now: float, most: int) -> None:
        """Takes a reusable connection back; the oldest goes when there are more than `most`."""
        if not self.configured:
            connection.close()
            return
        connection.idle_since = now
        self._idle.append(connection)
        while len(self._idle) > most:
            self._idle.popleft().close()

    def take_private(self, owner: object, now: float, idle_seconds: float) -> BackendConnection | None:
        """The connection kept for `owner` alone, if it is alive."""
        connection = self._private.pop(owner, None)
        if connection is None or _alive(connection, now, idle_seconds):
            return connection
        connection.close()
        return None

    def keep_private(self, owner: object, connection: BackendConnection, now: float) -> None:
        """Takes a reusable connection back for `owner` alone, who has one at most."""
        self.close_private(owner)
        if not self.configured:
            connection.close()
            return
        connection.idle_since = now
        self._private[owner] = connection

    def close_private(self, owner: object) -> None:
        if (connection := self._private.pop(owner, None)) is not None:
            connection.close()

    async def connect(self) -> BackendConnection:
        """A new connection. Raises `ConnectFailed`; the caller sets the deadline."""
        return BackendConnection(await connect(self.address))

    def sweep(self, now: float, idle_seconds: float) -> None:
        """Closes idle connections that are past their time or whose server has ended them."""
        for _ in range(len(self._idle)):
            connection = self._idle.popleft()
            if _alive(connection, now, idle_seconds):
                self._idle.append(connection)
            else:
                connection.close()
        for owner, connection in tuple(self._private.items()):
            if not _alive(connection, now, idle_seconds):
                self.close_private(owner)

    def close(self) -> None:
        """Closes the idle connections; those in use belong to their exchanges."""
        while self._idle:
            self._idle.pop().close()
        while self._private:
            self._private.popitem()[1].close()

    @property
    def idle_connections(self) -> int:
        return len(self._idle) + len(self._private)


def _alive(connection: BackendConnection, now: float, idle_seconds: float) -> bool:
    return now - connection.idle_since < idle_seconds and connection.still_silent()
