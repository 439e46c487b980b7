"""The gate of responses: what a backend's head must satisfy before anything of it reaches the client.

As strict as the gate of requests, with two concessions to what servers really send: the reason may be missing together
with its space, and a repeated Content-Length may stand if all its values are the same (RFC 9112 §6.3). Both are written
anew in one form. Everything else that could be read in two ways is refused, since the next response on the connection
may belong to another client.
"""

from __future__ import annotations

import re

from terminator.errors import BackendInvalid
from terminator.record import record
from terminator.wire.framing import (
    VALUE,
    Fields,
    Framing,
    Malformed,
    check_transfer_encoding,
    connection_options,
    content_length,
    field_lines,
    joined,
    one,
)

_STATUS_LINE = re.compile(rb"HTTP/1\.([01]) ([1-5][0-9]{2})(?: (%b*))?\r\n" % VALUE)
_NO_OPTIONS: frozenset[bytes] = frozenset()


@record
class ResponseHead:
    """A response that may be sent on."""

    status: int
    reason: bytes
    """As sent, possibly empty, possibly with bytes beyond ASCII (obs-text)."""
    version: str
    """`1.1` or `1.0`."""
    fields: Fields
    """All field lines in order, hop-by-hop ones too: (name in lower case, value without whitespace around it)."""
    framing: Framing
    """Where the content ends, given the request's method: NONE for HEAD, 1xx, 204 and 304 whatever the fields say."""
    content_length: int | None
    """What Content-Length says. For HEAD and 304 it is what a GET would have had, and `framing` is NONE."""
    connection: frozenset[bytes]
    """Connection options in lower case."""
    upgrade: bytes | None
    """The value of Upgrade if Connection nominates it. Whether a 101 was asked for is the caller's to know."""
    keep_alive: bool
    """Another request may follow on this connection (RFC 9112 §9.3)."""


def parse(raw: bytes, *, request_method: str, max_fields: int) -> ResponseHead:
    """Reads a response head, which ends with its empty line. Raises BackendInvalid and nothing else; the connection
    cannot be used any more then."""
    try:
        return _parse(raw, request_method, max_fields)
    except Malformed as error:
        raise BackendInvalid(f"the response head is refused: {error}") from None


def _parse(raw: bytes, request_method: str, max_fields: int) -> ResponseHead:
    line = _STATUS_LINE.match(raw)
    if line is None:
        raise Malformed(_line_fault(raw))
    minor, digits, reason = line.groups()
    start = line.end()
    status = int(digits)
    if max_fields and raw.count(b"\n", start) - 1 > max_fields:
        raise Malformed(f"more than {max_fields} field lines")
    if not raw.endswith(b"\r\n\r\n"):
        raise Malformed("the head does not end with an empty line (RFC 9112 §2.1)")

    fields = field_lines(raw, start)
    values = dict(fields)
    if len(values) != len(fields):
        _settle_repeated(fields, values)

    # Content-Length and Transfer-Encoding are judged even where they frame nothing: a backend that contradicts itself
    # in a response to HEAD will do so in the next one.
    length_value = values.get(b"content-length")
    encoding = values.get(b"transfer-encoding")
    length = None if length_value is None else content_length(length_value)
    if encoding is not None:
        check_transfer_encoding(encoding, minor, length_value)

    in_step = True
    if status < 200 or status == 204:
        framing = Framing.NONE
        # "A server MUST NOT send" either field here (RFC 9110 §8.6, RFC 9112 §6.1). One that does may send content too.
        in_step = not length and encoding is None
        length = None
    elif status == 304 or request_method == "HEAD":
        framing = Framing.NONE
    elif encoding is not None:
        framing = Framing.CHUNKED
    elif length is not None:
        framing = Framing.LENGTH
    else:
        framing = Framing.UNTIL_CLOSE

    connection, upgrade = _NO_OPTIONS, None
    if (options := values.get(b"connection")) is not None:
        connection = connection_options(options)
        if b"upgrade" in connection:
            upgrade = values.get(b"upgrade")
    wanted = b"close" not in connection and (minor == b"1" or b"keep-alive" in connection)

    return ResponseHead(
        status,
        reason or b"",
        "1.1" if minor == b"1" else "1.0",
        fields,
        framing,
        length,
        connection,
        upgrade,
        wanted and in_step and framing is not Framing.UNTIL_CLOSE,
    )


def _settle_repeated(fields: Fields, values: dict[bytes, bytes]) -> None:
    """Some field stands here more than once: not Transfer-Encoding, Content-Length only with one value."""
    one(fields, b"transfer-encoding", "RFC 9112 §6.1")
    if len({value for name, value in fields if name == b"content-length"}) > 1:
        raise Malformed("Content-Length fields that differ (RFC 9112 §6.3)")
    for name in (b"connection", b"upgrade"):
        if (value := joined(fields, name)) is not None:
            values[name] = value


def _line_fault(raw: bytes) -> str:
    line = raw.partition(b"\n")[0]
    if not line.endswith(b"\r"):
        return "the status line ends with a bare LF (RFC 9112 §2.2)"
    if not line.startswith(b"HTTP/"):
        return "not a status line (RFC 9112 §4)"
    if not re.match(rb"HTTP/1\.[01] ", line):
        return "neither HTTP/1.1 nor HTTP/1.0 (RFC 9112 §2.3)"
    if not re.match(rb"HTTP/1\.[01] [1-5][0-9]{2}(?![0-9])", line):
        return "the status is not three digits from 100 to 599 (RFC 9110 §15)"
    return "a control byte in the reason (RFC 9112 §4)"
