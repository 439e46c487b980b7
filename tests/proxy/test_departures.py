"""A peer that ends or resets is noticed while nobody reads from it; one that only speaks is not taken for gone."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

import pytest
import trio
import trio.testing

from terminator.proxy.departures import Departures


@pytest.fixture
async def departures(nursery: trio.Nursery) -> AsyncIterator[Departures]:
    watched = Departures()
    nursery.start_soon(watched.run)
    yield watched
    nursery.cancel_scope.cancel()


def connected() -> tuple[socket.socket, socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as server:
        theirs = socket.create_connection(server.getsockname())
        ours, _ = server.accept()
    ours.setblocking(False)
    return ours, theirs


@pytest.mark.parametrize("how", ["close", "half-close", "reset"])
async def test_a_departure_is_told_at_once(departures: Departures, how: str) -> None:
    ours, theirs = connected()
    gone = trio.Event()
    with ours, theirs:
        departures.watch(ours, gone.set)
        if how == "half-close":
            theirs.shutdown(socket.SHUT_WR)
        else:
            if how == "reset":
                theirs.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")
            theirs.close()
        with trio.fail_after(5):
            await gone.wait()
        departures.forget(ours)


async def test_bytes_are_no_departure(departures: Departures) -> None:
    ours, theirs = connected()
    told = []
    with ours, theirs:
        departures.watch(ours, lambda: told.append("gone"))
        theirs.send(b"a pipelined request")
        await trio.lowlevel.wait_readable(ours)
        await trio.testing.wait_all_tasks_blocked()
        departures.forget(ours)
    assert not told


async def test_after_forget_nothing_is_told_and_the_descriptor_may_serve_another(departures: Departures) -> None:
    ours, theirs = connected()
    told = []
    departures.watch(ours, lambda: told.append("first"))
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
