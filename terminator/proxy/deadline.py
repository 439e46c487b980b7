"""One cancel scope whose deadline moves from step to step, and which knows what was being waited for when it passed.

A scope per step costs several µs each time; an exchange has a handful of steps, and only one of them is current.
"""

from __future__ import annotations

import math

import trio

from terminator.errors import TerminatorError


class Deadline:
    """Used as `with deadline.scope:`; each step then calls `expect`. Afterwards `failure` says why it was cancelled."""

    __slots__ = ("_awaited", "_failure", "_text", "scope")

    def __init__(self) -> None:
        self.scope = trio.CancelScope()
        self._awaited: type[TerminatorError] = TerminatorError
        self._text = ""
        self._failure: TerminatorError | None = None

    def expect(self, awaited: type[TerminatorError], seconds: float, text: str) -> None:
        """From now on at most `seconds` may pass until the next call, else the scope ends and `failure` is
        `awaited(text)`."""
        self._awaited = awaited
        self._text = text
        self.scope.deadline = trio.current_time() + seconds

    def rest(self) -> None:
        """For now no time limit: what follows watches the time itself."""
        self.scope.deadline = math.inf

    def fail(self, error: TerminatorError) -> None:
        """Ends the scope at once, for a reason found by another task; the first reason stands."""
        if self._failure is None:
            self._failure = error
        self.scope.cancel()

    @property
    def failure(self) -> TerminatorError:
        """Why the scope was cancelled. Only meaningful when `scope.cancelled_caught`."""
        return self._failure if self._failure is not None else self._awaited(self._text)
