"""What is never plain is hardly ever tried, and what is plain again is tried each time."""

from __future__ import annotations

from itertools import pairwise

from terminator.backend.pace import LONGEST_PAUSE, Pace


def test_a_backend_that_is_plain_is_always_tried() -> None:
    pace = Pace()
    for _ in range(10):
        assert pace.may_try()
        pace.plain()


def test_one_that_never_is_costs_a_try_in_many() -> None:
    pace, tries = Pace(), []
    for number in range(1000):
        if pace.may_try():
            tries.append(number)
            pace.other()
    gaps = [later - earlier - 1 for earlier, later in pairwise(tries)]
    assert gaps[:7] == [1, 2, 4, 8, 16, 32, 64]
    assert set(gaps[7:]) == {LONGEST_PAUSE}


def test_it_forgets_once_a_response_is_plain() -> None:
    pace = Pace()
    for _ in range(20):
        if pace.may_try():
            pace.other()
    while not pace.may_try():
        continue
    pace.plain()
    pace.other()
    assert [pace.may_try(), pace.may_try()] == [False, True]
