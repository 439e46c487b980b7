"""Records are values: equal by content, fit for a set, and without room for anything else."""

from __future__ import annotations

import pytest

from terminator.record import record


@record
class Point:
    x: int
    y: int = 0


def test_records_compare_and_hash_by_value() -> None:
    assert Point(1) == Point(1, 0) != Point(1, 1)
    assert len({Point(1), Point(1, 0), Point(2)}) == 2


def test_a_record_has_no_other_attributes() -> None:
    with pytest.raises(AttributeError):
        Point(1).z = 2  # type: ignore[attr-defined]
