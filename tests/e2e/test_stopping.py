"""SIGTERM and SIGINT: accept nothing more, finish what is in flight, exit 0; a second signal ends at once."""

from __future__ import annotations

import signal
import time

import pytest
from harness.backends import ok
from harness.conversation import Truncated
from harness.daemon import eventually, is_alive


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_request_in_flight_is_finished(start, played, number):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        daemon.signal(number)
        daemon.wait_for("server.drain")
        eventually(lambda: refuses(daemon))
        behind.send(ok(b"finished"))
        response = client.receive_response()
        assert response.body == b"finished"
        assert response.head["connection"] == "close"
        assert client.ending() == "clean"
    assert daemon.wait() == 0
    assert daemon.wait_for("server.stop")["process.exit_code"] == 0


def refuses(daemon) -> bool:
    try:
        daemon.connect_plain().close()
    except ConnectionRefusedError:
        return True
    except ConnectionResetError:  # the listener closes this very moment
        return False
    return False


def test_a_transfer_in_flight_is_finished(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nabc")
        client.receive_head()
        assert client.receive_exactly(3) == b"abc"
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("server.drain")
        behind.send(b"def")
        assert client.receive_exactly(3) == b"def"
        assert client.ending() == "clean"
    assert daemon.wait() == 0


def test_the_log_tells_how_many_connections_there_are_when_the_drain_begins(start, answering):
    """At that moment, that is, and not with the last heartbeat."""
    daemon = start(answering(ok()).address, workers=2)
    clients = [daemon.connect() for _ in range(5)]
    for client in clients:
        client.request()
        client.receive_response()
    daemon.signal(signal.SIGTERM)
    assert daemon.wait_for("server.drain")["server.connections"] == 5
    assert daemon.wait() == 0
    for client in clients:
        client.close()


def test_kept_connections_do_not_hold_it_up(start, answering):
    daemon = start(answering(ok()).address, timeouts={"drain": "30s"})
    with daemon.connect() as idle:
        idle.request()
        idle.receive_response()
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert time.monotonic() - began < 10
        assert idle.ending() == "clean"


def test_a_connection_just_made_still_gets_its_first_request_served(start, answering):
    daemon = start(answering(ok(b"first and last")).address)
    with daemon.connect() as client:
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("server.drain")
        eventually(lambda: refuses(daemon))  # the worker has heard of it too
        client.request()
        response = client.receive_response()
        assert (response.body, response.head["connection"]) == (b"first and last", "close")
    assert daemon.wait() == 0


def test_what_takes_longer_than_drain_is_cut(start, played):
    backend = played()
    daemon = start(backend.address, timeouts={"drain": "500ms"})
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert daemon.wait_for("server.stop")["server.connections_cut"] == 1
        client.receive_rest()
    told = daemon.wait_for("http.request")
    assert told["error.type"] == "drain_timeout"
    assert "http.response.status_code" not in told


def test_a_response_that_is_cut_by_the_end_of_the_drain_is_seen_to_be_truncated(start, played):
    backend = played()
    daemon = start(backend.address, timeouts={"drain": "500ms"})
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\n\r\nuntil I close")
        client.receive_until(b"until I close\r\n")
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        assert client.ending() == "truncated"
    told = daemon.wait_for("http.request")
    assert (told["http.response.status_code"], told["error.type"]) == (200, "drain_timeout")


def test_a_second_signal_ends_at_once(start, played):
    backend = played()
    daemon = start(backend.address, timeouts={"drain": "5m"})
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        daemon.signal(signal.SIGTERM)
        daemon.wait_for("server.drain")
        began = time.monotonic()
        daemon.signal(signal.SIGTERM)
        daemon.expected_exit = daemon.wait()
        assert daemon.expected_exit in (0, 1)
        assert time.monotonic() - began < 5
        with pytest.raises((Truncated, ConnectionResetError, AssertionError)):
            client.receive_head()


def test_nothing_is_left_of_its_processes(start, answering):
    daemon = start(answering(ok()).address, workers=2)
    processes = daemon.processes()
    assert len(processes) >= 3
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    for pid in processes[1:]:
        eventually(lambda pid=pid: not is_alive(pid))


def test_an_address_in_use_is_told_and_ends_with_1(start, prepare, answering):
    running = start(answering(ok()).address)
    second = prepare(listeners=running.config["listeners"])
    second.expected_exit = 1
    second.launch()
    assert second.wait() == 1
    told = second.story()
    assert str(running.ports["https"]) in told
    assert "another process" in told
