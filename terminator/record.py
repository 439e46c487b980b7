"""Immutable values that are made in the path of every request: frozen to the type checker, plain at run time.

`dataclass(frozen=True)` sets each field through a call of its own: 3 µs for a head of 14 fields, where 0.4 are enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar, dataclass_transform

T = TypeVar("T")


@dataclass_transform(frozen_default=True)
def record(kind: type[T]) -> type[T]:
    """A dataclass whose fields nobody changes; it compares and hashes by value, so really nobody."""
    return dataclass(slots=True, unsafe_hash=True)(kind)
