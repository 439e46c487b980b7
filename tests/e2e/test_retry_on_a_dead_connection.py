"""A kept backend connection that turns out to be dead costs a client nothing, and no request is ever done twice
that may not be (RFC 9110 §9.2.2)."""

from __future__ import annotations

import pytest
from harness.backends import ok


@pytest.fixture
def reused(start, played):
    """A client and a backend connection that has served one request and is kept by the daemon."""
    backend = played()
    daemon = start(backend.address)
    client = daemon.connect()
    client.request("/first")
    behind = backend.accept()
    behind.receive_request()
    behind.send(ok(b"first"))
    client.receive_response()
    yield daemon, backend, client, behind
    client.close()


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_get_is_repeated_on_a_fresh_connection(reused, leave):
    daemon, backend, client, behind = reused
    client.request("/second")
    assert behind.receive_request().head.target == "/second"
    getattr(behind, leave)()  # exactly at reuse: read, and gone without a byte of response
    fresh = backend.accept()
    assert fresh.receive_request().head.target == "/second"
    fresh.send(ok(b"second"))
    assert client.receive_response().body == b"second"
    event = daemon.wait_for("http.request", {"url.path": "/second"})
    assert (event["http.response.status_code"], event["backend.retries"]) == (200, 1)
    assert "error.type" not in event


def test_a_post_is_not(reused):
    daemon, backend, client, behind = reused
    client.send(b"POST /order HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none")
    assert behind.receive_request().body == b"one"
    behind.close()
    assert client.receive_response().status == 502
    assert not backend.has_waiting()
    assert daemon.wait_for("http.request", {"url.path": "/order"})["error.type"] == "backend_closed"


def test_a_put_whose_body_is_spent_is_not(reused):
    """PUT may be repeated, but its body went to the dead connection and is not kept."""
    _, backend, client, behind = reused
    client.send(b"PUT /file HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none")
    assert behind.receive_request().body == b"one"
    behind.close()
    assert client.receive_response().status == 502
    assert not backend.has_waiting()


def test_a_response_begun_is_not(reused):
    _, backend, client, behind = reused
    client.request("/begun")
    behind.receive_request()
    behind.send(b"HTTP/1.1 200 OK\r\nConte")
    behind.close()
    assert client.receive_response().status == 502
    assert not backend.has_waiting()


def test_a_connection_closed_while_idle_is_not_used_at_all(reused):
    """Even a POST goes through: the daemon has seen the end of the kept connection before it sends anything."""
    daemon, backend, client, behind = reused
    behind.close()
    client.send(b"POST /order HTTP/1.1\r\nHost: a.test\r\nContent-Length: 3\r\n\r\none")
    fresh = backend.accept()
    assert fresh.receive_request().body == b"one"
    fresh.send(ok(b"done"))
    assert client.receive_response().body == b"done"
    assert daemon.wait_for("http.request", {"url.path": "/order"})["backend.reused"] is False


def test_bytes_that_nobody_asked_for_spoil_a_kept_connection(reused):
    """They could become the answer to somebody else's request."""
    _, backend, client, behind = reused
    behind.send(ok(b"poison"))
    client.request("/next")
    fresh = backend.accept()
    assert fresh.receive_request().head.target == "/next"
    fresh.send(ok(b"clean"))
    assert client.receive_response().body == b"clean"


def test_a_server_that_always_dies_is_not_asked_forever(start, answering):
    backend = answering(b"")
    daemon = start(backend.address, backend={"passive_check": {"fail_count": 0}})
    with daemon.connect() as client:
        client.request("/dead")
        assert client.receive_response().status == 502
    assert 1 <= len(backend.requests) <= 3
