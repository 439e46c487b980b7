"""What the master does from time to time: named timers, each due at one moment of the monotonic clock."""

from __future__ import annotations

import time
from collections.abc import Callable


class Timers:
    def __init__(self) -> None:
        self._due: dict[str, tuple[float, float | None, Callable[[], None]]] = {}

    def every(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Calls `action` after each `seconds`; replaces the timer of this name."""
        self._due[name] = (time.monotonic() + seconds, seconds, action)

    def once(self, name: str, seconds: float, action: Callable[[], None]) -> None:
        """Calls `action` after `seconds`; replaces the timer of this name."""
        self._due[name] = (time.monotonic() + seconds, None, action)

    def cancel(self, name: str) -> None:
        self._due.pop(name, None)

    def wake_at(self) -> float | None:
        return min((due for due, _, _ in self._due.values()), default=None)

    def tick(self, now: float) -> None:
        for name, (due, period, action) in list(self._due.items()):
            if due > now:
                continue
            if period is None:
                del self._due[name]
            else:
                self._due[name] = (now + period, period, action)
            action()
