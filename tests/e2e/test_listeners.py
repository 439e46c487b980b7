"""Where clients may connect: IPv4, IPv6, both at once, a unix socket, and a plain port that only redirects."""

from __future__ import annotations

import socket

import pytest
from harness.backends import ok
from harness.conversation import Conversation


def test_an_ipv6_listener(start, site, answering, get):
    daemon = start(answering(ok(b"six")).address, listeners=[site.listener(address="[::1]")])
    assert get(daemon, "https://a.test/", address="[::1]").body == b"six"
    assert daemon.wait_for("tls.handshake")["client.address"] == "::1"


def test_two_colons_serve_ipv4_too(start, site, answering, get):
    backend = answering(lambda request: ok(request.head["x-forwarded-for"].encode()))
    daemon = start(backend.address, listeners=[site.listener(address="[::]")])
    assert get(daemon, "https://a.test/").body == b"127.0.0.1"
    assert get(daemon, "https://a.test/", address="[::1]").body == b"::1"
    for address in ("127.0.0.1", "::1"):
        daemon.wait_for("tls.handshake", {"client.address": address})


def test_a_unix_listener(start, answering, folder):
    path = folder / "listen.sock"
    daemon = start(answering(ok(b"unix")).address, listeners=[{"name": "local", "bind": f"unix:{path}"}])
    plain = socket.socket(socket.AF_UNIX)
    plain.connect(str(path))
    with Conversation(daemon.secure(plain, "a.test")) as client:
        client.request()
        assert client.receive_response().body == b"unix"
    event = daemon.wait_for("tls.handshake")
    assert event["listener"] == "local"
    assert "client.port" not in event


def test_several_listeners_serve_the_same_hosts(start, site, answering, get):
    listeners = [site.listener("first"), site.listener("second")]
    daemon = start(answering(ok(b"same")).address, listeners=listeners)
    for name in ("first", "second"):
        assert get(daemon, "https://a.test/", listener=name).body == b"same"
        daemon.wait_for("tls.handshake", {"listener": name})


@pytest.fixture
def plain(start, site, answering, folder):
    webroot = folder / "acme"
    challenges = webroot / ".well-known" / "acme-challenge"
    challenges.mkdir(parents=True)
    (challenges / "token").write_text("token.thumbprint")
    (webroot / "secret").write_text("not for strangers")
    (folder / "outside").write_text("not for strangers")
    (challenges / "link").symlink_to(folder / "outside")
    listeners = [site.listener(), site.listener("http", tls=False, acme_webroot=str(webroot), redirect_port=8443)]
    return start(answering(ok()).address, listeners=listeners)


def test_a_plain_listener_redirects(plain, get):
    result = get(plain, "http://a.test/some/path?q=1", listener="http")
    assert result.status == 308
    assert result.head["location"] == "https://a.test:8443/some/path?q=1"
    assert get(plain, "http://a.test/", "-X", "POST", "-d", "x=1", listener="http").status == 308


def test_a_plain_listener_leaves_out_the_default_port(start, site, answering, get):
    daemon = start(answering(ok()).address, listeners=[site.listener(), site.listener("http", tls=False)])
    assert get(daemon, "http://a.test/", listener="http").head["location"] == "https://a.test/"


def test_a_plain_listener_redirects_to_no_host_it_does_not_serve(plain, get):
    result = get(plain, "http://stranger.test/", listener="http")
    assert result.status in (404, 421)
    assert "location" not in result.head


def test_a_plain_listener_serves_acme_challenges(plain, get):
    result = get(plain, "http://a.test/.well-known/acme-challenge/token", listener="http")
    assert (result.status, result.body) == (200, b"token.thumbprint")


@pytest.mark.parametrize(
    "path",
    [
        "/.well-known/acme-challenge/missing",
        "/.well-known/acme-challenge/../../secret",
        "/.well-known/acme-challenge/%2e%2e/%2e%2e/secret",
        "/.well-known/acme-challenge/..%2f..%2fsecret",
        "/.well-known/acme-challenge/",
        "/.well-known/acme-challenge/link",
    ],
)
def test_a_plain_listener_serves_no_other_file(plain, get, path):
    result = get(plain, f"http://a.test{path}", "--path-as-is", listener="http")
    assert b"strangers" not in result.body
    assert result.status in (308, 400, 404)
