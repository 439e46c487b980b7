"""A backend as one generation configures it, over servers that outlive it: choosing, queueing, leasing connections.

Two lifetimes meet here. A `BackendGroup` is part of a generation: weights, limits and rules as they are in force. The
`Fleet` is what this worker has learnt, under backend name and server address: health, load, idle connections, whose
turn it is, how many retries are left. `Fleet.adopt` is called when a generation comes into force.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field

import trio

from terminator.backend.connection import BackendConnection
from terminator.backend.server import Server
from terminator.config import model
from terminator.errors import (
    BackendClosed,
    BackendError,
    BackendInvalid,
    BackendTimeout,
    BackendTruncated,
    ClientError,
    ConnectFailed,
    ConnectTimeout,
    NoServer,
    QueueFull,
    QueueTimeout,
    TerminatorError,
)
from terminator.routing.balance import Policy, Refusal, pick, policy_named
from terminator.routing.health import Failure, HealthRules, Transition, is_last_up
from terminator.routing.retries import Budget
from terminator.telemetry.events import BackendState, BackendUnavailable, Event

_KINDS: tuple[tuple[type[BackendError], Failure], ...] = (
    (ConnectFailed, "connect"),
    (ConnectTimeout, "connect"),
    (BackendTimeout, "timeout"),
    (BackendClosed, "closed"),
    (BackendTruncated, "closed"),
    (BackendInvalid, "invalid"),
)
_BAD_STATUSES = {500, 502, 503, 504}


class Member:
    """A server as one generation configures it; what the balance policies see (`balance.Candidate`)."""

    __slots__ = ("available", "backup", "configured_weight", "key", "max_connections", "server", "weight")

    def __init__(self, server: Server, configured: model.Server) -> None:
        self.server = server
        self.key = server.key
        self.backup = configured.backup
        self.max_connections = configured.max_connections
        self.configured_weight = configured.weight
        self.weight = float(configured.weight)
        self.available = True

    @property
    def in_flight(self) -> int:
        return self.server.in_flight

    @property
    def commanded(self) -> bool:
        return self.server.health.commanded

    def refresh(self, now: float) -> None:
        health = self.server.health
        self.available = health.available(now)
        self.weight = self.configured_weight * health.share(now)


@dataclass(slots=True)
class Standing:
    """What a backend keeps over generations, beside its servers."""

    policy: Policy
    budget: Budget
    waiting: trio.lowlevel.ParkingLot = field(default_factory=trio.lowlevel.ParkingLot)
    balance: str = ""
    unavailable_said: bool = False


@dataclass(slots=True, eq=False)
class Lease:
    """A connection lent to one attempt. Exactly one `release` follows, whatever happened."""

    group: BackendGroup
    server: Server
    connection: BackendConnection
    reused: bool
    queue_seconds: float
    connect_seconds: float

    def release(self, failure: TerminatorError | None, status: int | None) -> None:
        """Gives the connection back and tells what became of the attempt: `failure` if it ended badly, else the
        `status` of its response; neither when it was cut short for reasons of our own."""
        now = trio.current_time()
        self.group.ended(self.server, now, failure, status, reused=self.reused)
        if failure is None and self.connection.reusable and self.group.keeps_connections:
            self.server.keep(self.connection, now, self.group.backend.keepalive.idle_connections)
        else:
            self.connection.close()


class BackendGroup:
    """One backend of one generation."""

    def __init__(self, name: str, backend: model.Backend, fleet: Fleet) -> None:
        self.name = name
        self.backend = backend
        self.keeps_connections = backend.proxy_protocol is None
        self._fleet = fleet
        self._standing = fleet.standing(name, backend)
        self._members = [Member(fleet.server(name, each), each) for each in backend.servers]

    @property
    def budget(self) -> Budget:
        return self._standing.budget

    @property
    def queued(self) -> int:
        """Requests that wait for a server."""
        return self._standing.waiting.statistics().tasks_waiting

    @property
    def members(self) -> list[Member]:
        return self._members

    def rules(self) -> HealthRules:
        check, passive = self.backend.health_check or model.HealthCheck(), self.backend.passive_check
        return HealthRules(
            fail_count=passive.fail_count,
            fail_window=passive.fail_window,
            down_for=passive.down_for,
            count_5xx=passive.count_5xx,
            rise=check.rise,
            fall=check.fall,
            slow_start=self.backend.slow_start,
        )

    async def lease(
        self,
        *,
        tried: Iterable[str],
        hash_key: bytes,
        connect_seconds: float,
        fresh: bool,
        preamble: bytes = b"",
    ) -> Lease:
        """A connection to the server chosen for one attempt.

        tried:    keys of servers that earlier attempts of this request went to; they are not chosen again
        fresh:    not a kept connection: the last attempt found one dead
        preamble: sent first on a new connection (the PROXY header)

        Raises `NoServer`, `QueueFull`, `QueueTimeout`, `ConnectFailed`, `ConnectTimeout`: nothing has been sent then.
        """
        began_at = trio.current_time()
        server = await self._server(set(tried), hash_key)
        chosen_at = trio.current_time()
        server.in_flight += 1
        server.health.chosen(chosen_at)
        try:
            connection = None if fresh else server.take_idle(chosen_at, self.backend.keepalive.idle_timeout)
            reused = connection is not None
            if connection is None:
                connection = await self._connect(server, connect_seconds, preamble)
        except BackendError as error:
            self.ended(server, trio.current_time(), error, None, reused=False)
            raise
        except BaseException:
            self.ended(server, trio.current_time(), None, None, reused=False)
            raise
        connect_time = 0.0 if reused else trio.current_time() - chosen_at
        return Lease(self, server, connection, reused, chosen_at - began_at, connect_time)

    async def _server(self, tried: set[str], hash_key: bytes) -> Server:
        waiting = self._standing.waiting
        chosen = self._pick(tried, hash_key)
        if chosen is Refusal.FULL:
            queue = self.backend.queue
            if waiting.statistics().tasks_waiting >= queue.length:
                raise QueueFull(f"{queue.length} requests wait for {self.name} already")
            with trio.move_on_after(queue.timeout):
                while chosen is Refusal.FULL:
                    await waiting.park()
                    chosen = self._pick(tried, hash_key)
            if chosen is Refusal.FULL:
                raise QueueTimeout(f"no server of {self.name} came free within {queue.timeout:g} s")
        if isinstance(chosen, Refusal):
            if not tried:
                self._say_unavailable()
            raise NoServer(f"no server of {self.name} is available")
        self._standing.unavailable_said = False
        return chosen.server

    def _pick(self, tried: set[str], hash_key: bytes) -> Member | Refusal:
        now = trio.current_time()
        for member in self._members:
            member.refresh(now)
        return pick(
            self._standing.policy, self._members, tried=tried, fail_open=self.backend.fail_open, hash_key=hash_key
        )

    async def _connect(self, server: Server, seconds: float, preamble: bytes) -> BackendConnection:
        with trio.move_on_after(seconds):
            connection = await server.connect()
            if preamble:
                await connection.stream.send(preamble)
            return connection
        raise ConnectTimeout(f"{server.key}: no connection within {seconds:g} s")

    # -------------------------------------------------------------------------------------------------- what we learn

    def ended(
        self, server: Server, now: float, failure: TerminatorError | None, status: int | None, *, reused: bool
    ) -> None:
        """An attempt on `server` is over; wakes whoever waits for room."""
        server.in_flight -= 1
        self._standing.waiting.unpark()
        self._moved(server, self._judge(server, now, failure, status, reused))

    def _judge(
        self, server: Server, now: float, failure: TerminatorError | None, status: int | None, reused: bool
    ) -> Transition | None:
        health = server.health
        last = is_last_up(health, (member.server.health for member in self._members))
        if isinstance(failure, BackendError):
            if reused and isinstance(failure, BackendClosed):
                health.abandoned()  # the ordinary race on a kept connection (RFC 9112 §9.3.1): nobody's failure
                return None
            return health.record_failure(now, _kind(failure), last=last)
        if isinstance(failure, ClientError) or status is None:
            health.abandoned()
            return None
        if status in _BAD_STATUSES:
            return health.record_failure(now, "status", last=last)
        return health.record_success(now)

    def _moved(self, server: Server, transition: Transition | None) -> None:
        if transition is not None:
            self._fleet.emit(
                BackendState(
                    backend=self.name,
                    server=server.key,
                    state=transition.state,
                    previous=transition.previous,
                    reason=transition.reason,
                )
            )

    def _say_unavailable(self) -> None:
        if not self._standing.unavailable_said:
            self._standing.unavailable_said = True
            self._fleet.emit(BackendUnavailable(backend=self.name, consequence="requests are answered 503"))

    def status(self, now: float) -> list[dict[str, object]]:
        """One row per server, for `terminator status`."""
        return [
            {
                "backend": self.name,
                "server": member.key,
                "state": member.server.health.state,
                "weight": member.configured_weight,
                "backup": member.backup,
                "in_flight": member.in_flight,
                "idle_connections": member.server.idle_connections,
            }
            for member in self._members
        ]


def _kind(failure: BackendError) -> Failure:
    return next((kind for error, kind in _KINDS if isinstance(failure, error)), "invalid")


class Fleet:
    """All that one worker has learnt about backend servers. `emit` takes events; set it before the first lease."""

    def __init__(self, emit: Callable[[Event], None] = lambda _: None) -> None:
        self.emit = emit
        self._servers: dict[tuple[str, str], Server] = {}
        self._standings: dict[str, Standing] = {}
        self._groups: Mapping[str, BackendGroup] = {}

    def group(self, name: str, backend: model.Backend) -> BackendGroup:
        """The backend as a new generation configures it; nothing changes for the one in force until `adopt`."""
        return BackendGroup(name, backend, self)

    def adopt(self, groups: Mapping[str, BackendGroup]) -> None:
        """These groups are in force now: their rules apply, servers that are in none of them lose their idle
        connections. Requests under way on them finish."""
        self._groups = groups
        named = {(name, member.key) for name, group in groups.items() for member in group.members}
        for key in self._servers.keys() - named:
            self._servers.pop(key).close()
        for name in self._standings.keys() - groups.keys():
            del self._standings[name]
        for name, group in groups.items():
            standing = self._standings[name] = group._standing
            standing.budget.share = group.backend.retries.budget
            rules = group.rules()
            for member in group.members:
                self._servers[name, member.key] = member.server
                member.server.health.rules = rules

    def server(self, backend: str, configured: model.Server) -> Server:
        """The server learnt under this backend and address, or a new one; `adopt` makes it known."""
        known = self._servers.get((backend, str(configured.address)))
        return known if known is not None else Server(backend, configured.address)

    def standing(self, name: str, backend: model.Backend) -> Standing:
        known = self._standings.get(name)
        if known is not None and known.balance == backend.balance:
            return known
        return Standing(
            policy=policy_named(backend.balance, random.random),
            budget=known.budget if known is not None else Budget(share=backend.retries.budget),
            balance=backend.balance,
        )

    def sweep(self, now: float) -> None:
        """Looks through the idle connections; call every few seconds."""
        for name, group in self._groups.items():
            for member in group.members:
                self._servers[name, member.key].sweep(now, group.backend.keepalive.idle_timeout)

    def close(self) -> None:
        for server in self._servers.values():
            server.close()
