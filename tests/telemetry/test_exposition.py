"""What the board holds comes out of both formats as it went in, read back with prometheus_client's own parsers."""

from __future__ import annotations

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from terminator.telemetry.board import Board
from terminator.telemetry.exposition import render
from terminator.telemetry.series import FAMILIES

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.8,text/plain;version=0.0.4;q=0.5"
ODD = 'quote " backslash \\ newline \n é'


def filled() -> Board:
    board = Board(4)
    for row in (2, 3):
        writer = board.writer(row)
        writer.counter("terminator_http_requests_total", host=ODD, route="/", method="GET", status="200").inc(3)
        histogram = writer.histogram("terminator_tls_handshake_duration_seconds", listener="https", phase="client")
        for seconds in (0.0004, 0.003, 20.0):
            histogram.observe(seconds)
    board.writer(0).gauge("terminator_build_info", version="1", python="3.11", openssl="3.0").set(1)
    board.writer(1).gauge("terminator_config_last_reload_successful").set(1)
    return board


def samples(board: Board, accept: str) -> dict[tuple[str, tuple[str, ...]], float]:
    body, content_type = render(board, accept)
    parse = parse_openmetrics if "openmetrics" in content_type else parse_text
    return {
        (sample.name, tuple(sample.labels[label] for label in sorted(sample.labels))): sample.value
        for family in parse(body.decode())
        for sample in family.samples
    }


@pytest.mark.parametrize("accept", ["", "text/plain", OPENMETRICS])
def test_values_come_back(accept: str) -> None:
    told = samples(filled(), accept)
    assert told["terminator_http_requests_total", (ODD, "GET", "/", "200")] == 6
    bucket = "terminator_tls_handshake_duration_seconds_bucket"
    assert told[bucket, ("0.0005", "https", "client")] == 2
    assert told[bucket, ("0.005", "https", "client")] == 4
    assert told[bucket, ("10.0", "https", "client")] == 4
    assert told[bucket, ("+Inf", "https", "client")] == 6
    assert told["terminator_tls_handshake_duration_seconds_count", ("https", "client")] == 6
    assert told["terminator_tls_handshake_duration_seconds_sum", ("https", "client")] == pytest.approx(40.0068)
    assert told["terminator_build_info", ("3.0", "3.11", "1")] == 1
    assert told["terminator_config_last_reload_successful", ()] == 1
    assert told["terminator_worker_restarts_total", ()] == 0


def test_the_content_type_is_negotiated() -> None:
    board = Board(1)
    assert render(board, "")[1].startswith("text/plain; version=0.0.4")
    body, content_type = render(board, OPENMETRICS)
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert body.endswith(b"# EOF\n")


@pytest.mark.parametrize("accept", ["", OPENMETRICS])
def test_every_family_is_described(accept: str) -> None:
    body = render(Board(1), accept)[0].decode()
    for family in FAMILIES.values():
        assert family.help in body, family.name


@pytest.mark.parametrize(
    "accept",
    [
        "application/openmetrics-text; version=abc",
        "application/openmetrics-text; version=",
        "application/openmetrics-text; version=1..",
        "text/plain; version=x; escaping=y",
        "text/plain; version=1.0.0; escaping=y",
        "application/openmetrics-text; version=1.0.0; escaping=y",
        "application/openmetrics-text; version=99.1",
        "application/openmetrics-text; version=²",
        "text/plain; version=99.1; escaping=allow-utf-8",
        ";;;=,,",
        "\xff\x00",
        "text/html",
    ],
)
def test_an_odd_accept_header_gets_an_answer_all_the_same(accept: str) -> None:
    body, content_type = render(filled(), accept)
    assert "version=" in content_type
    assert b"terminator_http_requests_total" in body
