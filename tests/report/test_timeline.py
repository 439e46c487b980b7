"""Any span of time fits into so many slices; lines may come in any order."""

from __future__ import annotations

import random
from datetime import UTC, datetime, timedelta

import pytest

from terminator.report.timeline import SLICES, Timeline

BEGIN = datetime(2026, 11, 21, tzinfo=UTC)


def text(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


@pytest.mark.parametrize("span", [1, 100, 119, 121, 5000, 86400 * 400])
def test_every_span_fits_and_nothing_is_lost(span: int) -> None:
    rng = random.Random(span)
    moments = [rng.randrange(span) for _ in range(500)] + [0, span - 1]
    rng.shuffle(moments)
    timeline = Timeline()
    for moment in moments:
        found = timeline.at(text(moment))
        found.established += 1
        found.handshake_ms.add(5.0)
    slices = timeline.slices()
    assert len(slices) <= SLICES
    assert sum(each.established for _, each in slices) == len(moments)
    assert sum(each.handshake_ms.count for _, each in slices) == len(moments)
    assert timeline.seconds < max(2, 4 * span / SLICES)
    width = timeline.seconds
    for begin, each in slices:
        inside = [moment for moment in moments if begin <= BEGIN.timestamp() + moment < begin + width]
        assert each.established == len(inside)


def test_nothing_has_no_slices_and_what_is_no_time_is_refused() -> None:
    timeline = Timeline()
    assert timeline.slices() == []
    with pytest.raises(ValueError, match="isoformat"):
        timeline.at("yesterday")


def test_what_is_counted_in_a_slice_is_merged_with_it() -> None:
    timeline = Timeline()
    for moment in (0, 1, 300):
        each = timeline.at(text(moment))
        each.failed += 1
        each.requests += 2
        each.server_errors += 3
    first = timeline.slices()[0][1]
    assert (first.failed, first.requests, first.server_errors) == (2, 4, 6)
