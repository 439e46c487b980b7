"""The phase clock and the log line, apart from any handshake."""

from __future__ import annotations

import socket

import pytest
import trio
from trio.testing import MockClock

from terminator.errors import HandshakeError
from terminator.tls.handshake_facts import HandshakeFacts, HandshakeFailed, handshake_event, round_trip_ms


async def test_the_spans_add_up_to_the_whole(mock_clock: MockClock) -> None:
    began = trio.current_time()
    facts = HandshakeFacts(began)
    phases = []
    for span in ("hello", "select", "flight", "client", "flight", "client"):
        phases.append(facts.phase)
        mock_clock.jump(0.25)
        facts.turn(span)
    mock_clock.jump(0.25)
    facts.finish()
    assert phases == ["first_byte", "hello", "select", "handshake", "handshake", "handshake"]
    assert facts.phase == "handshake"
    assert facts.spans == {"first_byte": 0.25, "hello": 0.25, "select": 0.25, "flight": 0.5, "client": 0.5}
    event = handshake_event(facts, conn_id="c", listener="l", client_address=None, client_port=None)
    assert event.handshake_ms == 1750.0
    assert (event.flight_ms, event.client_ms) == (500.0, 500.0)


async def test_a_phase_that_was_never_reached_is_absent() -> None:
    facts = HandshakeFacts(trio.current_time())
    facts.finish()
    here, there = socket.socketpair()
    with here, there:
        facts.ask_kernel(here)
    assert facts.rtt_ms is None  # a unix socket has no round trip
    error = HandshakeError("timeout", "first_byte", "not done", openssl="X", alert_sent="a", alert_received="b")
    failure = HandshakeFailed(error, facts)
    event = handshake_event(
        failure.facts,
        conn_id="c",
        listener="https",
        client_address="192.0.2.1",
        client_port=4,
        proxy_address="10.0.0.1",
        generation=7,
        error=failure,
    )
    assert event.first_byte_ms is not None
    assert (event.hello_ms, event.select_ms, event.flight_ms, event.client_ms, event.ja4) == (None,) * 5
    assert (event.error_type, event.error_phase, event.error_message) == ("timeout", "first_byte", "not done")
    assert (event.error_openssl, event.alert_sent, event.alert_received) == ("X", "a", "b")
    assert (event.listener, event.proxy_address, event.generation) == ("https", "10.0.0.1", 7)


def test_round_trip_time_is_the_kernels() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        server, _ = listener.accept()
        with server:
            client.sendall(b"x")
            server.recv(1)
            measured = round_trip_ms(server)
    assert measured == pytest.approx(5, abs=5)


def test_no_round_trip_time_without_tcp() -> None:
    here, there = socket.socketpair()
    with here, there:
        assert round_trip_ms(here) is None
