"""The body of a message as it comes in: h11 finds its end, tiny chunks become one piece, trailers stay for the end.

The framing of a chunked body passes `wire.chunk_gate` as well, which is stricter than h11.

This reader takes every framing there is. `wire.express` has another for the plain cases, with the same calls and the
same answers; `Body` is what both promise.
"""

from __future__ import annotations

from typing import Protocol

import h11

from terminator.wire.chunk_gate import ChunkGate
from terminator.wire.framing import Malformed

PIECE_BYTES = 65536
"""Small pieces are joined up to about this size: one send for all of them."""

MAX_JOINED = 64
"""Chunks read in one go. h11 takes some 15 µs for each, however small, so this bounds a turn to about a millisecond."""

MAX_LINE_BYTES = 65536
"""A chunk's size line with its extensions, or all trailers; h11 refuses more."""


class BodyFault(Exception):
    """The framing is broken, or the end came too early; the text says which."""


class Body(Protocol):
    """One message's body, read as its bytes come in."""

    ended: bool
    """The body is complete and `trailers` are final."""
    size: int
    """Bytes of content so far, without framing."""
    crowded: bool
    """The last piece was made of very many: the caller should let other tasks run before it goes on."""
    trailers: list[tuple[bytes, bytes]]

    def feed(self, data: bytes) -> None:
        """Received bytes, or b"" when the peer will send no more."""

    def piece(self) -> bytes | None:
        """The next piece, b"" at the end, None if more must be fed. Raises `BodyFault`."""

    def rest(self) -> bytes:
        """After the end: what came behind the body."""


class IncomingBody:
    """Reads the body of the message whose head `http` has just understood; `chunked` says how it is framed."""

    __slots__ = ("_fault", "_gate", "_http", "crowded", "ended", "size", "trailers")

    def __init__(self, http: h11.Connection, *, chunked: bool = False) -> None:
        self._http = http
        self._gate = ChunkGate() if chunked else None
        self._fault: Malformed | None = None
        self.ended = False
        self.trailers: list[tuple[bytes, bytes]] = []
        self.size = 0
        self.crowded = False

    @classmethod
    def at_chunk(cls) -> IncomingBody:
        """A reader that begins amid a chunked body, where a chunk's size line is next."""
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=MAX_LINE_BYTES)
        http.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        http.next_event()
        return cls(http, chunked=True)

    def feed(self, data: bytes) -> None:
        if self._gate is not None and self._fault is None:
            try:
                self._gate.look(data)
            except Malformed as error:
                self._fault = error
        self._http.receive_data(data)

    def piece(self) -> bytes | None:
        if self.ended:
            return b""
        if self._fault is not None:
            raise BodyFault(str(self._fault)) from self._fault
        joined: list[bytes] = []
        size = 0
        try:
            while size < PIECE_BYTES and len(joined) < MAX_JOINED:
                event = self._http.next_event()
                if isinstance(event, h11.Data):
                    joined.append(event.data)
                    size += len(event.data)
                elif isinstance(event, h11.EndOfMessage):
                    self.ended = True
                    self.trailers = list(event.headers)
                    break
                else:
                    break
        except h11.RemoteProtocolError as error:
            raise BodyFault(str(error)) from error
        self.crowded = len(joined) == MAX_JOINED
        self.size += size
        if size:
            return joined[0] if len(joined) == 1 else b"".join(joined)
        return b"" if self.ended else None

    def rest(self) -> bytes:
        return bytes(self._http.trailing_data[0])
