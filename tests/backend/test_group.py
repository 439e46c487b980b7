"""Leases: which server, new or kept connection, who waits, and what the outcome teaches."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio

from terminator.backend.group import BackendGroup, Lease
from terminator.errors import BackendClosed, BackendTimeout, ConnectFailed, NoServer, QueueFull, QueueTimeout
from terminator.wire.framing import Framing


async def lease(group: BackendGroup, tried: set[str] | None = None, **options: Any) -> Lease:
    options = {"hash_key": b"", "connect_seconds": 5.0, "fresh": False} | options
    tried = set() if tried is None else tried
    connect_seconds = options.pop("connect_seconds")
    found = group.lease_now(tried=tried, **options)
    if isinstance(found, Lease):
        return found
    return await group.lease_later(found, tried=tried, connect_seconds=connect_seconds, **options)


async def exchange(one: Lease) -> int:
    """A whole request and response."""
    one.connection.begin("GET", "/", [(b"host", b"a")], Framing.NONE, upgrading=False)
    await one.connection.finish()
    head = await one.connection.receive_head()
    while await one.connection.receive_body():
        pass
    return head.status


def refusing() -> str:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return f"127.0.0.1:{sock.getsockname()[1]}"


async def test_a_connection_is_kept_and_given_out_again(adopt: Any, serve: Any) -> None:
    group = adopt(serve().address)
    first = await lease(group)
    assert await exchange(first) == 200
    assert (first.reused, group.members[0].in_flight) == (False, 1)
    first.release(None, 200)
    second = await lease(group)
    assert (second.reused, second.connection is first.connection) == (True, True)
    second.release(BackendClosed("gone"), None)
    third = await lease(group, fresh=True)
    assert not third.reused
    third.release(None, None)
    assert group.members[0].in_flight == 0


async def test_no_connection_is_kept_to_a_server_that_a_reload_has_removed(adopt: Any, serve: Any) -> None:
    one, other = serve().address, serve().address
    leased = await lease(adopt(one))
    assert await exchange(leased) == 200
    adopt(other)
    leased.release(None, 200)
    assert leased.connection.stream.sock.fileno() == -1
    again = adopt(one)
    second = await lease(again)
    assert await exchange(second) == 200
    second.release(None, 200)
    assert again.members[0].server.idle_connections == 1


async def test_a_server_that_was_tried_is_not_chosen_again(adopt: Any, serve: Any) -> None:
    dead, sound = refusing(), serve().address
    group = adopt(dead, sound)
    tried: set[str] = set()
    with pytest.raises(ConnectFailed):
        await lease(group, tried)
    assert tried == {dead}
    one = await lease(group, tried)
    assert one.server.key == sound
    one.release(None, None)
    with pytest.raises(NoServer):
        await lease(group, tried)


async def test_a_retry_may_go_to_a_server_that_is_held_for_down(adopt: Any, serve: Any, fleet: Any) -> None:
    group = adopt(refusing(), serve().address, health_check={})
    held = group.members[1]
    fleet.hear("b", held.key, False, "check")
    tried: set[str] = set()
    with pytest.raises(ConnectFailed):
        await lease(group, tried)
    one = await lease(group, tried)
    assert one.server is held.server
    one.release(None, None)


async def test_failures_take_a_server_out_and_are_told(adopt: Any, serve: Any, fleet: Any) -> None:
    group = adopt(refusing(), serve().address, passive_check={"fail_count": 2})
    for _ in range(4):
        try:
            (await lease(group)).release(None, None)
        except ConnectFailed:
            continue
    (event,) = fleet.events
    assert (event.event, event.server, event.state) == ("backend.state", group.members[0].key, "down")
    assert "2 failed requests within 10 s" in event.reason
    assert [row["state"] for row in group.status(trio.current_time())] == ["down", "up"]


async def test_whoever_waits_gets_what_comes_free(adopt: Any, serve: Any, nursery: trio.Nursery) -> None:
    group = adopt({"address": serve().address, "max_connections": 1}, queue={"length": 1, "timeout": "5s"})
    first = await lease(group)
    got = []

    async def wait() -> None:
        got.append(await lease(group))

    nursery.start_soon(wait)
    while not group.queued:
        await trio.lowlevel.checkpoint()
    with pytest.raises(QueueFull):
        await lease(group)
    first.release(None, None)
    while not got:
        await trio.lowlevel.checkpoint()
    assert got[0].queue_seconds > 0
    got[0].release(None, None)


class Askers:
    """Requests that ask for a lease side by side; `got` has those that have one."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.got: dict[str, Lease] = {}
        self._nursery = nursery

    async def ask(self, name: str, group: BackendGroup, tried: set[str]) -> None:
        """Returns once it waits."""
        self._nursery.start_soon(self._wait, name, group, tried)
        queued = group.queued
        while group.queued == queued:
            await trio.lowlevel.checkpoint()

    async def _wait(self, name: str, group: BackendGroup, tried: set[str]) -> None:
        self.got[name] = await lease(group, tried)

    async def has(self, *names: str) -> None:
        with trio.fail_after(5):
            while not set(names) <= self.got.keys():
                await trio.lowlevel.checkpoint()

    def release(self) -> None:
        for one in self.got.values():
            one.release(None, None)


def full_pair(serve: Any) -> list[dict[str, Any]]:
    return [{"address": serve().address, "max_connections": 1} for _ in range(2)]


async def test_a_retry_that_has_tried_the_free_server_leaves_it_to_who_waits_behind(
    adopt: Any, serve: Any, nursery: trio.Nursery
) -> None:
    """The retry was woken, could not use it and waited on, and nobody else was woken."""
    group = adopt(*full_pair(serve), queue={"timeout": "1h"})
    one, two = await lease(group), await lease(group)
    askers = Askers(nursery)
    await askers.ask("retry", group, {one.server.key})
    await askers.ask("first attempt", group, set())
    one.release(None, None)
    await askers.has("first attempt")
    assert group.queued == 1
    two.release(None, None)
    await askers.has("retry")
    assert {name: each.server for name, each in askers.got.items()} == {
        "first attempt": one.server,
        "retry": two.server,
    }
    askers.release()


async def test_a_request_without_any_server_left_takes_no_turn_from_the_next(
    adopt: Any, serve: Any, fleet: Any, nursery: trio.Nursery
) -> None:
    group = adopt(*full_pair(serve), queue={"timeout": "1h"}, health_check={})
    one, two = await lease(group), await lease(group)
    askers, refused = Askers(nursery), trio.Event()

    async def hopeless() -> None:
        with pytest.raises(NoServer):
            await lease(group, {one.server.key})
        refused.set()

    nursery.start_soon(hopeless)
    while not group.queued:
        await trio.lowlevel.checkpoint()
    await askers.ask("next", group, set())
    two.server.health.obey(trio.current_time(), "drain")  # nothing has been told of it yet
    one.release(None, None)
    with trio.fail_after(5):
        await refused.wait()
    await askers.has("next")
    two.release(None, None)
    askers.release()


async def test_a_reload_that_changes_the_balance_forgets_nobody_who_waits(
    adopt: Any, serve: Any, nursery: trio.Nursery
) -> None:
    server = {"address": serve().address, "max_connections": 1}
    before = adopt(server, queue={"timeout": "1h"}, balance="round_robin")
    first = await lease(before)
    askers = Askers(nursery)
    await askers.ask("before the reload", before, set())
    after = adopt(server, queue={"timeout": "1h"}, balance="random_two")
    await askers.ask("after it", after, set())
    first.release(None, None)
    await askers.has("before the reload")
    askers.got.pop("before the reload").release(None, None)
    await askers.has("after it")
    askers.release()


async def test_whoever_waited_gets_the_kept_connection(adopt: Any, serve: Any, nursery: trio.Nursery) -> None:
    group = adopt({"address": serve().address, "max_connections": 1}, queue={"timeout": "1h"})
    first = await lease(group)
    assert await exchange(first) == 200
    askers = Askers(nursery)
    await askers.ask("next", group, set())
    first.release(None, 200)
    await askers.has("next")
    assert (askers.got["next"].reused, askers.got["next"].connection is first.connection) == (True, True)
    assert askers.got["next"].queue_seconds > 0
    askers.release()


async def test_whoever_waits_gets_a_server_whose_time_out_is_over(
    adopt: Any, serve: Any, fleet: Any, nursery: trio.Nursery, mock_clock: trio.testing.MockClock
) -> None:
    passive = {"fail_count": 1, "down_for": "30s"}
    group = adopt(*full_pair(serve), queue={"timeout": "1h"}, passive_check=passive)
    one, two = await lease(group), await lease(group)
    two.release(BackendTimeout("no response head in time"), None)
    askers = Askers(nursery)
    await askers.ask("next", group, set())
    mock_clock.jump(29)
    fleet.sweep(trio.current_time())
    assert group.queued == 1
    mock_clock.jump(1.001)
    fleet.sweep(trio.current_time())
    assert not group.queued
    await askers.has("next")
    assert askers.got["next"].server is two.server
    one.release(None, None)
    askers.release()


async def test_waiting_has_an_end(adopt: Any, serve: Any, autojump_clock: trio.testing.MockClock) -> None:
    group = adopt({"address": serve().address, "max_connections": 1}, queue={"timeout": "2s"})
    first = await lease(group)
    with pytest.raises(QueueTimeout, match="within 2 s"):
        await lease(group)
    first.release(None, None)


@pytest.mark.parametrize("fail_open", [True, False])
async def test_all_down_is_said_once(adopt: Any, serve: Any, fleet: Any, fail_open: bool) -> None:
    group = adopt(serve().address, health_check={}, fail_open=fail_open)
    fleet.hear("b", group.members[0].key, False, "check")
    for _ in range(3):
        if fail_open:
            (await lease(group)).release(None, None)
        else:
            with pytest.raises(NoServer):
                await lease(group)
    assert [event.event for event in fleet.events] == ["backend.unavailable"]


async def test_a_health_check_shortens_how_long_failures_count(adopt: Any) -> None:
    assert adopt("127.0.0.1:1").rules().down_for == 10
    assert adopt("127.0.0.1:1", health_check={"interval": "500ms", "rise": 3}).rules().down_for == 1.5
