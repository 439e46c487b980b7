"""Two tallies side by side: which figures differ, and which differences chance explains."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from terminator.report.evidence import Verdict, quantile_verdict, share_verdict
from terminator.report.sketch import Sketch, merged
from terminator.report.tally import PHASES, Tally

FALSE_ALARM = 0.05
"""The chance that a comparison of two samples of the same process calls anything different."""
SHARES = (0.5, 0.95, 0.99)
MIN_COUNT = 20
MAX_BACKENDS = 10

Kind = Literal["ms", "share"]


@dataclass(frozen=True, slots=True)
class Row:
    """One figure of both. For `ms` the verdict's bounds are of the ratio B / A, for `share` of the difference B - A."""

    subject: str
    figure: str
    kind: Kind
    a: float
    b: float
    count_a: float
    count_b: float
    verdict: Verdict

    @property
    def effect(self) -> float:
        """For sorting: how far apart they are."""
        if self.kind == "share":
            return abs(self.b - self.a)
        return abs(self.b / self.a - 1) if self.a else float(self.b != 0)


@dataclass(frozen=True, slots=True)
class Comparison:
    rows: tuple[Row, ...]
    too_few: tuple[str, ...]
    """Figures with fewer than MIN_COUNT observations on a side."""
    level: float
    """Of each single row, so that FALSE_ALARM holds for all of them together."""

    @property
    def different(self) -> list[Row]:
        return sorted((row for row in self.rows if row.verdict.differs), key=lambda row: -row.effect)

    @property
    def noise(self) -> list[Row]:
        return [row for row in self.rows if not row.verdict.differs]


def compare(a: Tally, b: Tally, false_alarm: float = FALSE_ALARM) -> Comparison:
    times, shares = list(_times(a, b)), list(_shares(a, b))
    enough_times = [each for each in times if min(each[1].count, each[2].count) >= MIN_COUNT]
    enough_shares = [each for each in shares if each.judged]
    few = [
        name for name, one, other in times if one.count + other.count > 0 and min(one.count, other.count) < MIN_COUNT
    ]
    few += [each.name for each in shares if each.a.base + each.b.base > 0 and not each.judged]
    level = false_alarm / max(1, len(enough_times) * len(SHARES) + len(enough_shares))
    rows: list[Row] = []
    for name, one, other in enough_times:
        for share, in_a, in_b in zip(SHARES, one.quantiles(SHARES), other.quantiles(SHARES), strict=True):
            assert in_a is not None
            assert in_b is not None
            verdict = quantile_verdict(one, other, share, level)
            rows.append(Row(name, f"p{share * 100:g}", "ms", in_a, in_b, one.count, other.count, verdict))
    for each in enough_shares:
        verdict = share_verdict(*each.a.told, *each.b.told, level)
        rows.append(Row(each.name, "share", "share", each.a.share, each.b.share, each.a.base, each.b.base, verdict))
    return Comparison(tuple(rows), tuple(few), level)


def _times(a: Tally, b: Tally) -> Iterator[tuple[str, Sketch, Sketch]]:
    for phase in PHASES:
        yield f"handshake {phase}" if phase != "handshake" else "handshake total", _phase(a, phase), _phase(b, phase)
    for resumed, name in ((False, "full handshakes, total"), (True, "resumed handshakes, total")):
        yield name, _phase(a, "handshake", resumed), _phase(b, "handshake", resumed)
    yield "request total", _requests(a), _requests(b)
    counts = {
        backend: _backend_count(a, backend) + _backend_count(b, backend) for backend in _backends(a) | _backends(b)
    }
    for backend in sorted(counts, key=lambda name: (-counts[name], name))[:MAX_BACKENDS]:
        yield f"backend {backend} response", _responses(a, backend), _responses(b, backend)


@dataclass(frozen=True, slots=True)
class _Part:
    """`hits` of `base`. A line of a sampled log stands for many, and yet tells no more than one line: `weight` is how
    many (Kish's design effect), and what is tested are counts less by it."""

    hits: float
    base: float
    weight: float = 1.0

    @property
    def share(self) -> float:
        return self.hits / self.base

    @property
    def told(self) -> tuple[float, float]:
        return self.hits / self.weight, self.base / self.weight


@dataclass(frozen=True, slots=True)
class _Share:
    name: str
    a: _Part
    b: _Part

    @property
    def judged(self) -> bool:
        return min(self.a.told[1], self.b.told[1]) >= MIN_COUNT


def _shares(a: Tally, b: Tally) -> Iterator[_Share]:
    kinds = sorted(a.failures.keys() | b.failures.keys())
    yield _Share("failed handshakes", *_failed(a, b, kinds))
    for kind in kinds:
        yield _Share(f"failed: {kind}", *_failed(a, b, [kind]))
    yield _Share("resumed", *(_Part(_established(each, True), _established(each)) for each in (a, b)))
    for name, lowest in (("answered 4xx", 400), ("answered 5xx", 500)):
        yield _Share(name, *(_Part(_answered(each, lowest), _requests(each).count) for each in (a, b)))


def _failed(a: Tally, b: Tally, kinds: list[str]) -> tuple[_Part, _Part]:
    found = [[each for kind in kinds if (each := tally.failures.get(kind))] for tally in (a, b)]
    counts = [sum(each.count for each in failures) for failures in found]
    squares = [sum(each.squares for each in failures) for failures in found]
    # A side without any does not show how it was sampled: as the other, then.
    whole = sum(squares) / sum(counts) if any(counts) else 1.0
    one, other = (of / count if count else whole for of, count in zip(squares, counts, strict=True))
    return _Part(counts[0], _made(a), one), _Part(counts[1], _made(b), other)


def _phase(tally: Tally, phase: str, resumed: bool | None = None) -> Sketch:
    return merged(
        group.phases[phase] for key, group in tally.groups.items() if resumed is None or bool(key[1]) is resumed
    )


def _established(tally: Tally, resumed: bool | None = None) -> float:
    return sum(group.count for key, group in tally.groups.items() if resumed is None or bool(key[1]) is resumed)


def _made(tally: Tally) -> float:
    return _established(tally) + tally.failed


def _requests(tally: Tally) -> Sketch:
    return merged(route.total_ms for route in tally.routes.values())


def _answered(tally: Tally, lowest: int) -> float:
    return sum(
        count
        for route in tally.routes.values()
        for status, count in route.statuses.items()
        if status is not None and lowest <= status < lowest + 100
    )


def _backends(tally: Tally) -> set[str]:
    return {backend for backend, _ in tally.servers}


def _backend_count(tally: Tally, backend: str) -> float:
    return sum(server.count for key, server in tally.servers.items() if key[0] == backend)


def _responses(tally: Tally, backend: str) -> Sketch:
    return merged(server.response_ms for key, server in tally.servers.items() if key[0] == backend)
