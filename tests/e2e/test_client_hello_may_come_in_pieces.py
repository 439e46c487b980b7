"""A ClientHello is read whole, however TCP or TLS cut it; one that never ends is given up in time."""

from __future__ import annotations

import socket
import ssl
import time

import pytest
from harness.backends import ok


class Dribble:
    """A TLS client over memory buffers, so that the test decides how its bytes go out."""

    def __init__(self, context: ssl.SSLContext, server_name: str) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self.incoming, self.outgoing, server_hostname=server_name)
        with pytest.raises(ssl.SSLWantReadError):
            self.tls.do_handshake()
        self.hello = self.outgoing.read()

    def finish(self, sock: socket.socket) -> None:
        while True:
            try:
                self.tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                if data := self.outgoing.read():
                    sock.sendall(data)
                self.incoming.write(sock.recv(65536))
        sock.sendall(self.outgoing.read())

    def get(self, sock: socket.socket) -> bytes:
        self.tls.write(b"GET / HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n")
        sock.sendall(self.outgoing.read())
        answer = b""
        while True:
            try:
                data = self.tls.read(65536)
            except ssl.SSLWantReadError:
                data = sock.recv(65536)
                self.incoming.write(data)
                if not data:
                    self.incoming.write_eof()
                continue
            except ssl.SSLZeroReturnError:
                return answer
            if not data:
                return answer
            answer += data


def in_records(hello: bytes, size: int) -> bytes:
    """The same handshake message in TLS records of at most `size` bytes (RFC 8446 §5.1 allows any cut)."""
    message, out = hello[5:], b""
    for start in range(0, len(message), size):
        piece = message[start : start + size]
        out += hello[:3] + len(piece).to_bytes(2, "big") + piece
    return out


@pytest.fixture
def daemon(start, answering):
    return start(answering(ok(b"whole")).address, timeouts={"handshake": "20s"})


def test_byte_by_byte(daemon, certificates):
    with daemon.connect_plain().sock as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        client = Dribble(certificates.client_context(), "a.test")
        for byte in client.hello:
            sock.sendall(bytes([byte]))
        client.finish(sock)
        assert client.get(sock).endswith(b"whole")
    assert daemon.wait_for("tls.handshake")["tls.established"] is True


@pytest.mark.parametrize("size", [1, 7, 100])
def test_in_many_records(daemon, certificates, size):
    with daemon.connect_plain().sock as sock:
        client = Dribble(certificates.client_context(), "a.test")
        sock.sendall(in_records(client.hello, size))
        client.finish(sock)
        assert client.get(sock).endswith(b"whole")


def test_a_pause_amid_the_hello_is_told_as_its_phase(daemon, certificates):
    with daemon.connect_plain().sock as sock:
        client = Dribble(certificates.client_context(), "a.test")
        sock.sendall(client.hello[:20])
        time.sleep(0.3)  # the very thing that is measured
        sock.sendall(client.hello[20:])
        client.finish(sock)
    event = daemon.wait_for("tls.handshake")
    assert event["timing.hello_ms"] > 250
    assert event["timing.first_byte_ms"] < 200
    assert event["timing.select_ms"] < 200
    phases = ("first_byte", "hello", "select", "flight", "client")
    assert event["timing.handshake_ms"] == pytest.approx(sum(event[f"timing.{p}_ms"] for p in phases), abs=0.1)


@pytest.mark.parametrize(("sent", "phase"), [(0, "first_byte"), (3, "hello"), (40, "hello")])
def test_one_that_never_comes_is_given_up_without_spinning(start, answering, certificates, sent, phase):
    daemon = start(answering(ok()).address, timeouts={"handshake": "1s"})
    used = daemon.cpu_seconds()
    with daemon.connect_plain() as client:
        client.send(Dribble(certificates.client_context(), "a.test").hello[:sent])
        assert client.ending() in ("clean", "reset")
    event = daemon.wait_for("tls.handshake")
    assert (event["error.type"], event["error.phase"]) == ("timeout", phase)
    assert daemon.cpu_seconds() - used < 0.5


def test_a_client_that_leaves_amid_its_hello_is_told(daemon, certificates):
    with daemon.connect_plain() as client:
        client.send(Dribble(certificates.client_context(), "a.test").hello[:40])
    event = daemon.wait_for("tls.handshake")
    assert (event["error.type"], event["error.phase"]) == ("client_closed", "hello")
    assert event["timing.handshake_ms"] < 5000
