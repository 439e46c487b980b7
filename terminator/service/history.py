"""The last hour in numbers: totals remembered every ten seconds, and what came in between. Pure."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, replace
from itertools import pairwise

from terminator.telemetry.totals import Totals

STEP_SECONDS = 10.0
HOUR_SECONDS = 3600.0
NOW_SECONDS = 60.0
"""What counts as now."""
_PER_SLICE = 6


@dataclass(frozen=True, slots=True)
class Slice:
    """What came in one minute, which ended at `at` (seconds since 1970)."""

    at: float
    totals: Totals


class History:
    """`add` the totals every STEP_SECONDS. Of servers and backends only the last minute is kept: they may be many."""

    def __init__(self) -> None:
        self._hour: deque[tuple[float, Totals]] = deque(maxlen=round(HOUR_SECONDS / STEP_SECONDS) + 1)
        self._minute: deque[Totals] = deque(maxlen=round(NOW_SECONDS / STEP_SECONDS) + 1)

    def add(self, totals: Totals, now: float) -> None:
        """now: seconds since 1970."""
        self._minute.append(totals)
        self._hour.append((now, replace(totals, servers={}, server_errors={}, backend_seconds={})))

    def now(self, totals: Totals) -> tuple[Totals, float]:
        """What came in the last minute, and in how many seconds; less after a start."""
        earliest = next((each for each in self._minute if totals.at - each.at <= NOW_SECONDS), totals)
        return totals.since(earliest), max(totals.at - earliest.at, 1e-3)

    def hour(self, totals: Totals) -> Totals:
        """What came in the last hour, or since the start of the admin process if that is less long ago."""
        return totals.since(self._hour[0][1] if self._hour else totals)

    def slices(self) -> list[Slice]:
        """The last hour by minutes."""
        entries = list(self._hour)
        begin = (len(entries) - 1) % _PER_SLICE
        chosen = entries[begin::_PER_SLICE]
        return [Slice(at, later.since(earlier)) for (_, earlier), (at, later) in pairwise(chosen)]
