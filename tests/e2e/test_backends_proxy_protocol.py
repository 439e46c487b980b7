"""`proxy_protocol: v2` tells a backend who the client is and how it speaks, on connections of the client's own."""

from __future__ import annotations

import signal
import socket

import yaml
from harness.backends import ok
from harness.conversation import Conversation

from terminator.wire.proxy_header import AUTHORITY, SSL, SSL_CIPHER, SSL_VERSION, ProxyHeader, encode_v2, parse


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


def test_a_reload_that_removes_the_server_ends_it_although_the_client_stays(start, played):
    backend, other = played(), played()
    daemon = start(backend.address, backend={"proxy_protocol": "v2"})
    with daemon.connect() as client:
        client.request("/before")
        behind = backend.accept()
        receive_header(behind)
        behind.receive_request()
        behind.send(ok())
        client.receive_response()
        (name,) = daemon.config["backends"]
        config = {**daemon.config, "backends": {name: {"servers": [other.address], "proxy_protocol": "v2"}}}
        daemon.config_file.write_text(yaml.safe_dump(config))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config.reload", {"reload.outcome": "ok"})
        assert behind.receive() == b""
        client.request("/after")
        behind = other.accept()
        receive_header(behind)
        behind.receive_request()
        behind.send(ok())
        client.receive_response()


def test_what_a_proxy_in_front_told_is_kept(start, site, played):
    """Its name of the connection joins its log with ours and the backend's; text or not."""
    backend = played()
    listener = site.listener(proxy_protocol={"trusted": ["127.0.0.0/8"]})
    daemon = start(backend.address, backend={"proxy_protocol": "v2"}, listeners=[listener])
    for unique_id, logged in ((b"edge-7:42", "edge-7:42"), (b"\xf0\x00\x01", "f00001")):
        plain = daemon.connect_plain()
        told = encode_v2(("192.0.2.7", 50000), ("198.51.100.1", 443), authority="edge.test", unique_id=unique_id)
        plain.send(told)
        with Conversation(daemon.secure(plain.sock, "a.test")) as client:
            client.request("/")
            behind = backend.accept()
            header = receive_header(behind)
            assert (header.source, header.unique_id) == (("192.0.2.7", 50000), unique_id)
            assert header.authority == "a.test"  # the client's own word, which our certificate answered
            behind.receive_request()
            behind.send(ok())
            client.receive_response()
        event = daemon.wait_for("tls.handshake", {"proxy.unique_id": logged})
        assert (event["proxy.authority"], event["client.address"]) == ("edge.test", "192.0.2.7")


def test_checks_announce_themselves_as_the_proxys_own(start, played):
    backend = played()
    start(backend.address, backend={"proxy_protocol": "v2", "health_check": {"path": "/up"}})
    behind = backend.accept()
    assert receive_header(behind).local
    assert behind.receive_request().head.target == "/up"
    behind.send(ok())
