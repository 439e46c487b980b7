"""An upgraded connection: two byte streams joined, each direction ending by itself (half-close), idle time bounded."""

from __future__ import annotations

import trio

from terminator.errors import BackendError, ClientError
from terminator.transport.stream import Stream

RECEIVE_BYTES = 65536


class Tunnel:
    """Joins `client` and `backend` until both directions have ended; owns neither."""

    def __init__(self, client: Stream, backend: Stream, idle_seconds: float) -> None:
        self._client = client
        self._backend = backend
        self._idle_seconds = idle_seconds
        self._scope = trio.CancelScope()
        self.client_bytes = 0
        """Received from the client."""
        self.backend_bytes = 0
        """Received from the backend."""
        self.closed_by: str | None = None
        """client | backend | idle_timeout | client_error | backend_error; None while open or when cut from outside."""

    async def run(self, from_client: bytes, from_backend: bytes) -> None:
        """First sends on what either side said already, then all that follows. Returns at the end; never raises for a
        peer that goes away, see `closed_by`."""
        self._touch()
        with self._scope:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._pump, "client", self._client, self._backend, from_client)
                nursery.start_soon(self._pump, "backend", self._backend, self._client, from_backend)
        if self._scope.cancelled_caught:
            self.closed_by = self.closed_by or "idle_timeout"

    def _touch(self) -> None:
        self._scope.deadline = trio.current_time() + self._idle_seconds

    async def _pump(self, side: str, source: Stream, sink: Stream, data: bytes) -> None:
        try:
            while True:
                if data:
                    if side == "client":
                        self.client_bytes += len(data)
                    else:
                        self.backend_bytes += len(data)
                    await sink.send(data)
                    self._touch()
                data = await source.receive(RECEIVE_BYTES)
                self._touch()
                if not data:
                    break
        except (ClientError, BackendError) as error:
            self.closed_by = self.closed_by or ("client_error" if isinstance(error, ClientError) else "backend_error")
            # What the other side got may be half a message: it shall see a truncation, not an end.
            self._client.give_up()
            self._backend.give_up()
            self._scope.cancel()
            return
        self.closed_by = self.closed_by or side
        await sink.end()
