"""Two logs side by side: what was changed is found, nothing else is, and nothing is found where nothing changed."""

from __future__ import annotations

import math
import random
from typing import Any

from synthetic import day, failure, handshake, request

from terminator.report.compare import FALSE_ALARM, MIN_COUNT, compare
from terminator.report.tally import Tally


def tallied(events: Any) -> Tally:
    tally = Tally()
    for event in events:
        tally.add(event)
    return tally


def test_what_was_slowed_differs_and_the_rest_does_not() -> None:
    found = compare(tallied(day(3000, 1)), tallied(day(3000, 2, slower=1.4)))
    subjects = {row.subject for row in found.different}
    assert {"handshake flight", "handshake client", "handshake total"} <= subjects
    assert not subjects & {"handshake first_byte", "handshake hello", "request total", "resumed", "failed handshakes"}
    (row,) = (row for row in found.different if (row.subject, row.figure) == ("handshake client", "p50"))
    assert row.verdict.low is not None
    assert row.verdict.high is not None
    assert row.verdict.low <= 1.4 <= row.verdict.high
    assert found.different[0].effect >= found.different[-1].effect


def test_more_failures_differ() -> None:
    found = compare(tallied(day(3000, 1, failing=0.02)), tallied(day(3000, 2, failing=0.06)))
    assert "failed handshakes" in {row.subject for row in found.different}
    assert not any(row.kind == "ms" for row in found.different)


def test_the_whole_comparison_rarely_calls_chance_a_difference() -> None:
    """120 comparisons of two samples of one process, each with some forty figures."""
    trials = 120
    alarms = sum(
        bool(compare(tallied(day(150, seed)), tallied(day(150, -seed - 1))).different) for seed in range(trials)
    )
    assert alarms <= trials * FALSE_ALARM + 3 * math.sqrt(trials * FALSE_ALARM * (1 - FALSE_ALARM))


def test_too_few_are_named_and_not_judged() -> None:
    few = [handshake(at) for at in range(MIN_COUNT - 1)]
    found = compare(tallied(few), tallied([handshake(at, client=500.0) for at in range(100)]))
    assert not found.rows
    assert "handshake client" in found.too_few
    assert "request total" not in found.too_few, "neither has any"


def test_backends_and_statuses() -> None:
    rng = random.Random(1)

    def requests(status: int, slow: float) -> Tally:
        events = []
        for at in range(600):
            backend = f"b{at % 15}"
            total = rng.lognormvariate(2, 0.3) * (slow if backend == "b0" else 1)
            bad = status if rng.random() < 0.1 else 200
            events.append(request(at, total, backend=backend, http_response_status__code=bad))
        return tallied(events)

    found = compare(requests(404, 1.0), requests(503, 9.0))
    subjects = {row.subject for row in found.rows}
    assert len([subject for subject in subjects if subject.startswith("backend ")]) == 10
    different = {row.subject for row in found.different}
    assert {"answered 4xx", "answered 5xx", "backend b0 response"} <= different
    assert "backend b1 response" not in different


def test_a_class_that_one_side_never_saw() -> None:
    good = [handshake(at) for at in range(500)]
    bad = [failure(at, "no_shared_group") for at in range(50)]
    found = compare(tallied(good), tallied([*good, *bad]))
    (row,) = (row for row in found.different if row.subject == "failed: no_shared_group")
    assert (row.a, row.kind) == (0, "share")
    assert found.level < FALSE_ALARM
    assert row not in found.noise


def test_sampling_makes_no_difference_out_of_chance() -> None:
    """A line that stands for twenty tells no more than one line: 150 comparisons, both sides sampled alike."""
    trials = 150
    alarms = sum(bool(compare(tallied(sampled(seed)), tallied(sampled(-seed - 1))).different) for seed in range(trials))
    assert alarms <= trials * FALSE_ALARM + 3 * math.sqrt(trials * FALSE_ALARM * (1 - FALSE_ALARM))


def test_a_difference_is_found_in_sampled_logs_too() -> None:
    found = compare(tallied(sampled(1)), tallied(sampled(2, failing=0.6)))
    (row,) = (row for row in found.different if row.subject == "failed: timeout")
    assert row.verdict.low is not None
    assert row.verdict.high is not None
    assert row.verdict.low < row.b - row.a < row.verdict.high


def test_a_class_that_was_sampled_and_not_seen_on_one_side() -> None:
    none = [handshake(at) for at in range(2000)]
    one = [*none, failure(1, "timeout", log_sample=0.01)]
    assert not compare(tallied(none), tallied(one)).different, "a single line, though it stands for a hundred"


def sampled(seed: int, failing: float = 0.2) -> list[dict[str, Any]]:
    """2,000 handshakes, of whose failures every twentieth is in the log."""
    rng = random.Random(seed)
    kinds = ["failed" if rng.random() < failing else "made" for _ in range(2000)]
    return [
        handshake(at, client=12.0) if kind == "made" else failure(at, "timeout", log_sample=0.05)
        for at, kind in enumerate(kinds)
        if kind == "made" or rng.random() < 0.05
    ]
