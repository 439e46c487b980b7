"""What `FROM..TO` means."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from terminator.report.window import parse_window

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
CASES = [
    ("2026-11-21T09:00..2026-11-21T10:00", "2026-11-21T09:00:00.000000Z", "2026-11-21T10:00:00.000000Z"),
    ("2026-11-21T09:00..10:30", "2026-11-21T09:00:00.000000Z", "2026-11-21T10:30:00.000000Z"),
    ("2026-11-20..2026-11-21", "2026-11-20T00:00:00.000000Z", "2026-11-21T00:00:00.000000Z"),
    ("2026-11-20..", "2026-11-20T00:00:00.000000Z", "~"),
    ("..2026-11-20", "", "2026-11-20T00:00:00.000000Z"),
    ("now-1h..", "2026-11-21T11:00:00.000000Z", "~"),
    ("now-2h..now-30m", "2026-11-21T10:00:00.000000Z", "2026-11-21T11:30:00.000000Z"),
    ("2026-11-21T09:00+02:00..10:00", "2026-11-21T07:00:00.000000Z", "2026-11-21T08:00:00.000000Z"),
    ("2026-11-21T01:00+02:00..02:00Z", "2026-11-20T23:00:00.000000Z", "2026-11-21T02:00:00.000000Z"),
    ("now-1h..11:30", "2026-11-21T11:00:00.000000Z", "2026-11-21T11:30:00.000000Z"),
]


@pytest.mark.parametrize(("text", "begin", "end"), CASES)
def test_windows(text: str, begin: str, end: str) -> None:
    window = parse_window(text, NOW)
    assert (window.begin, window.end) == (begin, end)


def test_the_begin_is_inside_and_the_end_is_not() -> None:
    window = parse_window("2026-11-21T09:00..10:00", NOW)
    assert window.holds("2026-11-21T09:00:00.000000Z")
    assert window.holds("2026-11-21T09:59:59.999999Z")
    assert not window.holds("2026-11-21T10:00:00.000000Z")
    assert not window.holds("2026-11-21T08:59:59.999999Z")
    assert parse_window("..", NOW).holds("anything")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("2026-11-21", "FROM..TO"),
        ("soon..later", "soon: not a time"),
        ("2026-11-21T10:00..09:00", "ends before it begins"),
        ("now-1x..", "not a duration"),
        ("now-999999999999h..", "now-999999999999h: longer than"),
        ("now-800000h..", "no log is of that time"),
        ("0001-01-01T00:00+10:00..", "no log is of that time"),
        ("..9999-12-31T23:00-10:00", "no log is of that time"),
        ("2026-11-21T09:00..25:00", "25:00: not a time"),
    ],
)
def test_faults_are_told(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_window(text, NOW)
