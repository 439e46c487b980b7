"""Each class of the closed list, produced by a client that is really broken so: one line, one count, one class.

`server_error` alone is missing: it is by definition nothing that a client can bring about.
"""

from __future__ import annotations

import contextlib
import datetime as dt
import socket
import ssl
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from harness.backends import ok
from harness.commands import openssl_client
from harness.daemon import Daemon

from terminator.service.admin_client import _UnixConnection
from terminator.tls.failures import FAILURES
from terminator.wire.proxy_header import encode_v2

NOW = dt.datetime.now(dt.UTC)
DAY = dt.timedelta(days=1)
BEYOND_CLIENTS = {"server_error"}
OTHER_DAEMON = {"too_many_handshakes"}

Client = Callable[["Scene"], object]


@dataclass
class Scene:
    """The daemon, and the authority of client certificates."""

    daemon: Daemon
    authority: trustme.CA
    trust: ssl.SSLContext
    """A client's context that trusts the servers."""
    certificates: dict[str, trustme.LeafCert]


def raw(data: bytes, *, listener: str = "https", close: bool = False) -> Client:
    """Sends these bytes and reads to the end."""

    def play(scene: Scene) -> None:
        with scene.daemon.connect_plain(listener).sock as sock:
            sock.sendall(data)
            if close:
                sock.shutdown(socket.SHUT_WR)
            read_all(sock)

    return play


def read_all(sock: socket.socket) -> None:
    with contextlib.suppress(ConnectionResetError):
        while sock.recv(65536):
            pass


def s_client(*options: str, name: str = "a.test") -> Client:
    return lambda scene: openssl_client(scene.daemon.ports["https"], "-servername", name, *options)


def presenting(certificate: str, name: str) -> Client:
    """Shakes hands with this client certificate; a refusal by TLS 1.3 comes with the first read."""

    def play(scene: Scene) -> None:
        scene.certificates[certificate].configure_cert(scene.trust)
        with contextlib.suppress(OSError):
            plain = scene.daemon.connect_plain().sock
            with plain, scene.trust.wrap_socket(plain, server_hostname=name) as tls:
                tls.recv(1)

    return play


def hello() -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="a.test").do_handshake()
    return outgoing.read()


def after_the_flight(data: bytes) -> Client:
    """Answers the server's flight with these bytes in the clear."""

    def play(scene: Scene) -> None:
        with scene.daemon.connect_plain().sock as sock:
            sock.sendall(hello())
            flight = b""
            while b"\x14\x03\x03\x00\x01\x01\x17" not in flight:  # change_cipher_spec, then what is encrypted
                flight += sock.recv(65536)
            sock.sendall(data)
            read_all(sock)

    return play


V2 = encode_v2(("192.0.2.1", 5), ("192.0.2.2", 443))
BROKEN: dict[str, Client] = {
    "plain_http": raw(b"GET / HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    "http_proxy_request": raw(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test\r\n\r\n"),
    "not_tls": raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "proxy_header_missing": raw(hello(), listener="proxied"),
    "proxy_header_invalid": raw(V2[:12] + b"\x99" + V2[13:], listener="proxied"),
    "proxy_header_unexpected": raw(V2 + hello()),
    "malformed_hello": raw(b"\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd"),
    "hello_too_large": raw(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(3000)),
    "unrecognized_name": s_client(name="nowhere.test"),
    "no_application_protocol": s_client("-alpn", "h2"),
    "unsupported_version": s_client("-tls1_2", name="strict.test"),
    "no_shared_cipher": s_client("-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"),
    "no_shared_group": s_client("-groups", "P-256", name="strict.test"),
    "no_shared_signature": s_client("-tls1_3", "-sigalgs", "RSA-PSS+SHA256"),
    "client_cert_missing": s_client(name="mutual.test"),
    "client_cert_invalid": presenting("stranger", "mutual.test"),
    "client_cert_expired": presenting("expired", "mutual.test"),
    "client_cert_revoked": presenting("bob", "revoking.test"),
    "client_cert_not_allowed": presenting("bob", "mutual.test"),
    "client_chain_too_long": presenting("indirect", "mutual.test"),
    "client_crl_expired": presenting("alice", "stale.test"),
    "client_rejected_cert": s_client("-verify", "4", "-verify_return_error"),
    "client_alert": after_the_flight(b"\x15\x03\x03\x00\x02\x02\x28"),
    "client_closed": raw(hello()[:100], close=True),
    "timeout": raw(b""),
    "protocol_error": after_the_flight(b"\x17\x03\x03\x00\x20" + bytes(32)),
    "other": after_the_flight(b"\x15\x03\x03\x00\x02\x02\xce"),  # an alert that no specification knows
}


def revocation_list(authority: trustme.CA, until: dt.datetime, *serials: int) -> bytes:
    key: Any = serialization.load_pem_private_key(authority.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(authority.cert_pem.bytes())
    builder = x509.CertificateRevocationListBuilder(issuer.subject, NOW - 10 * DAY, until)
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, NOW - DAY).build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


@pytest.fixture
def scene(start: Any, site: Any, answering: Any, certificates: Any, folder: Path) -> Scene:
    authority = trustme.CA()
    leaves = {
        "alice": authority.issue_cert("alice@example.org"),
        "bob": authority.issue_cert("bob@example.org"),
        "expired": authority.issue_cert("alice@example.org", not_before=NOW - 9 * DAY, not_after=NOW - 5 * DAY),
        "indirect": authority.create_child_ca().issue_cert("alice@example.org"),
        "stranger": trustme.CA().issue_cert("mallory@example.org"),
    }
    ca, good, stale = folder / "clients.pem", folder / "good.crl", folder / "stale.crl"
    authority.cert_pem.write_to_path(str(ca))
    bob = x509.load_pem_x509_certificate(leaves["bob"].cert_chain_pems[0].bytes())
    good.write_bytes(revocation_list(authority, NOW + DAY, bob.serial_number))
    stale.write_bytes(revocation_list(authority, NOW - DAY))

    def mutual(name: str, **keys: Any) -> dict[str, Any]:
        return site.host(name, tls={"client_auth": {"mode": "require", "ca": str(ca), **keys}})

    daemon = start(
        answering(ok()).address,
        listeners=[
            site.listener(),
            site.listener("proxied", proxy_protocol={"trusted": ["127.0.0.0/8"]}),
        ],
        hosts=[
            site.host("a.test"),
            site.host("strict.test", tls={"min_version": "1.3", "groups": ["P-384"]}),
            mutual("mutual.test", depth=0, allow=["email:alice@*"]),
            mutual("revoking.test", crl=str(good)),
            mutual("stale.test", crl=str(stale)),
        ],
        timeouts={"handshake": "1s"},
    )
    return Scene(daemon, authority, certificates.client_context(), leaves)


def counted(daemon: Daemon) -> dict[str, float]:
    """Failures by class, out of /metrics."""
    connection = _UnixConnection(daemon.config["admin"]["socket"], 10)
    connection.request("GET", "/metrics")
    text = connection.getresponse().read().decode()
    connection.close()
    found: dict[str, float] = {}
    for line in text.splitlines():
        if line.startswith("terminator_tls_handshake_failures_total{"):
            reason = line.partition('reason="')[2].partition('"')[0]
            found[reason] = found.get(reason, 0) + float(line.rpartition(" ")[2])
    return found


def test_the_list_is_covered() -> None:
    assert set(BROKEN) | OTHER_DAEMON | BEYOND_CLIENTS == set(FAILURES)


def test_each_broken_client_finds_its_class_in_the_log_and_in_the_metrics(scene: Scene) -> None:
    daemon = scene.daemon
    for number, (kind, client) in enumerate(BROKEN.items(), 1):
        client(scene)
        daemon.wait_for("tls.handshake", {"tls.established": False}, count=number)
        event = daemon.all("tls.handshake", {"tls.established": False})[-1]
        assert event["error.type"] == kind, event
        assert event["error.phase"] in ("first_byte", "hello", "select", "handshake")
        assert event["error.message"].isprintable()
        if kind in ("other", "protocol_error"):
            assert event["error.openssl"], "never unclassified without what OpenSSL said"
    assert counted(daemon) == dict.fromkeys(BROKEN, 1.0)


def test_too_many_handshakes_of_one_address(start: Any, answering: Any) -> None:
    daemon = start(answering(ok()).address, limits={"handshakes_per_ip": 1})
    for _ in range(3):
        openssl_client(daemon.ports["https"], "-servername", "a.test")
    assert daemon.wait_for("tls.handshake", {"error.type": "too_many_handshakes"})["error.phase"] == "select"
    assert counted(daemon)["too_many_handshakes"] >= 1


def test_a_client_that_ends_behind_its_hello_has_closed(start: Any, answering: Any) -> None:
    daemon = start(answering(ok()).address)
    with daemon.connect_plain().sock as sock:
        sock.sendall(hello())
        sock.shutdown(socket.SHUT_WR)
        read_all(sock)
    told = daemon.wait_for("tls.handshake")
    assert (told["error.type"], told["error.phase"]) == ("client_closed", "handshake")


def test_what_scanners_leave_can_be_sampled_and_is_counted_all_the_same(start: Any, answering: Any) -> None:
    daemon = start(answering(ok()).address, log={"failures": {"sample": 0.0}})
    for _ in range(5):
        with daemon.connect_plain().sock as sock:
            sock.sendall(b"GET / HTTP/1.1\r\n\r\n")
            read_all(sock)
        with daemon.connect_plain().sock as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    openssl_client(daemon.ports["https"], "-servername", "nowhere.test")
    assert daemon.wait_for("tls.handshake")["error.type"] == "unrecognized_name"
    assert counted(daemon) == {"plain_http": 5, "client_closed": 5, "unrecognized_name": 1}
    assert len(daemon.all("tls.handshake")) == 1
