from __future__ import annotations

import socket
import ssl
from collections.abc import Callable

from terminator.selftest.caller import Caller
from terminator.selftest.target import Realm
from terminator.selftest.tickets import Tickets
from terminator.tls.alerts import alert_record


def refusing(sock: socket.socket) -> None:
    sock.recv(8192)
    sock.sendall(alert_record("handshake_failure"))
    sock.shutdown(socket.SHUT_WR)
    sock.recv(8192)


def test_a_ticket_is_proved_where_it_is_from(realm: Callable[..., Realm], listen: Callable[..., Caller]) -> None:
    subjects = realm("a.test", "b.test").subjects
    tickets = Tickets(listen(refusing))
    assert tickets.of(subjects[0], "1.3") is None
    assert tickets.why_not(list(subjects), "1.3").endswith(
        "a.test does not resume its own, b.test does not resume its own"
    )


def test_a_ticket_is_got_once(
    realm: Callable[..., Realm], listen: Callable[..., Caller], server_context: ssl.SSLContext
) -> None:
    connections = []

    def serve(sock: socket.socket) -> None:
        connections.append(1)
        with server_context.wrap_socket(sock, server_side=True) as tls:
            tls.recv(4096)
            tls.sendall(b"HTTP/1.1 421 Misdirected Request\r\n\r\n")
            tls.recv(4096)

    [subject] = realm("a.test").subjects
    tickets = Tickets(listen(serve))
    session = tickets.of(subject, "1.3")
    assert session is not None
    assert tickets.of(subject, "1.3") is session
    assert len(connections) == 2  # one that got it, one that proved it


def test_what_there_is_no_ticket_of(realm: Callable[..., Realm], listen: Callable[..., Caller]) -> None:
    wall = "client_auth: {mode: require, ca: ca.pem}"
    subjects = realm(("a.test", wall), ("b.test", "tickets: false"), ("c.test", "profile: modern")).subjects
    tickets = Tickets(listen(refusing))
    assert [tickets.of(subject, "1.2") for subject in subjects] == [None, None, None]
    assert tickets.why_not(list(subjects), "1.2") == (
        "no ticket of another host is to be had: a.test requires a certificate, b.test issues none, "
        "c.test does not speak TLS 1.2"
    )
    tickets = Tickets(Caller(listen(refusing).door, 0, identity=("cert.pem", "key.pem")))
    assert [tickets.shown_to(subject) for subject in subjects] == ["own", "nothing", "nothing"]
