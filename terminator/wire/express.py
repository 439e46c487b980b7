"""The express lane: bodies framed in the plainest ways, read without h11, for a third of an exchange's cost.

It takes a body of known length, none at all, and chunks whose size lines are nothing but a size. At the first thing
that is more (an extension, a trailer, anything odd) the rest goes to h11, also amid a body: h11 then reads on from a
chunk's border. So this module decides nothing that h11 would decide otherwise, and could be deleted without loss of
function: `incoming_body` reads all that it reads.
"""

from __future__ import annotations

import re

from terminator.wire.incoming_body import PIECE_BYTES, Body, BodyFault, IncomingBody

_SIZE_LINE = re.compile(rb"([0-9a-fA-F]{1,15})\r\n")
_LONGEST_SIZE_LINE = 17
MAX_JOINED = 1024
"""Chunks read in one go, at about half a microsecond each."""

Trailers = list[tuple[bytes, bytes]]


class CountedBody:
    """A body of `length` bytes."""

    __slots__ = ("_data", "_left", "_peer_ended", "crowded", "ended", "size", "trailers")

    def __init__(self, length: int) -> None:
        self._left = length
        self._data = b""
        self._peer_ended = False
        self.ended = not length
        self.size = 0
        self.crowded = False
        self.trailers: Trailers = []

    def feed(self, data: bytes) -> None:
        if not data:
            self._peer_ended = True
        self._data = self._data + data if self._data else data

    def piece(self) -> bytes | None:
        if self.ended:
            return b""
        data = self._data
        if not data:
            if self._peer_ended:
                raise BodyFault(f"the end came {self._left} bytes early")
            return None
        if len(data) > self._left:
            data, self._data = data[: self._left], data[self._left :]
        else:
            self._data = b""
        self._left -= len(data)
        self.size += len(data)
        self.ended = not self._left
        return data

    def whole(self) -> bytes | None:
        """All bytes still to be given out, if they are here; they stay."""
        return self._data[: self._left] if len(self._data) >= self._left else None

    def rest(self) -> bytes:
        data, self._data = self._data, b""
        return data

    def hand_out(self) -> int:
        """How many bytes are still to come, none of them here: whoever asks moves them past this reader."""
        if self._data:
            return 0
        left, self._left = self._left, 0
        self.size += left
        self.ended = True
        return left


class ChunkedBody:
    """A chunked body (RFC 9112 §7.1)."""

    __slots__ = ("_data", "_h11", "_left", "_peer_ended", "crowded", "ended", "size", "trailers")

    def __init__(self) -> None:
        self._data = bytearray()
        self._left = 0
        """Bytes still to come of the chunk that is being read, the CRLF behind it included; 0 at a border."""
        self._peer_ended = False
        self._h11: IncomingBody | None = None
        self.ended = False
        self.size = 0
        self.crowded = False
        self.trailers: Trailers = []

    def feed(self, data: bytes) -> None:
        if self._h11 is not None:
            self._h11.feed(data)
        elif data:
            self._data += data
        else:
            self._peer_ended = True

    def piece(self) -> bytes | None:
        if (reader := self._reader()) is not None:
            return self._of_h11(reader)
        joined, size = self._read_chunks()
        self.crowded = len(joined) >= MAX_JOINED
        self.size += size
        if size:
            return joined[0] if len(joined) == 1 else b"".join(joined)
        if self.ended:
            return b""
        if (reader := self._reader()) is not None:
            return self._of_h11(reader)
        if self._peer_ended:
            raise BodyFault("the end came amid a chunked body")
        return None

    def _read_chunks(self) -> tuple[list[bytes], int]:
        """The whole pieces that are there, up to a useful size. Sets `ended`, or hands the rest over to h11."""
        data, at, size = self._data, 0, 0
        joined: list[bytes] = []
        while not self.ended and size < PIECE_BYTES and len(joined) < MAX_JOINED:
            if not self._left:
                line = _SIZE_LINE.match(data, at)
                if line is None:
                    if len(data) - at >= _LONGEST_SIZE_LINE or b"\n" in data[at:] or not _may_begin_size(data, at):
                        self._hand_over(at)
                        return joined, size
                    break
                length = int(line[1], 16)
                if not length:
                    if len(data) < line.end() + 2:
                        break
                    if data[line.end() : line.end() + 2] != b"\r\n":
                        self._hand_over(at)
                        return joined, size
                    at = line.end() + 2
                    self.ended = True
                    break
                at = line.end()
                self._left = length + 2
            content = min(self._left - 2, len(data) - at) if self._left > 2 else 0
            if content > 0:
                joined.append(bytes(data[at : at + content]))
                at += content
                size += content
                self._left -= content
            if self._left > 2 or len(data) - at < self._left:
                break  # more of this chunk, or of the CRLF behind it, must come
            if self._left == 2:
                if data[at : at + 2] != b"\r\n":
                    raise BodyFault("a chunk is longer than its size")
                at += 2
                self._left = 0
        del data[:at]
        return joined, size

    def _hand_over(self, at: int) -> None:
        """From this border on h11 reads."""
        self._h11 = IncomingBody.at_chunk()
        self._h11.feed(bytes(self._data[at:]))
        if self._peer_ended:
            self._h11.feed(b"")
        self._data.clear()

    def _reader(self) -> IncomingBody | None:
        return self._h11

    def _of_h11(self, body: IncomingBody) -> bytes | None:
        before = body.size
        piece = body.piece()
        self.size += body.size - before
        self.ended, self.crowded, self.trailers = body.ended, body.crowded, body.trailers
        return piece

    def rest(self) -> bytes:
        if self._h11 is not None:
            return self._h11.rest()
        data = bytes(self._data)
        self._data.clear()
        return data


def _may_begin_size(data: bytearray, at: int) -> bool:
    """Whether what is there could still become a plain size line."""
    tail = bytes(data[at:])
    return _BEGINNING.fullmatch(tail) is not None


_BEGINNING = re.compile(rb"(?:[0-9a-fA-F]{1,15}\r?)?")


def counted(length: int) -> Body:
    """The reader of a body with this Content-Length, or of none (0)."""
    return CountedBody(length)


def chunked() -> Body:
    """The reader of a chunked body."""
    return ChunkedBody()
