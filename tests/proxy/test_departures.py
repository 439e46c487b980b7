"""A peer that ends or resets is noticed while nobody reads from it; one that only speaks is not taken for gone."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from terminator.proxy.departures import Departures
from terminator.transport.alarms import TICK_SECONDS, Alarms


@pytest.fixture
async def departures(nursery: trio.Nursery) -> AsyncIterator[Departures]:
    alarms = Alarms()
    watched = Departures(alarms)
    nursery.start_soon(alarms.run)
    nursery.start_soon(watched.run)
    yield watched
    nursery.cancel_scope.cancel()


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    return ours, theirs


async def later(clock: MockClock) -> None:
    """The new ones have been taken up."""
    clock.jump(3 * TICK_SECONDS)
    await trio.testing.wait_all_tasks_blocked()


@pytest.fixture
def mock_clock() -> MockClock:
    return MockClock(rate=1)


@pytest.mark.parametrize("settled", [False, True])
@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
async def test_a_departure_is_told_at_once(
    mock_clock: MockClock, departures: Departures, how: str, settled: bool
) -> None:
    ours, theirs = connected()
    gone = trio.Event()
    with ours, theirs:
        departures.watch(ours, gone.set)
        if settled:
            await later(mock_clock)
        if how == "half-close":
            theirs.shutdown(socket.SHUT_WR)
        else:
            if how == "reset":
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            theirs.close()
        with trio.fail_after(5):
            await gone.wait()
        departures.forget(ours)


@pytest.mark.parametrize("settled", [False, True])
async def test_bytes_are_no_departure(mock_clock: MockClock, departures: Departures, settled: bool) -> None:
    ours, theirs = connected()
    told = []
    with ours, theirs:
        departures.watch(ours, lambda: told.append("gone"))
        if settled:
            await later(mock_clock)
        theirs.send(b"a pipelined request")
        await later(mock_clock)
        await trio.lowlevel.wait_readable(ours)
        await trio.testing.wait_all_tasks_blocked()
        departures.forget(ours)
    assert not told


@pytest.mark.parametrize("settled", [False, True])
async def test_after_forget_nothing_is_told_and_the_descriptor_may_serve_another(
    mock_clock: MockClock, departures: Departures, settled: bool
) -> None:
    ours, theirs = connected()
    told = []
    departures.watch(ours, lambda: told.append("first"))
    if settled:
        await later(mock_clock)
    departures.forget(ours)
    departures.forget(ours)
    theirs.close()
    ours.close()
    again, peer = connected()
    second = trio.Event()
    with again, peer:
        departures.watch(again, second.set)
        peer.close()
        with trio.fail_after(5):
            await second.wait()
        departures.forget(again)
    assert not told


async def test_what_the_kernel_does_not_watch_keeps_no_other_from_being_watched(
    mock_clock: MockClock, departures: Departures, tmp_path: Path
) -> None:
    """A file, which no epoll takes, stands for a connection too many."""
    ours, theirs = connected()
    gone = trio.Event()
    with ours, theirs, (tmp_path / "file").open("w") as file:
        departures.watch(file, lambda: None)  # type: ignore[arg-type]
        departures.watch(ours, gone.set)
        await later(mock_clock)
        theirs.close()
        with trio.fail_after(5):
            await gone.wait()
        departures.forget(file)  # type: ignore[arg-type]
        departures.forget(ours)
