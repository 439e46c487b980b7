"""TLS-ALPN-01 (RFC 8737): connections that offer `acme-tls/1` reach who answers the challenge, untouched."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading

import pytest
from harness.backends import address_of, ok
from harness.conversation import Conversation

PROOF = b"key authorization"


@pytest.fixture
def responder(certificates, tmp_path, cleanup):
    """A server of one's own, with a certificate for the name, that speaks `acme-tls/1` alone."""
    pair = certificates.issue(tmp_path, "a.test")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pair.chain, pair.key)
    context.set_alpn_protocols(["acme-tls/1"])
    listener = socket.create_server(("127.0.0.1", 0))

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = listener.accept()
                with context.wrap_socket(sock, server_side=True) as tls:
                    tls.sendall(PROOF)

    thread = threading.Thread(target=serve)
    thread.start()
    cleanup.callback(thread.join)
    cleanup.callback(listener.close)
    cleanup.callback(listener.shutdown, socket.SHUT_RDWR)  # wakes the accept
    end = "-----END CERTIFICATE-----\n"
    return listener, ssl.PEM_cert_to_DER_cert(pair.chain.read_text().partition(end)[0] + end)


def offering(certificates, *protocols):
    context = certificates.client_context()
    context.set_alpn_protocols(list(protocols))
    return context


def test_challenges_are_passed_through_and_others_are_not(start, site, certificates, answering, responder):
    listener, der = responder
    walled = {"client_auth": {"mode": "require", "ca": str(certificates.ca_file)}}
    daemon = start(
        answering(ok()).address,
        hosts=[site.host("a.test"), site.host("wall.test", tls=walled)],
        tls={"acme_tls": address_of(listener)},
    )
    for name in ("a.test", "wall.test"):  # the authority has no client certificate
        context = offering(certificates, "acme-tls/1")
        context.check_hostname = False
        with daemon.connect(name, context=context) as client:
            assert client.sock.selected_alpn_protocol() == "acme-tls/1"
            assert client.sock.getpeercert(binary_form=True) == der
            assert client.receive_rest() == PROOF
    assert daemon.wait_for("tunnel.closed", {"route": "acme-tls/1"}, count=2)["backend.server"] == address_of(listener)
    with daemon.connect(context=offering(certificates, "http/1.1")) as client:
        assert client.sock.getpeercert(binary_form=True) != der
        client.request()
        assert client.receive_response().status == 200
    with daemon.connect_plain() as plain:
        meet_the_wall(daemon, plain, offering(certificates, "http/1.1"))
    assert daemon.wait_for("tls.handshake", {"host": "wall.test"})["error.type"] == "client_cert_missing"


def meet_the_wall(daemon, plain, context):
    with (
        contextlib.suppress(ssl.SSLError),
        Conversation(daemon.secure(plain.sock, "wall.test", context=context)) as tls,
    ):
        assert tls.receive_rest() == b""


def test_without_an_address_the_offer_is_refused(start, certificates):
    daemon = start()
    with pytest.raises(ssl.SSLError, match=r"(?i)no.application.protocol"):
        daemon.connect(context=offering(certificates, "acme-tls/1"))
    assert daemon.wait_for("tls.handshake", {"error.type": "no_application_protocol"})


def test_a_responder_that_is_not_there_is_told(start, certificates, port):
    address = f"127.0.0.1:{port()}"
    daemon = start(tls={"acme_tls": address})
    with pytest.raises((ssl.SSLError, ConnectionError)):
        daemon.connect(context=offering(certificates, "acme-tls/1"))
    notice = daemon.wait_for("server.notice", {"server.topic": "acme_tls"})
    assert address in notice["message"]
