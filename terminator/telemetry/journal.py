"""The only writer of the log: an event becomes one line, the line goes into a bounded buffer, and nobody ever waits.

Each process has its own journal. `emit` renders and buffers; somebody must then call `flush` (the master, after its
turn of the loop) or run `telemetry.writer.write_behind` (workers, admin). A line that finds the buffer full is dropped
and counted, and one `server.log_dropped` says how many once there is room again, or, when the reader is gone for good,
in another log once a minute (`tell_losses`). Lines are never torn: see `telemetry.destination`. What was emitted and
not yet written is lost when the process is killed (some 50 ms).

A client may send any bytes. Text that is not UTF-8 is written with `\\xNN` in place of each offending byte; a line that
is too long for its destination has its longest values cut and says so with `log.truncated`.
"""

from __future__ import annotations

import os
import random
import select
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from typing import Any

from terminator.config.model import Log
from terminator.telemetry import journald
from terminator.telemetry.alike import RequestAlike
from terminator.telemetry.by_name import adder
from terminator.telemetry.destination import Destination, Progress, open_destination, write_at_once
from terminator.telemetry.events import Event, HttpRequest, LogDropped, LogUnwritable, Sink, TlsHandshake
from terminator.telemetry.line import json_line, shortened
from terminator.telemetry.text_format import text_line

SINKS: tuple[Sink, ...] = ("handshakes", "requests", "lifecycle")
SCANNER_CLASSES = frozenset({"not_tls", "plain_http", "malformed_hello", "client_closed", "timeout"})
_FAULT_SECONDS = 60.0

Outlets = dict[Sink, Destination | None]


@dataclass(frozen=True, slots=True)
class Prepared:
    """The destinations of another `log:` section, open and not yet in force."""

    log: Log
    outlets: Outlets
    fresh: tuple[Destination, ...]


class Journal:
    """worker:     stands in every line; None leaves it out
    generation: number of the configuration in force, asked for each line that does not say it itself
    owner:      (uid, gid) that log files are given to, so that workers of another user can reopen them

    Raises StartError when a file cannot be opened.
    """

    def __init__(
        self,
        log: Log,
        *,
        worker: str | int | None = None,
        generation: Callable[[], int | None] = lambda: None,
        owner: tuple[int, int] | None = None,
    ) -> None:
        self._worker = worker
        self._generation = generation
        self._owner = owner
        self._wake: Callable[[], None] | None = None
        self._due: list[Destination] = []
        self._plans: dict[type[Event], _Plan] = {}
        self._second = 0
        self._second_text = ""
        self._said_dropped: dict[str, int] = {}
        self._retired_drops: dict[str, int] = {}
        self._fault_said: dict[str, float] = {}
        self._losses_told: dict[str, float] = {}
        self._journal_stream = os.environ.get(journald.STREAM_VARIABLE)
        self._native: journald.NativeJournal | None = None
        self._outlets: Outlets = dict.fromkeys(SINKS)
        self.commit(self.prepare(log))

    # ------------------------------------------------------------------------------------------------- telling

    def wants(self, sink: Sink) -> bool:
        """Whether events of this sink go anywhere; a caller may spare itself making one that does not."""
        return self._outlets[sink] is not None

    def emit(self, event: Event) -> None:
        """Puts the event's line into its buffer. Never blocks, never raises for what a client sent."""
        plan = self._plans.get(type(event)) or self._plan(type(event))
        destination = plan.destination
        if destination is None or (plan.sampled and not self._keep(event)):
            return
        fields = plan.fields(event, plan)
        line = self._render(fields)
        if len(line) > destination.piece_bytes - plan.prefix_bytes:
            line = shortened(fields, destination.piece_bytes - plan.prefix_bytes, self._render)
        if plan.prefix_bytes:
            if (event.sink == "lifecycle" or fields["level"] != "info") and self._journald().send(fields, line):
                return
            line = journald.PREFIXES[fields["level"]] + line
        if destination.put(line) and not destination.scheduled:
            destination.scheduled = True
            self._due.append(destination)
            if self._wake is not None:
                self._wake()

    # ------------------------------------------------------------------------------------------------- writing

    def flush(self) -> bool:
        """Writes what can be written without waiting; True when something is left.

        Then call again when one of `filenos` is writable; a file on a full disk is not among them, it wants time.
        """
        for destination in self.destinations():
            while (progress := destination.write()) is Progress.MORE:
                pass
            destination.scheduled = progress is not Progress.DONE
            self.settle(destination)
        self._due = [destination for destination in self._due if destination.scheduled]
        return any(destination.pending for destination in self.destinations())

    def filenos(self) -> list[int]:
        """Descriptors to wait on for writing: pipes, terminals and sockets whose reader was too slow."""
        return [destination.fd for destination in self.destinations() if destination.pending and destination.can_wait]

    def close(self, deadline_seconds: float = 1.0) -> int:
        """Last flush, at most so long; closes everything and returns how many lines were lost in it."""
        deadline = time.monotonic() + deadline_seconds
        while self.flush() and (left := deadline - time.monotonic()) > 0:
            poll = select.poll()
            for fd in self.filenos():
                poll.register(fd, select.POLLOUT)
            poll.poll(min(left, 0.05) * 1000)
        destinations, lifecycle = self.destinations(), self._outlets["lifecycle"]
        lost = -sum(destination.lost for destination in destinations)
        for destination in destinations:
            destination.give_up()
        for destination in destinations:
            if destination is not lifecycle:
                self.settle(destination)  # its losses are said, if the lifecycle log takes a line at once
        if lifecycle is not None:
            lifecycle.write()
        for destination in destinations:
            destination.give_up()
            lost += destination.lost
            destination.close()
        if self._native is not None:
            self._native.close()
            self._native = None
        self._outlets = dict.fromkeys(SINKS)
        self._plans.clear()
        return lost

    def on_wake(self, wake: Callable[[], None] | None) -> None:
        """Calls `wake` from `emit` whenever a destination that was at rest has got a line."""
        self._wake = wake
        if wake is not None and self._due:
            wake()

    def due(self) -> list[Destination]:
        """The destinations that have got lines since the last call; whoever takes them writes and `settle`s them."""
        due, self._due = self._due, []
        return due

    def settle(self, destination: Destination) -> None:
        """Says what the last writes came to: lines dropped, once there is room again, and a fault, once a minute."""
        drops = destination.dropped + destination.lost
        said = self._said_dropped.get(destination.name, 0)
        if drops > said and destination.roomy:
            self._said_dropped[destination.name] = drops
            self.emit(LogDropped(destination=destination.name, lines=drops - said))
        if destination.fault is not None:
            self._say_fault(destination, destination.fault)

    def tell_losses(self) -> None:
        """Says once a minute what went to destinations that nobody reads any more; call it now and then."""
        now = time.monotonic()
        for destination in self.destinations():
            drops = destination.dropped + destination.lost
            lines = drops - self._said_dropped.get(destination.name, 0)
            if not destination.gone or not lines:
                continue
            if now - self._losses_told.get(destination.name, -_FAULT_SECONDS) >= _FAULT_SECONDS:
                self._losses_told[destination.name] = now
                self._said_dropped[destination.name] = drops
                self._tell(LogDropped(destination=destination.name, lines=lines), destination)

    def dropped(self) -> dict[str, int]:
        """Lines lost so far, by destination; grows only."""
        counts = dict(self._retired_drops)
        for destination in self.destinations():
            counts[destination.name] = counts.get(destination.name, 0) + destination.dropped + destination.lost
        return counts

    def destinations(self) -> list[Destination]:
        """Each destination once, however many sinks share it."""
        return _distinct(self._outlets.values())

    # ------------------------------------------------------------------------------------------------ changing

    def reopen(self) -> None:
        """Opens the files anew (SIGUSR1). One that cannot be opened stays as it is, and a line says so."""
        for destination in self.destinations():
            try:
                destination.reopen()
                self._give_away(destination)
            except OSError as error:
                self._say_fault(destination, f"cannot be reopened, the old file is kept: {error.strerror}", now=True)

    def prepare(self, log: Log) -> Prepared:
        """Opens what another `log:` section names and this one does not; raises StartError, then nothing changed."""
        known = {destination.name: destination for destination in self.destinations()}
        fresh: list[Destination] = []
        outlets: Outlets = {}
        try:
            for sink in SINKS:
                name = getattr(log, sink)
                if name != "off" and name not in known:
                    known[name] = open_destination(name)
                    fresh.append(known[name])
                    self._give_away(known[name])
                outlets[sink] = None if name == "off" else known[name]
        except BaseException:
            for destination in fresh:
                destination.close()
            raise
        return Prepared(log, outlets, tuple(fresh))

    def commit(self, prepared: Prepared) -> None:
        """Lets the prepared destinations be in force. Those no longer named are flushed as far as they take it."""
        kept = _distinct(prepared.outlets.values())
        for destination in self.destinations():
            if destination not in kept:
                while destination.write() is Progress.MORE:
                    pass
                destination.give_up()
                drops = destination.dropped + destination.lost
                self._retired_drops[destination.name] = self._retired_drops.get(destination.name, 0) + drops
                self._said_dropped.pop(destination.name, None)
                destination.close()
        self._outlets = prepared.outlets
        self._due = [destination for destination in self._due if destination in kept]
        self._render = json_line if prepared.log.format == "json" else text_line
        self._sample = prepared.log.failures.sample
        self._plans.clear()

    def abandon(self, prepared: Prepared) -> None:
        """Closes what was prepared in vain."""
        for destination in prepared.fresh:
            destination.close()

    def in_child(self, *, worker: str | int | None, generation: Callable[[], int | None]) -> Journal:
        """The journal of a process just forked: the same open files, empty buffers. Needs no right to open anything."""
        child: Journal = object.__new__(Journal)
        child.__dict__.update(self.__dict__)
        child._worker, child._generation, child._owner = worker, generation, None
        child._wake, child._due, child._plans, child._native = None, [], {}, None
        child._said_dropped, child._retired_drops, child._fault_said, child._losses_told = {}, {}, {}, {}
        copies = {destination.name: destination.in_child() for destination in self.destinations()}
        child._outlets = {sink: copies[old.name] if old else None for sink, old in self._outlets.items()}
        return child

    # ------------------------------------------------------------------------------------------------- helpers

    def _journald(self) -> journald.NativeJournal:
        if self._native is None:
            self._native = journald.NativeJournal()
        return self._native

    def _plan(self, kind: type[Event]) -> _Plan:
        if kind is RequestAlike:
            plan = self._plans[kind] = replace(self._plan(HttpRequest), fields=self._fields_alike)
            return plan
        sampled = kind is TlsHandshake and self._sample < 1.0
        destination = self._outlets[kind.sink]
        to_journal = destination is not None and journald.leads_to_journal(destination.fd, self._journal_stream)
        prefix_bytes = journald.PREFIX_BYTES if to_journal else 0
        plan = self._plans[kind] = _Plan(destination, self._fields, adder(kind), sampled, prefix_bytes)
        return plan

    def _keep(self, event: Event) -> bool:
        error = getattr(event, "error_type", None)
        return error not in SCANNER_CLASSES or random.random() < self._sample

    def _time(self) -> str:
        now_ns = time.time_ns()
        second = now_ns // 1_000_000_000
        if second != self._second:
            self._second = second
            self._second_text = time.strftime("%Y-%m-%dT%H:%M:%S.", time.gmtime(second))
        return f"{self._second_text}{str(now_ns)[-9:-3]}Z"

    def _fields_alike(self, event: RequestAlike, plan: _Plan) -> dict[str, Any]:
        """Whoever gets them may not keep them: the next one's go into the same dictionary."""
        known, asked = event.like.fields, "url.query" in event.changes
        if asked not in known:
            known[asked] = self._fields(event.whole(), plan)
        fields = known[asked]
        fields.update(event.changes)
        fields["time"] = self._time()
        return fields

    def _fields(self, event: Event, plan: _Plan) -> dict[str, Any]:
        fields: dict[str, Any] = {
            "time": self._time(),
            "level": event.severity(),
            "event": event.event,
        }
        if self._worker is not None:
            fields["worker"] = self._worker
        plan.add(event, fields)
        if plan.sampled and fields.get("error.type") in SCANNER_CLASSES:
            fields["log.sample"] = self._sample
        generation = event.generation if event.generation is not None else self._generation()
        if generation is not None:
            fields["generation"] = generation
        return fields

    def _say_fault(self, destination: Destination, fault: str, *, now: bool = False) -> None:
        moment = time.monotonic()
        if not now and moment - self._fault_said.get(destination.name, -_FAULT_SECONDS) < _FAULT_SECONDS:
            return
        self._fault_said[destination.name] = moment
        self._tell(LogUnwritable(destination=destination.name, message=fault), destination)

    def _tell(self, event: LogUnwritable | LogDropped, about: Destination) -> None:
        lifecycle = self._outlets["lifecycle"]
        if lifecycle is not None and lifecycle.fault is None:
            self.emit(event)
        elif about.name != "stderr":
            self._say_on_stderr(event)

    def _say_on_stderr(self, event: LogUnwritable | LogDropped) -> None:
        """When the log itself is what fails, and only if stderr takes it at once."""
        plan = self._plans.get(type(event)) or self._plan(type(event))
        write_at_once(2, self._render(self._fields(event, plan)))

    def _give_away(self, destination: Destination) -> None:
        if self._owner is not None:
            try:
                destination.give_to(*self._owner)
            except OSError as error:
                self._say_fault(destination, f"cannot be given to the workers' user: {error.strerror}", now=True)


@dataclass(frozen=True, slots=True)
class _Plan:
    """What an event type needs to become a line; made at its first event, forgotten when the destinations change."""

    destination: Destination | None
    fields: Callable[[Any, _Plan], dict[str, Any]]
    """Makes of an event what is written, by name and in order."""
    add: Callable[[Event, dict[str, Any]], None]
    """Adds what the event itself says."""
    sampled: bool
    prefix_bytes: int
    """Of the priority that stands before each line for systemd's journal; 0 when the destination is something else."""


def _distinct(destinations: Iterable[Destination | None]) -> list[Destination]:
    return list(dict.fromkeys(destination for destination in destinations if destination is not None))
