"""Each worker sees how many requests the others have with a server, on the board that they share."""

from __future__ import annotations

from terminator.backend.load import SEARCH_SECONDS, SharedLoad
from terminator.telemetry.board import Board, worker_row


def loads(workers: int) -> tuple[Board, list[SharedLoad]]:
    board = Board(worker_row(workers))
    rows = [worker_row(number) for number in range(workers)]
    return board, [SharedLoad(board, row, board.writer(row)) for row in rows]


def test_the_others_are_added_up_and_oneself_is_not() -> None:
    _, (one, two, three) = loads(3)
    one.gauge("b", "s").set(5)
    two.gauge("b", "s").set(2)
    three.gauge("b", "s").set(4)
    three.gauge("b", "other").set(100)
    for load in (one, two, three):
        load.search(0.0)
    assert [load.elsewhere("b", "s") for load in (one, two, three)] == [6, 9, 7]
    assert one.elsewhere("b", "unknown") == 0


def test_values_are_live_and_servers_are_searched_for_now_and_then() -> None:
    _, (one, two) = loads(2)
    gauge = two.gauge("b", "s")
    gauge.set(1)
    one.search(0.0)
    gauge.set(3)
    assert one.elsewhere("b", "s") == 3
    two.gauge("b", "late").set(7)
    one.search(SEARCH_SECONDS / 2)
    assert one.elsewhere("b", "late") == 0
    one.search(SEARCH_SECONDS)
    assert one.elsewhere("b", "late") == 7
    assert one.elsewhere("b", "s") == 3  # found once, counted once


def test_a_worker_that_has_ended_counts_for_nothing() -> None:
    board, (one, two) = loads(2)
    two.gauge("b", "s").set(9)
    one.search(0.0)
    board.retire(worker_row(1))
    assert one.elsewhere("b", "s") == 0
