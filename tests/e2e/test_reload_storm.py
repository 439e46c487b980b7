"""Reload upon reload under every kind of traffic: no error anywhere, and nothing left behind.

The suite runs a short form; TERMINATOR_STORM=200 (reloads) with TERMINATOR_STORM_MIB=500 (the upload) is the long one.
"""

from __future__ import annotations

import contextlib
import os
import socket
import socketserver
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator

import pytest
import yaml
from harness.backends import WebSocketEcho
from harness.conversation import Conversation
from harness.daemon import Daemon, eventually
from harness.websocket import WebSocket

from terminator.service.admin_client import ask

RELOADS = int(os.environ.get("TERMINATOR_STORM", "30"))
UPLOAD_MIB = int(os.environ.get("TERMINATOR_STORM_MIB", "50"))
KEPT, FRESH, WEBSOCKETS = 32, 8, 4
PAUSE_SECONDS = 0.1
"""Between two requests of a client: a load that two cores carry, clients and backends included."""
MIB = 1 << 20


class Swallowing(socketserver.StreamRequestHandler):
    """Answers each request with the number of bytes its body had."""

    def handle(self) -> None:
        with contextlib.suppress(ConnectionError):
            while self.rfile.readline():
                length = 0
                while (line := self.rfile.readline()) not in (b"\r\n", b""):
                    name, _, value = line.partition(b":")
                    if name.lower() == b"content-length":
                        length = int(value)
                rest = length
                while rest:
                    rest -= len(self.rfile.read(min(rest, 65536)))
                body = b"%d" % length
                self.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body))


class Backend(socketserver.ThreadingTCPServer):
    allow_reuse_address = daemon_threads = True
    request_queue_size = 128


@pytest.fixture
def swallowing() -> Iterator[str]:
    with Backend(("127.0.0.1", 0), Swallowing) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
        thread.start()
        yield f"127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


class Storm:
    """Clients in threads until `over`; what went wrong and what was done."""

    def __init__(self) -> None:
        self.over = threading.Event()
        self.errors: list[str] = []
        self.done: Counter[str] = Counter()
        self.progress = 0.0
        self._threads: list[threading.Thread] = []

    def client(self, kind: str, play: Callable[[], None]) -> None:
        def run() -> None:
            try:
                play()
            except Exception as error:
                self.errors.append(f"{kind}: {type(error).__name__}: {error}")

        self._threads.append(threading.Thread(target=run, daemon=True))
        self._threads[-1].start()

    def join(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(60)
            assert not thread.is_alive()


def exchange(client: Conversation) -> None:
    client.request()
    response = client.receive_response()
    assert (response.status, response.body) == (200, b"0"), response
    client.received.clear()


def descriptors(daemon: Daemon) -> int:
    return sum(len(os.listdir(f"/proc/{pid}/fd")) for pid in daemon.processes())


@pytest.mark.slow
@pytest.mark.timeout(60 + 6 * RELOADS)
def test_reloads_under_load_hurt_nobody(start, site, swallowing, certificates, folder, cleanup) -> None:
    pair = certificates.issue(folder / "pair", "a.test")
    echo = WebSocketEcho()
    cleanup.callback(echo.close)
    host = site.host("a.test", certificates=[pair.as_config()])
    host["routes"] = [{"path": "/ws", "backend": "ws"}, {"path": "/", "backend": "b"}]
    kept_idle = {"idle_connections": 16}
    backends = {"b": {"servers": [swallowing], "keepalive": kept_idle}, "ws": {"servers": [echo.address]}}
    timeouts = {"drain": "5s", "client_idle": "60s"}
    daemon = start(hosts=[host], workers=2, backends=backends, timeouts=timeouts, log={"requests": "off"})
    admin = daemon.config["admin"]["socket"]
    storm = Storm()

    def kept() -> None:
        with daemon.connect() as client:
            while not storm.over.wait(PAUSE_SECONDS):
                exchange(client)
                storm.done["requests on kept connections"] += 1

    def fresh() -> None:
        while not storm.over.wait(PAUSE_SECONDS):
            with daemon.connect() as client:
                exchange(client)
            storm.done["handshakes"] += 1

    def websocket() -> None:
        plain = socket.create_connection(("127.0.0.1", daemon.ports["https"]))
        context = certificates.client_context()
        with WebSocket(plain, "wss://a.test/ws", context, ping_interval=None) as client:
            client.recv()
            while not storm.over.wait(PAUSE_SECONDS):
                text = str(storm.done["echoes"])
                client.send(text)
                assert client.recv(30) == text
                storm.done["echoes"] += 1

    def upload() -> None:
        """From the first reload to the last."""
        chunk = os.urandom(MIB)
        with daemon.connect() as client:
            client.sock.settimeout(60)
            head = f"POST /up HTTP/1.1\r\nHost: a.test\r\nContent-Length: {UPLOAD_MIB * MIB}\r\n\r\n"
            client.send(head.encode())
            for sent in range(UPLOAD_MIB):
                while sent / UPLOAD_MIB > storm.progress and not storm.over.is_set():
                    time.sleep(0.02)
                client.send(chunk)
                storm.done["MiB"] += 1
            assert client.receive_response().body == b"%d" % (UPLOAD_MIB * MIB)

    def reload(number: int) -> float:
        if number % 2:
            certificates.issue(pair.chain.parent, "a.test")
        else:
            changed = {**daemon.config, "timeouts": {**timeouts, "body_idle": f"{100 + number}s"}}
            daemon.config_file.write_text(yaml.safe_dump(changed, sort_keys=False))
        began = time.monotonic()
        status, answer = ask("POST", "/reload", admin)
        assert (status, answer["outcome"]) == (200, "ok"), answer
        assert answer["generation"] == number + 2
        return time.monotonic() - began

    fds_at_rest = descriptors(daemon)
    for kind, count in ((kept, KEPT), (fresh, FRESH), (websocket, WEBSOCKETS), (upload, 1)):
        for _ in range(count):
            storm.client(kind.__name__, kind)
    began, took, memory, fds = time.monotonic(), [], [], []
    try:
        for number in range(RELOADS):
            took.append(reload(number))
            storm.progress = (number + 1) / RELOADS
            if number in (RELOADS // 3, RELOADS - 1):
                memory.append(daemon.resident_kib())
                fds.append(descriptors(daemon))
            assert not storm.errors, storm.errors
    finally:
        storm.join()
    assert not storm.errors, storm.errors
    assert storm.done["MiB"] == UPLOAD_MIB
    eventually(lambda: descriptors(daemon) <= fds_at_rest + 2 * 16)  # idle connections to backends may stay
    ordered = sorted(took)
    print(
        f"{RELOADS} reloads in {time.monotonic() - began:.1f} s (median {ordered[len(took) // 2] * 1000:.0f} ms, "
        f"most {ordered[-1] * 1000:.0f} ms); {dict(storm.done)}; memory {memory} KiB; "
        f"descriptors {fds_at_rest} at rest, {fds} under load, {descriptors(daemon)} afterwards"
    )
    assert fds[1] <= fds[0] + KEPT + 2 * FRESH, fds  # what comes and goes: handshakes, and connections to backends
    assert memory[1] < memory[0] * 1.15 + 4096, f"{memory} KiB"
    assert not daemon.all("tls.handshake_failed")
    assert not daemon.all("server.worker_exited")
    assert len(daemon.all("config.reload", {"reload.outcome": "ok"})) == RELOADS
    outcomes = {event.get("event.outcome", "success") for event in daemon.all("tls.handshake")}
    assert outcomes == {"success"}, outcomes
