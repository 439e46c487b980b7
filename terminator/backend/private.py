"""Backend connections that serve one client only, because they begin with the PROXY header that tells of this client.

Kept between its requests, they end with its connection, or before it with what ends every idle connection: its time,
its server's end, a reload that removes the server. So their servers keep them, under the client that they are for.
"""

from __future__ import annotations

from terminator.backend.connection import BackendConnection
from terminator.backend.server import Server


class PrivateConnections:
    """Belongs to one client connection, whose task closes it at the end. preamble: sent first on each of them."""

    def __init__(self, preamble: bytes) -> None:
        self.preamble = preamble
        self._servers: set[Server] = set()

    def take_idle(self, server: Server, now: float, idle_seconds: float) -> BackendConnection | None:
        """The kept connection to this server, if it is alive."""
        return server.take_private(self, now, idle_seconds)

    def keep(self, server: Server, connection: BackendConnection, now: float) -> None:
        """Takes a reusable connection back; a client asks one thing after the other, so there is at most one."""
        self._servers.add(server)
        server.keep_private(self, connection, now)

    def close(self) -> None:
        for server in self._servers:
            server.close_private(self)
