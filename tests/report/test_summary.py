"""The answers of a report against a log whose figures are known."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest
from synthetic import BROWSER, OLD, clock, day, failure, handshake, request

from terminator.report.compare import compare
from terminator.report.page import page
from terminator.report.preview import parse_policy, preview
from terminator.report.summary import comparison_summary, preview_summary, summary
from terminator.report.tally import Tally
from terminator.report.text import comparison_text, report_text
from terminator.tls.proofs import prove


def tallied(events: Any, *, offers: bool = False) -> Tally:
    tally = Tally(offers=offers)
    for event in events:
        tally.add(event)
    return tally


def test_percentiles_of_each_phase_are_those_of_the_log() -> None:
    """1,000 handshakes whose client phase takes 1, 2, … 1,000 ms."""
    clients = list(range(1, 1001))
    random.Random(1).shuffle(clients)
    value = summary(tallied(handshake(at, client=float(ms)) for at, ms in enumerate(clients)), top=10)
    phases = {row["phase"]: row for row in value["handshakes"]["phases"]}
    for name, exact in (("p50", 500), ("p90", 900), ("p95", 950), ("p99", 990), ("max", 1000)):
        assert phases["client"][name] == pytest.approx(exact, rel=0.01)
    assert phases["client"]["mean"] == pytest.approx(500.5)
    assert phases["flight"]["p99"] == pytest.approx(0.8, rel=0.01)
    assert sum(phases[name]["share"] for name in phases if name != "total") == pytest.approx(1.0)
    assert sum(count for _, _, count in value["handshakes"]["shape"]) == 1000


def test_handshakes_are_told_apart_by_what_is_asked_for() -> None:
    events = [handshake(at, host=f"h{at % 3}", tls_resumed=at % 2 == 0) for at in range(60)]
    tally = tallied(events)
    every = summary(tally, top=10)["handshakes"]["by"]
    assert len(every) == 6
    assert every[0].keys() == {"version", "resumed", "key", "host", "count", "phases"}
    hosts = summary(tally, top=2, by=("host",))["handshakes"]["by"]
    assert [(row["host"], row["count"]) for row in hosts] == [("h0", 20), ("h1", 20)]
    assert summary(tally, top=10)["handshakes"]["resumed_share"] == 0.5


def test_slow_networks_come_first() -> None:
    events = [handshake(at, client_address="198.51.100.9", client=900.0) for at in range(20)]
    events += [handshake(at, client_address="203.0.113.9") for at in range(50)]
    events += [handshake(at, client_address="192.0.2.1", client=9000.0) for at in range(3)]
    value = summary(tallied(events), top=10)["networks"]
    assert [row["network"] for row in value["slowest"]] == ["198.51.100.0/24", "203.0.113.0/24"]
    assert value["slowest"][0]["p50"] == pytest.approx(910.95, rel=0.01)
    assert value["slowest"][0]["rtt_p50"] == pytest.approx(9.0, rel=0.01)
    assert value["seen"] == 3


def test_failures_name_their_clients() -> None:
    events = [
        handshake(0, conn_id="c", tls_client_ja4=OLD[0]),
        request(1, conn_id="c", user__agent_original=OLD[1]),
        *(failure(at, tls_client_ja4=OLD[0], error_openssl="UNSUPPORTED_PROTOCOL") for at in range(4)),
        *(handshake(at) for at in range(5)),
    ]
    value = summary(tallied(events), top=10)
    (row,) = value["failures"]
    assert (row["class"], row["count"], row["share"]) == ("unsupported_version", 4, 0.4)
    assert row["openssl"] == {"UNSUPPORTED_PROTOCOL": 4}
    assert row["clients"] == [{"ja4": OLD[0], "count": 4, "software": "OldApp/1.2"}]
    assert row["example"]["event"] == "tls.handshake"
    assert [(row["ja4"], row["failed"]) for row in value["clients"]] == [(OLD[0], 4), (BROWSER[0], 0)]


def test_requests_and_backends() -> None:
    events = [request(at, 10.0 + at, http_response_status__code=200 if at else 503) for at in range(100)]
    value = summary(tallied(events), top=5)
    assert value["requests"]["statuses"] == {"2xx": 99, "5xx": 1}
    assert value["requests"]["routes"][0]["p50"] == pytest.approx(59, rel=0.01)
    (server,) = value["backends"]
    assert server["response_ms"]["p99"] == pytest.approx(108 * 0.9, rel=0.01)
    assert server["connect_ms"]["p99"] is None


def test_nothing_is_no_fault_and_everything_is_json() -> None:
    for tally in (Tally(), tallied(day(300, 1))):
        text = json.dumps(summary(tally, top=10), allow_nan=False)
        assert json.loads(text)["quantile_error"] == 0.01
    few = comparison_summary(("a", "b"), compare(tallied(day(300, 1)), tallied(day(300, 2, slower=3))))
    assert json.loads(json.dumps(few))["different"]


def test_a_preview_tells_shares_by_host_and_client() -> None:
    old = {"tls_client_offered__versions": "1.2", "tls_client_ja4": OLD[0]}
    events = [handshake(at, **(old if at < 5 else {})) for at in range(20)]
    tally = tallied(events, offers=True)
    found = preview(tally, {"*": parse_policy(["profile=modern"])}, prove())
    value = preview_summary("profile=modern", found, 10)
    assert (value["served"], value["lost"], value["lost_share"]) == (20, 5, 0.25)
    assert value["by_host"] == [
        {
            "host": "shop.example",
            "served": 20,
            "lost": 5,
            "lost_share": 0.25,
            "classes": {"unsupported_version": 5},
        }
    ]
    assert value["by_client"][0]["ja4"] == OLD[0]
    assert value["policies"]["*"]["min_version"] == "1.3"
    json.dumps(value)


HOSTILE: list[object] = [
    *(None, True, 0, 5, -5, 2**63 - 1, 1e308, -1e308, 1e-320, "", "x", "-1", "1e999", [], [1], {}, {"a": [{}]}),
    *(
        "\x1b[31m\u202e<script>alert(1)</script>\n",
        "2026-11-21T09:00:00Z",
        "0001-01-01T00:00:00Z",
        "9999-12-31T23:59:59Z",
    ),
]


@pytest.mark.parametrize("seed", range(60))
def test_whatever_a_line_holds_every_answer_is_written(seed: int) -> None:
    """Any key of any event with any value: text, page, JSON, comparison and preview are made all the same."""
    rng = random.Random(seed)
    events: list[dict[str, object]] = []
    for number in range(40):
        event: dict[str, object] = rng.choice(
            [
                handshake(number),
                failure(number, error_openssl="X"),
                request(number, error_type="x"),
                {
                    "event": "tunnel.closed",
                    "time": clock(number),
                    "timing.tunnel_ms": 3.0,
                    "tunnel.closed_by": "client",
                },
                {"event": "config.reload", "time": clock(number), "reload.outcome": "ok", "reload.changes": ["a"]},
                {"event": "server.log_dropped", "time": clock(number), "log.dropped": 3},
            ]
        )
        for _ in range(rng.randrange(3)):
            event[rng.choice([*(key for key in event if key != "event"), "log.sample"])] = rng.choice(HOSTILE)
        events.append(event)
    one, other = tallied(events, offers=True), tallied(handshake(at) for at in range(30))
    source = {"files": ["log"], "lines": 40, "unreadable": 0}
    value = {"source": source, **summary(one, top=10)}
    found = preview(one, {"*": parse_policy(["profile=modern"])}, prove())
    value["preview"] = preview_summary("profile=modern", found, 10)
    versus = comparison_summary(("a", "b"), compare(one, other)) | {"reports": [value, value]}
    texts = [*report_text(value), *comparison_text(versus), page(value), page(versus)]
    assert "<script>" not in "".join(texts[-2:])
    "".join(texts).encode()
    json.dumps([value, versus], allow_nan=False)
