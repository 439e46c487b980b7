"""Tables, bars and figures in plain text."""

from __future__ import annotations

import pytest

from terminator.report.forms import bar, clock, ms, percent, shown, sparkline, table


def test_columns_are_as_wide_as_they_must_be() -> None:
    assert list(table(("NAME", "COUNT"), [("a", "1"), ("longer", "1,000")])) == [
        "NAME    COUNT",
        "a           1",
        "longer  1,000",
    ]
    assert list(table(("A", "B", "C"), [("x", "y", "zz")], right=(1,))) == ["A  B  C", "x  y  zz"]


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), (0.0, "0"), (0.0412, "0.041"), (0.5, "0.5"), (1.234, "1.23"), (99.9, "99.9"), (1234.5, "1,234")],
)
def test_milliseconds(value: float | None, text: str) -> None:
    assert ms(value) == text


@pytest.mark.parametrize(
    ("share", "text"), [(None, "-"), (0.0, "0 %"), (0.0123456, "1.23 %"), (1.0, "100 %"), (0.9999, "99.99 %")]
)
def test_percent(share: float | None, text: str) -> None:
    assert percent(share) == text


def test_sparklines_and_bars() -> None:
    assert sparkline([0, 1, 2, 4, 8, None]) == "▁▁▂▄█ "
    assert sparkline([0, 0]) == "▁▁"
    assert sparkline([]) == ""
    assert bar(1.0, 4) == "████"
    assert bar(0.5, 3) == "█▌"
    assert bar(None, 3) == ""


def test_no_control_character_of_a_log_reaches_the_terminal() -> None:
    assert shown("a\x1b[2Jb\n") == "a\\x1b[2Jb\\x0a"
    assert "\x1b" not in "".join(table(("X",), [("\x1b]0;owned\x07",)]))


def test_clock() -> None:
    assert clock("2026-11-21T09:30:12.482913Z") == "2026-11-21 09:30:12"
    assert clock(None) == "-"
    assert clock("never") == "never"
