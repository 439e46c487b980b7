"""Which route takes a request: the most specific one whose conditions all hold, or none.

Specific means, in this order: an exact path before a prefix, a longer prefix before a shorter one, more conditions
before fewer (the methods are one, each header and each query parameter is one), more definite values before `*`. A
route whose conditions do not hold is passed over, and less specific ones get their chance. Two routes of one host that
may both match and are equally specific are a mistake (`ties`); should one be served all the same, the first one wins.

A prefix matches on segment borders, and its trailing slash says nothing: `/api` and `/api/` both match `/api`, `/api/`
and `/api/x`, not `/apix`. Paths are compared as `terminator.routing.paths` reads them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, groupby
from typing import Any, Generic, TypeVar

from terminator.errors import BadRequest
from terminator.routing.paths import is_plain, readings, route_path

T = TypeVar("T")
U = TypeVar("U")

Fields = Sequence[tuple[bytes, bytes]]
ANY = "*"  # as a wanted value: present, whatever it says


@dataclass(frozen=True, slots=True)
class Route(Generic[T]):
    """When a route is taken, and what stands behind it. Built by `route`."""

    index: int
    """Its place among the host's routes, from 0."""
    path: str
    """As it is compared; of a prefix without the trailing slash, so that `/` is the empty string."""
    exact: bool
    methods: frozenset[str]
    headers: tuple[tuple[bytes, bytes | None], ...]
    """Lower-case name and the value wanted; None asks for presence alone."""
    query: tuple[tuple[str, str | None], ...]
    action: T

    @property
    def conditions(self) -> int:
        return bool(self.methods) + len(self.headers) + len(self.query)

    @property
    def rank(self) -> tuple[bool, int, int, int]:
        """Grows with how specific the route is; routes that are equal here do not know who goes first."""
        definite = bool(self.methods) + sum(wanted is not None for _, wanted in (*self.headers, *self.query))
        return (self.exact, len(self.path), self.conditions, definite)

    def carried_out_by(self, action: U) -> Route[U]:
        """The same route with something else behind it."""
        return Route(self.index, self.path, self.exact, self.methods, self.headers, self.query, action)

    def __str__(self) -> str:
        kind = "exact" if self.exact else "path"
        parts = [f"{kind} {self.path or '/'}"]
        if self.methods:
            parts.append("methods " + ",".join(sorted(self.methods)))
        parts += [f"header {name.decode()}={'*' if want is None else want.decode()}" for name, want in self.headers]
        parts += [f"query {name}={'*' if want is None else want}" for name, want in self.query]
        return " ".join(parts)


@dataclass(frozen=True, slots=True)
class Verdict(Generic[T]):
    """What `RouteTable.explain` says of one route."""

    route: Route[T]
    won: bool
    why: str
    """One clause for a person: why it won, or the first thing that kept it from winning."""


def route(
    index: int,
    *,
    path: str | None = None,
    exact: str | None = None,
    methods: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
    query: Mapping[str, str] | None = None,
    action: T,
) -> Route[T]:
    """A route as the configuration writes it: `path` or `exact`, `*` as a value for presence alone.

    Raises ValueError when both or none of the two are given, or no request could be sure to match the path.
    """
    if (path is None) == (exact is None):
        raise ValueError("a route has either `path` or `exact`")
    wanted = {name.lower(): value for name, value in (headers or {}).items()}
    if len(wanted) < len(headers or {}):
        raise ValueError("a header stands twice among the conditions; names are compared without regard to case")
    return Route(
        index=index,
        path=route_path(exact) if exact is not None else route_path(path or "").removesuffix("/"),
        exact=exact is not None,
        methods=frozenset(methods),
        headers=tuple((name.encode(), None if value == ANY else value.encode()) for name, value in wanted.items()),
        query=tuple((name, None if value == ANY else value) for name, value in (query or {}).items()),
        action=action,
    )


class RouteTable(Generic[T]):
    """The routes of one host; immutable. The cost of a match grows with the path's segments, not with the routes."""

    __slots__ = ("_exact", "_longest", "_prefix", "routes")

    def __init__(self, routes: Iterable[Route[T]]) -> None:
        self.routes: tuple[Route[T], ...] = tuple(sorted(routes, key=_precedence))
        self._exact: dict[str, tuple[Route[T], ...]] = {}
        self._prefix: dict[str, tuple[Route[T], ...]] = {}
        for (exact, path), group in groupby(self.routes, key=lambda one: (one.exact, one.path)):
            (self._exact if exact else self._prefix)[path] = tuple(group)
        self._longest = max(map(len, self._prefix), default=0)

    def match(self, method: str, path: str, query: str | None, fields: Fields) -> Route[T] | None:
        """The route for a request, or None.

        `path` and `query` as sent, without the question mark; `fields` with lower-case names. A header is compared by
        its lines joined with `, ` (RFC 9110 §5.3), a query parameter by its first value, both as written.

        Raises BadRequest for a path that is refused, or whose readings lead to different routes.
        """
        if is_plain(path):
            return self._find(method, path, query, fields)
        taken = {reading: self._find(method, reading, query, fields) for reading in readings(path)}
        (literal, first), *others = taken.items()
        for reading, other in others:
            if other is not first:
                ways = f"as {literal} ({first or 'no route'}) or as {reading} ({other or 'no route'})"
                raise BadRequest(f"backends may read the path {ways}")
        return first

    def explain(self, method: str, path: str, query: str | None, fields: Fields) -> list[Verdict[T]]:
        """What `match` makes of each route and why, the most specific first. Raises BadRequest as `match` does."""
        winner = self.match(method, path, query, fields)
        literal = readings(path)[0]
        return [
            Verdict(one, one is winner, self._why(one, winner, method, literal, query, fields)) for one in self.routes
        ]

    def _find(self, method: str, path: str, query: str | None, fields: Fields) -> Route[T] | None:
        for one in self._exact.get(path, ()):
            if not one.conditions or not unmet(one, method, query, fields):
                return one
        prefix = path
        if len(path) > self._longest:  # else a path of thousands of slashes would be cut thousands of times
            longest = self._longest
            prefix = path[:longest] if path[longest] == "/" else path[: max(path.rfind("/", 0, longest), 0)]
        while True:
            for one in self._prefix.get(prefix, ()):
                if not one.conditions or not unmet(one, method, query, fields):
                    return one
            if not prefix:
                return None
            prefix = prefix[: max(prefix.rfind("/"), 0)]

    @staticmethod
    def _why(one: Route[T], winner: Route[T] | None, method: str, path: str, query: str | None, fields: Fields) -> str:
        if not _path_matches(one, path):
            return f"the path is not {one.path}" if one.exact else f"the path is not under {one.path}/"
        reason = unmet(one, method, query, fields)
        if reason:
            return reason
        if one is winner or winner is None:
            return "the most specific of the routes that match"
        if winner.exact != one.exact:
            return f"a prefix; route {winner.index} has this very path"
        if len(winner.path) != len(one.path):
            return f"shorter than {winner.path}/ of route {winner.index}"
        if winner.conditions != one.conditions:
            return f"fewer conditions than route {winner.index}"
        if winner.rank != one.rank:
            return f"asks for less definite values than route {winner.index}"
        return f"as specific as route {winner.index}, which stands before it"


def unmet(one: Route[Any], method: str, query: str | None, fields: Fields) -> str:
    """The first condition of a route that does not hold, in words; empty when all hold. The path is not looked at."""
    if one.methods and method not in one.methods:
        return f"the method {method} is not {' or '.join(sorted(one.methods))}"
    for name, wanted in one.headers:
        sent = [value for field, value in fields if field == name]
        if not sent:
            return f"there is no header {name.decode()}"
        if wanted is not None and b", ".join(sent) != wanted:
            return f"the header {name.decode()} is not {wanted.decode()}"
    for parameter, want in one.query:
        value = _first_value(query, parameter)
        if value is None:
            return f"the query has no {parameter}"
        if want is not None and value != want:
            return f"the query's {parameter} is not {want}"
    return ""


def ties(routes: Iterable[Route[T]]) -> list[tuple[Route[T], Route[T]]]:
    """Pairs of routes that some request matches both, with nothing to tell which is the more specific."""
    found = []
    for _, group in groupby(sorted(routes, key=_precedence), key=lambda one: (one.path, one.rank)):
        found += [(first, second) for first, second in combinations(group, 2) if not _disjoint(first, second)]
    return found


def _precedence(one: Route[Any]) -> tuple[bool, int, str, int, int, int]:
    exact, length, conditions, definite = one.rank
    return (not exact, -length, one.path, -conditions, -definite, one.index)


def _path_matches(one: Route[Any], path: str) -> bool:
    if one.exact:
        return path == one.path
    return not one.path or path == one.path or path.startswith(one.path + "/")


def _disjoint(first: Route[Any], second: Route[Any]) -> bool:
    """Whether no request can satisfy the conditions of both: one value of each kind is compared, so two exclude each
    other as soon as they want different ones."""
    if first.methods and second.methods and not first.methods & second.methods:
        return True
    return _exclusive(dict(first.headers), dict(second.headers)) or _exclusive(dict(first.query), dict(second.query))


def _exclusive(first: Mapping[Any, Any], second: Mapping[Any, Any]) -> bool:
    both = [(first[name], second[name]) for name in first.keys() & second.keys()]
    return any(one != other for one, other in both if one is not None and other is not None)


def _first_value(query: str | None, parameter: str) -> str | None:
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        if name == parameter:
            return value
    return None
