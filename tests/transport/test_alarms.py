"""The wheel: never early, at most a tick late, however often an alarm is moved; and it lets go of what has ended."""

from __future__ import annotations

import contextlib
import gc
import math
import socket
import time
import weakref
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from terminator.transport.alarms import TICK_SECONDS, Alarm, Alarms


@pytest.fixture
async def alarms(nursery: trio.Nursery) -> AsyncIterator[Alarms]:
    wheel = Alarms()
    nursery.start_soon(wheel.run)
    yield wheel
    nursery.cancel_scope.cancel()


@given(
    moves=st.lists(st.tuples(st.floats(0, 3), st.floats(0.01, 5) | st.just(float("inf"))), min_size=1, max_size=6),
    offset=st.floats(0, 1),
)
def test_it_goes_off_once_when_the_last_time_set_has_come(moves: list[tuple[float, float]], offset: float) -> None:
    """moves: the pause before each, and the seconds it allows."""

    async def play() -> None:
        wheel, rung, due = Alarms(), [], float("inf")
        await trio.sleep(offset)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(wheel.run)
            alarm = Alarm(wheel, lambda: rung.append(trio.current_time()))
            for pause, seconds in moves:
                await trio.sleep(pause)
                if rung:
                    break
                due = trio.current_time() + seconds
                alarm.set(due)
            await trio.sleep(20)
            nursery.cancel_scope.cancel()
        if due == float("inf"):
            assert rung == []
        else:
            assert len(rung) == 1
            assert due <= rung[0] <= due + TICK_SECONDS + 1e-6

    trio.run(play, clock=trio.testing.MockClock(autojump_threshold=0))


def until_next_deadline() -> float:
    return trio.lowlevel.current_statistics().seconds_to_next_deadline


async def test_the_wheel_sleeps_until_the_nearest_alarm(alarms: Alarms, autojump_clock: trio.testing.MockClock) -> None:
    """Ten times a second it woke a worker that had nothing to do."""
    await trio.testing.wait_all_tasks_blocked()
    assert until_next_deadline() == math.inf
    far, near = Alarm(alarms, lambda: None), Alarm(alarms, lambda: None)
    for alarm, seconds, asleep in ((far, 1000, 1000), (near, 5, 5), (near, 60, 5), (far, 3, 3)):
        alarm.set(trio.current_time() + seconds)
        assert asleep <= until_next_deadline() <= asleep + TICK_SECONDS
    far.end()
    near.end()
    await trio.sleep(5 + TICK_SECONDS)
    await trio.testing.wait_all_tasks_blocked()
    assert until_next_deadline() == math.inf


async def test_its_waking_is_bounded_by_ticks_and_by_alarms(autojump_clock: trio.testing.MockClock) -> None:
    wakes, wheel = 0, Alarms()

    class Count(trio.abc.Instrument):
        def before_task_step(self, task: trio.lowlevel.Task) -> None:
            nonlocal wakes
            wakes += task.name.endswith("Alarms.run")

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wheel.run)
        ours = [Alarm(wheel, lambda: None) for _ in range(100)]
        with _instrument(Count()):
            for number, alarm in enumerate(ours):  # half of them at far times of their own
                alarm.set(trio.current_time() + (5 if number % 2 else 1000 + number))
            await trio.sleep(2000)
        nursery.cancel_scope.cancel()
    assert wakes <= 3 * (50 + 1 + 2)  # three steps for each wake


@contextlib.contextmanager
def _instrument(one: trio.abc.Instrument) -> Iterator[None]:
    trio.lowlevel.add_instrument(one)
    try:
        yield
    finally:
        trio.lowlevel.remove_instrument(one)


async def test_off_means_off(alarms: Alarms, autojump_clock: trio.testing.MockClock) -> None:
    rung: list[int] = []
    alarm = Alarm(alarms, lambda: rung.append(1))
    alarm.set(trio.current_time() + 1)
    alarm.off()
    await trio.sleep(5)
    assert not rung
    alarm.set(trio.current_time() + 1)
    await trio.sleep(1 + 2 * TICK_SECONDS)
    assert rung == [1]


async def test_what_has_ended_is_not_kept(alarms: Alarms, autojump_clock: trio.testing.MockClock) -> None:
    class Owner:
        def ring(self) -> None: ...

    owner = Owner()
    seen = weakref.ref(owner)
    alarm = Alarm(alarms, owner.ring)
    alarm.set(trio.current_time() + 1000)
    alarm.end()
    del owner, alarm
    gc.collect()
    assert seen() is None


async def test_a_ring_may_set_alarms(alarms: Alarms, autojump_clock: trio.testing.MockClock) -> None:
    times: list[float] = []

    def ring() -> None:
        times.append(trio.current_time())
        if len(times) < 3:
            alarm.set(trio.current_time() + 1)

    alarm = Alarm(alarms, ring)
    alarm.set(trio.current_time() + 1)
    await trio.sleep(10)
    assert len(times) == 3


async def test_what_was_due_before_the_wheel_turned_goes_off_at_once(
    autojump_clock: trio.testing.MockClock, nursery: trio.Nursery
) -> None:
    rung: list[float] = []
    await trio.sleep(100)
    wheel = Alarms()
    for due in (3, 99, 101):
        Alarm(wheel, lambda: rung.append(trio.current_time())).set(due)
    nursery.start_soon(wheel.run)
    await trio.sleep(5)
    assert rung == [pytest.approx(100, abs=TICK_SECONDS)] * 2 + [pytest.approx(101, abs=TICK_SECONDS)]
    nursery.cancel_scope.cancel()


async def test_times_that_are_far_away_are_not_kept_when_nobody_waits_for_them(
    alarms: Alarms, autojump_clock: trio.testing.MockClock
) -> None:
    """Each connection sets a limit, a day away, at a tick of its own; then a closer one, or it ends."""
    for number in range(100):
        alarm = Alarm(alarms, lambda: None)
        alarm.set(trio.current_time() + 86400)
        if number % 2:
            alarm.set(trio.current_time() + 2 * TICK_SECONDS)
        else:
            alarm.end()
        await trio.sleep(TICK_SECONDS)
    await trio.sleep(1)
    assert not alarms._slots


async def test_a_time_that_has_passed_is_the_next_tick(alarms: Alarms, autojump_clock: trio.testing.MockClock) -> None:
    await trio.sleep(10)
    rung: list[float] = []
    for due in (0.0, 5.0, trio.current_time()):
        Alarm(alarms, lambda: rung.append(trio.current_time())).set(due)
    await trio.sleep(2 * TICK_SECONDS)
    assert len(rung) == 3


async def test_what_comes_while_the_loop_is_held_up_comes_in_time(alarms: Alarms) -> None:
    """Held up at the very tick, so that the wheel turns right after it; which is first is chance, hence the rounds."""
    rung: list[float] = []
    alarm = Alarm(alarms, lambda: rung.append(trio.current_time()))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        for _ in range(10):
            tick = (int(trio.current_time() / TICK_SECONDS) + 2) * TICK_SECONDS
            alarm.set(tick + TICK_SECONDS / 2)
            async with trio.open_nursery() as nursery:
                nursery.start_soon(_hold_up, tick, theirs)
                await trio.lowlevel.wait_readable(ours)
                alarm.off()
            assert ours.recv(10) == b"in time"
    assert not rung


async def _hold_up(at: float, sock: socket.socket) -> None:
    await trio.sleep_until(at)
    sock.send(b"in time")
    time.sleep(2 * TICK_SECONDS)
