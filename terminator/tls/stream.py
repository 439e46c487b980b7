"""An established TLS connection as a byte stream: the same calls as a plain one, with TLS's own ends.

OpenSSL reads and writes the socket itself (`ssl.SSLSocket`), which saves the copies of a memory BIO and leaves kernel
TLS possible. A send takes its whole piece or nothing and must be repeated with the same bytes, hence the law of
`transport.stream`: after a cancelled send neither data nor close_notify may follow.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Coroutine
from typing import Any, ClassVar

from terminator.errors import ClientGone, ClientStalled
from terminator.tls import openssl
from terminator.transport.stream import PIECE_BYTES, Bytes, Stream

RECORD_BYTES = 16384
"""The most a record holds (RFC 8446 §5.1). OpenSSL hands each to the kernel by itself."""


class TlsStream(Stream):
    """The client's side of a connection after its handshake. `sock` must not suppress ragged ends.

    ends_alone: `Capabilities.close_notify`. Without it a peer that goes on sending after our close_notify may lose what
    arrives in the very moment of it.
    """

    wants_read: ClassVar[tuple[type[OSError], ...]] = (ssl.SSLWantReadError,)
    wants_write: ClassVar[tuple[type[OSError], ...]] = (ssl.SSLWantWriteError,)

    __slots__ = ("_corked", "_ends_alone")

    sock: ssl.SSLSocket

    def __init__(self, sock: ssl.SSLSocket, *, ends_alone: bool = False) -> None:
        super().__init__(sock, ClientGone, ClientStalled)
        self._ends_alone = ends_alone
        self._corked = False

    def is_end(self, error: OSError) -> bool | None:
        """close_notify is an error to `ssl` once we have sent ours; an end without one has no class of its own in some
        Python versions (3.11.2)."""
        if isinstance(error, ssl.SSLZeroReturnError):
            return True
        if isinstance(error, ssl.SSLEOFError) or getattr(error, "reason", "") == "UNEXPECTED_EOF_WHILE_READING":
            return False
        return None

    def send_now(self, data: Bytes) -> int:
        """The records of `data` leave in as few segments as they fit, instead of one each that would wake the peer too.
        The cork outlasts the call for last words alone: the rest of a corked segment is held back for 200 ms."""
        if len(data) <= RECORD_BYTES:
            return super().send_now(data)
        if self._corked:
            return self._send_pieces(data)
        corked = _cork(self.sock, True)
        try:
            return self._send_pieces(data)
        finally:
            if corked:
                _cork(self.sock, False)

    def last_words(self) -> None:
        """They leave in one segment with close_notify."""
        self._corked = _cork(self.sock, True)

    def _uncork(self) -> None:
        if self._corked:
            self._corked = False
            _cork(self.sock, False)

    def _send_pieces(self, data: Bytes) -> int:
        if len(data) <= PIECE_BYTES:
            return super().send_now(data)
        sent = 0
        with memoryview(data) as view:
            while sent < len(view):
                piece = view[sent : sent + PIECE_BYTES]
                taken = super().send_now(piece)
                sent += taken
                if taken < len(piece):
                    break
        return sent

    def wait_readable(self) -> Coroutine[Any, Any, None]:
        """Is over at once while OpenSSL holds decrypted bytes that the kernel no longer shows."""
        # No coroutine of its own: every idle connection waits here, and each frame takes its memory.
        return _at_once() if self.sock.pending() else super().wait_readable()

    async def end(self) -> None:
        """Sends close_notify (RFC 8446 §6.1), which ends our direction; the TCP connection stays whole, since peers
        may take its half-close for the end of both. Not after a truncated body: see `give_up`."""
        self._say_goodbye()
        self._uncork()
        self.broken = True

    def close(self) -> None:
        """Closes with close_notify when it can be sent without waiting. Nobody may wait here any more, as nobody does
        when the task of the connection closes it: those that it started have ended before. So the loop need not be
        told (`notify_closing`); the kernel takes a closed descriptor out of its epoll."""
        self._say_goodbye()
        self._uncork()  # before closing, which resets the connection and drops what waits if there are bytes unread
        self.sock.close()

    def _say_goodbye(self) -> None:
        if self.broken or self.sock.fileno() < 0:
            return
        try:
            if not self._ends_alone:
                self.sock.unwrap()
            elif not openssl.send_close_notify(self.sock):
                return
            self.ended = True  # the peer had said goodbye before; what may follow is no TLS
        except (OSError, ValueError):
            # Want-read is the normal answer: our close_notify is out, the peer's has not come. The rest means that the
            # peer is gone; closing follows in every case.
            return


async def _at_once() -> None:
    """Nothing is waited for."""


def _cork(sock: ssl.SSLSocket, on: bool) -> bool:
    """TCP_CORK (tcp(7)): while it is on, only whole segments leave. Whether it could be done: a Unix socket has no
    segments to fill."""
    try:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, on)
    except OSError:
        return False
    return True
