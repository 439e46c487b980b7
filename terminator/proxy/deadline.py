"""The time limit of a connection, moved from step to step, which knows what was being waited for when it passed.

It ends a wait by interrupting the streams that are waited on, so the step itself raises the reason; where something
else is waited for (a server, a connection to it) there is a cancel scope, for just that long.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import trio

from terminator.errors import TerminatorError
from terminator.transport.alarms import Alarm, Alarms
from terminator.transport.stream import Stream


class Deadline:
    """One per client connection. For each wait or exchange `begin` is called, then `expect` for each step, at last
    `done`. Whoever drops the connection calls `end`."""

    __slots__ = ("_alarm", "_awaited", "_failure", "_scope", "_streams", "_text")

    def __init__(self, alarms: Alarms, alarm: Alarm | None = None) -> None:
        """alarm: one of `alarms` that is off, to be used on instead of a new one."""
        if alarm is None:
            alarm = Alarm(alarms, self._ring)
        else:
            alarm.ring = self._ring
        self._alarm = alarm
        self._awaited: type[TerminatorError] = TerminatorError
        self._text = ""
        self._failure: TerminatorError | None = None
        self._streams: tuple[Stream, ...] = ()
        self._scope: trio.CancelScope | None = None

    def begin(self, *streams: Stream) -> None:
        """From now until `done` a failure interrupts these; one that came too late to end a `scope` does so at once."""
        self._streams = streams
        if self._failure is not None:
            for stream in streams:
                stream.interrupt(self._failure)

    def expect(self, awaited: type[TerminatorError], seconds: float, text: str, now: float | None = None) -> None:
        """At most `seconds`, by a tenth of a second, may pass until the next call, else all fails with
        `awaited(text)`. now: the loop's clock, if it has just been read."""
        self._awaited = awaited
        self._text = text
        self._alarm.set((trio.current_time() if now is None else now) + seconds)

    def rest(self) -> None:
        """For now no time limit: what follows watches the time itself."""
        self._alarm.off()

    @property
    def resting(self) -> bool:
        """Whether there is no time limit now."""
        return self._alarm.at == math.inf

    def fail(self, error: TerminatorError) -> None:
        """Ends what is being waited for, for a reason found by another task; the first reason stands. Nothing happens
        when nothing has begun."""
        if self._failure is None and (self._streams or self._scope is not None):
            self._failure = error
            for stream in self._streams:
                stream.interrupt(error)
            if self._scope is not None:
                self._scope.cancel()

    @contextmanager
    def scope(self) -> Iterator[None]:
        """Around a wait for something that is no stream of ours; raises the failure that ended it."""
        scope = self._scope = trio.CancelScope()
        try:
            with scope:
                yield
        finally:
            self._scope = None
        if scope.cancelled_caught and self._failure is not None:
            raise self._failure

    def done(self) -> None:
        """Nothing is waited for any more; the streams may be used again."""
        self._alarm.off()
        if self._failure is not None:
            self._failure = None
            for stream in self._streams:
                stream.resume()
        self._streams = ()

    def end(self) -> None:
        """For good."""
        self.done()
        self._alarm.end()

    def _ring(self) -> None:
        self.fail(self._awaited(self._text))
