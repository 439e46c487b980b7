"""What the master says to its children; what they say to it is JSON (`channel` tells why) and listed at the end.

A worker says:      {"kind": "ready"}                        it serves
                    {"kind": "beat", "connections": n, "generations": {"4": n}}   each second and before a report
                    {"kind": "prepared", "number": n, "error": text | null}       it could, or could not, build a plan
                    {"kind": "committed", "number": n}       new connections take this generation
                    {"kind": "report", "ask": n, "backends": [...], "failures": [...]}            the answer to `Report`
                    {"kind": "verdict", "backend": …, "server": …, "ok": bool, "reason": text}   a health check decided
                    {"kind": "drained", "cut": n}            its last word
The admin process:  {"kind": "ready"} and {"kind": "beat"} likewise
                    {"kind": "ask", "ask": n, "what": "status" | "certs" | "reload" …, …}   answered by `Answer`
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from terminator.config.model import Config, Listener
from terminator.routing.health import Command
from terminator.tls.material import HostMaterial
from terminator.tls.tickets import Tickets

BEAT_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class NewListener:
    """A listener that joins at the commit; its `sockets` are the next ones of those that came with the message."""

    config: Listener
    sockets: int


@dataclass(frozen=True, slots=True)
class Prepare:
    """Build generation `number` aside, and say `prepared`. `config` is None when it is the one in force. `hosts` are
    all of them in order, `changed` the materials that the worker has not got. The sockets of `added` come with this
    message, in this order."""

    number: int
    config: Config | None
    hosts: tuple[str, ...]
    changed: Mapping[str, HostMaterial]
    added: tuple[NewListener, ...]
    removed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """Put the prepared generation in force, and say `committed`."""

    number: int


@dataclass(frozen=True, slots=True)
class Abort:
    """Forget the prepared generation."""

    number: int


@dataclass(frozen=True, slots=True)
class TicketKeys:
    """The keys of session tickets from now on."""

    tickets: Tickets


@dataclass(frozen=True, slots=True)
class Drain:
    """Stop accepting, finish what is in flight within `seconds`, say `drained`, end."""

    seconds: float


@dataclass(frozen=True, slots=True)
class ReopenLogs:
    """Log files were moved away: open them anew."""


@dataclass(frozen=True, slots=True)
class Report:
    """Say `beat`, then how the backends are and which handshakes failed."""

    ask: int


@dataclass(frozen=True, slots=True)
class Probe:
    """Make the health checks from now on, for all workers, and say `verdict`."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What the health checks of another worker found."""

    backend: str
    server: str
    ok: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Maintenance:
    """An operator's command about one server."""

    backend: str
    server: str
    command: Command


@dataclass(frozen=True, slots=True)
class Answer:
    """To the admin process: the answer to the question `ask`, as an HTTP status and a JSON value."""

    ask: int
    status: int
    body: Any
