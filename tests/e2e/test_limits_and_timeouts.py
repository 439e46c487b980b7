"""Each limit and timeout of the configuration has its answer, small, of our own, and silent about what is inside."""

from __future__ import annotations

import socket

import pytest
from harness.backends import ok


def assert_small_reply(response, status: int) -> None:
    assert response.status == status
    assert len(response.body) < 200
    assert "server" not in response.head
    for secret in (b"127.0.0.1", b"Traceback", b"terminator/", b"python", b"/x-path"):
        assert secret not in response.body


def test_413_when_the_length_says_too_much(start, answering):
    backend = answering(ok())
    daemon = start(backend.address, limits={"request_body": "1000B"})
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1001\r\n\r\n")
        assert_small_reply(client.receive_response(), 413)
        assert client.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request")["error.type"] == "body_too_large"
    assert not backend.requests


def test_413_reaches_a_client_that_sends_the_whole_of_its_large_body_first(start, answering):
    """As most libraries do; a reset would take the answer from it."""
    daemon = start(answering(ok()).address, limits={"request_body": "1000B"})
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 20000000\r\n\r\n")
        daemon.wait_for("http.request", {"error.type": "body_too_large"})
        for _ in range(20):
            client.send(bytes(1_000_000))
        assert_small_reply(client.receive_response(), 413)
        assert client.ending() == "clean"


def test_413_when_the_chunks_grow_too_much(start, answering):
    backend = answering(ok())
    daemon = start(backend.address, limits={"request_body": "1000B"})
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        client.send((b"64\r\n" + b"x" * 100 + b"\r\n") * 11)
        assert_small_reply(client.receive_response(), 413)
    assert not backend.requests  # it never saw the end of it


def test_a_body_of_exactly_the_limit_passes(start, answering):
    daemon = start(answering(lambda r: ok(str(len(r.body)).encode())).address, limits={"request_body": "1000B"})
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000\r\n\r\n" + b"x" * 1000)
        assert client.receive_response().body == b"1000"


@pytest.mark.parametrize(
    "fields",
    [b"X-Long: " + b"x" * 5000 + b"\r\n", b"".join(b"X-%d: 1\r\n" % number for number in range(60))],
    ids=["too long", "too many"],
)
def test_431_when_the_head_is_too_large(start, answering, fields):
    daemon = start(answering(ok()).address, limits={"request_head": "4KiB", "headers": 50})
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\n" + fields + b"\r\n")
        assert_small_reply(client.receive_response(), 431)
        assert client.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request")["error.type"] == "head_too_large"


@pytest.mark.parametrize("rest", [b"", b" HTTP/1.1\r\nHost: a.test\r\n\r\n"], ids=["endless", "whole"])
def test_414_when_the_request_line_alone_is_too_long(start, answering, rest):
    daemon = start(answering(ok()).address, limits={"request_head": "4KiB"})
    with daemon.connect() as client:
        client.send(b"GET /" + b"x" * 4096 + rest)
        assert_small_reply(client.receive_response(), 414)
        assert client.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request")["error.type"] == "uri_too_long"


def test_431_comes_before_an_endless_head_ends(start, answering):
    daemon = start(answering(ok()).address, limits={"request_head": "4KiB"})
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Long: " + b"x" * 8000)
        assert_small_reply(client.receive_response(), 431)


def test_408_when_the_head_does_not_end(start, answering):
    daemon = start(answering(ok()).address, timeouts={"request_head": "500ms"})
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.te")
        assert_small_reply(client.receive_response(), 408)
        assert client.ending() == "clean"
    assert daemon.wait_for("http.request")["error.type"] == "request_head_timeout"


def test_408_when_the_body_stands_still(start, answering):
    daemon = start(answering(ok()).address, timeouts={"body_idle": "500ms"})
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 10\r\n\r\nabc")
        assert_small_reply(client.receive_response(), 408)
    assert daemon.wait_for("http.request")["error.type"] == "request_body_timeout"


def test_a_new_connection_that_says_nothing_is_closed_without_a_word(start, answering):
    daemon = start(answering(ok()).address, timeouts={"client_idle": "500ms", "request_head": "500ms"})
    with daemon.connect() as client:
        assert client.ending() == "clean"


def test_502_when_nobody_listens(start, port, get):
    daemon = start(f"127.0.0.1:{port()}", backend={"retries": {"attempts": 0}})
    with daemon.connect() as client:
        client.request("/x-path")
        assert_small_reply(client.receive_response(), 502)
        client.request("/x-path")
        assert client.receive_response().status in (502, 503)
    assert daemon.wait_for("http.request")["error.type"] == "backend_connect_failed"


def test_no_retry_is_told_where_there_was_no_other_server_to_try(start, port):
    daemon = start(f"127.0.0.1:{port()}")
    with daemon.connect() as client:
        client.request("/")
        assert_small_reply(client.receive_response(), 502)
    event = daemon.wait_for("http.request")
    assert event["error.type"] == "backend_connect_failed"
    assert "backend.retries" not in event


@pytest.mark.parametrize(
    "garbage",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 4\r\n\r\nabc",
        b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\nabc",
        b"HTTP/1.1 999999 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    ],
    ids=["ssh", "two lengths", "length and chunked", "status", "field"],
)
def test_502_when_the_backend_speaks_no_http(start, answering, garbage):
    daemon = start(answering(garbage).address, backend={"passive_check": {"fail_count": 0}})
    with daemon.connect() as client:
        client.request("/x-path")
        assert_small_reply(client.receive_response(), 502)
        client.request("/x-path")
        assert client.receive_response().status == 502
    assert daemon.wait_for("http.request")["error.type"] == "backend_invalid_response"


def test_502_when_the_backend_closes_without_an_answer(start, answering):
    daemon = start(answering(b"").address, backend={"passive_check": {"fail_count": 0}})
    with daemon.connect() as client:
        client.send(b"POST /x-path HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\n\r\nx")
        assert_small_reply(client.receive_response(), 502)
    assert daemon.wait_for("http.request")["error.type"] == "backend_closed"


def test_504_when_the_backend_does_not_answer(start, played):
    backend = played()
    daemon = start(backend.address, timeouts={"backend_response": "500ms"}, backend={"retries": {"attempts": 0}})
    with daemon.connect() as client:
        client.request("/x-path")
        behind = backend.accept()
        behind.receive_request()
        assert_small_reply(client.receive_response(), 504)
        assert behind.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request")["error.type"] == "backend_timeout"


def test_504_when_the_backend_does_not_accept(start):
    """A listening queue that is full drops the SYN, as a host that is down does."""
    with socket.socket() as listener, socket.socket() as first, socket.socket() as second:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        for filler in (first, second):
            filler.setblocking(False)
            filler.connect_ex(listener.getsockname())
        address = "{}:{}".format(*listener.getsockname())
        daemon = start(address, timeouts={"backend_connect": "500ms"}, backend={"retries": {"attempts": 0}})
        with daemon.connect() as client:
            client.request("/x-path")
            assert_small_reply(client.receive_response(), 504)
        assert daemon.wait_for("http.request")["error.type"] == "backend_connect_timeout"


def test_503_when_the_queue_for_a_busy_server_is_full(start, played):
    backend = played()
    servers = [{"address": backend.address, "max_connections": 1}]
    queue = {"length": 1, "timeout": "500ms"}
    daemon = start(backends={"b": {"servers": servers, "queue": queue}})
    with daemon.connect() as busy, daemon.connect() as waiting:
        busy.request("/busy")
        behind = backend.accept()
        behind.receive_request()
        waiting.request("/waiting")
        response = waiting.receive_response()
        assert_small_reply(response, 503)
        assert "retry-after" in response.head
        assert daemon.wait_for("http.request", {"url.path": "/waiting"})["error.type"] == "backend_queue_timeout"
        behind.send(ok(b"done"))
        assert busy.receive_response().body == b"done"


def test_a_request_in_the_queue_gets_its_turn(start, played):
    backend = played()
    daemon = start(backends={"b": {"servers": [{"address": backend.address, "max_connections": 1}]}})
    with daemon.connect() as busy, daemon.connect() as waiting:
        busy.request("/busy")
        behind = backend.accept()
        behind.receive_request()
        waiting.request("/waiting")
        assert not backend.has_waiting()
        behind.send(ok(b"done"))
        assert busy.receive_response().body == b"done"
        assert behind.receive_request().head.target == "/waiting"
        behind.send(ok(b"turn"))
        assert waiting.receive_response().body == b"turn"
    assert "timing.queue_ms" in daemon.wait_for("http.request", {"url.path": "/waiting"})


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nHost: a.test\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a.test\r\nBad Name: x\r\n\r\n", 400),
        (b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
        (b"GET / HTTP/2.0\r\nHost: a.test\r\n\r\n", 505),
        (b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n", 501),
        (b"TRACE / HTTP/1.1\r\nHost: a.test\r\n\r\n", 501),
    ],
)
def test_what_breaks_http_never_reaches_the_backend(start, answering, request_bytes, status):
    backend = answering(ok())
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(request_bytes)
        response = client.receive_response()
        assert_small_reply(response, status)
        if status == 400:
            assert response.head["connection"] == "close"
            assert client.ending() in ("clean", "reset")
    assert not backend.requests
