"""Collects bytes until a whole head is there; what follows the head stays untouched for whoever reads the body.

A head ends with its first empty line. A line feed without its carriage return ends the search too: such bytes are no
valid head and never become one (RFC 9112 §2.2), so the parser shall refuse them now and not when a timeout fires.
"""

from __future__ import annotations

import re

_END = re.compile(rb"\r\n\r\n|(?<!\r)\n")


class HeadBuffer:
    """The bytes received and not yet understood, of one direction of one connection."""

    __slots__ = ("_data", "_searched", "_skipped", "max_head_bytes")

    def __init__(self, max_head_bytes: int) -> None:
        self.max_head_bytes = max_head_bytes
        self._data = bytearray()
        self._searched = 0
        self._skipped = False

    def __len__(self) -> int:
        return len(self._data)

    def feed(self, data: bytes) -> None:
        self._data += data

    def skip_empty_line(self) -> None:
        """Drops one CRLF before a request line (RFC 9112 §2.2): some old clients send it after a body. A second one
        stays, however often this is called, and no head begins with it."""
        if not self._skipped and self._data.startswith(b"\r\n"):
            self._skipped = True
            del self._data[:2]
            self._searched = 0

    def peek(self) -> bytearray:
        """What is here; to be looked at before anything else is done, and not to be changed."""
        return self._data

    def forget(self) -> None:
        """Drops all that is here: it was one head and its body, and somebody else has read them."""
        self._data.clear()
        self._searched = 0
        self._skipped = False

    def take_head(self) -> bytes | None:
        """The head with its empty line, or None while it is incomplete. See `overflows`."""
        data = self._data
        end = data.find(b"\r\n\r\n", self._searched) + 4
        if end == 3 or data.count(b"\n", 0, end) != data.count(b"\r\n", 0, end):
            found = _END.search(data, self._searched)  # several times as slow: for what is incomplete or invalid
            if found is None:
                self._searched = max(0, len(data) - 3)
                return None
            end = found.end()
        if end == len(data):
            head = bytes(data)
            data.clear()
        else:
            head = bytes(data[:end])
            del data[:end]
        self._searched = 0
        self._skipped = False
        return head

    @property
    def overflows(self) -> bool:
        """An incomplete head is longer than allowed: it will never be taken."""
        return len(self._data) > self.max_head_bytes

    def take_all(self) -> bytes:
        """Everything received after the last head; the buffer is empty then."""
        data = bytes(self._data)
        self._data.clear()
        self._searched = 0
        return data
