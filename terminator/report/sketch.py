"""A distribution in little memory: counts in buckets whose bounds grow by a constant factor (DDSketch, VLDB 2019).

The error bound: a quantile differs from the exact one (the value of that rank) by at most 1 % of itself. It holds for
every distribution, and sketches of parts add up to exactly the sketch of the whole. Values are milliseconds as logged,
with three decimals; 0 has a bucket of its own. Two sketches share their bounds, so the counts below a bound are exact,
which is what `report.evidence` rests on.
"""

from __future__ import annotations

from collections.abc import Iterable
from math import ceil, log

RELATIVE_ERROR = 0.01
GAMMA = (1 + RELATIVE_ERROR) / (1 - RELATIVE_ERROR)
"""A bucket k holds the values in (GAMMA**(k-1), GAMMA**k]."""
ZERO = -1_000_000
"""The bucket of 0."""

_PER_LOG = 1 / log(GAMMA)
_MIDDLE = 2 / (1 + GAMMA)
_SMALLEST = 1e-9
_LARGEST = 1e12
"""Thirty years: no duration, whatever the log says."""


class Sketch:
    __slots__ = ("buckets", "count", "largest", "total")

    def __init__(self) -> None:
        self.buckets: dict[int, float] = {}
        self.count = 0.0
        self.total = 0.0
        self.largest = 0.0

    def add(self, value: float, weight: float = 1.0) -> None:
        """weight: how many observations this one stands for (sampled lines). ValueError for what is no duration."""
        if not 0.0 <= value <= _LARGEST:
            raise ValueError("no duration")
        bucket = ceil(log(value) * _PER_LOG) if value > _SMALLEST else ZERO
        buckets = self.buckets
        buckets[bucket] = buckets.get(bucket, 0.0) + weight
        self.count += weight
        self.total += value * weight
        if value > self.largest:
            self.largest = value

    def merge(self, other: Sketch) -> None:
        buckets = self.buckets
        for bucket, count in other.buckets.items():
            buckets[bucket] = buckets.get(bucket, 0.0) + count
        self.count += other.count
        self.total += other.total
        self.largest = max(self.largest, other.largest)

    def quantile(self, share: float) -> float | None:
        """The value of rank ceil(share · count), at most 1 % off; None without observations."""
        return self.quantiles((share,))[0]

    def quantiles(self, shares: Iterable[float]) -> list[float | None]:
        """As `quantile`, for ascending shares in one go."""
        wanted = list(shares)
        found: list[float | None] = []
        if not self.count:
            return [None] * len(wanted)
        seen = 0.0
        ordered = iter(sorted(self.buckets.items()))
        bucket = ZERO
        for share in wanted:
            rank = min(max(ceil(share * self.count - 1e-9), 1), self.count)
            while seen < rank - 1e-6:
                bucket, count = next(ordered)
                seen += count
            found.append(min(value_of(bucket), self.largest))
        return found

    def cumulative(self) -> tuple[list[int], list[float]]:
        """Buckets in ascending order, and for each the observations in it and below."""
        buckets, sums, total = sorted(self.buckets), [], 0.0
        for bucket in buckets:
            total += self.buckets[bucket]
            sums.append(total)
        return buckets, sums


def value_of(bucket: int) -> float:
    """The value that is at most 1 % from every value of the bucket."""
    return 0.0 if bucket == ZERO else float(GAMMA**bucket * _MIDDLE)


def merged(sketches: Iterable[Sketch]) -> Sketch:
    whole = Sketch()
    for sketch in sketches:
        whole.merge(sketch)
    return whole
