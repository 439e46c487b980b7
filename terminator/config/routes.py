"""A host's routes as the router compares them; behind each stands the route as the operator wrote it."""

from __future__ import annotations

from terminator.config import model
from terminator.routing.routes import Route, RouteTable, route


def route_table(host: model.Host) -> RouteTable[model.Route]:
    """The table that chooses among the routes of `host`. Raises ValueError for a route no request could match, which a
    configuration that was loaded does not hold."""
    return RouteTable(routes(host))


def routes(host: model.Host) -> list[Route[model.Route]]:
    """The same routes one by one, in the order of the file; for `ties`."""
    return [
        route(
            index,
            path=one.path,
            exact=one.exact,
            methods=one.methods,
            headers=one.match_headers,
            query=one.match_query,
            action=one,
        )
        for index, one in enumerate(host.routes)
    ]
