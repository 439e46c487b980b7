"""What the live views (status page, `terminator top`) need of the board: few numbers, merged over hosts and listeners.

Totals are cumulative, as the board is; a view shows the difference of two of them over the time between.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from terminator.telemetry.board import Board, Distribution, Labels
from terminator.telemetry.series import FAMILIES, NONE, PHASES

_HANDSHAKES = "terminator_tls_handshakes_total"
_FAILURES = "terminator_tls_handshake_failures_total"
_PHASES = "terminator_tls_handshake_duration_seconds"
_IN_PROGRESS = "terminator_tls_handshakes_in_progress"
_CONNECTIONS = "terminator_connections"
_BYTES = "terminator_client_bytes_total"
_REQUESTS = "terminator_http_requests_total"
_REQUEST_SECONDS = "terminator_http_request_duration_seconds"
_BACKEND_REQUESTS = "terminator_backend_requests_total"
_BACKEND_ERRORS = "terminator_backend_errors_total"
_BACKEND_RETRIES = "terminator_backend_retries_total"
_BACKEND_SECONDS = "terminator_backend_response_duration_seconds"
_DROPPED = "terminator_log_lines_dropped_total"

SOURCES = frozenset(
    {
        *(_HANDSHAKES, _FAILURES, _PHASES, _IN_PROGRESS, _CONNECTIONS, _BYTES, _REQUESTS, _REQUEST_SECONDS),
        *(_BACKEND_REQUESTS, _BACKEND_ERRORS, _BACKEND_RETRIES, _BACKEND_SECONDS, _DROPPED),
    }
)
"""The families that totals are made of."""

Counts = dict[str, float]


@dataclass(frozen=True, slots=True)
class Totals:
    """`at` is a monotonic clock's seconds; durations are distributions in seconds."""

    at: float
    established: float = 0.0
    failed: float = 0.0
    resumed: float = 0.0
    """Of the established ones."""
    dropped_lines: float = 0.0
    failures: Counts = field(default_factory=dict)
    """By class."""
    phases: dict[str, Distribution] = field(default_factory=dict)
    statuses: Counts = field(default_factory=dict)
    """Requests by status class: `2xx`, …, `none` without an answer."""
    request_seconds: Distribution | None = None
    bytes: Counts = field(default_factory=dict)
    """By direction."""
    servers: Counts = field(default_factory=dict)
    """Requests sent, by `backend server`."""
    server_errors: Counts = field(default_factory=dict)
    retries: float = 0.0
    backend_seconds: dict[str, Distribution] = field(default_factory=dict)
    connections: Counts = field(default_factory=dict)
    """By state, at this moment."""
    in_progress: float = 0.0

    @property
    def requests(self) -> float:
        return math.fsum(self.statuses.values())

    def since(self, earlier: Totals) -> Totals:
        """What was added after `earlier`. What tells of a moment (connections, in progress) stays as it is."""
        return Totals(
            at=self.at,
            established=_less(self.established, earlier.established),
            failed=_less(self.failed, earlier.failed),
            resumed=_less(self.resumed, earlier.resumed),
            dropped_lines=_less(self.dropped_lines, earlier.dropped_lines),
            failures=_difference(self.failures, earlier.failures),
            phases=_differences(self.phases, earlier.phases),
            statuses=_difference(self.statuses, earlier.statuses),
            request_seconds=self.request_seconds and _later(self.request_seconds, earlier.request_seconds),
            bytes=_difference(self.bytes, earlier.bytes),
            servers=_difference(self.servers, earlier.servers),
            server_errors=_difference(self.server_errors, earlier.server_errors),
            retries=_less(self.retries, earlier.retries),
            backend_seconds=_differences(self.backend_seconds, earlier.backend_seconds),
            connections=self.connections,
            in_progress=self.in_progress,
        )

    def as_json(self) -> dict[str, Any]:
        value: dict[str, Any] = {}
        for name in self.__slots__:
            found = getattr(self, name)
            if isinstance(found, dict):
                value[name] = {key: _plain(each) for key, each in found.items()}
            else:
                value[name] = _plain(found)
        return value

    @classmethod
    def from_json(cls, value: dict[str, Any]) -> Totals:
        """The inverse of `as_json`; raises TypeError or KeyError for what never was one."""
        read = dict(value)
        for name in ("phases", "backend_seconds"):
            read[name] = {key: _distribution(each) for key, each in read[name].items()}
        if read["request_seconds"] is not None:
            read["request_seconds"] = _distribution(read["request_seconds"])
        return cls(**read)


def totals(board: Board, at: float) -> Totals:
    """The totals of this moment; `at` by a monotonic clock."""
    snapshot = board.snapshot(SOURCES)

    def series(name: str) -> Iterable[tuple[Labels, float]]:
        return ((labels, value) for labels, value in snapshot.get(name, {}).items() if isinstance(value, float))

    def by(name: str, label: str) -> Counts:
        place = FAMILIES[name].labels.index(label)
        return _summed((labels[place], value) for labels, value in series(name))

    def spread(name: str, label: str) -> dict[str, Distribution]:
        place = FAMILIES[name].labels.index(label)
        merged: dict[str, Distribution] = {}
        for labels, value in snapshot.get(name, {}).items():
            assert isinstance(value, Distribution)
            known = merged.get(labels[place])
            merged[labels[place]] = value if known is None else known.plus(value)
        return merged

    outcomes = by(_HANDSHAKES, "outcome")
    phases = spread(_PHASES, "phase")
    requests = list(spread(_REQUEST_SECONDS, "host").values())
    return Totals(
        at=at,
        established=outcomes.get("established", 0.0),
        failed=outcomes.get("failed", 0.0),
        resumed=math.fsum(n for labels, n in series(_HANDSHAKES) if labels[2:] == ("yes", "established")),
        dropped_lines=math.fsum(n for _, n in series(_DROPPED)),
        failures=by(_FAILURES, "reason"),
        phases={phase: phases[phase] for phase in PHASES if phase in phases},
        statuses=_summed((_status_class(labels[3]), value) for labels, value in series(_REQUESTS)),
        request_seconds=_sum(requests),
        bytes=by(_BYTES, "direction"),
        servers=_summed((" ".join(labels), value) for labels, value in series(_BACKEND_REQUESTS)),
        server_errors=_summed((" ".join(labels[:2]), value) for labels, value in series(_BACKEND_ERRORS)),
        retries=math.fsum(n for _, n in series(_BACKEND_RETRIES)),
        backend_seconds=spread(_BACKEND_SECONDS, "backend"),
        connections=by(_CONNECTIONS, "state"),
        in_progress=math.fsum(n for _, n in series(_IN_PROGRESS)),
    )


def _status_class(status: str) -> str:
    return f"{status[0]}xx" if status[:1].isdigit() else NONE


def _summed(items: Iterable[tuple[str, float]]) -> Counts:
    counts: Counts = {}
    for key, value in items:
        counts[key] = counts.get(key, 0.0) + value
    return counts


def _sum(distributions: list[Distribution]) -> Distribution | None:
    if not distributions:
        return None
    first, *others = distributions
    for other in others:
        first = first.plus(other)
    return first


def _less(now: float, earlier: float) -> float:
    return max(0.0, now - earlier)


def _difference(now: Counts, earlier: Counts) -> Counts:
    return {key: _less(value, earlier.get(key, 0.0)) for key, value in now.items()}


def _later(now: Distribution, earlier: Distribution | None) -> Distribution:
    return now if earlier is None else now.since(earlier)


def _differences(now: dict[str, Distribution], earlier: dict[str, Distribution]) -> dict[str, Distribution]:
    return {key: _later(value, earlier.get(key)) for key, value in now.items()}


def _plain(value: Any) -> Any:
    if isinstance(value, Distribution):
        return {"bounds": list(value.bounds), "counts": list(value.counts), "sum": value.sum}
    return value


def _distribution(value: dict[str, Any]) -> Distribution:
    return Distribution(tuple(value["bounds"]), tuple(value["counts"]), value["sum"])
