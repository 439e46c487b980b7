"""systemd's journal: which of our descriptors lead to it, the native datagram with fields, the priority of a line.

Lifecycle events and failures go to the journal's own socket, so that `journalctl TLS_SNI=shop.example` or
`journalctl ERROR_TYPE=timeout` finds them; MESSAGE is the same line as everywhere, so that `terminator report` reads an
export of the journal like a file. Successes, by far the most, go through stdout: a stream costs one system call for
many lines, a datagram one for each. What the journal does not take at once goes through the stream as well.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from typing import Any

from terminator.telemetry.events import Level

SOCKET_PATH = "/run/systemd/journal/socket"
STREAM_VARIABLE = "JOURNAL_STREAM"
PRIORITIES: dict[Level, int] = {"error": 3, "warning": 4, "notice": 5, "info": 6}
PREFIXES: dict[Level, bytes] = {level: b"<%d>" % priority for level, priority in PRIORITIES.items()}
"""What stands before a line on a stream that leads to the journal (sd-daemon(3)); the journal takes it off."""
PREFIX_BYTES = 3
_FIELDS = {"server.name": "TLS_SNI"}
"""Log names whose journal field is not simply the name in capitals with underscores."""
_LEFT_OUT = frozenset({"time", "level", "message"})


def leads_to_journal(fd: int, stream: str | None) -> bool:
    """Whether `fd` is the connection that $JOURNAL_STREAM (device:inode) names; it is inherited by processes whose
    output has long been led elsewhere, hence the comparison."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return stream == f"{status.st_dev}:{status.st_ino}"


def datagram(fields: Mapping[str, Any], line: bytes) -> bytes:
    """One entry in the journal's native protocol. A value with a newline is sent with its length before it."""
    text = line.rstrip(b"\n")
    entry = [_field("MESSAGE", text), b"PRIORITY=%d\n" % PRIORITIES[fields["level"]], b"SYSLOG_IDENTIFIER=terminator\n"]
    for name, value in fields.items():
        if name not in _LEFT_OUT:
            entry.append(_field(_FIELDS.get(name) or field_name(name), _text(value)))
    return b"".join(entry)


def field_name(name: str) -> str:
    """`conn.id` → `CONN_ID`."""
    return name.replace(".", "_").replace("-", "_").upper()


class NativeJournal:
    """A socket to send entries by; each process has its own."""

    def __init__(self, path: str | None = None) -> None:
        self._path = path or SOCKET_PATH
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)

    def send(self, fields: Mapping[str, Any], line: bytes) -> bool:
        """False when the journal did not take it at once: its queue is full, the entry too long, or it is gone."""
        try:
            self._socket.sendto(datagram(fields, line), self._path)
        except OSError:
            return False
        return True

    def close(self) -> None:
        self._socket.close()


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def _text(value: Any) -> bytes:
    if isinstance(value, bool):
        return b"true" if value else b"false"
    if isinstance(value, (list, tuple)):
        return "\n".join(map(str, value)).encode(errors="surrogateescape")
    return str(value).encode(errors="surrogateescape")
