"""Back-pressure: a peer that does not read stops the one that sends, and costs buffers of a fixed size alone."""

from __future__ import annotations

import socket
import time

from harness.backends import ok
from harness.conversation import Conversation

HUGE = 1 << 30
KERNEL_BUFFERS = 64 << 20  # four socket buffers at their largest, with room to spare
ALLOWED_GROWTH_KIB = 16 * 1024


def send_until_stuck(conversation: Conversation) -> int:
    """Bytes that the other side took before it stopped reading for a second, or left."""
    conversation.sock.settimeout(1)
    piece, total = b"x" * 65536, 0
    try:
        while total < HUGE:
            total += conversation.sock.send(piece)
    except (TimeoutError, ConnectionResetError):
        pass
    return total


def test_a_client_that_does_not_read_stops_the_backend(start, played):
    backend = played()
    daemon = start(backend.address)
    before = daemon.resident_kib()
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
        assert send_until_stuck(behind) < KERNEL_BUFFERS
        assert daemon.resident_kib() - before < ALLOWED_GROWTH_KIB


def test_a_backend_that_does_not_read_stops_the_client(start, played):
    backend = played()
    daemon = start(backend.address)
    before = daemon.resident_kib()
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % HUGE)
        behind = backend.accept()
        behind.receive_head()
        assert send_until_stuck(client) < KERNEL_BUFFERS
        assert daemon.resident_kib() - before < ALLOWED_GROWTH_KIB


def test_a_slow_reader_does_not_slow_others(start, site, played, answering):
    slow, quick = played(), answering(ok(b"quick"))
    routes = [{"path": "/slow", "backend": "slow"}, {"path": "/quick", "backend": "quick"}]
    backends = {"slow": {"servers": [slow.address]}, "quick": {"servers": [quick.address]}}
    daemon = start(hosts=[site.host("a.test", routes=routes)], backends=backends)
    with daemon.connect() as reader, daemon.connect() as other:
        reader.request("/slow")
        behind = slow.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
        send_until_stuck(behind)
        for _ in range(20):
            other.request("/quick")
            assert other.receive_response().body == b"quick"


def test_a_client_that_reads_nothing_is_cut_after_body_idle(start, played):
    backend = played()
    daemon = start(backend.address, timeouts={"body_idle": "1s"})
    with daemon.connect() as client:
        client.request("/stalled")
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
        send_until_stuck(behind)
        event = daemon.wait_for("http.request", {"url.path": "/stalled"})
        assert event["error.type"] == "client_stalled"
        client.receive_head()
        client.receive_rest()  # what was on its way; then the end comes


def test_a_slow_reader_that_goes_on_reading_is_not_cut(start, played):
    """It takes several times body_idle, and never stands still that long."""
    backend = played()
    daemon = start(backend.address, timeouts={"body_idle": "1s"})
    plain = socket.socket()
    plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 32768)
    plain.connect(("127.0.0.1", daemon.ports["https"]))
    with Conversation(daemon.secure(plain, "a.test")) as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % HUGE)
        behind.sock.setblocking(False)
        client.receive_head()
        until, received = time.monotonic() + 4, 0
        while time.monotonic() < until:
            try:
                while True:
                    behind.sock.send(b"x" * 65536)
            except BlockingIOError:
                pass
            received += len(client.receive_exactly(20_000))
            time.sleep(0.05)  # the slowness itself
        assert received > 500_000
        assert not daemon.all("http.request")
