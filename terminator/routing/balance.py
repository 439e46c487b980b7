"""Which server gets the next attempt: first who may, then who shall.

`pick` narrows a backend's servers down to those that may have the request: available, not tried before, below their
`max_connections`; backups only when no other is left; every server all the same when none of these is available and
`fail_open` says so. Among these the policy chooses. Policies keep no time and roll no dice of their own: weights are
handed in as they are now (`Health.share`), `random` is an argument.

consistent_hash is weighted rendezvous hashing (Thaler and Ravishankar 1998): each server draws a number from the key
and its own name, the best draw wins. A server that leaves moves only its own keys, one that comes takes only its share,
in every worker alike and with no table to build; the order of the draws is the order of fall-backs. It costs one draw
per server, which for the tens of servers a backend has is less than a ring's upkeep. Load is bounded (Mirrokni, Thorup,
Zadimoghaddam 2016): a server takes at most BOUND times its share of what is in flight, the next in order the rest.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Collection, Sequence
from hashlib import blake2b
from math import ceil, log
from typing import Protocol, TypeVar

BOUND = 1.25
"""HAProxy's documentation recommends 125 to 200 % for hash-balance-factor."""
BOUND_FROM = 8
"""Requests in flight that a server may always have under consistent_hash: a browser's six at once are no overload, and
must not lose their server on an idle backend."""


class Candidate(Protocol):
    """A server as the policies see it at one moment."""

    @property
    def key(self) -> str:
        """Unique within the backend, the same in every worker and after a restart: its address."""

    @property
    def weight(self) -> float:
        """Above 0; in effect now."""

    @property
    def backup(self) -> bool: ...
    @property
    def max_connections(self) -> int:
        """0 = no limit."""

    @property
    def in_flight(self) -> int:
        """Requests of this process that are with it; what `max_connections` and the bound of consistent_hash count."""

    @property
    def load(self) -> int:
        """Requests of all processes that are with it, as far as is known."""

    @property
    def available(self) -> bool: ...
    @property
    def commanded(self) -> bool:
        """An operator keeps requests away, which `fail_open` respects."""


C = TypeVar("C", bound=Candidate)
Random = Callable[[], float]  # in [0, 1)


class Refusal(enum.Enum):
    """Why there is no server."""

    FULL = "full"
    """All that may have it are at their `max_connections`: the request may wait."""
    DOWN = "down"
    """None is available, or each that is has been tried."""


class Policy(Protocol):
    def choose(self, servers: Sequence[C], hash_key: bytes) -> C:
        """One of `servers`, of which there is at least one."""


def pick(
    policy: Policy, servers: Sequence[C], *, tried: Collection[str], fail_open: bool, hash_key: bytes
) -> C | Refusal:
    """The server for the next attempt. tried: keys of the servers that earlier attempts of this request went to."""
    if len(servers) == 1 and not tried:
        one = servers[0]
        if one.available and not one.max_connections:
            return one
    untried = [one for one in servers if one.key not in tried] if tried else servers
    allowed = [one for one in untried if one.available]
    if not allowed and fail_open:
        allowed = [one for one in untried if not one.commanded]
    rank = [one for one in allowed if not one.backup] or allowed
    if not rank:
        return Refusal.DOWN
    free = [one for one in rank if not one.max_connections or one.in_flight < one.max_connections]
    if not free:
        return Refusal.FULL
    return policy.choose(free, hash_key) if len(free) > 1 else free[0]


def policy_named(name: str, random: Random) -> Policy:
    """The policy that `balance` names; each backend and worker has its own, as some remember."""
    match name:
        case "round_robin":
            return RoundRobin()
        case "least_connections":
            return LeastConnections()
        case "random_two":
            return RandomTwo(random)
        case "consistent_hash":
            return ConsistentHash()
    raise ValueError(f"{name!r} is no policy")


class RoundRobin:
    """Smooth weighted round robin, as nginx has it: weights 5, 1, 1 give A A B A C A A, not A A A A A B C."""

    def __init__(self) -> None:
        self._credit: dict[str, float] = {}

    def choose(self, servers: Sequence[C], hash_key: bytes = b"") -> C:
        credit, total = self._credit, 0.0
        best, most = servers[0], float("-inf")
        for one in servers:
            weight = one.weight
            total += weight
            credit[one.key] = owed = credit.get(one.key, 0.0) + weight
            if owed > most:
                best, most = one, owed
        credit[best.key] = most - total
        if len(credit) > 4 * len(servers) + 16:  # servers that left for good
            self._credit = {one.key: credit[one.key] for one in servers}
        return best


class LeastConnections:
    """The fewest requests in flight for its weight; equals take turns."""

    def __init__(self) -> None:
        self._turns = RoundRobin()

    def choose(self, servers: Sequence[C], hash_key: bytes = b"") -> C:
        least = min(_load(one) for one in servers)
        equals = [one for one in servers if _load(one) <= least]
        return equals[0] if len(equals) == 1 else self._turns.choose(equals)


class RandomTwo:
    """Two drawn by weight, the less loaded of them wins (Mitzenmacher 2001): nearly as good as least_connections, and
    workers that know nothing of each other do not all run to the same server."""

    def __init__(self, random: Random) -> None:
        self._random = random

    def choose(self, servers: Sequence[C], hash_key: bytes = b"") -> C:
        first = self._draw(servers)
        others = [one for one in servers if one is not first]
        if not others:
            return first
        second = self._draw(others)
        return second if _load(second) < _load(first) else first

    def _draw(self, servers: Sequence[C]) -> C:
        mark = self._random() * sum(one.weight for one in servers)
        for one in servers:
            mark -= one.weight
            if mark < 0:
                return one
        return servers[-1]


class ConsistentHash:
    """The same key, the same server; see the module's text. Requests without a key take turns."""

    def __init__(self) -> None:
        self._turns = RoundRobin()

    def choose(self, servers: Sequence[C], hash_key: bytes = b"") -> C:
        if not hash_key:
            return self._turns.choose(servers)
        in_flight = 1 + sum(one.in_flight for one in servers)
        per_weight = BOUND * in_flight / sum(one.weight for one in servers)
        below = [one for one in servers if one.in_flight < max(BOUND_FROM, ceil(per_weight * one.weight))]
        return min(below, key=lambda one: draw(hash_key, one.key, one.weight))


def draw(hash_key: bytes, server: str, weight: float) -> float:
    """What a server draws for a key, the smallest wins: exponentially distributed with `weight` as its rate, so that
    the chance to win is the share of the weights."""
    digest = blake2b(b"%s\0%s" % (server.encode(), hash_key), digest_size=8).digest()
    return -log((int.from_bytes(digest, "big") + 0.5) / 2**64) / weight


def _load(one: Candidate) -> float:
    return one.load / one.weight
