"""Active health checks: who is asked when, what counts as well, and when that takes a server out or brings it back.

One process probes for all of them, so that ten workers do not ask ten times; what it finds goes to the others as
verdicts (`Fleet.hear`). A check is a request on a connection of its own, as a new client would make it: a server that
only keeps old connections alive is not well. Checks go on through reloads; a server whose check is changed begins anew
with the standing that it has.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass

import trio

from terminator.backend.connection import BackendConnection
from terminator.backend.fleet import Fleet
from terminator.backend.group import BackendGroup
from terminator.config import model
from terminator.config.values import Address, UnixAddress
from terminator.errors import BackendError, OutOfResources
from terminator.transport.connect import connect
from terminator.wire.framing import Framing
from terminator.wire.proxy_header import encode_v2

Verdict = Callable[[str, str, bool, str], Awaitable[None]]
"""Takes backend, server, whether it is well, and the reason."""


@dataclass(frozen=True, slots=True)
class Target:
    """What one task checks; an equal one goes on checking over a reload."""

    backend: str
    server: str
    address: Address
    check: model.HealthCheck
    proxy_protocol: bool


class Prober:
    """`run` checks the servers of the groups given to `adopt`, once `begin` has said that it is this process's task."""

    def __init__(self, fleet: Fleet) -> None:
        self._fleet = fleet
        self._begun = trio.Event()
        self._wanted: set[Target] = set()
        self._changed = trio.Event()
        self._running: dict[Target, trio.CancelScope] = {}

    def adopt(self, groups: Mapping[str, BackendGroup]) -> None:
        """Checks the servers of these groups from now on, after `Fleet.adopt`."""
        self._wanted = targets(groups)
        self._changed.set()

    def begin(self) -> None:
        """It is this process that checks, from now on."""
        self._begun.set()

    async def run(self, told: Verdict) -> None:
        """Until it is cancelled. `told` is called at each change of mind."""
        await self._begun.wait()
        async with trio.open_nursery() as nursery:
            while True:
                self._changed = trio.Event()
                for gone in self._running.keys() - self._wanted:
                    self._running.pop(gone).cancel()
                for target in self._wanted - self._running.keys():
                    scope = self._running[target] = trio.CancelScope()
                    nursery.start_soon(self._watch, target, scope, told)
                await self._changed.wait()

    async def _watch(self, target: Target, scope: trio.CancelScope, told: Verdict) -> None:
        interval, jitter = target.check.interval, target.check.jitter
        with scope:
            await trio.sleep(interval * jitter * random.random())
            while True:
                outcome = await check(target)
                if outcome is not None:
                    ok, reason = outcome
                    if self._fleet.probed(target.backend, target.server, ok, reason):
                        await told(target.backend, target.server, ok, reason)
                await trio.sleep(interval * (1 + jitter * (random.random() - 0.5)))


def targets(groups: Mapping[str, BackendGroup]) -> set[Target]:
    """What is to be checked."""
    return {
        Target(name, member.key, member.server.address, group.backend.health_check, bool(group.backend.proxy_protocol))
        for name, group in groups.items()
        if group.backend.health_check is not None
        for member in group.members
    }


async def check(target: Target) -> tuple[bool, str] | None:
    """Asks once: whether the server is well, and how that was seen. None when it could not be asked for want of our
    own resources, which says nothing about the server."""
    seconds = target.check.timeout
    try:
        with trio.fail_after(seconds):
            status = await _status(target)
    except trio.TooSlowError:
        return False, f"check: no response within {seconds:g} s"
    except BackendError as error:
        return None if isinstance(error, OutOfResources) else (False, f"check: {error}")
    low, _, high = target.check.status.partition("-")
    ok = int(low) <= status <= int(high or low)
    return ok, f"check: answered {status}" + ("" if ok else f", not {target.check.status}")


async def _status(target: Target) -> int:
    connection = BackendConnection(await connect(target.address))
    try:
        if target.proxy_protocol:
            await connection.stream.send(encode_v2(None, None))  # LOCAL: made by the proxy itself (PP §2.2)
        asked = target.check
        fields = [
            (b"host", (asked.host or _host_of(target.address)).encode()),
            (b"user-agent", b"terminator-health-check"),
            (b"connection", b"close"),
        ]
        connection.begin(asked.method, asked.path, fields, Framing.NONE, upgrading=False)
        await connection.finish()
        while (head := await connection.receive_head()).status < 200:
            pass
        return head.status
    finally:
        connection.close()


def _host_of(address: Address) -> str:
    return "localhost" if isinstance(address, UnixAddress) else str(address)
