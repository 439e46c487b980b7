"""One limit for all steps of an exchange: the step that took too long names the failure, and its wait raises it."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator

import pytest
import trio
import trio.testing

from terminator.errors import BackendClosed, BackendTimeout, BodyTimeout, ClientGone
from terminator.proxy.deadline import Deadline
from terminator.transport.alarms import TICK_SECONDS, Alarms
from terminator.transport.stream import Stream


@pytest.fixture
async def deadline(nursery: trio.Nursery) -> AsyncIterator[Deadline]:
    alarms = Alarms()
    nursery.start_soon(alarms.run)
    made = Deadline(alarms)
    yield made
    made.end()
    nursery.cancel_scope.cancel()


@pytest.fixture
def stream() -> Iterator[Stream]:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.setblocking(False)
        yield Stream(ours, BackendClosed)


async def test_the_step_that_takes_too_long_names_the_failure(
    deadline: Deadline, autojump_clock: trio.testing.MockClock, stream: Stream
) -> None:
    began = trio.current_time()
    deadline.begin(stream)
    deadline.expect(BodyTimeout, 10, "the body stood still")
    await trio.sleep(9)
    deadline.expect(BackendTimeout, 10, "no answer")
    with pytest.raises(BackendTimeout, match="no answer"):
        await stream.receive()
    assert 19 <= trio.current_time() - began <= 19 + 2 * TICK_SECONDS


async def test_each_step_has_its_own_time(
    deadline: Deadline, autojump_clock: trio.testing.MockClock, stream: Stream
) -> None:
    deadline.begin(stream)
    for _ in range(5):
        deadline.expect(BodyTimeout, 10, "")
        with trio.move_on_after(9) as nine:
            await stream.receive()
        assert nine.cancelled_caught


async def test_another_task_may_end_it_and_its_first_reason_stands(
    deadline: Deadline, autojump_clock: trio.testing.MockClock, stream: Stream
) -> None:
    deadline.begin(stream)
    deadline.expect(BodyTimeout, 10, "")
    deadline.fail(ClientGone("closed"))
    deadline.fail(BackendTimeout("later"))
    with pytest.raises(ClientGone):
        await stream.receive()


async def test_a_wait_for_something_else_is_ended_too(
    deadline: Deadline, autojump_clock: trio.testing.MockClock
) -> None:
    deadline.expect(BackendTimeout, 10, "no server")
    with pytest.raises(BackendTimeout, match="no server"), deadline.scope():
        await trio.sleep_forever()


async def test_a_failure_at_the_moment_when_that_wait_is_over_ends_the_next(
    deadline: Deadline, autojump_clock: trio.testing.MockClock, stream: Stream
) -> None:
    with deadline.scope():
        deadline.fail(ClientGone("closed"))  # no checkpoint follows: what was waited for has come
    deadline.begin(stream)
    deadline.expect(BackendTimeout, 10, "no answer")
    with trio.fail_after(100), pytest.raises(ClientGone):
        await stream.receive()


async def test_rest_puts_the_clock_aside(
    deadline: Deadline, autojump_clock: trio.testing.MockClock, stream: Stream
) -> None:
    deadline.begin(stream)
    deadline.expect(BodyTimeout, 10, "")
    deadline.rest()
    with trio.move_on_after(1000) as long:
        await stream.receive()
    assert long.cancelled_caught


async def test_afterwards_the_streams_may_be_used_again(
    deadline: Deadline, autojump_clock: trio.testing.MockClock, stream: Stream
) -> None:
    deadline.begin(stream)
    deadline.fail(ClientGone("closed"))
    deadline.done()
    deadline.fail(ClientGone("too late to matter"))
    with trio.move_on_after(1) as second:
        await stream.receive()
    assert second.cancelled_caught
