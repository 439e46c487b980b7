"""What requests and responses share: the grammar of field lines, connection options, and the ways a body is framed.

Nothing is repaired here: a line that two parsers could read in two ways is refused (RFC 9112 §2.2, §5, §6.3). Whose
fault it was is known to the caller alone, so `Malformed` never leaves `wire`: the two heads map it to their error.
"""

from __future__ import annotations

import enum
import re
from functools import lru_cache

MAX_NAME_BYTES = 256
"""Bytes of a field name. The longest registered one has 45; names are kept in bounded tables, so they are bounded."""

MAX_CONNECTION_BYTES = 1024
"""Bytes of a Connection field's value, for the same reason."""

MAX_LENGTH_DIGITS = 18
"""Digits of a Content-Length: below 2**63 in every backend's language. h11 takes 20."""

TOKEN = rb"[-!#$%&'*+.^_`|~0-9A-Za-z]"  # tchar, RFC 9110 §5.6.2
VALUE = rb"[\t\x20-\x7e\x80-\xff]"  # field-content with obs-text, RFC 9110 §5.5: no control byte but the tab

_FIELD = re.compile(rb"(?<=\n)(%b{1,%d}):(%b*)\r\n" % (TOKEN, MAX_NAME_BYTES, VALUE))
_NAME = re.compile(rb"%b+" % TOKEN)
_NOT_IN_VALUE = re.compile(rb"[^\t\x20-\x7e\x80-\xff]")
_LENGTH = re.compile(rb"[0-9]{1,%d}" % MAX_LENGTH_DIGITS)

# Fields that are meant for every recipient, or frame and route the message: nobody may have them removed on the way
# ("A sender MUST NOT send a connection option corresponding to a field that is intended for all recipients of the
# content", RFC 9110 §7.6.1). A client that tries wants the backend to see another request than we do.
_NEVER_NOMINATED = frozenset(
    b"host content-length transfer-encoding content-type content-encoding content-range expect range authorization "
    b"cookie set-cookie cache-control max-forwards via date location".split()
)

Fields = tuple[tuple[bytes, bytes], ...]


class Framing(enum.Enum):
    """Where the content of a message ends (RFC 9112 §6.3)."""

    NONE = "none"
    """No content: the message ends with its head."""
    LENGTH = "length"
    """So many bytes as Content-Length says, which may be 0."""
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"
    """Responses only: the connection's end is the content's end."""


class Malformed(Exception):
    """The head breaks the grammar or can be read in two ways; the text names the section."""


def field_lines(raw: bytes, start: int) -> Fields:
    """All field lines of `raw`, which begin at `start` and end before its last CRLF: names in lower case, values
    without the whitespace around them. Raises Malformed."""
    end = len(raw) - 2
    found = _FIELD.findall(raw, start, end)
    # Each match is one whole line, from after a line feed up to its CRLF. With as many matches as there are line feeds,
    # no byte lies between them.
    if len(found) != raw.count(b"\n", start, end):
        raise Malformed(_first_fault(raw[start:end]))
    return tuple([(name.lower(), value.strip(b" \t")) for name, value in found])


def one(fields: Fields, name: bytes, section: str) -> bytes | None:
    """The value of a field that may stand here only once, None if it is absent. Raises Malformed."""
    values = [value for key, value in fields if key == name]
    if len(values) > 1:
        raise Malformed(f"more than one {name.title().decode()} field ({section})")
    return values[0] if values else None


def joined(fields: Fields, name: bytes) -> bytes | None:
    """The values of all lines of a list-valued field as one (RFC 9110 §5.3), None if it is absent."""
    values = [value for key, value in fields if key == name]
    return b", ".join(values) if values else None


def connection_options(value: bytes) -> frozenset[bytes]:
    """The options of a Connection field in lower case (RFC 9110 §7.6.1). Raises Malformed."""
    if len(value) > MAX_CONNECTION_BYTES:
        raise Malformed(f"the Connection field passes {MAX_CONNECTION_BYTES} bytes")
    return _connection_options(value)


@lru_cache(maxsize=256)
def _connection_options(value: bytes) -> frozenset[bytes]:
    options = [option for part in value.lower().split(b",") if (option := part.strip(b" \t"))]
    for option in options:
        if not _NAME.fullmatch(option):
            raise Malformed("a connection option is no token (RFC 9110 §7.6.1)")
        if option in _NEVER_NOMINATED:
            raise Malformed(f"Connection nominates {option.decode()}, which is meant for all (RFC 9110 §7.6.1)")
    return frozenset(options)


def content_length(value: bytes) -> int:
    """1*DIGIT and nothing else (RFC 9110 §8.6): no sign, no list, no space. Raises Malformed."""
    if not _LENGTH.fullmatch(value):
        raise Malformed(f"Content-Length is not 1 to {MAX_LENGTH_DIGITS} digits (RFC 9110 §8.6)")
    return int(value)


def check_transfer_encoding(value: bytes, version: bytes, content_length: bytes | None) -> None:
    """`chunked` alone, on HTTP/1.1, and no Content-Length beside it; else Malformed."""
    if value.lower() != b"chunked":
        raise Malformed("Transfer-Encoding is not chunked alone (RFC 9112 §6.1)")
    if version != b"1":
        raise Malformed("Transfer-Encoding in HTTP/1.0 (RFC 9112 §6.1)")
    if content_length is not None:
        raise Malformed("Content-Length beside Transfer-Encoding (RFC 9112 §6.1)")


def _first_fault(block: bytes) -> str:
    """Why these lines are not all field lines; said for the log, without a byte of theirs."""
    for line in block.split(b"\n"):
        if fault := _line_fault(line):
            return fault
    return "the head does not end with an empty line (RFC 9112 §2.1)"


def _line_fault(line: bytes) -> str | None:
    if not line:  # what split leaves behind the last line feed
        return None
    if not line.endswith(b"\r"):
        return "a line ends with a bare LF (RFC 9112 §2.2)"
    line = line[:-1]
    if not line:
        return "an empty line amid the head (RFC 9112 §2.1)"
    if line[:1] in b" \t":
        return "a folded line (RFC 9112 §5.2)"
    name, colon, value = line.partition(b":")
    if not colon:
        return "a field line without a colon (RFC 9112 §5)"
    if not name:
        return "an empty field name (RFC 9110 §5.1)"
    if name[-1:] in b" \t":
        return "whitespace between field name and colon (RFC 9112 §5.1)"
    if not _NAME.fullmatch(name):
        return "a field name is no token (RFC 9110 §5.1)"
    if len(name) > MAX_NAME_BYTES:
        return f"a field name passes {MAX_NAME_BYTES} bytes"
    if b"\r" in value:
        return "a bare CR in a field value (RFC 9112 §2.2)"
    if b"\0" in value:
        return "a NUL in a field value (RFC 9110 §5.5)"
    if _NOT_IN_VALUE.search(value):
        return "a control byte in a field value (RFC 9110 §5.5)"
    return None
