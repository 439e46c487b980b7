"""A table of the most frequent keys in bounded memory (lossy counting, Manku and Motwani, VLDB 2002).

When the table is full, the rarer half is dropped. What a key can have lost by that is known and can be told; a key that
is frequent beyond it is in the table for certain.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator
from typing import Generic, Protocol, TypeVar


class Countable(Protocol):
    count: float


K = TypeVar("K", bound=Hashable)
V = TypeVar("V", bound=Countable)


class Leaders(Generic[K, V]):
    """capacity: the most keys; make: the value of a new key, whose `count` its user increases."""

    def __init__(self, capacity: int, make: Callable[[], V]) -> None:
        self._capacity = capacity
        self._make = make
        self._table: dict[K, V] = {}
        self.undercount = 0.0
        """The most that the count of any key can be short by; 0 while nothing was dropped."""

    def at(self, key: K) -> V:
        """The value of a key, made if it is not there."""
        found = self._table.get(key)
        if found is None:
            if len(self._table) >= self._capacity:
                self._drop_half()
            found = self._table[key] = self._make()
        return found

    def __len__(self) -> int:
        return len(self._table)

    def items(self) -> Iterator[tuple[K, V]]:
        """Most frequent first."""
        yield from sorted(self._table.items(), key=lambda item: -item[1].count)

    def _drop_half(self) -> None:
        ordered = sorted(self._table.items(), key=lambda item: -item[1].count)
        keep = self._capacity // 2
        self.undercount += ordered[keep][1].count
        self._table = dict(ordered[:keep])
