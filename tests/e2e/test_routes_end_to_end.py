"""What routes do, seen from both sides: redirects, rules, request ids, timeouts, limits, paths nobody gets around."""

from __future__ import annotations

import pytest
from harness.backends import ok
from harness.daemon import eventually


@pytest.fixture
def routed(start, site, answering):
    """A daemon whose host has these routes before an answering backend."""

    def make(*routes, names=("a.test",), host=None, **sections):
        backend = answering(ok())
        hosts = [site.host(*names, routes=list(routes), **(host or {}))]
        return start(backend.address, hosts=hosts, **sections), backend

    return make


def test_a_redirect_to_an_ipv6_literal_keeps_its_brackets(routed):
    daemon, _ = routed(
        {"path": "/", "redirect": {"to": "https://{host}:8443{uri}", "status": 307}}, names=("a.test", "::1")
    )
    with daemon.connect() as client:
        client.request("/x?y=1", host="[::1]")
        head = client.receive_response().head
    assert (head.status, head["Location"]) == (307, "https://[::1]:8443/x?y=1")


def test_hsts_stands_in_every_answer(routed):
    daemon, _ = routed(
        {"path": "/", "backend": "b"},
        {"path": "/to", "redirect": {"to": "/there"}},
        {"path": "/fixed", "respond": {"body": "hello"}},
        host={"hsts": "2y"},
    )
    with daemon.connect() as client:
        for path in ("/", "/to", "/fixed"):
            client.request(path)
            assert client.receive_response().head["Strict-Transport-Security"] == "max-age=63072000"


@pytest.mark.parametrize(("trusted", "taken"), [([], False), (["127.0.0.0/8"], True), (["10.0.0.0/8"], False)])
def test_a_request_id_is_made_unless_a_trusted_client_gives_one(routed, trusted, taken):
    daemon, backend = routed({"path": "/", "backend": "b"}, request_id={"header": "X-Request-Id", "trusted": trusted})
    with daemon.connect() as client:
        client.request("/", X_Request_Id="mine")
        client.receive_response()
    told = backend.requests[0].head["X-Request-Id"]
    assert (told == "mine") is taken
    assert daemon.wait_for("http.request")["http.request.id"] == told
    assert taken or len(told) == 32


def test_a_route_has_its_own_patience_and_limits(start, site, played):
    routes = [
        {"path": "/", "backend": "b"},
        {"path": "/quick", "backend": "b", "timeouts": {"backend_response": "200ms"}},
        {"path": "/small", "backend": "b", "request_body": "10B"},
    ]
    backend = played()
    daemon = start(backend.address, hosts=[site.host("a.test", routes=routes)])
    with daemon.connect() as client:
        client.request("/quick", method="POST", Content_Length="0")
        backend.accept().receive_request()
        assert client.receive_response().status == 504
    with daemon.connect() as client:
        client.send(b"POST /small HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\n" + b"x" * 11)
        assert client.receive_response().status == 413
    with daemon.connect() as client:
        client.send(b"POST /other HTTP/1.1\r\nHost: a.test\r\nContent-Length: 11\r\n\r\n" + b"x" * 11)
        behind = backend.accept()
        assert behind.receive_request().body == b"x" * 11
        behind.send(ok())
        assert client.receive_response().status == 200


GUARDED = [
    {"path": "/", "backend": "b"},
    {"path": "/admin", "respond": {"status": 403}},
    {"path": "/public", "backend": "b"},
]


SPELLINGS = {
    "/public/x": 200,
    "/admin": 403,
    "/admin/": 403,
    "/admin/x": 403,
    "/admin;v=1": 400,
    "/public/../admin": 400,
    "/public/%2e%2e/admin": 400,
    "/public/%2E./admin": 400,
    "/public/..;/admin": 400,
    "/public/..%2fadmin": 400,
    "/./admin": 400,
    "//admin": 400,
    "/%61dmin": 403,
    "/public//../admin": 400,
    "/%2fadmin": 400,
    "/public/%5c..%5cadmin": 400,
    "/administrator": 200,
    "/public/a..b": 200,
    "/public/%2541": 200,
}


def test_no_spelling_gets_around_a_route(routed):
    daemon, backend = routed(*GUARDED)
    found = {}
    for target in SPELLINGS:
        before = len(backend.requests)
        with daemon.connect() as client:
            client.request(target)
            found[target] = client.receive_response().status
        forwarded = [request.head.target for request in backend.requests[before:]]
        # as it was written, never decoded and encoded again
        assert forwarded == ([target] if found[target] == 200 else [])
    assert found == SPELLINGS


def test_prefix_rewrite_rules_and_variables_reach_the_backend(routed):
    daemon, backend = routed(
        {
            "path": "/api",
            "backend": "b",
            "strip_prefix": True,
            "headers": {"set": {"X-Who": "{client.address} {tls.version} {host} {route}"}, "remove": ["Cookie"]},
            "response_headers": {"set": {"X-Served": "{backend}"}},
        },
        {"path": "/old", "backend": "b", "rewrite": "/new{path}"},
    )
    with daemon.connect() as client:
        client.request("/api/a%20b?q=%2e%2e", Cookie="secret")
        assert client.receive_response().head["X-Served"] == "b"
        client.request("/old/x")
        client.receive_response()
    api, old = (request.head for request in backend.requests)
    assert (api.target, api["X-Who"], api["X-Forwarded-Prefix"]) == (
        "/a%20b?q=%2e%2e",
        "127.0.0.1 1.3 a.test /api",
        "/api",
    )
    assert "Cookie" not in api
    assert old.target == "/new/old/x"
    eventually(lambda: len(daemon.all("http.request")) == 2)
