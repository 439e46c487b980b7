"""Counts stand on the board under configured names; what a client invents is `other` or `none`."""

from __future__ import annotations

from terminator.proxy.meters import Meters
from terminator.telemetry.board import Board, Distribution, worker_row


def test_a_request_is_counted_by_route_method_and_status() -> None:
    board = Board(worker_row(1))
    meters = Meters(board.writer(worker_row(0)))
    meters.request("a.test", "/", "GET", 200, None, 0.01)
    meters.request("a.test", "/", "BREW", 799, "backend_timeout", 0.02)
    meters.request(None, None, None, None, "bad_request", 0.0)
    counted = board.snapshot()["terminator_http_requests_total"]
    assert counted == {
        ("a.test", "/", "GET", "200"): 1,
        ("a.test", "/", "other", "other"): 1,
        ("none", "none", "none", "none"): 1,
    }
    errors = board.snapshot()["terminator_http_request_errors_total"]
    assert errors == {("backend_timeout",): 1, ("bad_request",): 1}


def test_an_attempt_is_counted_with_its_times() -> None:
    board = Board(worker_row(1))
    meters = Meters(board.writer(worker_row(0)))
    meters.attempt("web", "127.0.0.1:80", None, 0.001, 0.2)
    meters.attempt("web", "127.0.0.1:80", "backend_timeout", None, None)
    seen = board.snapshot()
    assert seen["terminator_backend_requests_total"] == {("web", "127.0.0.1:80"): 2}
    assert seen["terminator_backend_errors_total"] == {("web", "127.0.0.1:80", "backend_timeout"): 1}
    response = seen["terminator_backend_response_duration_seconds"][("web",)]
    assert isinstance(response, Distribution)
    assert response.count == 1


def test_bytes_are_counted_by_direction() -> None:
    board = Board(worker_row(1))
    meters = Meters(board.writer(worker_row(0)))
    meters.bytes_moved(0, 10)
    meters.bytes_moved(3, 10)
    assert board.snapshot()["terminator_client_bytes_total"] == {("sent",): 20, ("received",): 3}


def test_a_plain_exchange_adds_what_the_single_calls_add() -> None:
    plain, single = Board(worker_row(1)), Board(worker_row(1))
    meters = Meters(plain.writer(worker_row(0)))
    meters.plain_exchange("a.test", "/", "POST", 200, "web", "127.0.0.1:80").count(0.3, 0.2, 4, 20)
    meters = Meters(single.writer(worker_row(0)))
    meters.request("a.test", "/", "POST", 200, None, 0.3)
    meters.attempt("web", "127.0.0.1:80", None, None, 0.2)
    meters.bytes_moved(4, 20)
    assert plain.snapshot() == single.snapshot()


def test_connections_are_in_one_state_each() -> None:
    board = Board(worker_row(1))
    meters = Meters(board.writer(worker_row(0)))
    meters.connections(7, 4, 1)
    assert board.snapshot()["terminator_connections"] == {("handshake",): 4, ("idle",): 1, ("active",): 2}
    assert board.snapshot()["terminator_tls_handshakes_in_progress"] == {(): 4}
    meters.connections(0, 0, 0)
    assert set(board.snapshot()["terminator_connections"].values()) == {0}
