"""Supervision as tables: what the workers' table looks like, what happens, what is to be done."""

from __future__ import annotations

import signal
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.service import supervision
from terminator.service.supervision import Died, GiveUp, Kill, Slot, Start, State, Table

YOUNG, OLD = 1.0, supervision.YOUNG_SECONDS + 1


def serving(count: int = 2, *, since: float = 0.0) -> Table:
    """Workers 0 … count-1 with process ids 100 …, all serving since `since`."""
    table = supervision.new_table(range(count), since)
    for number in range(count):
        table = supervision.started(table, number, 100 + number, since)
        table = supervision.beat(table, number, 100 + number, since)
    assert table.was_ready
    return table


def states(table: Table) -> list[State]:
    return [slot.state for slot in table.slots]


def test_a_new_table_starts_every_worker() -> None:
    table, actions = supervision.tick(supervision.new_table(range(3), 5.0), 5.0)
    assert actions == [Start(0), Start(1), Start(2)]
    assert states(table) == [State.WAITING] * 3, "it is started only when the fork was carried out"


def test_the_service_is_ready_when_every_worker_has_spoken() -> None:
    table = supervision.new_table(range(2), 0.0)
    for number in (0, 1):
        table = supervision.started(table, number, 100 + number, 0.0)
    table = supervision.beat(table, 0, 100, 0.1)
    assert (table.any_serving, table.all_serving, table.was_ready) == (True, False, False)
    table = supervision.beat(table, 1, 101, 0.2)
    assert (table.any_serving, table.all_serving, table.was_ready) == (True, True, True)


@pytest.mark.parametrize(
    ("age", "clean", "expected", "pause"),
    [
        pytest.param(OLD, False, False, 0.0, id="an old one that crashes is replaced at once"),
        pytest.param(YOUNG, False, False, 0.0, id="a first young death too"),
        pytest.param(OLD, True, True, 0.0, id="one that somebody asked by SIGTERM is replaced"),
        pytest.param(YOUNG, True, True, 0.0, id="young or not"),
    ],
)
def test_a_worker_that_ends_is_replaced(age: float, clean: bool, expected: bool, pause: float) -> None:
    table, actions = supervision.exited(serving(), 100, age, clean=clean)
    assert actions == [Died(0, 100, expected, pause), Start(0)]
    assert states(table) == [State.WAITING, State.SERVING]


def test_young_deaths_in_a_row_make_the_pause_longer() -> None:
    table, now, pauses = serving(), 0.0, []
    for death in range(12):
        table, actions = supervision.exited(table, 100 if death == 0 else 200 + death, now, clean=False)
        (died,) = [action for action in actions if isinstance(action, Died)]
        assert died.restart_in_seconds is not None
        pauses.append(died.restart_in_seconds)
        if died.restart_in_seconds:
            table = supervision.beat(table, 1, 101, now + died.restart_in_seconds)
            assert supervision.tick(table, now + died.restart_in_seconds - 0.01)[1] == []
        now += died.restart_in_seconds
        if died.restart_in_seconds:
            assert supervision.tick(table, now)[1] == [Start(0)]
        table = supervision.started(table, 0, 201 + death, now)
        table = supervision.beat(table, 1, 101, now)  # the other one lives: no reason to give up
    assert pauses == [0.0, 0.25, 0.5, 1.0, 2.0, 4.0] + [supervision.LONGEST_PAUSE_SECONDS] * 6


def test_a_long_life_ends_the_row_of_young_deaths() -> None:
    table = serving()
    for pid in (100, 201, 202):
        table, _ = supervision.exited(table, pid, 0.0, clean=False)
        table = supervision.started(table, 0, {100: 201, 201: 202, 202: 203}[pid], 0.0)
    assert table.slots[0].young_deaths == 3
    table = supervision.beat(table, 0, 203, 0.5)
    assert table.slots[0].young_deaths == 3
    table = supervision.beat(table, 0, 203, 0.5 + OLD)
    assert table.slots[0].young_deaths == 0
    assert supervision.exited(table, 203, 0.5 + OLD, clean=False)[1] == [Died(0, 203, False, 0.0), Start(0)]


def test_it_gives_up_when_no_worker_stays_alive() -> None:
    table, now, given_up = serving(2), 0.0, None
    pids, following = {0: 100, 1: 101}, 200
    deaths = 0
    while given_up is None and deaths < 20:
        deaths += 1
        for number in (0, 1):
            table, actions = supervision.exited(table, pids[number], now, clean=False)
            given_up = next((action for action in actions if isinstance(action, GiveUp)), None)
            if given_up is not None:
                break
            following += 1
            pids[number] = following
            table = supervision.started(table, number, following, now)
    assert deaths == supervision.GIVE_UP_DEATHS
    assert given_up is not None
    assert "died 8 times" in given_up.reason
    assert table.stopping


def test_one_worker_that_serves_keeps_the_service_up() -> None:
    table = serving(2)
    table = replace(
        table,
        slots=(replace(table.slots[0], young_deaths=100, state=State.STARTING, served_since=None), table.slots[1]),
    )
    _, actions = supervision.exited(table, 100, YOUNG, clean=False)
    assert not [action for action in actions if isinstance(action, GiveUp)]


def test_a_death_before_the_service_was_ready_ends_it() -> None:
    table = supervision.new_table(range(2), 0.0)
    for number in (0, 1):
        table = supervision.started(table, number, 100 + number, 0.0)
    table, actions = supervision.exited(table, 100, 0.1, clean=False)
    assert actions == [Died(0, 100, False, None), GiveUp("a worker died before the service was ready")]
    table = supervision.stop(table, 0.2, 0.0)
    assert states(table) == [State.ENDED, State.DRAINING]
    table, _ = supervision.exited(table, 101, 0.3, clean=True)
    assert table.ended


def test_a_stuck_worker_is_aborted_then_killed() -> None:
    table = serving(1)
    until = supervision.STUCK_SECONDS
    assert supervision.tick(table, until - 0.1)[1] == []
    table, actions = supervision.tick(table, until)
    assert actions == [Kill(0, 100, signal.SIGABRT, "its event loop stands still")]
    assert supervision.tick(table, until + supervision.KILL_SECONDS - 0.1)[1] == []
    table, actions = supervision.tick(table, until + supervision.KILL_SECONDS)
    assert actions == [Kill(0, 100, signal.SIGKILL, "it did not end by SIGABRT")]
    table, actions = supervision.exited(table, 100, until + 3, clean=False)
    assert actions == [Died(0, 100, False, 0.0), Start(0)]


def test_a_heartbeat_puts_the_suspicion_off_but_not_once_it_is_dying() -> None:
    table = supervision.beat(serving(1), 0, 100, 8.0)
    assert supervision.tick(table, 8.0 + supervision.STUCK_SECONDS - 0.1)[1] == []
    table, _ = supervision.tick(table, 8.0 + supervision.STUCK_SECONDS)
    assert supervision.beat(table, 0, 100, 19.0) == table


def test_who_could_not_be_heard_is_not_stuck() -> None:
    table = supervision.started(serving(1), 0, 101, 0.0)
    table = supervision.beat(table, 0, 101, 1.0)
    later = supervision.excuse(table, 40.0)
    assert supervision.tick(later, 41.0 + supervision.STUCK_SECONDS - 0.1)[1] == []
    assert supervision.tick(later, 41.0 + supervision.STUCK_SECONDS)[1] != [], "and then it has had its time"
    dying, _ = supervision.tick(table, 1.0 + supervision.STUCK_SECONDS)
    assert supervision.excuse(dying, 40.0) == dying
    draining = supervision.stop(table, 2.0, 30.0)
    assert supervision.excuse(draining, 40.0) == draining, "its deadline is the operator's"


def test_a_heartbeat_of_a_former_process_means_nothing() -> None:
    table = serving(1)
    assert supervision.beat(table, 0, 999, 5.0) == table


def test_a_worker_that_never_becomes_ready_is_stuck() -> None:
    table = supervision.started(supervision.new_table((0,), 0.0), 0, 100, 0.0)
    _, actions = supervision.tick(table, supervision.START_SECONDS)
    assert actions == [Kill(0, 100, signal.SIGABRT, "it does not become ready")]


def test_a_stop_drains_all_and_starts_none() -> None:
    table = serving(3)
    table, _ = supervision.exited(table, 101, 5.0, clean=False)  # one waits for its replacement
    table = supervision.stop(table, 5.0, 30.0)
    assert states(table) == [State.DRAINING, State.ENDED, State.DRAINING]
    assert supervision.tick(table, 36.9)[1] == []
    for pid in (100, 102):
        table, actions = supervision.exited(table, pid, 20.0, clean=True)
        assert [type(action) for action in actions] == [Died]
        assert actions[0].expected  # type: ignore[union-attr]
    assert table.ended
    assert table.wake_at() is None


def test_a_worker_that_does_not_drain_in_time_is_killed() -> None:
    table = supervision.stop(serving(1), 0.0, 30.0)
    _, actions = supervision.tick(table, 32.0)
    assert actions == [Kill(0, 100, signal.SIGKILL, "it did not end in time")]


def test_a_retired_slot_does_not_come_back_and_a_new_one_takes_its_place() -> None:
    table = supervision.retire(serving(1), 0, 0.0, 5.0)
    table = supervision.add(table, 1, 0.0)
    table, actions = supervision.tick(table, 0.0)
    assert actions == [Start(1)]
    table = supervision.started(table, 1, 200, 0.0)
    table, actions = supervision.exited(table, 100, 1.0, clean=True)
    assert actions == [Died(0, 100, True, None)]
    assert [slot.number for slot in supervision.add(table, 2, 1.0).slots] == [1, 2], "what has ended is forgotten"
    assert supervision.retire(supervision.new_table((0,), 0.0), 0, 0.0, 5.0).ended


def test_a_stranger_s_death_is_nobody_s_business() -> None:
    table = serving()
    assert supervision.exited(table, 4711, 1.0, clean=False) == (table, [])


def test_it_wakes_for_what_is_due_next() -> None:
    table = Table((Slot(0, State.SERVING, 7.0, 100), Slot(1, State.WAITING, 3.0), Slot(2, State.ENDED, 1.0)))
    assert table.wake_at() == 3.0


def test_one_that_never_serves_dies_young_at_any_age() -> None:
    table = supervision.started(supervision.new_table((0,), 0.0), 0, 100, 0.0)
    table = replace(table, was_ready=True)
    table, _ = supervision.exited(table, 100, 60.0, clean=False)
    assert table.slots[0].young_deaths == 1


@given(
    st.lists(
        st.tuples(st.sampled_from(["die", "end", "beat", "tick"]), st.integers(0, 2), st.floats(0, 40)), max_size=60
    )
)
def test_whatever_happens_a_slot_is_never_lost(happenings: list[tuple[str, int, float]]) -> None:
    """Until it gives up, every slot has a process, is about to get one, or is being killed; never two at once."""
    table, now, pid = serving(3), 0.0, 1000
    alive = {0: 100, 1: 101, 2: 102}

    def carry_out(actions: list[supervision.Action]) -> bool:
        nonlocal table, pid
        for action in actions:
            match action:
                case Start(number):
                    assert number not in alive, "two processes for one slot"
                    pid += 1
                    alive[number] = pid
                    table = supervision.started(table, number, pid, now)
                case Kill(number, victim, _, _):
                    assert alive[number] == victim
                case GiveUp():
                    return False
        return True

    for what, number, seconds in happenings:
        now += seconds
        actions: list[supervision.Action] = []
        if what == "tick":
            table, actions = supervision.tick(table, now)
        elif number in alive and what == "beat":
            table = supervision.beat(table, number, alive[number], now)
        elif number in alive:
            table, actions = supervision.exited(table, alive.pop(number), now, clean=what == "end")
        if not carry_out(actions):
            return
        for slot in table.slots:
            assert (slot.pid is not None) == (slot.number in alive)
            assert slot.state is not State.ENDED
