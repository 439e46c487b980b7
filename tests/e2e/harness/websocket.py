"""A WebSocket client for tests that are not asynchronous: the `websockets` client on an event loop of its own.

Not `websockets.sync`, whose second thread reads while the first one writes: an OpenSSL connection belongs to one thread
at a time, and the tickets that follow a TLS 1.3 handshake make the two meet.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections.abc import Coroutine
from typing import Any, Self

from websockets.asyncio.client import connect

WAIT_SECONDS = 20.0


class WebSocket:
    """An open connection; the constructor raises what `websockets` raises when the handshake is refused."""

    def __init__(self, sock: socket.socket, uri: str, context: ssl.SSLContext, **options: Any) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()

        async def open_() -> Any:
            return await connect(uri, sock=sock, ssl=context, max_size=None, **options)

        try:
            self._connection = self._wait(open_())
        except BaseException:
            self._end_loop()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def subprotocol(self) -> str | None:
        return self._connection.subprotocol  # type: ignore[no-any-return]

    def send(self, message: str | bytes) -> None:
        self._wait(self._connection.send(message))

    def recv(self, timeout: float = WAIT_SECONDS) -> str | bytes:
        """The next message. Raises ConnectionClosed at the end, TimeoutError when none comes in time."""
        return self._wait(self._connection.recv(), timeout)  # type: ignore[no-any-return]

    def close(self) -> None:
        """Says goodbye and waits for the answer; harmless when closed already."""
        if self._thread.is_alive():
            self._wait(self._connection.close())
            self._end_loop()

    def _wait(self, work: Coroutine[Any, Any, Any], seconds: float = WAIT_SECONDS) -> Any:
        return asyncio.run_coroutine_threadsafe(asyncio.wait_for(work, seconds), self._loop).result(seconds + 5)

    def _end_loop(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()
