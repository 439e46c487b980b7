"""Backend connections that serve one client only, because they begin with the PROXY header that tells of this client.

They are kept between its requests and end with its connection.
"""

from __future__ import annotations

from terminator.backend.connection import BackendConnection
from terminator.backend.server import Server


class PrivateConnections:
    """Belongs to one client connection, whose task closes it at the end. preamble: sent first on each of them."""

    def __init__(self, preamble: bytes) -> None:
        self.preamble = preamble
        self._idle: dict[Server, BackendConnection] = {}

    def take_idle(self, server: Server, now: float, idle_seconds: float) -> BackendConnection | None:
        """The kept connection to this server, if it is alive."""
        connection = self._idle.pop(server, None)
        if connection is None:
            return None
        if now - connection.idle_since < idle_seconds and connection.still_silent():
            return connection
        connection.close()
        return None

    def keep(self, server: Server, connection: BackendConnection, now: float) -> None:
        """Takes a reusable connection back; a client asks one thing after the other, so there is at most one."""
        if not server.configured:
            connection.close()
            return
        connection.idle_since = now
        before = self._idle.get(server)
        if before is not None:
            before.close()
        self._idle[server] = connection

    def close(self) -> None:
        while self._idle:
            self._idle.popitem()[1].close()
