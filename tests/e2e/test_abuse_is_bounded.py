"""Abuse is ended by its own timeout or limit, named in the log, and costs bounded memory and CPU while it lasts.

bench/abuse.py does all of it at once, for minutes, with a well-behaved client beside it.
"""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import ssl
import subprocess
import threading
import time

import pytest
from harness.backends import ok
from harness.conversation import Conversation
from harness.daemon import eventually


def drip(client: Conversation, data: bytes, pause: float) -> None:
    """Sends byte by byte until the other side has had enough."""
    with contextlib.suppress(OSError):
        for byte in data:
            client.send(bytes([byte]))
            time.sleep(pause)  # the slowness itself


def test_a_slow_head_has_one_deadline_however_it_drips(start, answering):
    daemon = start(answering(ok()).address, timeouts={"request_head": "600ms"})
    with daemon.connect() as client:
        began = time.monotonic()
        drip(client, b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Slow: " + b"x" * 60, 0.03)
        assert b" 408 " in client.receive_rest()
        assert time.monotonic() - began < 5
    assert daemon.wait_for("http.request")["error.type"] == "request_head_timeout"


def test_a_slow_handshake_has_one_deadline_however_it_drips(start, answering):
    daemon = start(answering(ok()).address, timeouts={"handshake": "600ms"})
    with daemon.connect_plain() as client:
        threading.Thread(
            target=drip, args=(client, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"x" * 400, 0.03)
        ).start()
        client.receive_rest()
    event = daemon.wait_for("tls.handshake", {"tls.established": False})
    assert event["error.phase"] == "hello"
    assert event["timing.handshake_ms"] < 3000


def test_half_open_handshakes_leave_nothing(start, answering):
    """A hundred clients: silent ones, and ones that stop amid their hello."""
    daemon = start(answering(ok()).address, timeouts={"handshake": "1s"})
    [worker] = daemon.workers()
    before = len(os.listdir(f"/proc/{worker}/fd"))
    clients = [daemon.connect_plain() for _ in range(100)]
    for client in clients[::2]:
        client.send(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03")
    with daemon.connect() as good:  # beside them, others are served
        good.request()
        assert good.receive_response().status == 200
    daemon.wait_for("tls.handshake", {"tls.established": False, "error.phase": "hello"})
    eventually(lambda: len(os.listdir(f"/proc/{worker}/fd")) <= before + 1)  # one kept connection to the backend
    for client in clients:
        client.close()


def test_renegotiation_is_refused(start, answering):
    """TLS 1.2 lets a client ask for one handshake after another (CVE-2011-1473). `R` makes openssl ask."""
    daemon = start(answering(ok()).address)
    command = [
        "openssl",
        "s_client",
        "-connect",
        f"127.0.0.1:{daemon.ports['https']}",
        "-servername",
        "a.test",
        "-tls1_2",
    ]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        daemon.wait_for("tls.handshake", {"tls.established": True})
        client.stdin.write(b"R\n")
        client.stdin.flush()
        said = client.stdout.read()
        client.stdin.close()
    assert b"RENEGOTIATING" in said
    assert b"no renegotiation" in said
    assert len(daemon.all("tls.handshake")) == 1


def test_very_many_tiny_chunks_cost_bounded_cpu(start, answering):
    """A hundred thousand chunks of one byte: some 15 µs each in h11, and others are served meanwhile."""
    count = 100_000
    backend = answering(lambda request: ok(str(len(request.body)).encode()))
    daemon = start(backend.address)
    began = daemon.cpu_seconds()
    with daemon.connect() as client, daemon.connect() as good:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\n\r\n")
        sender = threading.Thread(target=client.send, args=(b"1\r\nx\r\n" * count + b"0\r\n\r\n",))
        sender.start()
        slowest = 0.0
        while sender.is_alive():
            asked = time.monotonic()
            good.request()
            assert good.receive_response().status == 200
            slowest = max(slowest, time.monotonic() - asked)
        assert client.receive_response().body == str(count).encode()
        sender.join()
    assert daemon.cpu_seconds() - began < 20
    assert slowest < 5


@pytest.mark.parametrize("reads", [False, True], ids=["unread", "read late"])
def test_thousands_of_pipelined_requests(start, answering, reads):
    """Requests wait in the kernel, not in our memory, while their responses are not read."""
    daemon = start(answering(ok(b"x" * 4000)).address, timeouts={"body_idle": "2s"})
    with daemon.connect() as warm:
        warm.request()
        warm.receive_response()
    before = daemon.resident_kib()
    request = b"GET / HTTP/1.1\r\nHost: a.test\r\nX-Padding: " + b"x" * 900 + b"\r\n\r\n"
    with daemon.connect() as client:
        client.sock.settimeout(1)
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 20_000:
                client.sock.sendall(request)
                sent += 1
        assert daemon.resident_kib() - before < 16 * 1024
        if reads:
            client.sock.settimeout(15)
            for _ in range(min(sent, 500)):
                assert client.receive_response().status == 200
        else:
            daemon.wait_for("http.request", {"error.type": "client_stalled"})
    eventually(lambda: daemon.resident_kib() - before < 16 * 1024)


def test_head_bombs(start, answering):
    """Heads of the largest size, with as many fields as fit, from many connections at once."""
    daemon = start(answering(ok()).address)
    before = daemon.resident_kib()
    bomb = b"GET / HTTP/1.1\r\nHost: a.test\r\n" + b"a:\r\n" * 8000
    clients = [daemon.connect() for _ in range(30)]
    for client in clients:
        client.send(bomb)
    with daemon.connect() as client:
        client.send(bomb[:32000] + b"\r\n\r\n")  # complete, and 8000 fields: refused by their number
        assert client.receive_response().status == 431
    assert daemon.resident_kib() - before < 16 * 1024
    for client in clients:
        client.close()


def test_a_client_that_never_reads_interim_responses(start, answering):
    flood = b"HTTP/1.1 102 Processing\r\nX-Padding: " + b"x" * 8000 + b"\r\n\r\n"
    daemon = start(answering(flood * 90 + ok()).address, timeouts={"body_idle": "1s"})
    before = daemon.resident_kib()
    with daemon.connect() as client:
        for _ in range(200):
            client.request()
        daemon.wait_for("http.request", {"error.type": "client_stalled"})
        assert daemon.resident_kib() - before < 16 * 1024


def test_connections_per_ip(start, answering):
    daemon = start(answering(ok()).address, limits={"connections_per_ip": 3})
    held = [daemon.connect() for _ in range(3)]
    with pytest.raises((OSError, ssl.SSLError)):
        daemon.connect()
    held.pop().close()

    def let_in() -> bool:
        try:
            held.append(daemon.connect())
        except (OSError, ssl.SSLError):
            return False
        return True

    eventually(let_in)
    for client in held:
        client.request()
        assert client.receive_response().status == 200
        client.close()


def test_connections_per_ip_behind_a_trusted_proxy(start, site, answering):
    """The address that counts is the client's: that of the proxy stands for many."""
    listener = site.listener(proxy_protocol={"trusted": ["127.0.0.0/8"]})
    daemon = start(answering(ok()).address, listeners=[listener], limits={"connections_per_ip": 1})

    def connect(address: str) -> Conversation:
        plain = socket.create_connection(("127.0.0.1", daemon.ports["https"]), 10)
        plain.sendall(f"PROXY TCP4 {address} 198.51.100.1 40000 443\r\n".encode())
        return Conversation(daemon.secure(plain, "a.test"))

    held = [connect(f"192.0.2.{number}") for number in range(1, 4)]
    with pytest.raises((OSError, ssl.SSLError)):
        connect("192.0.2.1")
    for client in held:
        client.request()
        assert client.receive_response().status == 200
        client.close()


def test_handshakes_per_ip(start, answering):
    daemon = start(answering(ok()).address, limits={"handshakes_per_ip": 2})
    refusals = 0
    for _ in range(10):
        try:
            daemon.connect().close()
        except (OSError, ssl.SSLError):
            refusals += 1
    assert refusals >= 2
    event = daemon.wait_for("tls.handshake", {"error.type": "too_many_handshakes"})
    assert not event["tls.established"]
    eventually(lambda: _serves(daemon))  # the next second counts anew


def test_accepting_backs_off_without_descriptors_and_recovers(start, answering):
    daemon = start(answering(ok()).address, timeouts={"handshake": "60s"})
    [worker] = daemon.workers()
    used = len(os.listdir(f"/proc/{worker}/fd"))
    limits = resource.prlimit(worker, resource.RLIMIT_NOFILE)
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (used + 20, limits[1]))
    try:
        held = [daemon.connect_plain() for _ in range(60)]
        event = daemon.wait_for("server.saturated")
        assert event["server.reason"] == "file_descriptors"
        began = daemon.cpu_seconds()
        time.sleep(1)  # what it costs to be full: no spinning
        assert daemon.cpu_seconds() - began < 0.5
        for client in held:
            client.close()
        eventually(lambda: _serves(daemon))
    finally:
        resource.prlimit(worker, resource.RLIMIT_NOFILE, limits)


def test_idle_connections_cost_little_memory(start, answering):
    """bench/abuse.py --idle 10000 measures the full number; see docs/security.md."""
    count = 300
    daemon = start(answering(ok()).address)
    with daemon.connect() as client:
        client.request()
        client.receive_response()
    before = daemon.resident_kib()
    held = []
    for _ in range(count):
        held.append(daemon.connect())
        held[-1].request()
        held[-1].receive_response()
    per_connection = (daemon.resident_kib() - before) / count
    for client in held:
        client.close()
    assert per_connection < 100, f"{per_connection:.0f} KiB each"


def _serves(daemon) -> bool:
    try:
        with daemon.connect() as client:
            client.request()
            return bool(client.receive_response().status == 200)
    except (TimeoutError, OSError, ssl.SSLError, AssertionError):
        return False
