"""The server name decides which host answers, before anything of the handshake is computed."""

from __future__ import annotations

import ssl

import pytest
from harness.backends import ok
from harness.commands import openssl_client

ALERT_UNRECOGNIZED_NAME = 112


def names_of(sock: ssl.SSLSocket) -> set[str]:
    certificate = sock.getpeercert() or {}
    return {str(name) for kind, name in certificate["subjectAltName"] if kind == "DNS"}


@pytest.fixture
def two_hosts(start, site, answering):
    first, second = answering(lambda _: ok(b"first")), answering(lambda _: ok(b"second"))
    hosts = [
        site.host("a.test", backend="first"),
        site.host("b.test", "*.wild.test", backend="second"),
    ]
    backends = {"first": {"servers": [first.address]}, "second": {"servers": [second.address]}}
    return start(hosts=hosts, backends=backends)


def test_two_hosts_have_two_certificates_and_two_backends(two_hosts, get):
    for name, body in (("a.test", b"first"), ("b.test", b"second")):
        with two_hosts.connect(name) as client:
            assert name in names_of(client.sock)
        assert get(two_hosts, f"https://{name}/").body == body


def test_a_wildcard_covers_exactly_one_label(two_hosts, get):
    assert get(two_hosts, "https://any.wild.test/").body == b"second"
    for name in ("wild.test", "two.labels.wild.test"):
        with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
            two_hosts.connect(name)


def test_case_and_a_trailing_dot_do_not_matter(two_hosts, certificates):
    relaxed = certificates.client_context()
    relaxed.check_hostname = False
    for name in ("A.TEST", "a.test.", "ANY.Wild.Test"):
        with two_hosts.connect(name, context=relaxed) as client:
            client.request(host=name)
            assert client.receive_response().body == (b"first" if name.lower().startswith("a.test") else b"second")


def test_an_unknown_name_gets_the_alert_unrecognized_name(two_hosts):
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        two_hosts.connect("stranger.test")
    event = two_hosts.wait_for("tls.handshake", {"server.name": "stranger.test"})
    assert event["tls.established"] is False
    assert (event["error.type"], event["error.phase"]) == ("unrecognized_name", "select")
    assert event["tls.alert.sent"] == "unrecognized_name"
    assert "host" not in event


def test_openssl_names_the_alert_by_its_number(two_hosts):
    done = openssl_client(two_hosts.ports["https"], "-servername", "stranger.test")
    assert f"SSL alert number {ALERT_UNRECOGNIZED_NAME}" in done.stderr


def test_no_name_is_refused_like_an_unknown_one(two_hosts, certificates):
    context = certificates.client_context()
    context.check_hostname = False
    with pytest.raises(ssl.SSLError, match=r"(?i)unrecognized.name"):
        two_hosts.connect(None, context=context)
    event = two_hosts.wait_for("tls.handshake", {"tls.established": False})
    assert "server.name" not in event


def test_unknown_sni_may_name_the_host_that_answers(start, site, answering, certificates):
    backend = answering(ok(b"default host"))
    daemon = start(backend.address, tls={"unknown_sni": "a.test"})
    context = certificates.client_context()
    context.check_hostname = False
    for name in ("stranger.test", None):
        with daemon.connect(name, context=context) as client:
            assert "a.test" in names_of(client.sock)
            client.request(host="a.test")
            assert client.receive_response().body == b"default host"


def test_each_host_has_its_own_lowest_version(start, site, answering, certificates):
    hosts = [site.host("a.test"), site.host("modern.test", tls={"profile": "modern"})]
    daemon = start(answering(ok()).address, hosts=hosts)
    old = certificates.client_context()
    old.maximum_version = ssl.TLSVersion.TLSv1_2
    with daemon.connect("a.test", context=old) as client:
        assert client.sock.version() == "TLSv1.2"
    with pytest.raises(ssl.SSLError):
        daemon.connect("modern.test", context=old)
    event = daemon.wait_for("tls.handshake", {"host": "modern.test"})
    assert event["error.type"] == "unsupported_version"
