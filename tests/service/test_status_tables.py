"""The tables of the status page, figure by figure."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from terminator.service.status_tables import (
    MAX_ROWS,
    ago,
    backends_table,
    certificates_table,
    milliseconds,
    more,
    quantile,
    rate,
    reloads_table,
    share_of,
    workers_table,
)
from terminator.telemetry.board import Distribution
from terminator.telemetry.totals import Totals

SPREAD = Distribution((0.001, 0.01, 0.1), (0.0, 90.0, 10.0, 0.0), 1.0)


def test_figures() -> None:
    assert quantile(None, 0.5) == "-"
    assert quantile(SPREAD, 0.5) == "6 ms"
    assert quantile(SPREAD, 1.0) == "100 ms"
    assert milliseconds(SPREAD, 0.9) == pytest.approx(10.0)
    assert (share_of(1, 0), share_of(1, 8)) == ("-", "12.5 %")
    assert (rate(0.123), rate(1234.5)) == ("0.123", "1,234")
    assert more(MAX_ROWS) == ""
    assert f"and {7} more" in more(MAX_ROWS + 7)
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert ago("2026-11-21T11:59:30+00:00", now) == "30 s"
    assert ago("2026-11-11T11:59:30+00:00", now) == "10 d"


def row(worker: int, state: str) -> dict[str, object]:
    return {"worker": worker, "backend": "b", "server": "s:1", "state": state, "in_flight": 1, "idle_connections": 2}


def test_servers_on_which_workers_disagree() -> None:
    now = Totals(at=10.0, servers={"b s:1": 100.0}, server_errors={"b s:1": 5.0}, backend_seconds={"b": SPREAD})
    alike = backends_table([row(0, "down"), row(1, "down")], now, 10.0)
    assert '<span class="bad">down</span>' in alike
    for part in ("<td>s:1</td>", ">2<", ">4<", ">10<", "5 %", "6 ms"):
        assert part in alike
    assert "worker 0: up, worker 1: down" in backends_table([row(0, "up"), row(1, "down")], now, 10.0)
    assert backends_table([], now, 10.0) == ""


@pytest.mark.parametrize(("days", "mark"), [(-1.0, "bad"), (0.5, "bad"), (20.0, "warn"), (60.0, "good")])
def test_how_urgent_a_certificate_is(days: float, mark: str) -> None:
    each = {"host": "a", "file": "f", "serial": "1", "key_type": "rsa", "not_after": "2026-12-01", "days_left": days}
    assert f'<b class="{mark}">' in certificates_table([each], frozenset())
    assert "differs" in certificates_table([each], frozenset({"a"}))


def test_workers_by_generation() -> None:
    each = {
        "worker": 0,
        "state": "serving",
        "pid": 5,
        "since": "2026-11-21T10:00:00+00:00",
        "connections": 1500,
        "connections_by_generation": {"1": 2, "2": 1498},
    }
    html = workers_table({"workers": [each]})
    assert "2 of 1, 1498 of 2" in html
    assert "1,500" in html


def test_reloads_with_one_or_many_differences() -> None:
    reload = {
        "at": "2026-11-21T11:59:00+00:00",
        "outcome": "ok",
        "dry_run": True,
        "trigger": "command",
        "generation": 2,
        "duration_ms": 3.0,
        "changes": [{"text": "host a: added"}],
        "errors": [],
        "warnings": [],
        "needs_restart": [],
    }
    now = datetime(2026, 11, 21, 12, tzinfo=UTC)
    one = reloads_table({"attempts": 1, "good": 1, "history": [reload]}, now)
    assert "<details" not in one
    assert "dry run" in one
    many = reload | {"changes": [{"text": "host a: added"}, {"text": "host b: removed"}]}
    html = reloads_table({"attempts": 1, "good": 1, "history": [many]}, now)
    assert "<summary>host a: added …</summary><pre>host a: added\nhost b: removed</pre>" in html
    assert "-" in reloads_table({"attempts": 1, "good": 1, "history": [reload | {"changes": []}]}, now)
