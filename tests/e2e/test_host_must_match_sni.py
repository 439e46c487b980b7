"""A connection made for one host serves that host alone (RFC 9110 §7.4, §15.5.20); routes are found within it."""

from __future__ import annotations

import pytest
from harness.backends import ok


@pytest.fixture
def daemon(start, site, answering):
    backends = {name: {"servers": [answering(ok(name.encode())).address]} for name in ("a", "b", "api")}
    routes = [{"path": "/api", "backend": "api"}, {"path": "/web", "backend": "a"}]
    hosts = [site.host("a.test", "also.test", routes=routes), site.host("b.test", backend="b")]
    return start(hosts=hosts, backends=backends)


@pytest.mark.parametrize("host", ["b.test", "stranger.test", "a.test.evil.test", "127.0.0.1"])
def test_another_hosts_name_is_misdirected(daemon, host):
    with daemon.connect("a.test") as client:
        client.request("/web", host=host)
        response = client.receive_response()
        assert response.status == 421
    event = daemon.wait_for("http.request", {"http.response.status_code": 421})
    assert (event["error.type"], event["http.request.host"]) == ("misdirected", host)
    assert "backend" not in event


@pytest.mark.parametrize("host", ["a.test", "A.TEST", "a.test.", "a.test:443", "also.test"])
def test_the_names_of_the_same_host_are_one(daemon, host):
    with daemon.connect("a.test") as client:
        client.request("/web", host=host)
        assert client.receive_response().status == 200


@pytest.mark.parametrize(
    ("path", "status", "body"),
    [
        ("/api", 200, b"api"),
        ("/api/x?y=/web", 200, b"api"),
        ("/web/", 200, b"a"),
        ("/apix", 404, None),
        ("/", 404, None),
        ("/other/api", 404, None),
    ],
)
def test_routes_match_on_segment_borders(daemon, path, status, body):
    with daemon.connect("a.test") as client:
        client.request(path)
        response = client.receive_response()
        assert response.status == status
        assert body is None or response.body == body


def test_no_route_is_told(daemon):
    with daemon.connect("a.test") as client:
        client.request("/nowhere")
        assert client.receive_response().status == 404
        client.request("/web")
        assert client.receive_response().status == 200
    event = daemon.wait_for("http.request", {"url.path": "/nowhere"})
    assert event["error.type"] == "no_route"
    assert "route" not in event


def test_an_absolute_target_counts_as_its_host(daemon):
    with daemon.connect("a.test") as client:
        client.send(b"GET https://a.test/web HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.receive_response().status == 200
        client.send(b"GET https://b.test/web HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.receive_response().status in (400, 421)
