"""Which worker to start, drain, kill or give up: a table, what happened, and the time decide it; nothing is done here.

The law: a slot (a worker's number) always gets a process again. A process that lived long is replaced at once; one
that dies young is replaced after a pause that doubles; when no slot serves any more and the deaths go on, the service
cannot be kept up and the master ends with exit code 1, so that its own supervisor sees the truth. Before the service
was ever ready a death means that it cannot start: then nothing is tried again.
"""

from __future__ import annotations

import signal
from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum, auto

YOUNG_SECONDS = 10.0
"""A process that has served for less than this when it dies makes the next pause longer."""
FIRST_PAUSE_SECONDS = 0.25
LONGEST_PAUSE_SECONDS = 5.0
"""New connections wait in the queue of the one that died: no longer than a client has patience."""
GIVE_UP_DEATHS = 8
"""Young deaths in a row of each slot, with no slot serving, after which the master ends: some 13 seconds."""
STUCK_SECONDS = 10.0
"""An event loop that has not turned for so long is stuck: healthy ones are late by milliseconds."""
START_SECONDS = 60.0
"""A process that has not said ready for so long is stuck."""
KILL_SECONDS = 2.0
"""From SIGABRT, which prints where it hangs, to SIGKILL."""
AFTER_DRAIN_SECONDS = 2.0
"""What a worker gets beyond its drain to cut the rest and end."""


class State(Enum):
    WAITING = auto()
    """No process; one starts at `until`."""
    STARTING = auto()
    """Forked, not yet ready; stuck at `until`."""
    SERVING = auto()
    """Stuck at `until`, which each heartbeat moves."""
    DRAINING = auto()
    """Asked to end; killed at `until`."""
    DYING = auto()
    """Sent SIGABRT; SIGKILL at `until`."""
    ENDED = auto()
    """Was asked to end and did."""


@dataclass(frozen=True, slots=True)
class Slot:
    """One worker's number and its process, if it has one."""

    number: int
    state: State = State.WAITING
    until: float = 0.0
    pid: int | None = None
    served_since: float | None = None
    """When it first said that it serves; None until then."""
    young_deaths: int = 0


@dataclass(frozen=True, slots=True)
class Table:
    """All slots, whether the service was ever ready, and whether it is being stopped."""

    slots: tuple[Slot, ...]
    was_ready: bool = False
    stopping: bool = False

    @property
    def all_serving(self) -> bool:
        return all(slot.state is State.SERVING for slot in self.slots)

    @property
    def any_serving(self) -> bool:
        return any(slot.state is State.SERVING for slot in self.slots)

    @property
    def ended(self) -> bool:
        return all(slot.state is State.ENDED for slot in self.slots)

    def slot_of(self, pid: int) -> Slot | None:
        return next((slot for slot in self.slots if slot.pid == pid), None)

    def wake_at(self) -> float | None:
        """When `tick` has something to do next."""
        return min((slot.until for slot in self.slots if slot.state is not State.ENDED), default=None)


# ------------------------------------------------------------------------------------------------- what to do


@dataclass(frozen=True, slots=True)
class Start:
    number: int


@dataclass(frozen=True, slots=True)
class Kill:
    number: int
    pid: int
    signal: signal.Signals
    reason: str


@dataclass(frozen=True, slots=True)
class GiveUp:
    reason: str


@dataclass(frozen=True, slots=True)
class Died:
    """A process ended: what the log is to say."""

    number: int
    pid: int
    expected: bool
    restart_in_seconds: float | None


Action = Start | Kill | GiveUp | Died
Decision = tuple[Table, list[Action]]


# ------------------------------------------------------------------------------------------------ what happened


def new_table(numbers: Iterable[int], now: float) -> Table:
    """Slots that all wait for their first process; `tick` starts them."""
    return Table(tuple(Slot(number, until=now) for number in numbers))


def started(table: Table, number: int, pid: int, now: float) -> Table:
    """`Start` was carried out."""
    return _put(table, number, state=State.STARTING, pid=pid, served_since=None, until=now + START_SECONDS)


def beat(table: Table, number: int, pid: int, now: float) -> Table:
    """A process said that it is ready, or its event loop turned."""
    slot = _slot(table, number)
    if slot.pid != pid or slot.state not in (State.STARTING, State.SERVING):
        return table
    since = slot.served_since if slot.served_since is not None else now
    deaths = 0 if now - since >= YOUNG_SECONDS else slot.young_deaths
    until = now + STUCK_SECONDS
    table = _put(table, number, state=State.SERVING, until=until, served_since=since, young_deaths=deaths)
    return replace(table, was_ready=table.was_ready or table.all_serving)


def exited(table: Table, pid: int, now: float, *, clean: bool) -> Decision:
    """A process ended; `clean` means by exit code 0, as one does that somebody asked by SIGTERM."""
    slot = table.slot_of(pid)
    if slot is None:
        return table, []
    if table.stopping or slot.state is State.DRAINING:
        table = _put(table, slot.number, state=State.ENDED, pid=None)
        expected = slot.state is State.DRAINING
        return table, [Died(slot.number, pid, expected, None)]
    if not table.was_ready:
        table = replace(_put(table, slot.number, state=State.ENDED, pid=None), stopping=True)
        return table, [Died(slot.number, pid, False, None), GiveUp("a worker died before the service was ready")]
    young = not clean and (slot.served_since is None or now - slot.served_since < YOUNG_SECONDS)
    deaths = slot.young_deaths + 1 if young else 0
    pause = min(FIRST_PAUSE_SECONDS * 2 ** (deaths - 2), LONGEST_PAUSE_SECONDS) if deaths > 1 else 0.0
    table = _put(table, slot.number, state=State.WAITING, pid=None, until=now + pause, young_deaths=deaths)
    actions: list[Action] = [Died(slot.number, pid, clean, pause)]
    if not table.any_serving and all(each.young_deaths >= GIVE_UP_DEATHS for each in table.slots):
        actions.append(GiveUp(f"every worker died {GIVE_UP_DEATHS} times in a row soon after its start"))
        table = replace(table, stopping=True)
    elif pause == 0.0:
        actions.append(Start(slot.number))
    return table, actions


def stop(table: Table, now: float, drain_seconds: float) -> Table:
    """The service is to end: the caller asks every process to drain, nothing is started any more."""
    until = now + drain_seconds + AFTER_DRAIN_SECONDS
    for slot in table.slots:
        if slot.state in (State.STARTING, State.SERVING):
            table = _put(table, slot.number, state=State.DRAINING, until=until)
        elif slot.state is State.WAITING:
            table = _put(table, slot.number, state=State.ENDED)
    return replace(table, stopping=True)


def excuse(table: Table, seconds: float) -> Table:
    """The master has listened to nobody for `seconds`, longer than it meant to: it was busy, or the whole machine stood
    still. Who could not be heard is not stuck, so every process gets that time again."""
    for slot in table.slots:
        if slot.state in (State.STARTING, State.SERVING):
            table = _put(table, slot.number, until=slot.until + seconds)
    return table


def add(table: Table, number: int, now: float) -> Table:
    """One more slot, whose process `tick` starts; slots that have ended are forgotten."""
    left = tuple(slot for slot in table.slots if slot.state is not State.ENDED)
    return replace(table, slots=(*left, Slot(number, until=now)))


def retire(table: Table, number: int, now: float, drain_seconds: float) -> Table:
    """One process is to end and not to come back."""
    slot = _slot(table, number)
    if slot.pid is None:
        return _put(table, number, state=State.ENDED)
    return _put(table, number, state=State.DRAINING, until=now + drain_seconds + AFTER_DRAIN_SECONDS)


def tick(table: Table, now: float) -> Decision:
    """What is due by now."""
    actions: list[Action] = []
    for slot in table.slots:
        if slot.until > now:
            continue
        if slot.state is State.WAITING:
            actions.append(Start(slot.number))
        elif slot.pid is None:
            continue
        elif slot.state in (State.STARTING, State.SERVING):
            reason = "its event loop stands still" if slot.state is State.SERVING else "it does not become ready"
            actions.append(Kill(slot.number, slot.pid, signal.SIGABRT, reason))
            table = _put(table, slot.number, state=State.DYING, until=now + KILL_SECONDS)
        elif slot.state in (State.DRAINING, State.DYING):
            reason = "it did not end in time" if slot.state is State.DRAINING else "it did not end by SIGABRT"
            actions.append(Kill(slot.number, slot.pid, signal.SIGKILL, reason))
            table = _put(table, slot.number, until=now + KILL_SECONDS)
    return table, actions


def _slot(table: Table, number: int) -> Slot:
    return next(slot for slot in table.slots if slot.number == number)


def _put(table: Table, number: int, **changes: object) -> Table:
    slots = tuple(
        replace(slot, **changes) if slot.number == number else slot  # type: ignore[arg-type]
        for slot in table.slots
    )
    return replace(table, slots=slots)
