"""Counts by a word out of the log, in bounded memory."""

from __future__ import annotations

MAX_KEYS = 512
"""The words are of closed lists; this bounds what an edited log could do."""
OTHER = "other"


class Counts(dict[str, float]):
    """A line may stand for several (`log.sample`), hence fractions. Keys beyond MAX_KEYS are counted as `other`."""

    def add(self, key: str, weight: float = 1.0) -> None:
        if key not in self and len(self) >= MAX_KEYS:
            key = OTHER
        self[key] += weight

    def __missing__(self, key: str) -> float:
        return 0.0

    def total(self) -> float:
        return sum(self.values())

    def most_common(self, count: int) -> list[tuple[str, float]]:
        """The most frequent first; those that are equal in the order they came."""
        return sorted(self.items(), key=lambda item: -item[1])[:count]
