"""What the live views are made of: merged over labels, differences over time, there and back through JSON."""

from __future__ import annotations

import json
import math

from terminator.telemetry.board import Board
from terminator.telemetry.series import FAMILIES
from terminator.telemetry.totals import SOURCES, Totals, totals


def handshake(board_row: object, host: str, outcome: str, resumed: str = "no") -> None:
    counter = board_row.counter(  # type: ignore[attr-defined]
        "terminator_tls_handshakes_total", host=host, version="1.3", resumed=resumed, outcome=outcome
    )
    counter.inc()


def test_sources_exist() -> None:
    assert set(FAMILIES) >= SOURCES


def test_series_are_merged_over_hosts_listeners_and_rows() -> None:
    board = Board(2)
    for number in (0, 1):
        row = board.writer(number)
        handshake(row, "a.test", "established", "yes")
        handshake(row, "b.test", "established")
        handshake(row, "none", "failed")
        row.counter("terminator_tls_handshake_failures_total", listener=f"l{number}", reason="timeout").inc()
        row.histogram("terminator_tls_handshake_duration_seconds", listener="l", phase="client").observe(0.02)
        for status in ("200", "204", "503", "none", "other"):
            labels = {"host": "a.test", "route": f"/{number}", "method": "GET", "status": status}
            row.counter("terminator_http_requests_total", **labels).inc()
        row.histogram("terminator_http_request_duration_seconds", host="a.test", route=f"/{number}").observe(0.3)
        row.counter("terminator_backend_requests_total", backend="b", server="s:1").inc(4)
        row.counter("terminator_backend_errors_total", backend="b", server="s:1", reason="backend_closed").inc()
        row.counter("terminator_backend_errors_total", backend="b", server="s:1", reason="backend_timeout").inc()
        row.histogram("terminator_backend_response_duration_seconds", backend="b").observe(0.1)
        row.gauge("terminator_connections", state="idle").set(5)
        row.gauge("terminator_tls_handshakes_in_progress").set(1)
        row.counter("terminator_client_bytes_total", direction="sent").inc(100)
    found = totals(board, 7.0)
    assert (found.established, found.failed, found.resumed, found.in_progress) == (4, 2, 2, 2)
    assert found.failures == {"timeout": 2}
    assert found.phases["client"].count == 2
    assert found.statuses == {"2xx": 4, "5xx": 2, "none": 4}
    assert found.requests == 10
    assert found.request_seconds is not None
    assert math.isclose(found.request_seconds.sum, 0.6)
    assert (found.servers, found.server_errors) == ({"b s:1": 8}, {"b s:1": 4})
    assert found.backend_seconds["b"].count == 2
    assert (found.connections, found.bytes) == ({"idle": 10}, {"sent": 200})
    assert Totals.from_json(json.loads(json.dumps(found.as_json()))) == found


def test_a_difference_is_what_came_between() -> None:
    board = Board(1)
    row = board.writer(0)
    empty = totals(board, 0.0)
    assert Totals.from_json(empty.as_json()) == empty
    handshake(row, "a", "established")
    histogram = row.histogram("terminator_tls_handshake_duration_seconds", listener="l", phase="total")
    histogram.observe(0.001)
    first = totals(board, 1.0)
    handshake(row, "a", "established")
    histogram.observe(5.0)
    row.histogram("terminator_http_request_duration_seconds", host="a", route="/").observe(0.2)
    between = totals(board, 3.0).since(first)
    assert between.established == 1
    assert between.phases["total"].count == 1
    assert between.phases["total"].sum == 5.0
    assert between.request_seconds is not None
    assert between.request_seconds.count == 1
    assert first.since(empty).established == 1
    assert first.since(totals(board, 3.0)).established == 0, "counters that began anew are no negative numbers"
