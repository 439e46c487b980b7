"""What the master knows of backend servers: the verdicts of the health checks, and what an operator has commanded.

One worker, chosen here, checks for all; when it ends another one goes on. Verdicts and commands outlive workers and
reloads: a worker that starts is told all of them. Each change is logged here, once, and not by every worker.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from terminator.config.model import Backend
from terminator.routing.health import Command, State
from terminator.service import messages
from terminator.service.process import Message
from terminator.telemetry.events import BackendState, Event

COMMANDS: tuple[Command, ...] = ("drain", "down", "up")
MAX_SERVERS = 100_000
MAX_REASON = 300

Send = Callable[[int, object], None]
"""Sends a message to the worker of this number."""


class CommandRefused(Exception):
    """There is no such backend, server or command; the text says which there are."""


@dataclass(slots=True)
class Known:
    """What is known of one server. `ok` is None before its first check."""

    ok: bool | None = None
    reason: str = ""
    command: Command = "up"

    @property
    def state(self) -> State:
        if self.command != "up":
            return "drain" if self.command == "drain" else "maintenance"
        return "down" if self.ok is False else "up"


class Backends:
    """`send` reaches one worker, `live` are the numbers of those that run."""

    def __init__(self, send: Send, live: Callable[[], list[int]], emit: Callable[[Event], None]) -> None:
        self._send = send
        self._live = live
        self._emit = emit
        self._known: dict[tuple[str, str], Known] = {}
        self._prober: int | None = None

    # ------------------------------------------------------------------------------------------------- the workers

    def came(self, number: int) -> None:
        """A worker was started: it is told what is known."""
        for (backend, server), known in self._known.items():
            if known.ok is not None:
                self._send(number, messages.Verdict(backend, server, known.ok, known.reason))
            if known.command != "up":
                self._send(number, messages.Maintenance(backend, server, known.command))
        if self._prober is None or self._prober == number:
            self._prober = number
            self._send(number, messages.Probe())

    def gone(self, number: int) -> None:
        """A worker ended, and is not among the live ones any more."""
        if self._prober == number:
            self._prober = min(self._live(), default=None)
            if self._prober is not None:
                self._send(self._prober, messages.Probe())

    def heard(self, number: int, message: Message) -> None:
        match message:
            case {"kind": "verdict", "backend": str(backend), "server": str(server), "ok": bool(ok), "reason": reason}:
                self._judged(number, backend, server, ok, str(reason)[:MAX_REASON])

    def _judged(self, number: int, backend: str, server: str, ok: bool, reason: str) -> None:
        if (backend, server) not in self._known and len(self._known) >= MAX_SERVERS:
            return
        known = self._known.setdefault((backend, server), Known())
        before = known.state
        known.ok, known.reason = ok, reason
        self._moved(backend, server, before, known.state, reason)
        for other in self._live():
            if other != number:  # who found out knows, and may know better by now
                self._send(other, messages.Verdict(backend, server, ok, reason))

    # -------------------------------------------------------------------------------------------------- the master

    def command(self, configured: Mapping[str, Backend], backend: str, server: str, command: str) -> dict[str, object]:
        """Carries out an operator's command and returns what to tell. Raises CommandRefused."""
        if command not in COMMANDS:
            raise CommandRefused(f"{command!r} is no command; there are {', '.join(COMMANDS)}")
        if backend not in configured:
            raise CommandRefused(f"there is no backend {backend!r}; there are {', '.join(sorted(configured))}")
        servers = [str(each.address) for each in configured[backend].servers]
        if server not in servers:
            raise CommandRefused(f"backend {backend} has no server {server!r}; it has {', '.join(servers)}")
        known = self._known.setdefault((backend, server), Known())
        before = known.state
        known.command = command
        for number in self._live():
            self._send(number, messages.Maintenance(backend, server, known.command))
        self._moved(backend, server, before, known.state, f"command {command}")
        return {"backend": backend, "server": server, "state": known.state, "previous": before}

    def in_force(self, configured: Mapping[str, Backend]) -> None:
        """A generation is in force with these backends: what was known of others is forgotten."""
        checked = {
            (name, str(each.address)): backend.health_check is not None
            for name, backend in configured.items()
            for each in backend.servers
        }
        self._known = {key: known for key, known in self._known.items() if key in checked}
        for key, known in self._known.items():
            if not checked[key]:
                known.ok, known.reason = None, ""

    def _moved(self, backend: str, server: str, before: State, after: State, reason: str) -> None:
        if after != before:
            self._emit(BackendState(backend=backend, server=server, state=after, previous=before, reason=reason))
