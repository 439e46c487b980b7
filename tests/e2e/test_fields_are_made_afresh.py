"""What reaches the backend about the client comes from terminator alone; hop-by-hop fields go no further."""

from __future__ import annotations

import pytest
from harness.backends import ok


@pytest.fixture
def seen(start, answering):
    """Sends one request with these fields; the head that the backend received and the one the client got."""
    backend = answering(
        ok(b"", Connection="X-Hop", X_Hop="secret", Keep_Alive="timeout=5", Proxy_Connection="x", Via="1.0 b")
    )
    daemon = start(backend.address)

    def send(raw: bytes):
        with daemon.connect() as client:
            client.send(b"GET /p HTTP/1.1\r\nHost: a.test\r\n" + raw + b"\r\n")
            response = client.receive_response()
        return backend.requests[-1].head, response.head

    send.daemon = daemon
    return send


def test_where_it_came_from_is_told(seen):
    head, _ = seen(b"")
    port = str(seen.daemon.ports["https"])
    assert head["host"] == "a.test"
    assert head["x-forwarded-for"] == "127.0.0.1"
    assert head["x-forwarded-proto"] == "https"
    assert head["x-forwarded-host"] == "a.test"
    assert head["x-forwarded-port"] == port
    assert head["x-real-ip"] == "127.0.0.1"
    assert "for=127.0.0.1" in head["forwarded"]
    assert "proto=https" in head["forwarded"]
    assert head["via"] == "1.1 terminator"


def test_a_clients_own_claims_are_dropped(seen):
    claims = [
        b"X-Forwarded-For: 6.6.6.6",
        b"X-Forwarded-Proto: http",
        b"X-Forwarded-Host: evil.test",
        b"X-Forwarded-Port: 1",
        b"X-Real-IP: 6.6.6.6",
        b"Forwarded: for=6.6.6.6",
        b"X-Forwarded-Prefix: /admin",
        b"Client-Cert: :MIIB:",
        b"X-Client-Cert-Subject: CN=admin",
    ]
    head, _ = seen(b"".join(claim + b"\r\n" for claim in claims))
    assert "6.6.6.6" not in str(head.fields)
    assert "evil.test" not in str(head.fields)
    assert "admin" not in str(head.fields)
    assert "client-cert" not in head


@pytest.mark.parametrize("name", [b"X_Forwarded_For", b"X_Real_IP", b"x-forwarded_for", b"X_CLIENT_CERT_SUBJECT"])
def test_claims_that_wsgi_would_confuse_with_ours_are_dropped(seen, name):
    """CGI and WSGI turn both `-` and `_` into `_`, so that the client's field could hide ours."""
    head, _ = seen(name + b": 6.6.6.6\r\n")
    assert "6.6.6.6" not in str(head.fields)


def test_hop_by_hop_fields_of_the_request_stop_here(seen):
    hops = [
        b"Connection: keep-alive, X-Mine",
        b"X-Mine: secret",
        b"Keep-Alive: timeout=5",
        b"Proxy-Connection: keep-alive",
        b"TE: trailers, deflate",
        b"Proxy-Authorization: Basic eDp5",
    ]
    head, _ = seen(b"".join(hop + b"\r\n" for hop in hops))
    assert "secret" not in str(head.fields)
    for name in ("keep-alive", "proxy-connection"):
        assert name not in head
    assert head.all("te") in ([], ["trailers"])


def test_hop_by_hop_fields_of_the_response_stop_here(seen):
    _, response = seen(b"")
    for name in ("connection", "x-hop", "keep-alive", "proxy-connection"):
        assert name not in response
    assert ", ".join(response.all("via")) == "1.0 b, 1.1 terminator"
    assert "date" in response


def test_end_to_end_fields_go_through_untouched(seen):
    head, _ = seen(
        b"Cookie: a=1\r\nCookie: b=2\r\nAccept: */*\r\nX-Twice: 1\r\nX-Twice: 2\r\nAuthorization: Bearer x\r\n"
    )
    assert head.all("x-twice") == ["1", "2"]
    assert "; ".join(head.all("cookie")) == "a=1; b=2"
    assert head["authorization"] == "Bearer x"


@pytest.mark.parametrize("name", ["X-Forwarded-For", "X-Real-IP", "Forwarded", "Via", "Host"])
def test_the_client_cannot_make_connection_strip_our_own_fields(start, answering, name):
    """Nominating a field that is meant for all (RFC 9110 §7.6.1) is refused, or changes nothing."""
    backend = answering(ok())
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request(Connection=f"{name}, keep-alive")
        status = client.receive_response().status
    assert status == 400 or (status == 200 and name in backend.requests[0].head)
    assert len(backend.requests) == (status == 200)


def test_an_ipv6_client_is_quoted_as_rfc_7239_asks(start, site, answering):
    backend = answering(ok())
    daemon = start(backend.address, listeners=[site.listener(address="[::1]")])
    with daemon.connect(host="::1") as client:
        client.request()
        client.receive_response()
    head = backend.requests[0].head
    assert head["x-forwarded-for"] == "::1"
    assert 'for="[::1]"' in head["forwarded"]
