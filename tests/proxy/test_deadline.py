"""One scope for all steps of an exchange: the step that took too long names the failure."""

from __future__ import annotations

import math

import trio
import trio.testing

from terminator.errors import BackendTimeout, BodyTimeout, ClientGone
from terminator.proxy.deadline import Deadline


async def test_the_step_that_takes_too_long_names_the_failure(autojump_clock: trio.testing.MockClock) -> None:
    deadline = Deadline()
    with deadline.scope:
        deadline.expect(BodyTimeout, 10, "the body stood still")
        await trio.sleep(9)
        deadline.expect(BackendTimeout, 10, "no answer")
        await trio.sleep(11)
    assert deadline.scope.cancelled_caught
    assert isinstance(deadline.failure, BackendTimeout)
    assert str(deadline.failure) == "no answer"
    assert trio.current_time() == 19


async def test_each_step_has_its_own_time(autojump_clock: trio.testing.MockClock) -> None:
    deadline = Deadline()
    with deadline.scope:
        for _ in range(5):
            deadline.expect(BodyTimeout, 10, "")
            await trio.sleep(9)
    assert not deadline.scope.cancelled_caught


async def test_another_task_may_end_it_and_its_first_reason_stands(autojump_clock: trio.testing.MockClock) -> None:
    deadline = Deadline()
    with deadline.scope:
        deadline.expect(BodyTimeout, 10, "")
        deadline.fail(ClientGone("closed"))
        deadline.fail(BackendTimeout("later"))
        await trio.sleep_forever()
    assert isinstance(deadline.failure, ClientGone)


async def test_rest_puts_the_clock_aside(autojump_clock: trio.testing.MockClock) -> None:
    deadline = Deadline()
    with deadline.scope:
        deadline.expect(BodyTimeout, 10, "")
        deadline.rest()
        assert deadline.scope.deadline == math.inf
        await trio.sleep(1000)
    assert not deadline.scope.cancelled_caught
