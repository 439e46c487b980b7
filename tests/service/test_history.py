"""The last hour by minutes, the last minute as now."""

from __future__ import annotations

from terminator.service.history import HOUR_SECONDS, STEP_SECONDS, History
from terminator.telemetry.totals import Totals

BEGIN = 1.7e9


def filled(count: int) -> tuple[History, Totals]:
    """Ten handshakes a second, told every ten seconds, `count` times; and the totals four seconds later."""
    history = History()
    for number in range(count):
        at = number * STEP_SECONDS
        history.add(Totals(at=at, established=at * 10, servers={"b s": at}), BEGIN + at)
    at = (count - 1) * STEP_SECONDS + 4
    return history, Totals(at=at, established=at * 10, servers={"b s": at})


def test_now_is_the_last_minute() -> None:
    history, totals = filled(100)
    now, seconds = history.now(totals)
    assert 50 < seconds <= 60
    assert now.established == seconds * 10
    assert now.servers == {"b s": seconds}


def test_after_a_start_now_is_what_there_is() -> None:
    empty = History()
    now, seconds = empty.now(Totals(at=5.0, established=7))
    assert now.established == 0
    assert seconds > 0
    assert empty.hour(Totals(at=5.0, established=7)).established == 0
    assert empty.slices() == []
    history, totals = filled(2)
    assert history.now(totals)[1] == 14


def test_the_hour_is_an_hour_and_no_more_is_kept() -> None:
    history, totals = filled(1000)
    assert history.hour(totals).established == (HOUR_SECONDS + 4) * 10
    slices = history.slices()
    assert len(slices) == 60
    assert all(each.totals.established == 600 for each in slices)
    assert slices[-1].at == BEGIN + 999 * STEP_SECONDS
    assert slices[0].at == slices[-1].at - 59 * 60
    assert slices[0].totals.servers == {}


def test_the_newest_minute_is_whole() -> None:
    history, _ = filled(10)
    (only,) = history.slices()
    assert only.at == BEGIN + 90
    assert only.totals.established == 600
