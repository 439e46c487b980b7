"""Routes beyond their schema."""

# ruff: noqa: E501 (one case a line)

from __future__ import annotations

from collections.abc import Callable

import pytest

Texts = Callable[..., list[str]]
PREFIX = "hosts[0].routes["


def routes(minimal: str, *lines: str) -> str:
    return minimal.replace("      - {path: /, backend: web}\n", "".join(f"      - {line}\n" for line in lines))


ONE = "a route has one of `backend`, `redirect` and `respond`, and here is"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{path: /, backend: web}", []),
        ("{exact: /a, redirect: {to: /b}}", []),
        ("{path: /, respond: {status: 204}}", []),
        ("{path: /}", ["9: 0]: needs one of `backend`, `redirect` and `respond`"]),
        ("{path: /, backend: web, redirect: {to: /}}", [f"33: 0].redirect: {ONE} `backend`"]),
        ("{path: /, redirect: {to: /}, respond: {}}", [f"38: 0].respond: {ONE} `redirect`"]),
        ("{backend: web}", ["9: 0]: needs `path` or `exact`"]),
        ("{path: /, exact: /, backend: web}", ["26: 0].exact: a route has `path` or `exact`, not both"]),
        ("{path: /, backend: wbe}", ["28: 0].backend: there is no backend `wbe`; did you mean `web`?"]),
        ("{path: /, backend: '${B}'}", ["28: 0].backend: there is no backend `${B}`"]),
        ("{path: api, backend: web}", ["16: 0].path: a path begins with a slash: write /api"]),
        ("{path: '${B}', backend: web}", ["16: 0].path: `${B}` became a value that is not allowed here"]),
        ("{path: '/?a', backend: web}", ["16: 0].path: a path holds no '?'; for the query there is match_query"]),
        ("{exact: /a, backend: web, strip_prefix: true}", ["49: 0].strip_prefix: needs `path`: an exact path has no rest to forward"]),
        ("{path: /a, backend: web, strip_prefix: true, rewrite: /b}", ["63: 0].rewrite: a route has `strip_prefix` or `rewrite`, not both"]),
        ("{path: /a, backend: web, rewrite: '/b{path}'}", []),
        ("{path: /a, backend: web, rewrite: '{uri}'}", ["43: 0].rewrite: {uri} holds the query, which is kept by itself; write {path}"]),
        ("{path: /a, backend: web, rewrite: '{foo}'}", ["43: 0].rewrite: unknown variable {foo}; there are client.address,"]),
        ("{path: /, redirect: {to: 'https://{host}{uri}'}}", []),
        ("{path: /, redirect: {to: '{scheme}://x/'}}", []),
        ("{path: /, redirect: {to: example.com}}", ["34: 0].redirect.to: begins with `/`, `https://` or a variable such as {uri}"]),
        ("{path: /, redirect: {to: '/{hst}'}}", ["34: 0].redirect.to: unknown variable {hst}; did you mean `host`?"]),
        ("{path: /, respond: {status: 204, body: x}}", ["48: 0].respond.body: a response with status 204 has no content"]),
        ("{path: /, backend: web, match_headers: {X-A: '1', x-a: '2'}}", ["33: 0].match_headers: a header stands twice among the conditions"]),
        ("{path: /, backend: web, headers: {set: {Host: '{tls.sni}', X: '{{no}} {\"json\": 1}'}}}", []),
        ("{path: /, backend: web, headers: {set: {X: '{client.adress}'}}}", ["52: 0].headers.set.X: unknown variable {client.adress}; did you mean `client.address`?"]),
        ("{path: /, backend: web, response_headers: {add: {X: '{xyz}'}}}", ["61: 0].response_headers.add.X: unknown variable {xyz}; there are client.address,"]),
        ("{path: /, backend: web, headers: {set: {X: '${T}'}}}", ["52: 0].headers.set.X: `${T}` became a text with an unknown variable in braces"]),
        ("{path: /, backend: web, headers: {set: {Content-Length: '1'}}}", ["65: 0].headers.set.Content-Length: Content-Length frames the message; terminator writes it itself"]),
        ("{path: /, backend: web, headers: {add: {host: a}}}", ["55: 0].headers.add.host: a request has exactly one Host; use `set` to change it"]),
        ("{path: /, backend: web, headers: {remove: [Connection]}}", ["52: 0].headers.remove[0]: Connection frames the message; terminator writes it itself"]),
        ("{path: /, backend: web, headers: {set: {X-A: a, x-a: b}}}", ["62: 0].headers.set.x-a: this field already stands here; names are compared without regard to case"]),
    ],
)  # fmt: skip
def test_one_route(faults: Texts, minimal: str, line: str, told: list[str]) -> None:
    found = faults(routes(minimal, line), B="secret", T="{secret}")
    assert len(found) == len(told), found
    for fault, expected in zip(found, told, strict=True):
        assert fault.replace(f": {PREFIX}", ": ").startswith(f"8:{expected}"), fault


TIE = "some requests match both and none goes first; give one of them a longer path or a further condition"


@pytest.mark.parametrize(
    ("lines", "tied"),
    [
        (["{path: /a, backend: web}", "{path: /a/, backend: web}"], True),
        (["{path: /a, backend: web}", "{path: /%61, backend: web}"], True),
        (["{exact: /a, backend: web}", "{exact: /a, backend: web}"], True),
        (["{exact: /a, backend: web}", "{path: /a, backend: web}"], False),
        (["{path: /a, backend: web}", "{path: /b, backend: web}"], False),
        (["{path: /a, methods: [GET], backend: web}", "{path: /a, methods: [POST], backend: web}"], False),
        (["{path: /a, methods: [GET], backend: web}", "{path: /a, methods: [GET, POST], backend: web}"], True),
        (["{path: /a, methods: [GET], backend: web}", "{path: /a, backend: web}"], False),
        (["{path: /a, match_headers: {X: '1'}, backend: web}", "{path: /a, match_headers: {X: '2'}, backend: web}"], False),
        (["{path: /a, match_headers: {X: '1'}, backend: web}", "{path: /a, match_query: {y: '2'}, backend: web}"], True),
    ],
)  # fmt: skip
def test_ties(faults: Texts, minimal: str, lines: list[str], tied: bool) -> None:
    found = faults(routes(minimal, *lines))
    key = "exact" if "exact" in lines[1] else "path"
    column = 16 if key == "path" else 17
    expected = f"9:{column}: hosts[0].routes[1].{key}: as specific as the route at 8:{column}: {TIE}"
    assert found == ([expected] if tied else [])


def test_many_ties_are_told_once_each(faults: Texts, minimal: str) -> None:
    assert len(faults(routes(minimal, *["{path: /a, backend: web}"] * 20))) == 19


def test_routes_of_different_hosts_never_tie(faults: Texts, minimal: str) -> None:
    host = "".join(line + "\n" for line in minimal.splitlines()[4:8])
    assert faults(minimal.replace(host, host + host.replace("www.", "w."))) == []


NO_EFFECT = "has no effect on a route without `backend`"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("{path: /a, methods: [TRACE], backend: web}", ["0].methods: no request reaches this route: CONNECT and TRACE are always refused"]),
        ("{path: /a, methods: [TRACE, GET], backend: web}", []),
        ("{path: /a, match_headers: {X: ' a'}, backend: web}", ["0].match_headers.X: no request reaches this route: values are compared without outer blanks"]),
        ("{path: /a, match_query: {a: 'b&c'}, backend: web}", ["0].match_query.a: no request reaches this route: write `&`, `#` and `=` percent-encoded"]),
        ("{path: /a, match_query: {a: 'b=c'}, backend: web}", []),
        ("{path: /a, redirect: {to: /b}, strip_prefix: true}", [f"0].strip_prefix: {NO_EFFECT}"]),
        ("{path: /a, respond: {}, timeouts: {}, headers: {}}", [f"0].timeouts: {NO_EFFECT}", f"0].headers: {NO_EFFECT}"]),
        ("{path: /a, respond: {}, response_headers: {set: {X: a}}}", []),
        ("{path: /a, backend: web, headers: {set: {X: '{request.id}'}}}", ["0].headers.set.X: {request.id} is empty without `request_id`"]),
    ],
)  # fmt: skip
def test_warnings(findings: Texts, minimal: str, line: str, told: list[str]) -> None:
    found = findings(routes(minimal, line, "{path: /, backend: web}"))
    assert [text.partition(PREFIX)[2] for text in found] == told


def test_no_route_no_use(findings: Texts, minimal: str) -> None:
    assert findings(routes(minimal, "{path: /, respond: {}}")) == ["10:3: backends.web: no route uses this backend"]
