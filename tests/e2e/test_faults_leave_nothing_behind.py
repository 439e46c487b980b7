"""Each way a client or a backend can fail: what the client gets, what the log says, and that nothing is left behind.

Left behind would be a descriptor of the worker (every socket and pipe is one) or a task: with each connection counted,
`terminator status` knows of both.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from typing import NamedTuple

import pytest
from harness.backends import PlayedBackend, ok
from harness.commands import terminator
from harness.conversation import Conversation, Truncated
from harness.daemon import Daemon, eventually

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n"
UPLOAD = b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 100000\r\n\r\n"


def descriptors(daemon: Daemon) -> int:
    [worker] = daemon.workers()
    return len(os.listdir(f"/proc/{worker}/fd"))


def open_connections(daemon: Daemon) -> int:
    """As the kernel counts them (IPv4): sockets of the worker that are connected to a client."""
    [worker] = daemon.workers()
    port = f":{daemon.ports['https']:04X} "
    inodes = set()
    for name in os.listdir(f"/proc/{worker}/fd"):
        try:
            inodes.add(os.readlink(f"/proc/{worker}/fd/{name}"))
        except FileNotFoundError:
            continue
    with open(f"/proc/{worker}/net/tcp") as table:
        rows = [line.split() for line in table if port in line[:24]]
    return sum(row[3] != "0A" and f"socket:[{row[9]}]" in inodes for row in rows)


# ------------------------------------------------------------------------------------------------- the backend fails


def refuses(backend: PlayedBackend) -> None:
    """Its listener is closed before the request comes."""


def resets_before_its_head(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.reset()


def closes_before_its_head(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.close()


def closes_amid_its_head(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(HEAD[:20])
    behind.close()


def resets_amid_its_head(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(HEAD[:20])
    eventually(lambda: not behind.unread())  # a reset overtakes bytes that are not read yet
    behind.reset()


def hangs(backend: PlayedBackend) -> None:
    backend.accept().receive_head()


def hangs_amid_its_head(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(HEAD[:20])


def sends_garbage(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(b"\x16\x03\x01\x00\xff\r\n\r\n")


def closes_amid_its_body(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(HEAD + b"x" * 100)
    behind.close()


def resets_amid_its_body(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(HEAD + b"x" * 100)
    eventually(lambda: not behind.unread())  # as above
    behind.reset()


def hangs_amid_its_body(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(HEAD + b"x" * 100)


def closes_amid_a_chunk(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n100\r\nabc")
    behind.close()


def closes_between_chunks(backend: PlayedBackend) -> None:
    behind = backend.accept()
    behind.receive_head()
    behind.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
    behind.close()


class BackendFault(NamedTuple):
    play: Callable[[PlayedBackend], None]
    status: int | None
    """The reply; None when a response had begun, whose truncation the client must see."""
    reason: str


BACKEND_FAULTS = [
    BackendFault(refuses, 502, "backend_connect_failed"),
    BackendFault(resets_before_its_head, 502, "backend_closed"),
    BackendFault(closes_before_its_head, 502, "backend_closed"),
    BackendFault(closes_amid_its_head, 502, "backend_truncated"),
    BackendFault(resets_amid_its_head, 502, "backend_truncated"),
    BackendFault(hangs, 504, "backend_timeout"),
    BackendFault(hangs_amid_its_head, 504, "backend_timeout"),
    BackendFault(sends_garbage, 502, "backend_invalid_response"),
    BackendFault(closes_amid_its_body, None, "backend_truncated"),
    BackendFault(resets_amid_its_body, None, "backend_truncated"),
    BackendFault(hangs_amid_its_body, None, "backend_timeout"),
    BackendFault(closes_amid_a_chunk, None, "backend_truncated"),
    BackendFault(closes_between_chunks, None, "backend_truncated"),
]
PATIENCE = {"backend_response": "400ms", "body_idle": "400ms", "request_head": "400ms", "handshake": "400ms"}


def assert_nothing_left(daemon: Daemon, before: int) -> None:
    eventually(lambda: open_connections(daemon) == 0)
    eventually(lambda: descriptors(daemon) <= before)


def test_backend_faults(start, played):
    """All stages on one daemon, after a first request that warms it up; each then once more with a body under way."""
    backend = played()
    daemon = start(
        backend.address,
        timeouts=PATIENCE,
        backend={"retries": {"attempts": 0}, "passive_check": {"fail_count": 0}, "keepalive": {"idle_connections": 0}},
    )
    with daemon.connect() as client:
        client.request()
        warm = backend.accept()
        warm.receive_request()
        warm.send(ok())
        assert client.receive_response().status == 200
    eventually(lambda: open_connections(daemon) == 0)
    before = descriptors(daemon)
    for number, fault in enumerate(BACKEND_FAULTS[1:]):
        with daemon.connect() as client:
            client.request(f"/{number}")
            fault.play(backend)
            if fault.status is not None:
                assert client.receive_response().status == fault.status, fault.play.__name__
            else:
                assert client.receive_head().status == 200
                with pytest.raises(Truncated):  # noqa: PT012
                    while client.receive():
                        continue
        event = daemon.wait_for("http.request", {"url.path": f"/{number}"})
        assert event["error.type"] == fault.reason, fault.play.__name__
        assert_nothing_left(daemon, before)
    backend.close()
    with daemon.connect() as client:
        client.request("/refused")
        assert client.receive_response().status == 502
    assert daemon.wait_for("http.request", {"url.path": "/refused"})["error.type"] == "backend_connect_failed"
    assert_nothing_left(daemon, before)
    shown = terminator("status", "--format", "json", "--socket", daemon.config["admin"]["socket"])
    assert shown.returncode == 0, shown.stderr
    assert json.loads(shown.stdout)


def test_a_backend_that_fails_amid_an_upload(start, played):
    backend = played()
    daemon = start(
        backend.address,
        timeouts=PATIENCE,
        backend={"retries": {"attempts": 0}, "passive_check": {"fail_count": 0}, "keepalive": {"idle_connections": 0}},
    )
    before = None
    for play, status in ((Conversation.reset, 502), (Conversation.close, 502), (None, 504)):
        with daemon.connect() as client:
            client.send(UPLOAD + b"x" * 1000)
            behind = backend.accept()
            behind.receive_head()
            behind.receive_exactly(1000)
            if play is not None:
                play(behind)
                assert client.receive_response().status == status
            else:  # it reads no more and says nothing: then the client's body is what stands still
                assert client.receive_response().status == 408
        eventually(lambda: open_connections(daemon) == 0)
        before = before or descriptors(daemon)
        assert descriptors(daemon) <= before


def test_a_backend_that_answers_before_the_request_is_complete(start, played):
    backend = played()
    daemon = start(backend.address, timeouts=PATIENCE)
    with daemon.connect() as client:
        client.send(UPLOAD + b"x" * 10)
        behind = backend.accept()
        behind.receive_head()
        behind.receive_exactly(10)
        behind.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        response = client.receive_response()
        assert (response.status, response.body) == (403, b"no")
        assert response.head["connection"] == "close"
        assert behind.ending() in ("clean", "reset")  # half a request went there: it is not used again
    assert "error.type" not in daemon.wait_for("http.request")
    eventually(lambda: open_connections(daemon) == 0)


# --------------------------------------------------------------------------------------------------- the client fails


def test_client_resets_at_each_stage(start, played):
    backend = played()
    daemon = start(backend.address, timeouts=PATIENCE, backend={"keepalive": {"idle_connections": 0}})
    with daemon.connect() as client:
        client.request()
        warm = backend.accept()
        warm.receive_request()
        warm.send(ok())
        client.receive_response()
    eventually(lambda: open_connections(daemon) == 0)
    before = descriptors(daemon)

    daemon.connect_plain().reset()  # before its first byte
    assert_nothing_left(daemon, before)

    client = daemon.connect_plain()
    client.send(b"\x16\x03\x01\x02\x00\x01\x00")  # amid its ClientHello
    client.reset()
    assert_nothing_left(daemon, before)

    client = daemon.connect()
    client.reset()  # between handshake and request: a routine goodbye
    assert_nothing_left(daemon, before)

    client = daemon.connect()
    client.send(b"GET /head HTTP/1.1\r\nHost: a.")
    client.reset()
    assert daemon.wait_for("http.request", {"error.type": "client_gone"})
    assert_nothing_left(daemon, before)

    client = daemon.connect()
    client.send(UPLOAD.replace(b"/ ", b"/body ", 1) + b"x" * 100)
    behind = backend.accept()
    behind.receive_head()
    behind.receive_exactly(100)
    client.reset()
    assert behind.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request", {"url.path": "/body"})["error.type"] == "client_gone"
    assert_nothing_left(daemon, before)

    client = daemon.connect()
    client.request("/waiting")
    behind = backend.accept()
    behind.receive_head()
    client.reset()
    assert behind.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request", {"url.path": "/waiting"})["error.type"] == "client_gone"
    assert_nothing_left(daemon, before)

    client = daemon.connect()
    client.request("/reading")
    behind = backend.accept()
    behind.receive_head()
    behind.send(HEAD + b"x" * 100)
    client.receive_head()
    client.reset()
    assert behind.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request", {"url.path": "/reading"})["error.type"] == "client_gone"
    assert_nothing_left(daemon, before)


def test_a_closed_connection_is_no_fault_of_the_next_request(start, played):
    """The backend closes exactly when its kept connection is used again (RFC 9112 §9.3.1)."""
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request("/first")
        behind = backend.accept()
        behind.receive_request()
        behind.send(ok())
        assert client.receive_response().status == 200
        client.request("/second")
        behind.receive_request()
        behind.close()  # it took the request and went: nothing of a response
        again = backend.accept()
        assert again.receive_request().head.target == "/second"
        again.send(ok(b"again"))
        assert client.receive_response().body == b"again"
    assert daemon.wait_for("http.request", {"url.path": "/second"})["backend.retries"] == 1


def test_the_log_counts_what_was_really_sent(start, played):
    """A bulk response that is cut is not recorded as if it had been sent whole."""
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request("/cut")
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: 50000000\r\n\r\n" + b"x" * 3_000_000)
        behind.close()
        client.receive_rest()
    event = daemon.wait_for("http.request", {"url.path": "/cut"})
    assert event["error.type"] == "backend_truncated"
    assert event["http.response.body.size"] == 3_000_000
