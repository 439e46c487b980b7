"""Counters, gauges and histograms of all processes in one shared memory: a count costs one addition and no message.

The master makes the board before it forks. Each process has a *row* of its own and is the only one to write in it, so
nothing is locked. A row holds float64 slots, and a directory that says which series each slot belongs to. A process
adds to its own directory when it meets a label set for the first time, so new hosts and routes need no agreement
between processes. Records are never removed; that of a gauge which was forgotten may come to name another (the next
serial of a certificate), or a year of renewals would fill the row. The reader sums the rows by series.

A worker that takes a dead one's row goes on from its counters; gauges start anew. Capacity is bounded: when a row is
full, further label sets are counted under the label value `other`.

Slots are aligned, and CPython copies a float64 into them with one store, so a reader never sees half a value. Values of
one histogram may be a moment apart; its count is the sum of its buckets.
"""

from __future__ import annotations

import math
import mmap
import struct
from bisect import bisect_left
from collections import deque
from collections.abc import Callable, Container, Iterator
from dataclasses import dataclass

import orjson

from terminator.telemetry.series import FAMILIES, OTHER, Family, Type

MASTER_ROW = 0
ADMIN_ROW = 1
_FIRST_WORKER_ROW = 2

SLOTS = 1 << 18  # per row; 5,000 hosts with a route each need some 150,000. Memory is taken when touched, not before.
DIRECTORY_BYTES = 1 << 23
_HEADER_BYTES = 64  # Q directory bytes in use, Q slots in use, Q changes of records (odd while one is under way)
_RECORD = struct.Struct("=II")  # length of the key, first slot
_RESERVED_SLOTS = 2048  # kept free for the `other` series of every family
_RESERVED_BYTES = 16384
_NOWHERE = 0  # a slot that belongs to no series: where counts go when nothing else is left

Labels = tuple[str, ...]


def worker_row(worker: int) -> int:
    """The row of a worker, numbered from 0."""
    return _FIRST_WORKER_ROW + worker


class Board:
    """rows: `worker_row(number of workers)` of them. Made before the fork; never closed while a process counts."""

    def __init__(self, rows: int, *, slots: int = SLOTS, directory_bytes: int = DIRECTORY_BYTES) -> None:
        self.rows = rows
        self._row_bytes = _HEADER_BYTES + directory_bytes + slots * 8
        self._directory_bytes = directory_bytes
        self._slots = slots
        noreserve = getattr(mmap, "MAP_NORESERVE", 0x4000)
        self._memory = mmap.mmap(-1, rows * self._row_bytes, mmap.MAP_SHARED | mmap.MAP_ANONYMOUS | noreserve)
        self.readers = tuple(Row(*self._parts(row)) for row in range(rows))

    def writer(self, row: int) -> Writer:
        """The only writer of this row; ask once per process, after the fork."""
        return Writer(Row(*self._parts(row)))

    def retire(self, row: int) -> None:
        """Forgets the gauges of a process that has ended; its counters stay in the sums."""
        self.writer(row)

    def snapshot(self, only: Container[str] | None = None) -> Snapshot:
        """All series of all rows, or `only` those of some families, merged: name → label values → value. Families
        without any value are left out."""
        merged: Snapshot = {}
        for row in self.readers:
            for family, labels, slot in row.series():
                if only is not None and family.name not in only:
                    continue
                found = _read(family, row.values, slot)
                if found is None:
                    continue
                series = merged.setdefault(family.name, {})
                other = series.get(labels)
                series[labels] = found if other is None else _merge(family, other, found)
        return merged

    def _parts(self, row: int) -> tuple[memoryview[int], memoryview[int], memoryview[float]]:
        if not 0 <= row < self.rows:
            raise IndexError(f"the board has {self.rows} rows, not {row + 1}")
        start = row * self._row_bytes
        whole = memoryview(self._memory)[start : start + self._row_bytes]
        directory_end = _HEADER_BYTES + self._directory_bytes
        return whole[:_HEADER_BYTES].cast("Q"), whole[_HEADER_BYTES:directory_end], whole[directory_end:].cast("d")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A histogram's value. `counts` are per bucket, the last one beyond the last bound."""

    bounds: tuple[float, ...]
    counts: tuple[float, ...]
    sum: float

    @property
    def count(self) -> float:
        return math.fsum(self.counts)

    def plus(self, other: Distribution) -> Distribution:
        counts = tuple(a + b for a, b in zip(self.counts, other.counts, strict=True))
        return Distribution(self.bounds, counts, self.sum + other.sum)

    def since(self, earlier: Distribution) -> Distribution:
        """What was observed after `earlier`, an older value of the same series."""
        counts = tuple(max(0.0, a - b) for a, b in zip(self.counts, earlier.counts, strict=True))
        return Distribution(self.bounds, counts, self.sum - earlier.sum)

    def quantile(self, share: float) -> float | None:
        """The value below which `share` of the observations lie, by interpolation in its bucket; None without any.

        As Prometheus' histogram_quantile: beyond the last bound, the last bound.
        """
        wanted, seen = share * self.count, 0.0
        if not self.count:
            return None
        lower = 0.0
        for bound, count in zip(self.bounds, self.counts, strict=False):
            if count and seen + count >= wanted:
                return lower + (bound - lower) * (wanted - seen) / count
            seen, lower = seen + count, bound
        return self.bounds[-1]


Snapshot = dict[str, dict[Labels, float | Distribution]]


# ------------------------------------------------------------------------------------------------------- writing


class Counter:
    __slots__ = ("_slot", "_values")

    def __init__(self, values: memoryview[float], slot: int) -> None:
        self._values, self._slot = values, slot

    def inc(self, n: float = 1.0) -> None:
        self._values[self._slot] += n


class Gauge:
    __slots__ = ("_slot", "_values")

    def __init__(self, values: memoryview[float], slot: int) -> None:
        self._values, self._slot = values, slot
        if math.isnan(values[slot]):
            values[slot] = 0.0

    @property
    def value(self) -> float:
        return self._values[self._slot]

    def set(self, value: float) -> None:
        self._values[self._slot] = value

    def inc(self, n: float = 1.0) -> None:
        self._values[self._slot] += n

    def dec(self, n: float = 1.0) -> None:
        self._values[self._slot] -= n

    def forget(self) -> None:
        """Takes the series out of the metrics until it is asked for again: its server or certificate is gone."""
        self._values[self._slot] = math.nan


class Histogram:
    __slots__ = ("_bounds", "_slot", "_sum", "_values")

    def __init__(self, values: memoryview[float], slot: int, bounds: tuple[float, ...]) -> None:
        self._values, self._slot, self._bounds = values, slot, bounds
        self._sum = slot + len(bounds) + 1

    def observe(self, seconds: float) -> None:
        values = self._values
        values[self._slot + bisect_left(self._bounds, seconds)] += 1.0
        values[self._sum] += seconds


class Writer:
    """Gives out counters and the like for one row. Asking costs some µs the first time: keep what you got."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self._known: dict[tuple[str, Labels], int] = {}
        self.on_overflow: Callable[[str], None] | None = None
        self._overflowed = False
        self._spare: dict[str, dict[int, deque[int]] | None] = {}
        """Families that were forgotten → records by the length of their key; None until somebody needs them."""
        for family, labels, slot in row.series():
            self._known[family.name, labels] = slot
            if family.type in ("gauge", "info"):
                row.values[slot] = math.nan

    def counter(self, name: str, /, **labels: str) -> Counter:
        return Counter(self._row.values, self._slot(name, ("counter",), labels))

    def gauge(self, name: str, /, **labels: str) -> Gauge:
        """Starts at 0 when the process has not set it yet."""
        return Gauge(self._row.values, self._slot(name, ("gauge", "info"), labels))

    def histogram(self, name: str, /, **labels: str) -> Histogram:
        return Histogram(self._row.values, self._slot(name, ("histogram",), labels), FAMILIES[name].buckets)

    def forget(self, name: str) -> None:
        """Takes all of this process's series of a gauge out of the metrics; those still true are then asked for and set
        again. Gauges given out before are void: their place may be another's."""
        self._spare[name] = None
        for (family, _), slot in self._known.items():
            if family == name:
                self._row.values[slot] = math.nan

    def _slot(self, name: str, types: tuple[Type, ...], labels: dict[str, str]) -> int:
        family = FAMILIES[name]
        if family.type not in types or labels.keys() != set(family.labels):
            raise ValueError(f"{name} is a {family.type} with labels {', '.join(family.labels) or '(none)'}")
        values = tuple(labels[label] for label in family.labels)
        known = self._known.get((name, values))
        return known if known is not None else self._new_slot(family, values)

    def _new_slot(self, family: Family, values: Labels) -> int:
        slot = self._taken_over(family, values) if family.name in self._spare else None
        if slot is None:
            slot = self._row.add(family, values, reserve=True)
        if slot is None:
            if self.on_overflow is not None and not self._overflowed:
                self.on_overflow(f"no room for more series: {family.name} and others are counted as `{OTHER}`")
            self._overflowed = True
            values = (OTHER,) * len(values)
            slot = self._known.get((family.name, values))
            if slot is None:
                slot = self._row.add(family, values, reserve=False)
        self._known[family.name, values] = _NOWHERE if slot is None else slot
        return self._known[family.name, values]

    def _taken_over(self, family: Family, values: Labels) -> int | None:
        """The slot of a forgotten series whose record has now become that of this one; None when none is as long."""
        records = self._spare[family.name]
        if records is None:
            records = self._spare[family.name] = self._row.forgotten(family)
        same = records.get(len(_key(family, values)), ())
        while same:
            record = same.popleft()
            if self._row.is_forgotten(record):  # not asked for again meanwhile
                old, slot = self._row.rename(record, family, values)
                self._known.pop((family.name, old), None)
                return slot
        return None


# ------------------------------------------------------------------------------------------------------- one row


class Row:
    """One row's header, directory and values, for its writer or for a reader."""

    def __init__(self, header: memoryview[int], directory: memoryview[int], values: memoryview[float]) -> None:
        self._header = header
        self._directory = directory
        self.values = values
        self._seen: list[tuple[Family, Labels, int]] = []
        self._read_bytes = 0
        self._changes = 0

    def series(self, skip: int = 0) -> Iterator[tuple[Family, Labels, int]]:
        """Family, label values and first slot of all series so far, without the first `skip` of them. What was read is
        kept, until a record changes; their number only grows."""
        used, changes = self._header[0], self._header[2]
        if changes != self._changes and not changes & 1:
            self._seen, self._read_bytes, self._changes = [], 0, changes
        while self._read_bytes < used:
            start = self._read_bytes + _RECORD.size
            length, slot = _RECORD.unpack_from(self._directory, self._read_bytes)
            try:
                name, labels = orjson.loads(self._directory[start : start + length])
            except orjson.JSONDecodeError:
                break  # seen before its bytes were: on the next call
            self._seen.append((FAMILIES[name], tuple(labels), slot))
            self._read_bytes = start + length
        yield from self._seen[skip:] if skip else self._seen

    def add(self, family: Family, labels: Labels, *, reserve: bool) -> int | None:
        """A first slot for a new series, None when there is no room. `reserve` leaves what `other` may need."""
        key = _key(family, labels)
        at, first = self._header[0], max(self._header[1], _NOWHERE + 1)
        end, last = at + _RECORD.size + len(key), first + _slots_of(family)
        if end + _RESERVED_BYTES * reserve > len(self._directory) or last + _RESERVED_SLOTS * reserve > len(
            self.values
        ):
            return None
        _RECORD.pack_into(self._directory, at, len(key), first)
        self._directory[at + _RECORD.size : end] = key
        self._header[1] = last
        self._header[0] = end  # last: a process killed before this has added nothing
        return first

    def forgotten(self, family: Family) -> dict[int, deque[int]]:
        """Where the records of this gauge's forgotten series begin, by the length of their keys. Not that of `other`,
        whose slot stands for many."""
        found: dict[int, deque[int]] = {}
        at, start, other = 0, _key(family, ())[:-2], _key(family, (OTHER,) * len(family.labels))
        while at < self._header[0]:
            length, _ = _RECORD.unpack_from(self._directory, at)
            key_at = at + _RECORD.size
            key = bytes(self._directory[key_at : key_at + length])
            if key.startswith(start) and key != other and self.is_forgotten(at):
                found.setdefault(length, deque()).append(at)
            at = key_at + length
        return found

    def is_forgotten(self, record: int) -> bool:
        _, slot = _RECORD.unpack_from(self._directory, record)
        return math.isnan(self.values[slot])

    def rename(self, record: int, family: Family, labels: Labels) -> tuple[Labels, int]:
        """Makes the record that of another series, whose key must be as long; the labels it had, and its slot."""
        length, slot = _RECORD.unpack_from(self._directory, record)
        start = record + _RECORD.size
        _, old = orjson.loads(self._directory[start : start + length])
        self._header[2] += 1
        self._directory[start : start + length] = _key(family, labels)
        self._header[2] += 1
        return tuple(old), slot


def _key(family: Family, labels: Labels) -> bytes:
    return orjson.dumps([family.name, labels])


def _slots_of(family: Family) -> int:
    return len(family.buckets) + 2 if family.type == "histogram" else 1


def _read(family: Family, values: memoryview[float], slot: int) -> float | Distribution | None:
    if family.type == "histogram":
        bounds = family.buckets
        *counts, total = values[slot : slot + len(bounds) + 2].tolist()
        return Distribution(bounds, tuple(counts), total)
    value: float = values[slot]
    return None if math.isnan(value) else value


def _merge(family: Family, one: float | Distribution, other: float | Distribution) -> float | Distribution:
    if isinstance(one, Distribution) and isinstance(other, Distribution):
        return one.plus(other)
    assert not isinstance(one, Distribution)
    assert not isinstance(other, Distribution)
    return one + other if family.merge == "sum" else max(one, other) if family.merge == "max" else min(one, other)
