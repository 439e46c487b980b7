"""Timers are due at their time, in their period, and until they are cancelled."""

from __future__ import annotations

import time

from terminator.service.timers import Timers


def test_a_timer_fires_each_period_until_it_is_cancelled() -> None:
    timers, fired, begun = Timers(), [], time.monotonic()
    timers.every("x", 10, lambda: fired.append("x"))
    due = timers.wake_at()
    assert due is not None
    assert due >= begun + 10
    timers.tick(due - 0.1)
    timers.tick(due)
    assert (fired, timers.wake_at()) == (["x"], due + 10)
    timers.cancel("x")
    timers.cancel("x")
    timers.tick(due + 100)
    assert (fired, timers.wake_at()) == (["x"], None)


def test_a_single_shot_fires_once_and_may_set_itself_again() -> None:
    timers, fired = Timers(), []

    def again() -> None:
        fired.append(len(fired))
        if len(fired) < 2:
            timers.once("x", 10, again)

    timers.once("x", 10, again)
    timers.tick(time.monotonic() + 11)
    assert fired == [0]
    timers.tick(time.monotonic() + 11)
    assert (fired, timers.wake_at()) == ([0, 1], None)


def test_the_same_name_replaces_the_timer() -> None:
    timers, fired = Timers(), []
    timers.once("x", 1, lambda: fired.append("old"))
    timers.once("x", 1, lambda: fired.append("new"))
    timers.tick(time.monotonic() + 2)
    assert fired == ["new"]
