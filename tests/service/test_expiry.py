"""Each threshold is said once per certificate, and only the nearest of those passed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from terminator.service.expiry import Said, days_left, expiring

NOW = datetime(2026, 11, 21, tzinfo=UTC)


def material(host: str, *days: float, sha256: str = "aa") -> Any:
    pairs = tuple(
        SimpleNamespace(
            chain_file=f"/{host}.pem",
            info=SimpleNamespace(sha256=f"{sha256}{n}", serial=f"{n}", not_after=NOW + timedelta(days=left)),
        )
        for n, left in enumerate(days)
    )
    return SimpleNamespace(host=host, pairs=pairs)


def test_a_certificate_with_time_left_is_not_mentioned() -> None:
    assert expiring([material("a", 22, 90)], frozenset(), NOW) == ([], frozenset())


def test_each_threshold_is_said_once_over_the_life_of_a_certificate() -> None:
    said: Said = frozenset()
    told = []
    for hours in range(24 * 31):
        now = NOW + timedelta(hours=hours)
        events, said = expiring([material("a", 30)], said, now)
        told += [(round(event.days_left, 1), event.host, event.file, event.serial) for event in events]
    assert told == [(days, "a", "/a.pem", "0") for days in (21.0, 7.0, 1.0, 0.0)]


def test_of_several_thresholds_passed_at_once_only_one_is_said() -> None:
    events, said = expiring([material("a", 0.5)], frozenset(), NOW)
    assert [event.days_left for event in events] == [0.5]
    assert expiring([material("a", 0.5)], said, NOW) == ([], said)


def test_an_expired_one_says_how_long_ago() -> None:
    events, _ = expiring([material("a", -2)], frozenset(), NOW)
    assert [(event.days_left, event.not_after) for event in events] == [(-2.0, "2026-11-19T00:00:00Z")]


def test_a_renewed_certificate_starts_anew_and_the_old_one_is_forgotten() -> None:
    _, said = expiring([material("a", 5, sha256="old")], frozenset(), NOW)
    events, said = expiring([material("a", 6, sha256="new")], said, NOW)
    assert len(events) == 1
    assert {entry[1] for entry in said} == {"new0"}


def test_hosts_that_share_a_certificate_are_each_named() -> None:
    events, _ = expiring([material("a", 5), material("b", 5)], frozenset(), NOW)
    assert [event.host for event in events] == ["a", "b"]


def test_days_left_counts_parts_of_days() -> None:
    assert days_left(NOW + timedelta(hours=36), NOW) == 1.5
