"""A backend as one generation configures it, over servers that outlive it: choosing, queueing, leasing connections.

Two lifetimes meet here. A `BackendGroup` is part of a generation: weights, limits and rules as they are in force. What
this worker has learnt about the servers is the `fleet`'s; `Fleet.adopt` is called when a generation comes into force.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from terminator.backend.connection import BackendConnection
from terminator.backend.pace import Pace
from terminator.backend.private import PrivateConnections
from terminator.backend.server import Server
from terminator.backend.waiting import Waiting
from terminator.config import model
from terminator.errors import (
    BackendClosed,
    BackendError,
    BackendInvalid,
    BackendTimeout,
    BackendTruncated,
    ConnectFailed,
    ConnectTimeout,
    NoServer,
    OutOfResources,
    QueueFull,
    QueueTimeout,
    TerminatorError,
)
from terminator.routing.balance import Policy, Refusal, pick
from terminator.routing.health import Failure, HealthRules, Transition, is_last_up
from terminator.routing.retries import Budget
from terminator.telemetry.events import BackendState, BackendUnavailable

if TYPE_CHECKING:
    from terminator.backend.fleet import Fleet

_KINDS: tuple[tuple[type[BackendError], Failure], ...] = (
    (ConnectFailed, "connect"),
    (ConnectTimeout, "connect"),
    (BackendTimeout, "timeout"),
    (BackendClosed, "closed"),
    (BackendTruncated, "closed"),
    (BackendInvalid, "invalid"),
)
_BY_LOAD = {"least_connections", "random_two"}
LOOK_SECONDS = 0.002
"""How old the other workers' loads may be: looking at them costs some µs, so not for every request of a busy worker."""
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
    def load(self) -> int:
        return self.server.in_flight + self.server.elsewhere

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
    waiting: Waiting[Lease | Server] = field(default_factory=Waiting)
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
    private: PrivateConnections | None = None

    def release(self, failure: TerminatorError | None, status: int | None) -> None:
        """Gives the connection back and tells what became of the attempt: `failure` if it ended badly, else the
        `status` of its response; neither when it was cut short for reasons of our own."""
        self.give_back(trio.current_time(), failure, status, reusable=failure is None and self.connection.reusable)

    def give_back(self, now: float, failure: TerminatorError | None, status: int | None, *, reusable: bool) -> None:
        """The same for who knows whether another exchange may follow on the connection."""
        if not reusable:
            self.connection.close()
        elif self.private is not None:
            self.private.keep(self.server, self.connection, now)
        else:
            self.server.keep(self.connection, now, self.group.backend.keepalive.idle_connections)
        self.group.ended(self.server, now, failure, status, reused=self.reused)  # who waits may have the connection


class BackendGroup:
    """One backend of one generation."""

    def __init__(self, name: str, backend: model.Backend, fleet: Fleet) -> None:
        self.name = name
        self.backend = backend
        self.announces_clients = backend.proxy_protocol is not None
        """Connections begin with a PROXY header: `lease` is to be given the client's private ones."""
        self.hash_source = backend.hash_key if backend.balance == "consistent_hash" else None
        """What of a request its server is chosen by; None where nothing is hashed."""
        self.pace = Pace()
        self._fleet = fleet
        self._shared = fleet.shared if backend.balance in _BY_LOAD else None
        self._looked_at = float("-inf")
        self.standing = fleet.standing(name, backend)
        self._members = [Member(fleet.server(name, each), each) for each in backend.servers]

    @property
    def budget(self) -> Budget:
        return self.standing.budget

    @property
    def queued(self) -> int:
        """Requests that wait for a server."""
        return len(self.standing.waiting)

    @property
    def members(self) -> list[Member]:
        return self._members

    def rules(self) -> HealthRules:
        check, passive = self.backend.health_check or model.HealthCheck(), self.backend.passive_check
        down_for = passive.down_for
        if self.backend.health_check is not None:
            # By then the checks have found out what is true; a server that is well again is not left out longer.
            down_for = min(down_for, check.rise * check.interval)
        return HealthRules(
            fail_count=passive.fail_count,
            fail_window=passive.fail_window,
            down_for=down_for,
            count_5xx=passive.count_5xx,
            rise=check.rise,
            fall=check.fall,
            slow_start=self.backend.slow_start,
        )

    def lease_now(
        self,
        *,
        tried: set[str],
        hash_key: bytes,
        fresh: bool,
        private: PrivateConnections | None = None,
        now: float | None = None,
    ) -> Lease | Server | None:
        """A kept connection to the server chosen for one attempt; else the server, which a connection is to be made to,
        or None where all are full: then `lease_later` must follow at once.

        tried:    keys of servers that earlier attempts of this request went to; they are not chosen again, and the one
                  that is chosen now is added
        fresh:    not a kept connection: the last attempt found one dead
        private:  the client's own connections, where they are not shared among clients
        now:      the loop's clock, if it has just been read

        Raises `NoServer`.
        """
        if now is None:
            now = trio.current_time()
        chosen = self._pick(tried, hash_key, now)
        if chosen is Refusal.FULL:
            return None
        return self._begin(self._admitted(chosen, tried), tried, fresh, private, now)

    async def lease_later(
        self,
        server: Server | None,
        *,
        tried: set[str],
        hash_key: bytes,
        connect_seconds: float,
        fresh: bool,
        private: PrivateConnections | None = None,
    ) -> Lease:
        """What `lease_now` could not give without waiting: a new connection to `server`, or first a place on one.

        Raises `NoServer`, `QueueFull`, `QueueTimeout`, `ConnectFailed`, `ConnectTimeout`: nothing has been sent then.
        """
        began_at = trio.current_time()
        if server is None:
            found = await self._queue(tried, hash_key, fresh, private)
            if isinstance(found, Lease):
                found.queue_seconds = trio.current_time() - began_at
                return found
            server = found
        chosen_at = trio.current_time()
        try:
            connection = await self._connect(server, connect_seconds, private)
        except BackendError as error:
            self.ended(server, trio.current_time(), error, None, reused=False)
            raise
        except BaseException:
            self.ended(server, trio.current_time(), None, None, reused=False)
            raise
        connect_seconds = trio.current_time() - chosen_at
        return Lease(self, server, connection, False, chosen_at - began_at, connect_seconds, private)

    def _begin(
        self,
        server: Server,
        tried: set[str],
        fresh: bool,
        private: PrivateConnections | None,
        now: float,
    ) -> Lease | Server:
        """An attempt on `server` begins, to be `ended`."""
        tried.add(server.key)
        server.count(1)
        server.health.chosen(now)
        connection = None if fresh else self._kept(server, now, private)
        return server if connection is None else Lease(self, server, connection, True, 0.0, 0.0, private)

    def _kept(self, server: Server, now: float, private: PrivateConnections | None) -> BackendConnection | None:
        idle_seconds = self.backend.keepalive.idle_timeout
        if private is not None:
            return private.take_idle(server, now, idle_seconds)
        return server.take_idle(now, idle_seconds)

    async def _queue(
        self, tried: set[str], hash_key: bytes, fresh: bool, private: PrivateConnections | None
    ) -> Lease | Server:
        waiting, queue = self.standing.waiting, self.backend.queue
        if len(waiting) >= queue.length:
            raise QueueFull(f"{queue.length} requests wait for {self.name} already")

        def ask() -> Lease | Server | None:
            return self.lease_now(tried=tried, hash_key=hash_key, fresh=fresh, private=private)

        with trio.move_on_after(queue.timeout):
            return await waiting.turn(ask, (self, frozenset(tried)))
        raise QueueTimeout(f"no server of {self.name} came free within {queue.timeout:g} s")

    def _admitted(self, chosen: Member | Refusal, tried: set[str]) -> Server:
        if isinstance(chosen, Refusal):
            if not tried:
                self._say_unavailable("requests are answered 503")
            raise NoServer(f"no server of {self.name} is available")
        if chosen.server.health.state == "up":
            self.standing.unavailable_said = False
        elif not chosen.available and not tried:
            self._say_unavailable("fail_open: requests go to servers that are down")
        return chosen.server

    def _pick(self, tried: set[str], hash_key: bytes, now: float) -> Member | Refusal:
        for member in self._members:
            member.refresh(now)
        if self._shared is not None and now - self._looked_at > LOOK_SECONDS:
            self._looked_at = now
            self._shared.search(now)
            for member in self._members:
                member.server.elsewhere = self._shared.elsewhere(self.name, member.key)
        # A retry has nothing to lose: where no other server is left it goes to one that is held for down, perhaps
        # wrongly or no longer. It was seen that a restored server was needed before anything had noticed it.
        fail_open = self.backend.fail_open or bool(tried)
        return pick(self.standing.policy, self._members, tried=tried, fail_open=fail_open, hash_key=hash_key)

    async def _connect(self, server: Server, seconds: float, private: PrivateConnections | None) -> BackendConnection:
        with trio.move_on_after(seconds):
            connection = await server.connect()
            if private is not None:
                connection.announce(private.preamble)
            return connection
        raise ConnectTimeout(f"{server.key}: no connection within {seconds:g} s")

    # -------------------------------------------------------------------------------------------------- what we learn

    def ended(
        self, server: Server, now: float, failure: TerminatorError | None, status: int | None, *, reused: bool
    ) -> None:
        """An attempt on `server` is over; its place is for whoever waits for one."""
        server.count(-1)
        if (transition := self._judge(server, now, failure, status, reused)) is not None:
            self.moved(server, transition)
        if self.standing.waiting:
            self.standing.waiting.offer()

    def may_choose_anew(self) -> None:
        """For the requests that wait for a server: others have become available, or limits have changed."""
        self.standing.waiting.offer(most=math.inf)

    def _judge(
        self, server: Server, now: float, failure: TerminatorError | None, status: int | None, reused: bool
    ) -> Transition | None:
        health = server.health
        if failure is None and status is not None and status not in _BAD_STATUSES:
            return health.record_success(now)
        last = is_last_up(health, (member.server.health for member in self._members))
        if isinstance(failure, BackendError) and not isinstance(failure, OutOfResources):
            if reused and isinstance(failure, BackendClosed):
                health.abandoned()  # the ordinary race on a kept connection (RFC 9112 §9.3.1): nobody's failure
                return None
            return health.record_failure(now, _kind(failure), last=last)
        if failure is not None or status is None:
            health.abandoned()
            return None
        return health.record_failure(now, "status", last=last)

    def moved(self, server: Server, transition: Transition) -> None:
        """Tells of a change of state that the requests of this worker have brought about."""
        server.reason = transition.reason
        self._fleet.emit(
            BackendState(
                backend=self.name,
                server=server.key,
                state=transition.state,
                previous=transition.previous,
                reason=transition.reason,
            )
        )

    def _say_unavailable(self, consequence: str) -> None:
        if not self.standing.unavailable_said:
            self.standing.unavailable_said = True
            self._fleet.emit(BackendUnavailable(backend=self.name, consequence=consequence))

    def status(self, now: float) -> list[dict[str, object]]:
        """One row per server, for `terminator status`."""
        return [
            {
                "backend": self.name,
                "server": member.key,
                "state": member.server.health.state,
                "reason": member.server.reason or None,
                "weight": member.configured_weight,
                "backup": member.backup,
                "in_flight": member.in_flight,
                "idle_connections": member.server.idle_connections,
            }
            for member in self._members
        ]


def _kind(failure: BackendError) -> Failure:
    return next((kind for error, kind in _KINDS if isinstance(failure, error)), "invalid")
