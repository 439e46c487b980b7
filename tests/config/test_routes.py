from __future__ import annotations

from terminator.config import model
from terminator.config.routes import route_table, routes
from terminator.routing.routes import ties


def host(*written: dict[str, object]) -> model.Host:
    return model.Host.model_validate(
        {
            "names": ["shop.example"],
            "certificates": [{"chain": "/c.pem", "key": "/k.pem"}],
            "routes": list(written),
        }
    )


def test_a_match_leads_to_the_route_as_it_was_written() -> None:
    shop = host(
        {"path": "/", "backend": "web"},
        {"path": "/api/", "methods": ["GET"], "match_headers": {"X-Env": "blue"}, "backend": "blue"},
        {"path": "/api/", "match_query": {"v": "*"}, "methods": ["GET"], "backend": "v"},
        {"exact": "/health", "respond": {"body": "ok"}},
    )
    table = route_table(shop)
    for path, query, fields, index in (
        ("/x", None, (), 0),
        ("/api/x", None, ((b"x-env", b"blue"),), 1),
        ("/api/x", "v=1", (), 2),
        ("/health", None, (), 3),
        ("/health/", None, (), 0),
    ):
        found = table.match("GET", path, query, fields)
        assert found is not None
        assert found.action is shop.routes[index]
        assert found.index == index


def test_ties_are_found_in_the_order_of_the_file() -> None:
    shop = host({"path": "/a", "backend": "web"}, {"path": "/", "backend": "web"}, {"path": "/a/", "backend": "api"})
    assert [(one.index, other.index) for one, other in ties(routes(shop))] == [(0, 2)]
