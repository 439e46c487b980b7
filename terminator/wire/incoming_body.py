"""The body of a message as it comes in: h11 finds its end, many tiny chunks become one piece, trailers stay for the end."""

from __future__ import annotations

import h11

PIECE_BYTES = 65536
"""Small pieces are joined up to about this size: one send for all of them."""

MAX_JOINED = 64
"""Chunks read in one go. h11 takes some 15 µs for each, however small, so this bounds a turn to about a millisecond."""


class IncomingBody:
    """Reads the body of the message whose head `http` has just understood."""

    __slots__ = ("_http", "crowded", "ended", "size", "trailers")

    def __init__(self, http: h11.Connection) -> None:
        self._http = http
        self.ended = False
        """The body is complete and `trailers` are final."""
        self.trailers: list[tuple[bytes, bytes]] = []
        self.size = 0
        """Bytes of content so far, without framing."""
        self.crowded = False
        """The last piece was made of very many: the caller should let other tasks run before it goes on."""

    def feed(self, data: bytes) -> None:
        """Received bytes, or b"" when the peer will send no more."""
        self._http.receive_data(data)

    def piece(self) -> bytes | None:
        """The next piece, b"" at the end, None if more must be fed. Raises `h11.RemoteProtocolError`: bad framing, or
        an end that came too early."""
        if self.ended:
            return b""
        joined: list[bytes] = []
        size = 0
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
        self.crowded = len(joined) == MAX_JOINED
        self.size += size
        if size:
            return joined[0] if len(joined) == 1 else b"".join(joined)
        return b"" if self.ended else None
