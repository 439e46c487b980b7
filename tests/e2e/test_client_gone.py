"""A client that goes away cancels its request at the backend at once, whatever was going on."""

from __future__ import annotations

import time

import pytest
from harness.backends import ok

LEAVES = ["close", "reset"]


def assert_cancelled(behind) -> None:
    """The backend's connection ends within a moment, though its timeouts are a minute and it never answered."""
    began = time.monotonic()
    assert behind.ending() in ("clean", "reset")
    assert time.monotonic() - began < 5


@pytest.mark.parametrize("leave", LEAVES)
def test_while_the_backend_thinks(start, played, leave):
    backend = played()
    daemon = start(backend.address)
    client = daemon.connect()
    client.request("/slow")
    behind = backend.accept()
    behind.receive_request()
    getattr(client, leave)()
    assert_cancelled(behind)
    event = daemon.wait_for("http.request", {"url.path": "/slow"})
    assert event["error.type"] == "client_gone"
    assert "http.response.status_code" not in event


@pytest.mark.parametrize("leave", LEAVES)
def test_amid_the_response(start, played, leave):
    backend = played()
    daemon = start(backend.address)
    client = daemon.connect()
    client.request("/endless")
    behind = backend.accept()
    behind.receive_request()
    behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n" + b"x" * 1000)
    client.receive_head()
    client.receive_exactly(1000)
    getattr(client, leave)()
    assert_cancelled(behind)
    event = daemon.wait_for("http.request", {"url.path": "/endless"})
    assert event["error.type"] == "client_gone"
    assert event["http.response.body.size"] == 1000


@pytest.mark.parametrize("leave", LEAVES)
def test_amid_its_upload(start, played, leave):
    backend = played()
    daemon = start(backend.address)
    client = daemon.connect()
    client.send(b"POST /upload HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
    behind = backend.accept()
    behind.receive_head()
    behind.receive_exactly(1000)
    getattr(client, leave)()
    assert_cancelled(behind)
    event = daemon.wait_for("http.request", {"url.path": "/upload"})
    assert event["error.type"] == "client_gone"
    assert event["http.request.body.size"] == 1000


def test_a_chunked_upload_without_its_end_is_not_completed(start, played):
    backend = played()
    daemon = start(backend.address)
    client = daemon.connect()
    client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    behind = backend.accept()
    behind.receive_head()
    assert behind.receive_until(b"abc\r\n")
    client.close()
    assert_cancelled(behind)
    assert b"0\r\n\r\n" not in behind.received


def test_between_requests_is_no_error(start, answering):
    daemon = start(answering(ok()).address)
    with daemon.connect() as client:
        client.request()
        client.receive_response()
    daemon.wait_for("http.request", {"error.type": None})
    assert not daemon.all("http.request", {"error.type": "client_gone"})
