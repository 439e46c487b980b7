"""How often a backend's responses are tried on the express lane: always, until one is none for it; then the less often,
the more in a row are none. A response whose head is not plain costs some µs more there than on the ordinary way."""

from __future__ import annotations

FIRST_PAUSE = 1
LONGEST_PAUSE = 64
"""In exchanges of one worker."""


class Pace:
    """Of one backend in one generation."""

    __slots__ = ("_left", "_next")

    def __init__(self) -> None:
        self._left = 0
        self._next = FIRST_PAUSE

    def may_try(self) -> bool:
        """Whether the next exchange may; asked once for each."""
        if self._left:
            self._left -= 1
            return False
        return True

    def plain(self) -> None:
        """A response that was tried was one for the lane."""
        self._next = FIRST_PAUSE

    def other(self) -> None:
        """One was none."""
        self._left = self._next
        self._next = min(2 * self._next, LONGEST_PAUSE)
