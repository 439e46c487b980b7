"""Handshakes on real sockets with real clients: what is agreed, what fails and as which class, where the time goes."""

from __future__ import annotations

import socket
import ssl
import struct
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import trustme
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization

from terminator.errors import HandshakeError
from terminator.telemetry.events import TlsHandshake
from terminator.tls.alerts import ALERTS
from terminator.tls.failures import FAILURES, classify
from terminator.tls.handshake import (
    Choice,
    Choose,
    Established,
    PassedThrough,
    Passthrough,
    Refusal,
)
from terminator.tls.handshake import (
    handshake as real_handshake,
)
from terminator.tls.handshake_facts import HandshakeFailed, handshake_event
from terminator.tls.memory import path_of
from terminator.tls.openssl import Capabilities
from terminator.tls.proofs import prove
from terminator.transport.alarms import Alarms
from terminator.wire.client_hello import MAX_BYTES, ClientHello

CA = trustme.CA()
STRANGER = trustme.CA()
NAME = "shop.example"
CERTIFICATE = CA.issue_cert(NAME)
NOW = datetime.now(UTC)
DAY = timedelta(days=1)


# ------------------------------------------------------------------------------------------------ the two sides


def server_context(certificate: trustme.LeafCert = CERTIFICATE) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    context.num_tickets = 1
    return context


def client_context(trust: trustme.CA | None = CA) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if trust is not None:
        trust.configure_trust(context)
    return context


def loopback() -> tuple[socket.socket, socket.socket]:
    """(server's end, non-blocking; client's end, blocking) of a TCP connection."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        client = socket.create_connection(listener.getsockname())
        client.settimeout(20)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        server, _ = listener.accept()
    server.setblocking(False)
    return server, client


Outcome = Established | PassedThrough | HandshakeFailed


async def handshake(sock: socket.socket, **options: Any) -> Established | PassedThrough:
    """With a wheel of its own, as every worker has one."""
    alarms = Alarms()
    result: Established | PassedThrough | Exception
    async with trio.open_nursery() as nursery:
        nursery.start_soon(alarms.run)
        try:
            result = await real_handshake(sock, alarms=alarms, **options)
        except Exception as failure:  # raised below: a nursery would wrap it
            result = failure
        nursery.cancel_scope.cancel()
    if isinstance(result, Exception):
        raise result
    return result


Client = Callable[[socket.socket], Any]


async def meet(client: Client, choose: Choose, **options: Any) -> tuple[Outcome, Any]:
    """Plays `client` in a thread against one handshake; both results. A failure is returned, not raised."""
    server, peer = loopback()
    seen: list[Any] = []
    outcome: list[Outcome] = []

    async def serve() -> None:
        try:
            arguments = {"deadline_seconds": 15.0, "capabilities": CAPABILITIES, **options}
            result = await handshake(server, accepted_at=trio.current_time(), choose=choose, **arguments)
            outcome.append(result)
            if isinstance(result, Established):
                result.facts.ask_kernel(result.stream.sock)
            (result.stream if isinstance(result, Established) else result.sock).close()
        except HandshakeFailed as failure:
            assert server.fileno() == -1
            outcome.append(failure)

    def play() -> None:
        with peer:
            seen.append(client(peer))

    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, play)
        nursery.start_soon(serve)
    return outcome[0], seen[0]


CAPABILITIES = prove()
USUAL_GROUP = "X25519MLKEM768" if "X25519MLKEM768" in CAPABILITIES.groups else "x25519"
RECORDS_SPEAK = ssl.OPENSSL_VERSION_INFO < (3, 2)
"""Since OpenSSL 3.2 whatever is wrong with a record is RECORD_LAYER_FAILURE, and the reason behind it is lost."""


def choosing(context: ssl.SSLContext, **values: Any) -> Choose:
    return lambda hello: Choice(context, NAME, **values)


def by_name(hello: ClientHello) -> Choice | Refusal:
    if hello.server_name == NAME:
        return Choice(server_context(), NAME, alpn=(b"http/1.1", b"http/1.0"))
    return Refusal("unrecognized_name", f"no host is configured for {hello.server_name}")


def tls_client(context: ssl.SSLContext, name: str = NAME) -> Client:
    """Shakes hands, says ping, waits for the end; the alert that it received, if any."""

    def play(sock: socket.socket) -> str | None:
        try:
            with context.wrap_socket(sock, server_hostname=name, suppress_ragged_eofs=True) as tls:
                tls.sendall(b"ping")
                tls.recv(1)
        except ssl.SSLCertVerificationError:
            return None
        except OSError as error:
            return classify(error, "handshake").alert_received
        return None

    return play


def raw_client(data: bytes, *, close: bool = False) -> Client:
    """Sends these bytes, then reads to the end; what it got."""

    def play(sock: socket.socket) -> bytes:
        sock.sendall(data)
        if close:
            sock.shutdown(socket.SHUT_WR)
        return read_all(sock)

    return play


def read_all(sock: socket.socket) -> bytes:
    got = b""
    try:
        while piece := sock.recv(65536):
            got += piece
    except ConnectionResetError:
        return got + b"<reset>"
    return got


def hello_bytes(context: ssl.SSLContext | None = None, name: str | None = NAME) -> bytes:
    if context is None:
        context = client_context()
        context.check_hostname = False
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name).do_handshake()
    return outgoing.read()


# ------------------------------------------------------------------------------------------------------- success


@pytest.mark.parametrize(("version", "text"), [(ssl.TLSVersion.TLSv1_2, "1.2"), (ssl.TLSVersion.TLSv1_3, "1.3")])
async def test_everything_that_was_agreed_is_told(version: ssl.TLSVersion, text: str) -> None:
    client = client_context()
    client.maximum_version = client.minimum_version = version
    client.set_alpn_protocols(["h2", "http/1.1"])
    context = server_context()
    context.set_alpn_protocols(["http/1.1", "http/1.0"])
    choose = choosing(context, alpn=(b"http/1.1", b"http/1.0"), certificates={"ecdsa": "1234"})
    result, _ = await meet(tls_client(client), choose)
    assert isinstance(result, Established)
    facts = result.facts
    assert (facts.protocol_version, facts.alpn, facts.resumed, facts.host) == (text, "http/1.1", False, NAME)
    assert (facts.certificate_key, facts.certificate_serial) == ("ecdsa", "1234")
    assert facts.cipher is not None
    assert CAPABILITIES.group_name
    assert facts.group == (USUAL_GROUP if text == "1.3" else "x25519")
    assert result.choice.host == NAME
    assert set(facts.spans) == {"first_byte", "hello", "select", "flight", "client"}
    event = handshake_event(facts, conn_id="c", listener="https", client_address="192.0.2.1", client_port=5)
    assert event.established
    assert (event.server_name, event.offered_alpn, event.error_type) == (NAME, "h2,http/1.1", None)
    assert event.ja4 is not None
    assert event.ja4.startswith(f"t{text.replace('.', '')}d")
    assert event.rtt_ms is not None
    assert event.rtt_ms < 1000


async def test_a_client_without_alpn_is_served() -> None:
    result, _ = await meet(tls_client(client_context()), by_name)
    assert isinstance(result, Established)
    assert result.facts.alpn is None


async def test_the_stream_carries_bytes_both_ways() -> None:
    server, peer = loopback()

    def client() -> bytes:
        with peer, client_context().wrap_socket(peer, server_hostname=NAME) as tls:
            tls.sendall(b"ping")
            return tls.recv(100)

    async with trio.open_nursery() as nursery:
        answers: list[bytes] = []

        async def play() -> None:
            answers.append(await trio.to_thread.run_sync(client))

        nursery.start_soon(play)
        result = await handshake(server, accepted_at=trio.current_time(), deadline_seconds=15, choose=by_name)
        assert isinstance(result, Established)
        assert await result.stream.receive() == b"ping"
        await result.stream.send(b"pong")
        await result.stream.end()
        await result.stream.linger(5)
        result.stream.close()
    assert answers == [b"pong"]


@pytest.mark.parametrize("key_type", [trustme.KeyType.RSA, trustme.KeyType.ECDSA])
async def test_of_two_certificates_the_one_that_was_served_is_named(key_type: trustme.KeyType) -> None:
    context = server_context()
    CA.issue_cert(NAME, key_type=trustme.KeyType.RSA).configure_cert(context)
    wanted = "rsa" if key_type is trustme.KeyType.RSA else "ecdsa"
    client = client_context()
    client.maximum_version = ssl.TLSVersion.TLSv1_2
    client.set_ciphers("ECDHE+aRSA" if wanted == "rsa" else "ECDHE+aECDSA")
    result, _ = await meet(tls_client(client), choosing(context, certificates={"ecdsa": "e1", "rsa": "f2"}))
    assert isinstance(result, Established)
    assert CAPABILITIES.served_key_type
    assert (result.facts.certificate_key, result.facts.certificate_serial) == (
        wanted,
        "e1" if wanted == "ecdsa" else "f2",
    )


async def test_nothing_is_asked_of_openssl_that_was_not_proved() -> None:
    result, _ = await meet(tls_client(client_context()), by_name, capabilities=Capabilities())
    assert isinstance(result, Established)
    assert (result.facts.group, result.facts.certificate_key) == (None, None)


async def test_a_slow_key_signs_in_a_thread() -> None:
    signers: list[int] = []
    context = server_context(CA.issue_cert(NAME, key_type=trustme.KeyType.RSA))
    context.sni_callback = lambda *_: signers.append(threading.get_ident())
    result, _ = await meet(tls_client(client_context()), choosing(context, in_thread=True))
    assert isinstance(result, Established)
    assert signers
    assert threading.get_ident() not in signers


async def test_passed_through_untouched() -> None:
    """`acme-tls/1`: whoever gets the socket reads the ClientHello from its first byte."""
    hello = hello_bytes()
    server, peer = loopback()
    with peer:
        peer.sendall(hello)
        result = await handshake(
            server, accepted_at=trio.current_time(), deadline_seconds=15, choose=lambda hello: Passthrough("there")
        )
        assert isinstance(result, PassedThrough)
        assert result.choice.tag == "there"
        assert result.sock.recv(65536) == hello
        result.sock.close()


# ---------------------------------------------------------------------------------------------- hosts stay apart


async def test_a_required_client_certificate_is_enforced_on_its_host_alone() -> None:
    open_host, closed_host = server_context(), server_context(CA.issue_cert("closed.example"))
    closed_host.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(closed_host)

    def choose(hello: ClientHello) -> Choice:
        return Choice(closed_host if hello.server_name == "closed.example" else open_host, str(hello.server_name))

    assert isinstance((await meet(tls_client(client_context()), choose))[0], Established)
    result, _ = await meet(tls_client(client_context(), "closed.example"), choose)
    assert isinstance(result, HandshakeFailed)
    assert (result.error_type, result.facts.host) == ("client_cert_missing", "closed.example")


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_ticket_resumes_on_its_own_host_alone(version: ssl.TLSVersion) -> None:
    certificate = CA.issue_cert("a.example", "b.example")
    contexts = {"a.example": server_context(certificate), "b.example": server_context(certificate)}
    client = client_context()
    client.minimum_version = client.maximum_version = version
    sessions: list[ssl.SSLSession | None] = []

    async def visit(name: str, session: ssl.SSLSession | None) -> Established:
        server, peer = loopback()

        def play() -> None:
            client.check_hostname = False  # a session may only be offered elsewhere without it
            with peer, client.wrap_socket(peer, server_hostname=name, session=session) as tls:
                tls.recv(1)
                sessions.append(tls.session)

        async with trio.open_nursery() as nursery:
            nursery.start_soon(trio.to_thread.run_sync, play)
            result = await handshake(
                server,
                accepted_at=trio.current_time(),
                deadline_seconds=15,
                choose=lambda hello: Choice(contexts[str(hello.server_name)], name, certificates={"ecdsa": "1"}),
            )
            assert isinstance(result, Established)
            await result.stream.send(b"x")
            result.stream.close()
        return result

    first = await visit("a.example", None)
    again = await visit("a.example", sessions[0])
    elsewhere = await visit("b.example", sessions[0])
    assert [result.facts.resumed for result in (first, again, elsewhere)] == [False, True, False]
    assert again.facts.certificate_serial is None, "a resumed session is shown no certificate"


async def test_what_admit_finds_stands_in_the_line_and_what_it_refuses_fails() -> None:
    from terminator.wire.client_side import ClientCertificate

    certificate = ClientCertificate(b"der", (), "CN=alice", "CN=authority", "0A", "f00d")
    result, _ = await meet(tls_client(client_context()), choosing(server_context(), admit=lambda tls: certificate))
    assert isinstance(result, Established)
    assert result.facts.client_certificate is certificate
    event = handshake_event(result.facts, conn_id="c", listener="l", client_address=None, client_port=None)
    assert (event.client_subject, event.client_issuer, event.client_serial) == ("CN=alice", "CN=authority", "0A")

    def refuse(tls: ssl.SSLSocket) -> None:
        raise HandshakeError("client_cert_not_allowed", "handshake", "no pattern matches")

    result, _ = await meet(tls_client(client_context()), choosing(server_context(), admit=refuse))
    assert isinstance(result, HandshakeFailed)
    assert (result.error_type, result.phase) == ("client_cert_not_allowed", "handshake")
    assert result.facts.protocol_version == "1.3"


# ------------------------------------------------------------------------------------------ broken clients


@dataclass(frozen=True)
class Case:
    client: Client
    reason: str
    phase: str
    choose: Choose = by_name
    sent: str | None = None
    received: str | None = None
    openssl: str | None = None
    seen: bytes | None = None
    """What the client's bytes begin with, where that is not the alert that was sent; empty: nothing, or a reset."""
    deadline_seconds: float = 15.0


def with_client_auth(crl: bytes | None = None) -> ssl.SSLContext:
    context = server_context()
    context.verify_mode = ssl.CERT_REQUIRED
    CA.configure_trust(context)
    if crl is not None:
        with path_of(crl) as path:
            context.load_verify_locations(path)
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    return context


def presenting(certificate: trustme.LeafCert, version: ssl.TLSVersion = ssl.TLSVersion.TLSv1_3) -> Client:
    context = client_context()
    context.minimum_version = context.maximum_version = version
    certificate.configure_cert(context)
    return tls_client(context)


def revocation_list(*serials: int, until: datetime) -> bytes:
    key: Any = serialization.load_pem_private_key(CA.private_key_pem.bytes(), None)
    issuer = x509.load_pem_x509_certificate(CA.cert_pem.bytes())
    builder = x509.CertificateRevocationListBuilder(issuer.subject, NOW - 10 * DAY, until)
    for serial in serials:
        builder = builder.add_revoked_certificate(x509.RevokedCertificateBuilder(serial, NOW - DAY).build())
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def serial_of(certificate: trustme.LeafCert) -> int:
    return x509.load_pem_x509_certificate(certificate.cert_chain_pems[0].bytes()).serial_number


def of_version(
    version: ssl.TLSVersion, *, ciphers: str | None = None, curve: str | None = None, trust: trustme.CA = CA
) -> ssl.SSLContext:
    context = client_context(trust)
    context.minimum_version = context.maximum_version = version
    if ciphers is not None:
        context.set_ciphers(ciphers)
    if curve is not None:
        context.set_ecdh_curve(curve)
    return context


def resetting(data: bytes) -> Client:
    def play(sock: socket.socket) -> None:
        sock.sendall(data)
        if data.startswith(b"\x16") and len(data) > 200:
            sock.recv(1)  # our flight, so that the hello has been read
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.close()

    return play


def after_our_flight(data: bytes) -> Client:
    """A client that answers the first bytes of our flight with these, in the clear, and leaves."""

    def play(sock: socket.socket) -> bytes:
        sock.sendall(HELLO)
        flight = sock.recv(65536)
        while b"\x14\x03\x03\x00\x01\x01\x17" not in flight:  # change_cipher_spec, then what is encrypted
            flight += sock.recv(65536)
        sock.sendall(data)
        sock.shutdown(socket.SHUT_WR)
        return read_all(sock)

    return play


def only_min(version: ssl.TLSVersion) -> Choose:
    context = server_context()
    context.minimum_version = version
    return choosing(context)


def groups_of_server(curve: str) -> Choose:
    context = server_context()
    context.set_ecdh_curve(curve)
    return choosing(context)


def alpn_client(*names: str) -> Client:
    context = client_context()
    context.set_alpn_protocols(list(names))
    return tls_client(context)


CLIENT_CERT = CA.issue_cert("alice@example.org")
EXPIRED = CA.issue_cert("old@example.org", not_before=NOW - 9 * DAY, not_after=NOW - 5 * DAY)
NOT_YET = CA.issue_cert("new@example.org", not_before=NOW + 5 * DAY, not_after=NOW + 9 * DAY)
HELLO = hello_bytes()
ENCRYPTED = b"\x17\x03\x03"
V12, V13 = ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3

BROKEN: dict[str, Case] = {
    "plain HTTP": Case(raw_client(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"), "plain_http", "hello", seen=b"HTTP/1.1 400 "),
    "HTTP CONNECT": Case(
        raw_client(b"CONNECT a:443 HTTP/1.1\r\nHost: a\r\n\r\n"), "http_proxy_request", "hello", seen=b"HTTP/1.1 400 "
    ),
    "SSH": Case(raw_client(b"SSH-2.0-OpenSSH_9.2\r\n"), "not_tls", "hello", seen=b""),
    "random bytes": Case(raw_client(bytes(range(200, 250))), "not_tls", "hello", seen=b""),
    "PROXY v1": Case(
        raw_client(b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n" + HELLO), "proxy_header_unexpected", "hello", seen=b""
    ),
    "PROXY v2": Case(
        raw_client(b"\r\n\r\n\x00\r\nQUIT\n\x20\x00\x00\x00" + HELLO), "proxy_header_unexpected", "hello", seen=b""
    ),
    "SSL 2.0": Case(
        raw_client(b"\x80\x2e\x01\x00\x02" + bytes(40)), "unsupported_version", "hello", sent="protocol_version"
    ),
    "garbage in a record": Case(
        raw_client(b"\x16\x03\x01\x00\x08\x01\x00\x00\x04abcd"), "malformed_hello", "hello", sent="decode_error"
    ),
    "ServerHello": Case(
        raw_client(b"\x16\x03\x03\x00\x08\x02\x00\x00\x04abcd"), "malformed_hello", "hello", sent="decode_error"
    ),
    "huge hello": Case(
        raw_client(b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(3000)),
        "hello_too_large",
        "hello",
        sent="illegal_parameter",
    ),
    "closes at once": Case(raw_client(b"", close=True), "client_closed", "first_byte", seen=b""),
    "closes amid the hello": Case(raw_client(HELLO[:100], close=True), "client_closed", "hello", seen=b""),
    "closes before a record header is whole": Case(
        raw_client(HELLO[:3], close=True), "client_closed", "hello", seen=b""
    ),
    "closes after the hello": Case(
        lambda sock: raw_client(HELLO, close=True)(sock)[:1],
        "client_closed",
        "handshake",
        seen=b"\x16",
    ),
    "resets amid the hello": Case(resetting(HELLO[:100]), "client_closed", "hello"),
    "resets after the hello": Case(resetting(HELLO), "client_closed", "handshake"),
    "says nothing": Case(raw_client(b""), "timeout", "first_byte", seen=b"", deadline_seconds=0.05),
    "stops amid the hello": Case(raw_client(HELLO[:100]), "timeout", "hello", seen=b"<reset>", deadline_seconds=0.05),
    "stops after the hello": Case(
        lambda sock: raw_client(HELLO)(sock)[:1], "timeout", "handshake", seen=b"\x16", deadline_seconds=0.2
    ),
    "unknown name": Case(
        tls_client(client_context(), "nowhere.example"), "unrecognized_name", "select", sent="unrecognized_name"
    ),
    "only h2": Case(alpn_client("h2"), "no_application_protocol", "select", sent="no_application_protocol"),
    "only TLS 1.2": Case(
        tls_client(of_version(V12)),
        "unsupported_version",
        "handshake",
        only_min(V13),
        sent="protocol_version",
        openssl="UNSUPPORTED_PROTOCOL",
    ),
    "only RSA suites": Case(
        tls_client(of_version(V12, ciphers="ECDHE+aRSA")),
        "no_shared_cipher",
        "handshake",
        sent="handshake_failure",
        openssl="NO_SHARED_CIPHER",
    ),
    "another group, TLS 1.3": Case(
        tls_client(of_version(V13, curve="secp384r1")),
        "no_shared_group",
        "handshake",
        groups_of_server("prime256v1"),
        sent="handshake_failure",
        openssl="NO_SUITABLE_KEY_SHARE",
    ),
    "no client certificate, TLS 1.3": Case(
        tls_client(of_version(V13)),
        "client_cert_missing",
        "handshake",
        choosing(with_client_auth()),
        sent="certificate_required",
        openssl="PEER_DID_NOT_RETURN_A_CERTIFICATE",
    ),
    "no client certificate, TLS 1.2": Case(
        tls_client(of_version(V12)),
        "client_cert_missing",
        "handshake",
        choosing(with_client_auth()),
        sent="handshake_failure",
        openssl="PEER_DID_NOT_RETURN_A_CERTIFICATE",
    ),
    "certificate of a stranger, TLS 1.3": Case(
        presenting(STRANGER.issue_cert("mallory@example.org")),
        "client_cert_invalid",
        "handshake",
        choosing(with_client_auth()),
        sent="unknown_ca",
        openssl="CERTIFICATE_VERIFY_FAILED",
    ),
    "certificate of a stranger, TLS 1.2": Case(
        presenting(STRANGER.issue_cert("mallory@example.org"), V12),
        "client_cert_invalid",
        "handshake",
        choosing(with_client_auth()),
        sent="unknown_ca",
        openssl="CERTIFICATE_VERIFY_FAILED",
    ),
    "expired client certificate": Case(
        presenting(EXPIRED),
        "client_cert_expired",
        "handshake",
        choosing(with_client_auth()),
        sent="certificate_expired",
        openssl="CERTIFICATE_VERIFY_FAILED",
    ),
    "client certificate from the future": Case(
        presenting(NOT_YET),
        "client_cert_expired",
        "handshake",
        choosing(with_client_auth()),
        sent="bad_certificate",
        openssl="CERTIFICATE_VERIFY_FAILED",
    ),
    "revoked client certificate": Case(
        presenting(CLIENT_CERT),
        "client_cert_revoked",
        "handshake",
        choosing(with_client_auth(revocation_list(serial_of(CLIENT_CERT), until=NOW + DAY))),
        sent="certificate_revoked",
        openssl="CERTIFICATE_VERIFY_FAILED",
    ),
    "revocation list past its end": Case(
        presenting(CLIENT_CERT),
        "client_crl_expired",
        "handshake",
        choosing(with_client_auth(revocation_list(until=NOW - DAY))),
        sent="certificate_expired",
        openssl="CERTIFICATE_VERIFY_FAILED",
    ),
    "client does not know the authority, TLS 1.3": Case(
        tls_client(client_context(STRANGER)),
        "client_rejected_cert",
        "handshake",
        received="unknown_ca",
        openssl="TLSV1_ALERT_UNKNOWN_CA",
    ),
    "client does not know the authority, TLS 1.2": Case(
        tls_client(of_version(V12, trust=STRANGER)),
        "client_rejected_cert",
        "handshake",
        received="unknown_ca",
        openssl="TLSV1_ALERT_UNKNOWN_CA",
    ),
    "client expects another name": Case(
        tls_client(client_context(), "other.example"),
        "client_rejected_cert",
        "handshake",
        choosing(server_context()),
        received="bad_certificate",
        openssl="SSLV3_ALERT_BAD_CERTIFICATE",
    ),
    "client sends handshake_failure": Case(
        after_our_flight(b"\x15\x03\x03\x00\x02\x02\x28"),
        "client_alert",
        "handshake",
        received="handshake_failure",
        openssl="SSLV3_ALERT_HANDSHAKE_FAILURE",
    ),
    "client sends data in the clear": Case(
        after_our_flight(b"\x17\x03\x03\x00\x20" + bytes(32)),
        "protocol_error",
        "handshake",
        sent="bad_record_mac" if RECORDS_SPEAK else None,
        seen=ENCRYPTED,
        openssl="DECRYPTION_FAILED_OR_BAD_RECORD_MAC" if RECORDS_SPEAK else "RECORD_LAYER_FAILURE",
    ),
    "client sends its hello twice": Case(
        after_our_flight(HELLO),
        "protocol_error",
        "handshake",
        sent="unexpected_message" if RECORDS_SPEAK else None,
        seen=ENCRYPTED,
    ),
}


@pytest.mark.parametrize("case", BROKEN.values(), ids=BROKEN.keys())
async def test_a_broken_client_finds_its_class(case: Case) -> None:
    result, seen = await meet(case.client, case.choose, deadline_seconds=case.deadline_seconds)
    assert isinstance(result, HandshakeFailed), "the handshake succeeded"
    assert (result.error_type, result.phase, result.openssl) == (
        case.reason,
        case.phase,
        case.openssl or result.openssl,
    )
    assert (result.alert_sent, result.alert_received) == (case.sent, case.received)
    assert result.error_type in FAILURES
    if case.openssl:
        assert result.openssl == case.openssl
    if case.seen is not None:
        assert seen.startswith(case.seen) if case.seen else seen in (b"", b"<reset>")
    elif case.sent is not None:
        assert (ALERTS[seen[6]] if isinstance(seen, bytes) else seen) == case.sent, "the alert did not arrive"
    check_event(result)


def check_event(failure: HandshakeFailed) -> None:
    facts = failure.facts
    event = handshake_event(
        facts, conn_id="c", listener="l", client_address="192.0.2.1", client_port=1, error=failure, generation=3
    )
    assert isinstance(event, TlsHandshake)
    assert (event.established, event.error_type, event.error_phase) == (False, failure.error_type, failure.phase)
    assert event.error_message
    assert event.error_message.isprintable()
    assert event.handshake_ms == pytest.approx(sum(facts.spans.values()) * 1000, abs=0.01)
    reached = {"first_byte": 1, "hello": 2, "select": 3, "handshake": 4}[failure.phase]
    assert len(facts.spans) >= reached
    assert (facts.hello is not None) == (reached > 2)


S_CLIENT: dict[str, tuple[list[str], str, str | None]] = {
    "no common signature algorithm, TLS 1.3": (["-tls1_3", "-sigalgs", "RSA-PSS+SHA256"], "no_shared_signature", None),
    "no common cipher, TLS 1.2": (["-tls1_2", "-cipher", "ECDHE-RSA-AES128-GCM-SHA256"], "no_shared_cipher", None),
    "fallback that is none": (["-tls1_2", "-fallback_scsv"], "unsupported_version", "inappropriate_fallback"),
    "no name": (["-noservername"], "unrecognized_name", "unrecognized_name"),
    "h2 and h3": (["-alpn", "h2,h3"], "no_application_protocol", "no_application_protocol"),
    "strict verification": (["-verify_return_error", "-verify", "4"], "client_rejected_cert", None),
    "served": ([], "", None),
    "served by TLS 1.2": (["-tls1_2"], "", None),
}


@pytest.mark.parametrize(("options", "reason", "sent"), S_CLIENT.values(), ids=S_CLIENT.keys())
async def test_openssl_s_client(options: list[str], reason: str, sent: str | None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host, port = listener.getsockname()
        command = ["openssl", "s_client", "-connect", f"{host}:{port}", "-servername", NAME, *options]
        if "-noservername" in options:
            command = [word for word in command if word not in ("-servername", NAME)]
        with subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        ) as process:
            server, _ = await trio.to_thread.run_sync(listener.accept)
            server.setblocking(False)
            result: Outcome
            try:
                result = await handshake(server, accepted_at=trio.current_time(), deadline_seconds=15, choose=by_name)
                assert isinstance(result, Established)
                result.stream.close()
            except HandshakeFailed as failure:
                result = failure
            output, _ = await trio.to_thread.run_sync(process.communicate)
    if not reason:
        assert isinstance(result, Established), output
        assert "O = trustme" in output or "O=trustme" in output
        return
    assert isinstance(result, HandshakeFailed), output
    assert result.error_type == reason
    if sent is not None:
        assert result.alert_sent == sent
    if result.alert_sent is not None:
        assert f"alert {result.alert_sent.replace('_', ' ')}" in output.replace(
            "tlsv1 unrecognized", "alert unrecognized"
        )


# ---------------------------------------------------------------------------------------------- the phase clock

DELAY = 0.5
"""Against it what a busy machine takes between two steps must be small: the other side's wait begins before the clock
has turned to it."""


def in_steps(*, before: float = 0, amid: float = 0, answer: float = 0) -> Client:
    """A TLS client in memory that waits at chosen points."""

    def play(sock: socket.socket) -> None:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = client_context().wrap_bio(incoming, outgoing, server_hostname=NAME)
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        time.sleep(before)
        sock.sendall(hello[:50])
        time.sleep(amid)
        sock.sendall(hello[50:])
        while True:
            incoming.write(sock.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        time.sleep(answer)
        sock.sendall(outgoing.read())
        read_all(sock)

    return play


def slowly_chosen(context: ssl.SSLContext) -> Choose:
    def choose(hello: ClientHello) -> Choice:
        time.sleep(DELAY)
        return Choice(context, NAME)

    return choose


def slow_to_sign() -> ssl.SSLContext:
    context = server_context()
    context.sni_callback = lambda *_: time.sleep(DELAY)
    return context


@pytest.mark.parametrize(
    ("span", "client", "choose"),
    [
        ("first_byte", in_steps(before=DELAY), by_name),
        ("hello", in_steps(amid=DELAY), by_name),
        ("select", in_steps(), slowly_chosen(server_context())),
        ("flight", in_steps(), choosing(slow_to_sign())),
        ("client", in_steps(answer=DELAY), by_name),
    ],
)
async def test_a_delay_at_one_phase_moves_that_phase_alone(span: str, client: Client, choose: Choose) -> None:
    result, _ = await meet(client, choose)
    assert isinstance(result, Established)
    spans = result.facts.spans
    assert spans[span] > DELAY * 0.6
    others = {name: seconds for name, seconds in spans.items() if name != span}
    assert max(others.values()) < DELAY * 0.6, others
    event = handshake_event(result.facts, conn_id="c", listener="l", client_address=None, client_port=None)
    parts = (event.first_byte_ms, event.hello_ms, event.select_ms, event.flight_ms, event.client_ms)
    assert event.handshake_ms == pytest.approx(sum(part or 0 for part in parts))


# --------------------------------------------------------------------------------- pieces, patience, cancellation


class CountingSocket(socket.socket):
    calls = 0

    def recv(self, *arguments: Any) -> bytes:
        self.calls += 1
        return super().recv(*arguments)


def counting() -> tuple[CountingSocket, socket.socket]:
    server, peer = loopback()
    counted = CountingSocket(fileno=server.detach())
    counted.setblocking(False)
    return counted, peer


async def test_byte_by_byte_costs_few_looks() -> None:
    """SO_RCVLOWAT lets the rest of a record, whose length is known, arrive without waking anybody."""
    server, peer = counting()
    results: list[PassedThrough] = []

    async def serve() -> None:
        result = await handshake(
            server, accepted_at=trio.current_time(), deadline_seconds=30, choose=lambda hello: Passthrough(hello.length)
        )
        assert isinstance(result, PassedThrough)
        results.append(result)

    with peer:
        async with trio.open_nursery() as nursery:
            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            for byte in HELLO:
                peer.sendall(bytes([byte]))
                await trio.testing.wait_all_tasks_blocked(0.0002)
    assert results[0].choice.tag == len(HELLO)
    assert server.calls <= 10
    assert results[0].sock.getsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT) == 1
    results[0].sock.close()


@pytest.mark.parametrize("size", [2, 7, 100])
async def test_a_hello_in_several_records(size: int) -> None:
    """Post-quantum hellos take more than 1024 records of one byte, which are refused."""
    message = HELLO[5:]
    pieces = [message[start : start + size] for start in range(0, len(message), size)]
    data = b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)
    result, seen = await meet(
        lambda sock: raw_client(data, close=True)(sock), choosing(server_context()), deadline_seconds=15
    )
    assert isinstance(result, HandshakeFailed)
    assert (result.error_type, result.phase) == ("client_closed", "handshake")
    assert seen.startswith(b"\x16"), "OpenSSL read the same records and answered"
    assert result.facts.hello is not None
    assert result.facts.hello.length == len(data)


def padded_hello(extension_bytes: int) -> bytes:
    """With so many bytes of extensions in all, in as few records as there can be."""
    body = HELLO[9:]
    extensions_at = 2 + 32 + 1 + body[34]
    extensions_at += 2 + int.from_bytes(body[extensions_at : extensions_at + 2], "big") + 2
    extensions = body[extensions_at + 2 :]
    padding = bytes(extension_bytes - len(extensions) - 4)
    extensions += b"\xfa\xfb" + len(padding).to_bytes(2, "big") + padding
    body = body[:extensions_at] + len(extensions).to_bytes(2, "big") + extensions
    message = b"\x01" + len(body).to_bytes(3, "big") + body
    pieces = [message[start : start + 16384] for start in range(0, len(message), 16384)]
    return b"".join(b"\x16\x03\x01" + len(piece).to_bytes(2, "big") + piece for piece in pieces)


async def test_a_hello_of_sixty_kilobytes() -> None:
    data = padded_hello(60_000)
    result, _ = await meet(raw_client(data), lambda hello: Passthrough(hello.length))
    assert isinstance(result, PassedThrough)
    assert result.choice.tag == len(data)


async def test_a_hello_beyond_the_limit_is_refused_unread() -> None:
    data = padded_hello(65_535)
    assert len(data) > MAX_BYTES
    result, seen = await meet(raw_client(data), by_name)
    assert isinstance(result, HandshakeFailed)
    assert (result.error_type, seen[6]) == ("hello_too_large", 47)


async def test_an_end_while_waiting_ends_and_does_not_spin() -> None:
    server, peer = counting()
    async with trio.open_nursery() as nursery:

        async def close_later() -> None:
            peer.sendall(HELLO[:300])
            await trio.testing.wait_all_tasks_blocked()
            peer.close()

        nursery.start_soon(close_later)
        with pytest.raises(HandshakeFailed) as failed:
            await handshake(server, accepted_at=trio.current_time(), deadline_seconds=30, choose=by_name)
    assert (failed.value.error_type, failed.value.phase) == ("client_closed", "hello")
    assert server.calls <= 5


async def test_a_half_closed_client_with_half_a_hello_ends() -> None:
    server, peer = counting()
    with peer:
        peer.sendall(HELLO[:300])
        peer.shutdown(socket.SHUT_WR)
        with pytest.raises(HandshakeFailed) as failed:
            await handshake(server, accepted_at=trio.current_time(), deadline_seconds=30, choose=by_name)
    assert failed.value.error_type == "client_closed"
    assert server.calls <= 5


async def test_a_stalled_unix_socket_costs_little() -> None:
    """Its poll does not heed SO_RCVLOWAT and is ready all the time: waiting must not become spinning."""
    server, peer = socket.socketpair()
    counted = CountingSocket(fileno=server.detach())
    counted.setblocking(False)
    with peer:
        peer.sendall(HELLO[:300])
        with pytest.raises(HandshakeFailed) as failed:
            await handshake(counted, accepted_at=trio.current_time(), deadline_seconds=0.4, choose=by_name)
    assert (failed.value.error_type, failed.value.phase) == ("timeout", "hello")
    assert counted.calls <= 15
    assert failed.value.facts.rtt_ms is None


async def test_a_client_on_a_unix_socket_is_served() -> None:
    server, peer = socket.socketpair()
    server.setblocking(False)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(trio.to_thread.run_sync, in_steps(amid=0.02), peer)
        result = await handshake(server, accepted_at=trio.current_time(), deadline_seconds=15, choose=by_name)
        assert isinstance(result, Established)
        result.stream.close()
    peer.close()


async def test_cancelled_it_closes_the_socket() -> None:
    server, peer = loopback()
    with peer, trio.CancelScope() as scope:
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await handshake(server, accepted_at=trio.current_time(), deadline_seconds=15, choose=by_name)

            nursery.start_soon(serve)
            await trio.testing.wait_all_tasks_blocked()
            scope.cancel()
    assert scope.cancelled_caught
    assert server.fileno() == -1


async def test_a_defect_in_choose_closes_the_socket_and_is_passed_on() -> None:
    server, peer = loopback()

    def choose(hello: ClientHello) -> Choice:
        raise LookupError("a defect")

    with peer:
        peer.sendall(HELLO)
        with pytest.raises(LookupError):
            await handshake(server, accepted_at=trio.current_time(), deadline_seconds=15, choose=choose)
    assert server.fileno() == -1


async def test_time_before_the_call_counts() -> None:
    """The deadline and the clock begin at the accept, not when the task gets its turn."""
    server, peer = loopback()
    with peer, pytest.raises(HandshakeFailed) as failed:
        await handshake(server, accepted_at=trio.current_time() - 100, deadline_seconds=15, choose=by_name)
    assert (failed.value.error_type, failed.value.phase) == ("timeout", "first_byte")
    assert failed.value.facts.spans["first_byte"] >= 100


async def test_a_refused_client_that_does_not_leave_is_left() -> None:
    """Lingering is bounded: a second after the alert the socket is closed, whatever the client does."""
    server, peer = loopback()
    with peer:
        peer.sendall(hello_bytes(name="nowhere.example"))
        began = trio.current_time()
        with pytest.raises(HandshakeFailed):
            await handshake(server, accepted_at=began, deadline_seconds=15, choose=by_name)
        assert 0.5 < trio.current_time() - began < 5
    assert server.fileno() == -1


def test_every_case_names_a_class_of_the_list() -> None:
    assert {case.reason for case in BROKEN.values()} <= set(FAILURES)


@pytest.fixture(autouse=True)
def _nothing_leaks() -> Iterator[None]:
    """Every socket is closed by its owner, not by the collector."""
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3, "descriptors leak"
