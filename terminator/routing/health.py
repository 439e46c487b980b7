"""Whether a server gets requests: a state machine over probes, failures of requests, commands and `now`.

Three judges, each of which can take a server out; it is up when none does:

  commands     drain or down, by an operator, until `up`
  active       probes: `fall` failures in a row take it out, `rise` successes bring it back. Before the first probe it
               counts as up, and the first one decides at once: a server that never ran is known after one interval.
  passive      requests: `fail_count` failures within `fail_window` take it out for `down_for`. Then it is half open:
               one request is let through as a trial, and what becomes of it decides. Never for the last server that
               is up (`is_last_up`): a bad server is better than none, and a mistaken judgement may not be an outage.

A server that came back grows to its full share over `slow_start`. All times are of one monotonic clock, in seconds.
`Health` is plain data: it pickles, outlives generations, and workers tell each other verdicts by `adopt`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal

State = Literal["up", "down", "drain", "maintenance"]
Command = Literal["drain", "down", "up"]
Failure = Literal["connect", "timeout", "closed", "invalid", "status"]

LEAST_SHARE = 0.05
"""Of its weight, a server that has just come back gets at least this: with none it would never warm up."""

_WORDS: dict[Failure, str] = {
    "connect": "no connection",
    "timeout": "no response in time",
    "closed": "closed before its response",
    "invalid": "an invalid response",
    "status": "a server error",
}


@dataclass(frozen=True, slots=True)
class HealthRules:
    """What the configuration says; replaced on the same `Health` when a reload says otherwise."""

    fail_count: int = 3
    fail_window: float = 10.0
    down_for: float = 10.0
    count_5xx: bool = False
    rise: int = 2
    fall: int = 3
    slow_start: float = 0.0


@dataclass(frozen=True, slots=True)
class Transition:
    """A change of state, to be logged."""

    state: State
    previous: State
    reason: str


@dataclass(slots=True)
class Health:
    """One server's standing. Every method that may change the state returns the Transition, if there was one."""

    rules: HealthRules = field(default_factory=HealthRules)
    command: Literal["drain", "down"] | None = None
    checked: bool | None = None
    """What the probes say; None before the first, or without any."""
    streak: int = 0
    """Probes in a row that contradict `checked`."""
    failures: tuple[float, ...] = ()
    """Times of the failures within the window, oldest first; never more than `fail_count`."""
    out_until: float | None = None
    """Taken out by failures of requests until then, and half open from then on; None when it is not."""
    trial_until: float | None = None
    """A trial is under way; should nobody ever say how it ended, another may begin at this time."""
    recovered_at: float | None = None

    @property
    def state(self) -> State:
        if self.command is not None:
            return "drain" if self.command == "drain" else "maintenance"
        return "down" if self.checked is False or self.out_until is not None else "up"

    @property
    def commanded(self) -> bool:
        """An operator keeps requests away; not even `fail_open` may send any."""
        return self.command is not None

    def available(self, now: float) -> bool:
        """Whether the next request may go here. Whoever sends one calls `chosen`."""
        if self.command is not None or self.checked is False:
            return False
        if self.out_until is None:
            return True
        return now >= self.out_until and (self.trial_until is None or now >= self.trial_until)

    def share(self, now: float) -> float:
        """The part of its weight that the server gets, in (0, 1]: less than 1 during `slow_start`."""
        if self.recovered_at is None or now >= self.recovered_at + self.rules.slow_start:
            return 1.0
        return max(LEAST_SHARE, (now - self.recovered_at) / self.rules.slow_start)

    # ------------------------------------------------------------------------------------------------- requests

    def chosen(self, now: float) -> None:
        """A request is about to be sent here; if the server is half open, this is the trial."""
        if self.out_until is not None and now >= self.out_until:
            self.trial_until = now + self.rules.down_for

    def abandoned(self) -> None:
        """A request ended and says nothing about the server, as when the client went away: another trial may begin."""
        self.trial_until = None

    def record_success(self, now: float) -> Transition | None:
        """A response came, and it was not counted as a failure."""
        if self.out_until is None or now < self.out_until:
            return None  # before that time it is the answer to a request sent before the failures
        return self._recover(now, "a trial request succeeded")

    def record_failure(self, now: float, kind: Failure, *, last: bool = False) -> Transition | None:
        """A request failed because of the server. last: no other server is up (`is_last_up`)."""
        if self.rules.fail_count == 0 or (kind == "status" and not self.rules.count_5xx):
            if kind == "status":
                return self.record_success(now)  # it answers, and nobody asked to look closer
            return None
        if self.out_until is not None:
            if now >= self.out_until:
                self.out_until, self.trial_until = now + self.rules.down_for, None
            return None
        since = now - self.rules.fail_window
        recent = (*(at for at in self.failures if at > since), now)
        self.failures = recent[-self.rules.fail_count :]
        if len(self.failures) < self.rules.fail_count or last:
            return None
        previous = self.state
        self.failures, self.out_until, self.trial_until = (), now + self.rules.down_for, None
        count, window = self.rules.fail_count, self.rules.fail_window
        failures = "a failed request" if count == 1 else f"{count} failed requests within {window:g} s, the last"
        return self._moved(previous, f"{failures}: {_WORDS[kind]}")

    # --------------------------------------------------------------------------------------------------- probes

    def probe(self, now: float, ok: bool, reason: str) -> Transition | None:
        """An active check ended; `reason` tells how, for the log."""
        if ok == self.checked:
            self.streak = 0
            return None
        self.streak += 1
        needed = 1 if self.checked is None else self.rules.rise if ok else self.rules.fall
        return self.adopt(now, ok, reason) if self.streak >= needed else None

    def adopt(self, now: float, ok: bool | None, reason: str) -> Transition | None:
        """Takes over the verdict of probes made elsewhere, or None: there are none any more."""
        if ok == self.checked:
            return None
        previous, was_down = self.state, self.checked is False
        self.checked, self.streak = ok, 0
        if ok and was_down:
            return self._recover(now, reason, previous)
        return self._moved(previous, reason)

    # ------------------------------------------------------------------------------------------------- commands

    def obey(self, now: float, command: Command) -> Transition | None:
        """Maintenance: drain and down keep new requests away, what is in flight finishes; `up` ends that, and forgives
        failed requests. Probes keep their say."""
        previous = self.state
        if command == "up":
            self.command = None
            return self._recover(now, "command up", previous) if previous != "up" else None
        self.command = command
        return self._moved(previous, f"command {command}")

    def _recover(self, now: float, reason: str, previous: State | None = None) -> Transition | None:
        previous = previous or self.state
        self.failures, self.out_until, self.trial_until = (), None, None
        if self.state == "up":
            self.recovered_at = now
        return self._moved(previous, reason)

    def _moved(self, previous: State, reason: str) -> Transition | None:
        return Transition(self.state, previous, reason) if self.state != previous else None


def is_last_up(one: Health, servers: Iterable[Health]) -> bool:
    """Whether no other of a backend's servers, backups included, is up."""
    return not any(other is not one and other.state == "up" for other in servers)
