from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.errors import BadRequest
from terminator.routing.paths import readings
from terminator.routing.routes import Route, RouteTable, route, ties

Fields = tuple[tuple[bytes, bytes], ...]


def table(*written: dict[str, Any]) -> RouteTable[str]:
    """Each route's action is its own text, so that a match reads as what was written."""
    made = [route(index, action="", **one) for index, one in enumerate(written)]
    return RouteTable(Route(r.index, r.path, r.exact, r.methods, r.headers, r.query, action=str(r)) for r in made)


def matched(routes: RouteTable[str], method: str, path: str, query: str | None = None, fields: Fields = ()) -> str:
    found = routes.match(method, path, query, fields)
    return found.action if found is not None else "none"


PATHS = table(
    {"path": "/"},
    {"path": "/api"},
    {"path": "/api/v1/"},
    {"exact": "/api/v1"},
    {"exact": "/api/v1/"},
    {"exact": "/robots.txt"},
    {"path": "/caf%c3%a9"},
)


@pytest.mark.parametrize(
    ("path", "winner"),
    [
        ("/", "path /"),
        ("/x", "path /"),
        ("/apix", "path /"),
        ("/api", "path /api"),
        ("/api/", "path /api"),
        ("/api/x", "path /api"),
        ("/api/v1x", "path /api"),
        ("/api/v1/x", "path /api/v1"),
        ("/api/v1", "exact /api/v1"),
        ("/api/v1/", "exact /api/v1/"),
        ("/robots.txt", "exact /robots.txt"),
        ("/robots.txt/", "path /"),
        ("/%61pi/x", "path /api"),
        ("/API", "path /"),
        ("/caf%C3%A9/x", "path /caf%C3%A9"),
        ("/caf%c3%a9", "path /caf%C3%A9"),
        ("*", "path /"),
    ],
)
def test_the_longest_path_wins_on_segment_borders(path: str, winner: str) -> None:
    assert matched(PATHS, "GET", path) == winner


def test_without_a_route_for_the_rest_there_is_none() -> None:
    routes = table({"path": "/api"})
    assert matched(routes, "GET", "/x") == "none"
    assert matched(routes, "GET", "/") == "none"
    assert matched(routes, "OPTIONS", "*") == "none"
    assert matched(RouteTable(()), "GET", "/") == "none"


BYPASS = table({"path": "/"}, {"path": "/admin"}, {"path": "/public"})


@pytest.mark.parametrize(
    ("path", "verdict"),
    [
        # sloppy, and no border is crossed by any reading
        ("/admin//x", "path /admin"),
        ("/admin/x;y/z", "path /admin"),
        ("/admin/a%2Fb", "path /admin"),
        ("/x//y", "path /"),
        ("//x", "path /"),
        ("/x;y", "path /"),
        ("/x%2Fy", "path /"),
        ("/public/x//admin", "path /public"),
        ("/public/%2Fadmin", "path /public"),
        ("/public/;/admin", "path /public"),
        # some backend would see another route's path
        ("//admin", "refused"),
        ("//admin/x", "refused"),
        ("///admin", "refused"),
        ("//x/admin", "refused"),
        ("//public/admin", "refused"),
        ("/;/admin", "refused"),
        ("/admin;x", "refused"),
        ("/admin;x/y", "refused"),
        ("/admin%3Bx/y", "refused"),
        ("/admin%2Fx", "refused"),
        ("/admin%5Cx", "refused"),
        ("/%2Fadmin", "refused"),
        ("/public%2Fx", "refused"),
        # dot segments never pass
        ("/public/../admin", "refused"),
        ("/public/%2e%2e/admin", "refused"),
        ("/public/..;/admin", "refused"),
        ("/public/..%2Fadmin", "refused"),
        ("/x/./y", "refused"),
        ("", "refused"),
    ],
)
def test_no_spelling_slips_past_a_route(path: str, verdict: str) -> None:
    try:
        found = matched(BYPASS, "GET", path)
    except BadRequest:
        found = "refused"
    assert found == verdict


CONDITIONS = table(
    {"path": "/", "methods": ["GET", "HEAD"]},
    {"path": "/"},
    {"path": "/api", "methods": ["GET"]},
    {"path": "/api", "headers": {"X-Env": "Blue"}, "methods": ["GET"]},
    {"path": "/api", "headers": {"X-Env": "*"}, "methods": ["GET"]},
    {"path": "/api", "query": {"v": "2"}, "headers": {"X-Env": "*"}, "methods": ["GET"]},
    {"exact": "/api", "methods": ["POST"]},
)


@pytest.mark.parametrize(
    ("method", "path", "query", "fields", "winner"),
    [
        ("GET", "/", None, (), "path / methods GET,HEAD"),
        ("HEAD", "/x", None, (), "path / methods GET,HEAD"),
        ("POST", "/x", None, (), "path /"),
        ("get", "/x", None, (), "path /"),  # methods are case-sensitive, RFC 9110 §9.1
        ("GET", "/api", None, (), "path /api methods GET"),
        ("POST", "/api", None, (), "exact /api methods POST"),
        ("POST", "/api/x", None, (), "path /"),  # the method falls through to the less specific route
        ("GET", "/api", None, ((b"x-env", b"Blue"),), "path /api methods GET header x-env=Blue"),
        ("GET", "/api", None, ((b"x-env", b"blue"),), "path /api methods GET header x-env=*"),
        ("GET", "/api", None, ((b"x-env", b"Blue"), (b"x-env", b"Blue")), "path /api methods GET header x-env=*"),
        ("GET", "/api", "v=2", ((b"x-env", b"Blue"),), "path /api methods GET header x-env=* query v=2"),
        ("GET", "/api", "a&v=2&b=", ((b"x-env", b""),), "path /api methods GET header x-env=* query v=2"),
        ("GET", "/api", "v=1&v=2", ((b"x-env", b""),), "path /api methods GET header x-env=*"),
        ("GET", "/api", "v=%32", ((b"x-env", b""),), "path /api methods GET header x-env=*"),
        ("GET", "/api", "v=2", (), "path /api methods GET"),
    ],
)
def test_conditions(method: str, path: str, query: str | None, fields: Fields, winner: str) -> None:
    assert matched(CONDITIONS, method, path, query, fields) == winner


def test_presence_alone_is_a_star() -> None:
    routes = table({"path": "/", "query": {"debug": "*"}}, {"path": "/", "headers": {"x-a": "*"}})
    assert matched(routes, "GET", "/", "debug") == "path / query debug=*"
    assert matched(routes, "GET", "/", "debug=") == "path / query debug=*"
    assert matched(routes, "GET", "/", "debugger=1") == "none"
    assert matched(routes, "GET", "/", None, ((b"x-a", b""),)) == "path / header x-a=*"
    assert matched(routes, "GET", "/", None, ((b"x-ab", b"*"),)) == "none"


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ({}, "either"),
        ({"path": "/", "exact": "/"}, "either"),
        ({"path": "api"}, "write /api"),
        ({"exact": "/a/../b"}, "dot segment"),
        ({"path": "/", "headers": {"X-A": "1", "x-a": "2"}}, "twice"),
    ],
)
def test_a_route_that_cannot_be_compared_is_refused(written: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        route(0, action=None, **written)


TIES = [
    # first, second, whether a request could match both with nothing to tell them apart
    ({"path": "/a"}, {"path": "/a"}, True),
    ({"path": "/a"}, {"path": "/a/"}, True),
    ({"path": "/%61"}, {"path": "/a"}, True),
    ({"exact": "/a"}, {"exact": "/a"}, True),
    ({"exact": "/a"}, {"path": "/a"}, False),
    ({"exact": "/a/"}, {"exact": "/a"}, False),
    ({"path": "/a"}, {"path": "/b"}, False),
    ({"path": "/a", "methods": ["GET"]}, {"path": "/a"}, False),
    ({"path": "/a", "methods": ["GET"]}, {"path": "/a", "methods": ["GET", "POST"]}, True),
    ({"path": "/a", "methods": ["GET"]}, {"path": "/a", "methods": ["POST"]}, False),
    ({"path": "/a", "methods": ["GET"]}, {"path": "/a", "headers": {"x": "1"}}, True),
    ({"path": "/a", "headers": {"x": "1"}}, {"path": "/a", "headers": {"X": "2"}}, False),
    ({"path": "/a", "headers": {"x": "1"}}, {"path": "/a", "headers": {"x": "*"}}, False),
    ({"path": "/a", "headers": {"x": "1"}}, {"path": "/a", "headers": {"y": "1"}}, True),
    ({"path": "/a", "headers": {"x": "*", "y": "1"}}, {"path": "/a", "headers": {"x": "1", "y": "*"}}, True),
    ({"path": "/a", "query": {"x": "1"}}, {"path": "/a", "query": {"x": "2"}}, False),
    ({"path": "/a", "query": {"x": "1"}}, {"path": "/a", "headers": {"x": "1"}}, True),
]


@pytest.mark.parametrize(("first", "second", "tied"), TIES)
def test_ties(first: dict[str, Any], second: dict[str, Any], tied: bool) -> None:
    one, other = route(0, action=None, **first), route(1, action=None, **second)
    assert ties([one, other]) == ([(one, other)] if tied else [])
    assert ties([one, route(2, path="/between", action=None), other]) == ([(one, other)] if tied else [])


def test_of_a_tie_the_first_is_served() -> None:
    routes = RouteTable([route(1, path="/", action="second"), route(0, path="/", action="first")])
    assert matched(routes, "GET", "/") == "first"


def test_explain_gives_every_route_and_its_reason() -> None:
    verdicts = CONDITIONS.explain("GET", "/api", "v=1", ((b"x-env", b"Green"),))
    assert [(v.route.index, v.won, v.why) for v in verdicts] == [
        (6, False, "the method GET is not POST"),
        (5, False, "the query's v is not 2"),
        (3, False, "the header x-env is not Blue"),
        (4, True, "the most specific of the routes that match"),
        (2, False, "fewer conditions than route 4"),
        (0, False, "shorter than /api/ of route 4"),
        (1, False, "shorter than /api/ of route 4"),
    ]
    verdicts = PATHS.explain("GET", "/robots.txt", None, ())
    assert [(v.route.index, v.why) for v in verdicts if v.won] == [(5, "the most specific of the routes that match")]
    assert {v.why for v in verdicts} >= {
        "the path is not /api/v1",
        "the path is not under /api/",
        "a prefix; route 5 has this very path",
    }
    with pytest.raises(BadRequest):
        BYPASS.explain("GET", "//admin", None, ())


def test_explain_tells_definite_values_and_ties_apart() -> None:
    routes = table(
        {"path": "/", "headers": {"a": "1"}}, {"path": "/", "headers": {"a": "*"}}, {"path": "/", "headers": {"b": "*"}}
    )
    verdicts = routes.explain("GET", "/", None, ((b"a", b"1"), (b"b", b"")))
    assert [v.why for v in verdicts[1:]] == ["asks for less definite values than route 0"] * 2
    verdicts = table({"path": "/"}, {"path": "/"}, {"path": "/", "query": {"a": "1"}}).explain("GET", "/", None, ())
    assert [v.why for v in verdicts] == [
        "the query has no a",
        "the most specific of the routes that match",
        "as specific as route 0, which stands before it",
    ]
    verdicts = table({"path": "/", "headers": {"a": "1"}}).explain("GET", "/", None, ())
    assert [(v.won, v.why) for v in verdicts] == [(False, "there is no header a")]


# ------------------------------------------------------------------------- against the plainest way to say the rule

segments = st.sampled_from(["a", "b", "ab", "a%2Fb", "a;b", "", "%61"])
plain_segments = st.sampled_from(["a", "b", "ab"])
route_paths = st.lists(plain_segments, max_size=3).map(lambda parts: "/" + "/".join(parts))
request_paths = st.lists(segments, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts))
values = st.sampled_from(["1", "2", "*"])
written_routes = st.fixed_dictionaries(
    {},
    optional={
        "methods": st.lists(st.sampled_from(["GET", "PUT"]), max_size=2, unique=True),
        "headers": st.dictionaries(st.sampled_from(["x", "Y"]), values, max_size=2),
        "query": st.dictionaries(st.sampled_from(["p", "q"]), values, max_size=2),
    },
).flatmap(
    lambda rest: st.tuples(st.sampled_from(["path", "path", "exact"]), route_paths).map(
        lambda where: {where[0]: where[1], **rest}
    )
)
fields = st.lists(st.sampled_from([(b"x", b"1"), (b"x", b"2"), (b"y", b"1"), (b"z", b"1")]), max_size=3).map(tuple)
queries = st.none() | st.lists(st.sampled_from(["p=1", "p=2", "q", "q=1", "r=1"]), max_size=3).map("&".join)


def naive(routes: list[Route[Any]], method: str, path: str, query: str | None, sent: Fields) -> Route[Any] | None:
    def holds(one: Route[Any]) -> bool:
        if one.exact and path != one.path:
            return False
        if not one.exact and not (path == one.path or (path + "/").startswith(one.path + "/")):
            return False
        if one.methods and method not in one.methods:
            return False
        for name, wanted in one.headers:
            lines = [value for field, value in sent if field == name]
            if not lines or wanted not in (None, b", ".join(lines)):
                return False
        for name, want in one.query:
            pairs = [pair.partition("=") for pair in (query or "").split("&")]
            found = [value for key, _, value in pairs if key == name]
            if not found or want not in (None, found[0]):
                return False
        return True

    return max(filter(holds, routes), key=lambda one: (one.rank, -one.index), default=None)


@given(st.lists(written_routes, max_size=8), st.sampled_from(["GET", "PUT", "POST"]), request_paths, queries, fields)
def test_match_and_explain_agree_with_trying_every_route(
    written: list[dict[str, Any]], method: str, path: str, query: str | None, sent: Fields
) -> None:
    routes = [route(index, action=index, **one) for index, one in enumerate(written)]
    made = RouteTable(routes)
    expected = [naive(routes, method, reading, query, sent) for reading in readings(path)]
    if any(one is not expected[0] for one in expected):
        with pytest.raises(BadRequest):
            made.match(method, path, query, sent)
        return
    assert made.match(method, path, query, sent) is expected[0]
    verdicts = made.explain(method, path, query, sent)
    assert [v.route for v in verdicts if v.won] == ([expected[0]] if expected[0] is not None else [])
    assert sorted(v.route.index for v in verdicts) == list(range(len(routes)))
    for verdict in verdicts:
        assert verdict.why


@given(st.lists(written_routes, max_size=6), st.sampled_from(["GET", "PUT"]), route_paths, queries, fields)
def test_without_ties_the_order_of_the_routes_says_nothing(
    written: list[dict[str, Any]], method: str, path: str, query: str | None, sent: Fields
) -> None:
    routes = [route(index, action=index, **one) for index, one in enumerate(written)]
    tied = {one.index for pair in ties(routes) for one in pair}
    free = [one for one in routes if one.index not in tied]
    turned = [
        Route(len(free) - place, one.path, one.exact, one.methods, one.headers, one.query, one.action)
        for place, one in enumerate(free)
    ]
    found, other = (RouteTable(some).match(method, path, query, sent) for some in (free, turned))
    assert (found and found.action) == (other and other.action)


def test_thousands_of_routes_and_a_path_of_thousands_of_segments() -> None:
    routes = RouteTable(
        [route(index, path=f"/service{index}/api", action=index) for index in range(5000)]
        + [route(5000, path="/", action=5000)]
    )
    assert matched_index(routes, "/service4711/api/x") == 4711
    assert matched_index(routes, "/service4711/apix") == 5000
    assert matched_index(routes, "/service4711/api" + "/x" * 15000) == 4711
    assert matched_index(routes, "/x" * 16000) == 5000


def matched_index(routes: RouteTable[int], path: str) -> int | None:
    found = routes.match("GET", path, None, ())
    return found.index if found is not None else None
