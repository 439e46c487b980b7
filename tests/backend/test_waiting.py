"""What is free goes to the first that can use it; nobody who cannot keeps it from the others."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import trio
import trio.testing

from terminator.backend.waiting import Waiting
from terminator.errors import NoServer


class Line:
    """Requests of given names in a line; what is free is taken by whoever is asked and `can` use it."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.waiting: Waiting[str] = Waiting()
        self.free: list[str] = []
        self.got: list[tuple[str, str]] = []
        self.asked: list[str] = []
        self._nursery = nursery

    async def join(self, name: str, can: Callable[[str], bool] = lambda _: True, alike: object = None) -> None:
        self._nursery.start_soon(self._wait, name, can, alike)
        await trio.testing.wait_all_tasks_blocked()

    async def _wait(self, name: str, can: Callable[[str], bool], alike: object) -> None:
        def ask() -> str | None:
            self.asked.append(name)
            one = next((one for one in self.free if can(one)), None)
            if one is not None:
                self.free.remove(one)
            return one

        self.got.append((name, await self.waiting.turn(ask, alike)))


@pytest.fixture
def line(nursery: trio.Nursery) -> Line:
    return Line(nursery)


async def test_first_come_first_served_one_at_a_time(line: Line) -> None:
    for name in ("first", "second", "third"):
        await line.join(name)
    line.free = ["a", "b"]
    line.waiting.offer()
    assert (len(line.waiting), line.asked) == (2, ["first"])
    await trio.testing.wait_all_tasks_blocked()
    assert line.got == [("first", "a")]
    line.free.append("c")
    line.waiting.offer(most=2)
    await trio.testing.wait_all_tasks_blocked()
    assert dict(line.got) == {"first": "a", "second": "b", "third": "c"}


async def test_one_that_cannot_use_it_is_passed_over_and_keeps_its_place(line: Line) -> None:
    await line.join("retry", lambda one: one != "a", "retry")
    await line.join("later")
    line.free = ["a"]
    line.waiting.offer()
    await trio.testing.wait_all_tasks_blocked()
    assert line.got == [("later", "a")]
    await line.join("last")
    line.free = ["b"]
    line.waiting.offer()
    await trio.testing.wait_all_tasks_blocked()
    assert line.got[1:] == [("retry", "b")]
    line.waiting.offer(most=99)
    line.free = ["c"]
    line.waiting.offer()


async def test_what_is_given_is_gone_before_its_taker_runs(line: Line) -> None:
    await line.join("first")
    await line.join("second")
    line.free = ["a"]
    line.waiting.offer()
    line.waiting.offer()  # no checkpoint between: the first has not run yet
    assert (line.free, line.asked) == ([], ["first", "second"])
    line.free = ["b"]
    line.waiting.offer()
    await trio.testing.wait_all_tasks_blocked()
    assert sorted(line.got) == [("first", "a"), ("second", "b")]


async def test_of_those_that_are_alike_one_is_asked(line: Line) -> None:
    for number in range(50):
        await line.join(f"retry {number}", lambda one: one != "a", "retry")
    await line.join("other", alike="other")
    line.free = ["a"]
    line.waiting.offer()
    assert line.asked == ["retry 0", "other"]
    line.free = ["b"] * 50
    line.waiting.offer(most=50)


async def test_no_server_is_an_answer_that_takes_nothing_from_the_next(line: Line, nursery: trio.Nursery) -> None:
    refused = []

    def ask() -> str:
        raise NoServer("all have been tried")

    async def hopeless() -> None:
        try:
            await line.waiting.turn(ask, "hopeless")
        except NoServer as error:
            refused.append(str(error))

    nursery.start_soon(hopeless)
    await trio.testing.wait_all_tasks_blocked()
    await line.join("next")
    line.free = ["a"]
    line.waiting.offer()
    await trio.testing.wait_all_tasks_blocked()
    assert (refused, line.got) == (["all have been tried"], [("next", "a")])


async def test_whoever_leaves_is_asked_no_more(line: Line) -> None:
    with trio.CancelScope() as scope:
        scope.cancel()
        await line.waiting.turn(lambda: "a", None)
    assert not len(line.waiting)
    await line.join("next")
    line.free = ["a"]
    line.waiting.offer()
    await trio.testing.wait_all_tasks_blocked()
    assert line.got == [("next", "a")]
    line.waiting.offer()


async def test_a_gift_is_had_although_the_wait_is_cancelled_then(line: Line, nursery: trio.Nursery) -> None:
    """Given is given: else it would be lost between the one that frees it and the one that leaves."""
    scope = trio.CancelScope()
    got = []

    async def wait() -> None:
        with scope:
            got.append(await line.waiting.turn(lambda: "a", None))

    nursery.start_soon(wait)
    await trio.testing.wait_all_tasks_blocked()
    line.waiting.offer()
    scope.cancel()
    await trio.testing.wait_all_tasks_blocked()
    assert got == ["a"]
