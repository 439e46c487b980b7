"""From the fields of an event to a line: as JSON, whatever a client put into them, and no longer than it may be."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import orjson

_SHORTEST_CUT = 8
_ESSENTIAL = frozenset({"time", "level", "event", "worker", "conn.id", "log.truncated", "generation"})
_SURROGATE = re.compile("[\ud800-\udfff]")
_CONTROL = re.compile(rb"\x7f|\xc2[\x80-\x9f]")


def json_line(fields: dict[str, Any]) -> bytes:
    """One JSON object and its line feed. Never raises: what JSON cannot hold is written as text."""
    try:
        line = orjson.dumps(fields, option=orjson.OPT_APPEND_NEWLINE)
    except (TypeError, ValueError):  # a lone surrogate, an integer past 64 bits, a type that orjson does not know
        line = orjson.dumps(_printable_fields(fields), option=orjson.OPT_APPEND_NEWLINE)
    return line if 0x7F not in line and line.isascii() else escaped_controls(line)  # most need no call


def escaped_controls(document: bytes) -> bytes:
    """JSON with the control characters escaped that RFC 8259 lets stand: DEL, and U+0080 to U+009F, which a terminal
    that shows the log would obey (U+009B begins a sequence as ESC [ does)."""
    if 0x7F not in document and (document.isascii() or 0xC2 not in document):  # a number is found faster than a byte
        return document
    return _CONTROL.sub(lambda found: b"\\u%04x" % found[0][-1], document)


def shortened(fields: dict[str, Any], limit: int, render: Callable[[dict[str, Any]], bytes]) -> bytes:
    """The line with its longest values halved until it fits; names, numbers and short values stay whole."""
    fields = _printable_fields(fields)
    fields["log.truncated"] = True
    while len(line := render(fields)) > limit:
        name = max(fields.keys() - _ESSENTIAL, key=lambda name: _weight(fields[name]), default="event")
        value = fields[name]
        if name == "event" or _weight(value) <= _SHORTEST_CUT:
            return render({name: value for name, value in fields.items() if name in _ESSENTIAL})
        if isinstance(value, str):
            fields[name] = value[: len(value) // 2 - 1] + "…"
        else:
            fields[name] = value[: len(value) // 2] if len(value) > 1 else value[0]
    return line


def _weight(value: object) -> int:
    """About how long a value is in the line, if it may be cut at all."""
    if isinstance(value, str):
        return len(value) if value.isascii() else 2 * len(value)
    return sum(map(_weight, value)) + len(value) if isinstance(value, list) else 0


def _printable_fields(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: _printable(value) for name, value in fields.items()}


def _printable(value: object) -> Any:
    """The value as something every format can write; bytes that are no UTF-8 as `\\xNN`."""
    if isinstance(value, str):
        return _SURROGATE.sub(_surrogate, value)
    if isinstance(value, (bytes, bytearray, memoryview)):
        return bytes(value).decode("utf-8", "backslashreplace")
    if isinstance(value, (list, tuple, set, frozenset)):
        return [_printable(part) for part in value]
    if value is None or isinstance(value, (bool, float)) or (isinstance(value, int) and abs(value) < 2**63):
        return value
    return _printable(str(value))


def _surrogate(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"
