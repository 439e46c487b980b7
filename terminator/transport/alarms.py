"""Time limits that cost next to nothing to move: one wheel per worker, with a slot for every `TICK_SECONDS`.

A connection has some limit at every moment, and moves it several times per request. A cancel scope takes several µs to
enter and leave and some more for every new deadline; an alarm is an assignment, and the wheel looks at it only when the
time it was first set to has come. It goes off up to a tick late and never early. The wheel sleeps until the nearest
slot that holds an alarm: it wakes no worker that has no connections.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import trio

TICK_SECONDS = 0.1


class Alarm:
    """Calls `ring` once when its time has come. Whoever makes one calls `end` at last, else the wheel keeps it alive
    until then."""

    __slots__ = ("_alarms", "_tick", "at", "ring")

    def __init__(self, alarms: Alarms, ring: Callable[[], None]) -> None:
        self._alarms = alarms
        self._tick = _NEVER
        self.at = math.inf
        """By trio's clock; infinite when it is off."""
        self.ring = ring

    def set(self, at: float) -> None:
        """It goes off at `at`, by trio's clock, and no longer when it was to before."""
        self.at = at
        if at < self._tick * TICK_SECONDS:
            self._alarms.place(self)

    def off(self) -> None:
        self.at = math.inf

    def end(self) -> None:
        """Off for good: the wheel forgets it, and it forgets whom it rang for."""
        self.at = math.inf
        self._alarms.drop(self)
        self.ring = _nobody


def _nobody() -> None:
    """Of an alarm that has ended."""


class Alarms:
    """The wheel. `run` is its only task; nothing goes off without it."""

    def __init__(self) -> None:
        self._slots: dict[float, set[Alarm]] = {}
        self._turned = 0.0
        """The slot looked at last. Those up to it are gone for good."""
        self._next = _NEVER
        """The slot looked at next: no earlier one holds an alarm. It may be empty when its time comes."""
        self._sleep = trio.CancelScope()
        """Around the wait for it."""

    def place(self, alarm: Alarm) -> None:
        """For `Alarm`: puts it where its time is due, if that is before where it is."""
        if alarm._tick != _NEVER:
            self.drop(alarm)
        # Never where the wheel has been already; a time too far away to be counted in ticks is no limit.
        tick = max(math.ceil(alarm.at / TICK_SECONDS), self._turned + 1) if alarm.at < _FAR else _NEVER
        if tick != _NEVER:
            alarm._tick = tick
            self._slots.setdefault(tick, set()).add(alarm)
            if tick < self._next:
                self._next = tick
                self._sleep.deadline = tick * TICK_SECONDS

    def drop(self, alarm: Alarm) -> None:
        if (slot := self._slots.get(alarm._tick)) is not None:
            slot.discard(alarm)
            if not slot:
                del self._slots[alarm._tick]  # a limit may be days away, and there are 864,000 ticks in one
        alarm._tick = _NEVER

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            with trio.CancelScope(deadline=self._next * TICK_SECONDS) as self._sleep:
                await trio.sleep_forever()
            now = trio.current_time()
            # What came while the loop was held up came in time: it is seen in one pass and acted upon in the next.
            await trio.lowlevel.checkpoint()
            await trio.lowlevel.checkpoint()
            # At least one: by the rounding of floats the clock may seem to be just before the tick it was set to.
            last = max(self._next, int(now / TICK_SECONDS))
            while self._next <= last:
                self._turned = self._next
                self._look_at(self._turned, now)
                self._next = self._nearest()

    def _nearest(self) -> float:
        """The first slot that holds an alarm. A wheel with much to do need not look through all of them for it."""
        for ahead in range(1, _AHEAD + 1):
            if self._turned + ahead in self._slots:
                return self._turned + ahead
        return min(self._slots, default=_NEVER)

    def _look_at(self, tick: float, now: float) -> None:
        for alarm in self._slots.pop(tick, ()):
            self._judge(alarm, now)

    def _judge(self, alarm: Alarm, now: float) -> None:
        alarm._tick = _NEVER
        if alarm.at <= now:
            alarm.at = math.inf
            alarm.ring()
        elif alarm.at < math.inf:
            self.place(alarm)


_NEVER = math.inf
_FAR = 1e12
_AHEAD = 10
