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
    enough_shares = [each for each in shares if min(each[2], each[4]) >= MIN_COUNT]
    few = [
        name for name, one, other in times if one.count + other.count > 0 and min(one.count, other.count) < MIN_COUNT
    ]
    few += [name for name, _, of_a, _, of_b in shares if of_a + of_b > 0 and min(of_a, of_b) < MIN_COUNT]
    level = false_alarm / max(1, len(enough_times) * len(SHARES) + len(enough_shares))
    rows: list[Row] = []
    for name, one, other in enough_times:
        for share, in_a, in_b in zip(SHARES, one.quantiles(SHARES), other.quantiles(SHARES), strict=True):
            assert in_a is not None
            assert in_b is not None
            verdict = quantile_verdict(one, other, share, level)
            rows.append(Row(name, f"p{share * 100:g}", "ms", in_a, in_b, one.count, other.count, verdict))
    for name, hits_a, of_a, hits_b, of_b in enough_shares:
        verdict = share_verdict(hits_a, of_a, hits_b, of_b, level)
        rows.append(Row(name, "share", "share", hits_a / of_a, hits_b / of_b, of_a, of_b, verdict))
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


def _shares(a: Tally, b: Tally) -> Iterator[tuple[str, float, float, float, float]]:
    """(name, hits and base of A, hits and base of B)"""
    made_a, made_b = _made(a), _made(b)
    yield "failed handshakes", a.failed, made_a, b.failed, made_b
    for kind in sorted(a.failures.keys() | b.failures.keys()):
        hits_a, hits_b = (tally.failures[kind].count if kind in tally.failures else 0.0 for tally in (a, b))
        yield f"failed: {kind}", hits_a, made_a, hits_b, made_b
    yield "resumed", _established(a, True), _established(a), _established(b, True), _established(b)
    requests_a, requests_b = _requests(a).count, _requests(b).count
    for name, lowest in (("answered 4xx", 400), ("answered 5xx", 500)):
        yield name, _answered(a, lowest), requests_a, _answered(b, lowest), requests_b


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
