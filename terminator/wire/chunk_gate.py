"""The gate of chunked bodies: the lines that frame them, read strictly beside h11, which lets some of them pass.

h11 takes a bare LF for the end of trailers, folded trailer lines, and any byte in a chunk extension, a bare CR too: by
each of them two parsers have seen two requests where there was one (RFC 9112 §11.2). What passes here h11 reads alike.
Extensions are judged by their grammar, then dropped: "A recipient MUST ignore unrecognized chunk extensions" (§7.1.1).
"""

from __future__ import annotations

import re

from terminator.wire.framing import TOKEN, Malformed, field_lines

MAX_SIZE_LINE_BYTES = 4096
"""A chunk's size with its extensions. Go allows as much; h11 64 KiB."""

MAX_TRAILER_BYTES = 65536
"""All trailer fields of a message, as many as h11 takes."""

_QUOTED = rb'"(?:[\t \x21\x23-\x5b\x5d-\x7e\x80-\xff]|\\[\t\x20-\x7e\x80-\xff])*"'  # RFC 9110 §5.6.4
_EXTENSION = rb"[ \t]*;[ \t]*%b+(?:[ \t]*=[ \t]*(?:%b+|%b))?" % (TOKEN, TOKEN, _QUOTED)
# Whitespace behind a size is what some servers pad it with; every parser that takes it reads the same size.
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})(?:%b)*[ \t]*\r\n" % _EXTENSION)


class ChunkGate:
    """Sees all bytes from the first chunk's size line on, in any pieces; those behind the body do not matter to it."""

    __slots__ = ("_line", "_passed", "_skip", "_trailers")

    def __init__(self) -> None:
        self._line = bytearray()
        """The line that is being received."""
        self._skip = 0
        """Bytes to come of the chunk that is being received, the CRLF behind it included."""
        self._trailers: bytearray | None = None
        """All trailer lines so far; None before the last chunk."""
        self._passed = False

    def look(self, data: bytes) -> None:
        """Raises Malformed at the first thing that is not as RFC 9112 §7.1 has it."""
        at, end = 0, len(data)
        while at < end and not self._passed:
            if self._skip > 2:
                step = min(self._skip - 2, end - at)
                at += step
                self._skip -= step
            elif self._skip:
                if data[at] != (13 if self._skip == 2 else 10):
                    raise Malformed("a chunk does not end with CRLF where its size says (RFC 9112 §7.1)")
                at += 1
                self._skip -= 1
            else:
                feed = data.find(b"\n", at)
                self._line += data[at : end if feed < 0 else feed + 1]
                at = end if feed < 0 else feed + 1
                self._check_length()
                if feed >= 0:
                    self._take(bytes(self._line))
                    self._line.clear()

    def _check_length(self) -> None:
        if self._trailers is None:
            if len(self._line) > MAX_SIZE_LINE_BYTES:
                raise Malformed(f"a chunk's size line passes {MAX_SIZE_LINE_BYTES} bytes")
        elif len(self._trailers) + len(self._line) > MAX_TRAILER_BYTES:
            raise Malformed(f"the trailers pass {MAX_TRAILER_BYTES} bytes")

    def _take(self, line: bytes) -> None:
        if self._trailers is None:
            found = _SIZE_LINE.fullmatch(line)
            if found is None:
                raise Malformed("not a chunk's size line (RFC 9112 §7.1)")
            size = int(found[1], 16)
            if size:
                self._skip = size + 2
            else:
                self._trailers = bytearray(b"\n")  # as if after a line: `field_lines` looks for that
        elif line == b"\r\n":
            field_lines(bytes(self._trailers) + b"\r\n", 1)
            self._passed = True
        elif not line.endswith(b"\r\n"):
            raise Malformed("a trailer line ends with a bare LF (RFC 9112 §2.2)")
        else:
            self._trailers += line
