"""The report in the terminal says what the summary holds."""

from __future__ import annotations

from typing import Any

from synthetic import OLD, day, failure, handshake

from terminator.report.compare import compare
from terminator.report.preview import parse_policy, preview
from terminator.report.summary import comparison_summary, preview_summary, summary
from terminator.report.tally import Tally
from terminator.report.text import comparison_text, effect, interval, preview_text, report_text
from terminator.tls.proofs import prove


def tallied(events: Any, *, offers: bool = False) -> Tally:
    tally = Tally(offers=offers)
    for event in events:
        tally.add(event)
    return tally


def told(events: Any, **source: Any) -> str:
    value = summary(tallied(events), top=5)
    value["source"] = {"files": ["log"], "window": "", "lines": 10, "unreadable": 0} | source
    return "\n".join(report_text(value))


def test_every_section_is_there() -> None:
    text = told(day(400, 1), unreadable=3)
    for part in (
        "HANDSHAKES",
        "PHASE",
        "SLOWEST NETWORKS",
        "FAILURES",
        "CLIENT SOFTWARE",
        "REQUESTS",
        "BACKENDS",
        "first_byte",
        "resumed",
        "shop.example",
        "Chrome 131",
        "note: 3 lines hold no event",
        "at most 1 % off",
    ):
        assert part in text
    assert all(line.isprintable() for line in text.split("\n"))


def test_sections_without_anything_are_left_out() -> None:
    assert told([]).count("\n") == 1
    assert "REQUESTS" not in told([handshake()])
    assert "FAILURES" not in told([handshake()])
    assert "FAILURES" in told([failure()])


def test_failures_alone_have_no_latency() -> None:
    text = told([failure(at) for at in range(5)])
    assert "0 established, 5 failed (100 %)" in text
    assert "p50" not in text
    assert "PHASE  " not in text.partition("FAILURES")[0]


def test_lost_lines_and_reloads_are_told() -> None:
    text = told(
        [
            {"event": "server.log_dropped", "time": "2026-11-21T09:00:00.000000Z", "log.dropped": 1234},
            {
                "event": "config.reload",
                "time": "2026-11-21T09:00:00.000000Z",
                "reload.outcome": "refused",
                "reload.errors": ["a.yaml:1:1: wrong"],
            },
        ]
    )
    assert "caution: 1,234 lines were lost" in text
    assert "2026-11-21 09:00:00  refused\n  a.yaml:1:1: wrong" in text


def test_what_strangers_sent_does_not_reach_the_terminal() -> None:
    evil = "\x1b]0;owned\x07"
    text = told([failure(0, tls_client_ja4=evil, error_openssl=evil), handshake(0, host=evil, client_address=evil)])
    assert "\x1b" not in text
    assert "\\x1b]0;owned" in text


def test_a_comparison_says_what_differs_and_what_may_be_chance() -> None:
    found = compare(tallied(day(2000, 1)), tallied(day(2000, 2, slower=1.5)))
    text = "\n".join(comparison_text(comparison_summary(("before.log", "after.log"), found)))
    different, noise = text.split("MAY BE CHANCE")
    assert "one comparison in 20" in different
    assert "handshake flight" in different
    assert "slower" in different
    assert "handshake first_byte" in noise
    same = compare(tallied(day(300, 1)), tallied(day(300, 1)))
    assert "nothing differs" in "\n".join(comparison_text(comparison_summary(("a", "b"), same)))
    few = compare(tallied([handshake()]), tallied([handshake()]))
    assert "too few to compare: handshake first_byte" in "\n".join(comparison_text(comparison_summary(("a", "b"), few)))


def test_effects_and_intervals_in_words() -> None:
    def row(a: float, b: float, kind: str, low: float | None, high: float | None) -> dict[str, Any]:
        return {"a": a, "b": b, "kind": kind, "verdict": {"low": low, "high": high}}

    assert effect(row(100, 112, "ms", 0, 0)) == "12 % slower"
    assert effect(row(100, 80, "ms", 0, 0)) == "20 % faster"
    assert effect(row(10, 250, "ms", 0, 0)) == "25 times as slow"
    assert effect(row(0, 1, "ms", 0, 0)) == "slower"
    assert effect(row(0.01, 0.05, "share", 0, 0)) == "4 points more"
    assert interval(row(1, 1, "ms", 1.05, 1.2)) == "+5 % to +20 %"
    assert interval(row(1, 1, "ms", 0.9, None)) == "-10 % to no bound"
    assert interval(row(0, 0, "share", -0.01, 0.02)) == "-1 to +2 points"


def test_a_preview_in_words() -> None:
    events = [handshake(at, tls_client_offered__versions="1.2" if at < 5 else "1.3") for at in range(20)]
    events.append(handshake(21, tls_client_offered__ciphers=None))
    tally = tallied([event | {"tls.client.ja4": OLD[0]} for event in events], offers=True)
    found = preview(tally, {"*": parse_policy(["profile=modern"])}, prove())
    text = "\n".join(preview_text(preview_summary("profile=modern", found, 5)))
    assert "of 20 handshakes that were served, 5 would fail (25 %), by 1 kind of clients: unsupported_version 5" in text
    assert "1 handshakes do not tell" in text
    assert OLD[0] in text
    elsewhere = [handshake(30 + at, host="b.example") for at in range(3)]
    tally = tallied([*events, *elsewhere], offers=True)
    found = preview(tally, {"shop.example": parse_policy(["profile=modern"])}, prove())
    text = "\n".join(preview_text(preview_summary("profile=modern", found, 5)))
    assert "note: 3 handshakes were with hosts that the configuration does not have" in text
    nothing = preview(Tally(offers=True), {"*": parse_policy(["profile=modern"])}, prove())
    assert "no handshake" in "\n".join(preview_text(preview_summary("profile=modern", nothing, 5)))
