"""`proxy_protocol: v2` tells a backend who the client is and how it speaks, on connections of the client's own."""

from __future__ import annotations

import socket

from harness.backends import ok

from terminator.wire.proxy_header import AUTHORITY, SSL, SSL_CIPHER, SSL_VERSION, ProxyHeader, parse


def receive_header(behind) -> ProxyHeader:
    """Takes the header off the connection and nothing behind it."""
    start = behind.sock.recv(16, socket.MSG_WAITALL | socket.MSG_PEEK)
    size = 16 + int.from_bytes(start[14:16], "big")
    header = parse(behind.sock.recv(size, socket.MSG_WAITALL))
    assert isinstance(header, ProxyHeader)
    return header


def test_the_header_tells_addresses_and_encryption(start, played):
    backend = played()
    daemon = start(backend.address, backend={"proxy_protocol": "v2"})
    with daemon.connect() as client:
        client.request("/one")
        behind = backend.accept()
        header = receive_header(behind)
        assert header.source == client.sock.getsockname()
        assert header.destination == client.sock.getpeername()
        values = dict(header.tlvs)
        assert values[AUTHORITY] == b"a.test"
        facts = values[SSL]
        assert facts[0] == 1  # over TLS, without a client certificate
        assert int.from_bytes(facts[1:5], "big") != 0
        assert bytes([SSL_VERSION]) + b"\0\x07TLSv1.3" in facts
        assert bytes([SSL_CIPHER]) in facts
        assert behind.receive_request().head.target == "/one"
        behind.send(ok())
        client.receive_response()


def test_a_connection_is_kept_for_its_client_and_never_given_to_another(start, played):
    backend = played()
    daemon = start(backend.address, backend={"proxy_protocol": "v2"})
    with daemon.connect() as client:
        client.request("/one")
        behind = backend.accept()
        receive_header(behind)
        behind.receive_request()
        behind.send(ok())
        client.receive_response()
        client.request("/two")
        assert behind.receive_request().head.target == "/two"  # no second header, no second connection
        behind.send(ok())
        client.receive_response()
        with daemon.connect() as other:
            other.request("/three")
            own = backend.accept()
            assert receive_header(own).source == other.sock.getsockname()
            assert own.receive_request().head.target == "/three"
            own.send(ok())
            other.receive_response()
    assert behind.receive() == b""  # the client left, and its connection with it


def test_checks_announce_themselves_as_the_proxys_own(start, played):
    backend = played()
    start(backend.address, backend={"proxy_protocol": "v2", "health_check": {"path": "/up"}})
    behind = backend.accept()
    assert receive_header(behind).local
    assert behind.receive_request().head.target == "/up"
    behind.send(ok())
