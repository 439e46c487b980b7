"""The status page: what the daemon does now and did in the last hour, as one self-contained HTML page.

It needs no script; with scripts it renews itself in place, else the browser reloads it. The policy in `HEADERS` allows
its own style sheet and its own script, by their hashes, and nothing else. All texts, among them what clients sent, pass
through `markup.text`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from terminator.service.history import NOW_SECONDS, History, Slice
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
from terminator.telemetry.markup import STYLE, Markup, digest, document, figure, section, table, text, tiles
from terminator.telemetry.plots import bars, lines, meter, spark
from terminator.telemetry.series import PHASES
from terminator.telemetry.totals import Totals

REFRESH_SECONDS = 5

SCRIPT = f"""
"use strict";
(() => {{
  const box = document.createElement("label"), check = document.createElement("input");
  check.type = "checkbox"; check.checked = true;
  box.append(check, " renew every {REFRESH_SECONDS} seconds");
  document.querySelector("footer").prepend(box);
  const renew = async () => {{
    if (!check.checked || document.hidden) return;
    try {{
      const answer = await fetch(location.pathname, {{cache: "no-store"}});
      if (!answer.ok) throw new Error(answer.status);
      const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
      const open = new Set([...document.querySelectorAll("details[open]")].map(each => each.dataset.key));
      for (const each of fresh.querySelectorAll("details")) each.open = open.has(each.dataset.key);
      const focus = document.activeElement && document.activeElement.getAttribute("aria-label");
      for (const part of ["header", "main"])
        document.querySelector(part).replaceWith(document.adoptNode(fresh.querySelector(part)));
      if (focus) for (const each of document.querySelectorAll("[tabindex]"))
        if (each.getAttribute("aria-label") === focus) each.focus({{preventScroll: true}});
      document.body.classList.remove("stale");
    }} catch {{ document.body.classList.add("stale"); }}
  }};
  setInterval(renew, {REFRESH_SECONDS * 1000});
}})();
"""
_HEAD = f'<noscript><meta http-equiv="refresh" content="{REFRESH_SECONDS * 6}"></noscript>\n'

_POLICY = (
    f"default-src 'none'; style-src {digest(STYLE)}; script-src {digest(SCRIPT)}; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
HEADERS = (
    ("Content-Security-Policy", _POLICY),
    ("X-Frame-Options", "DENY"),
    ("Referrer-Policy", "no-referrer"),
    ("Cross-Origin-Opener-Policy", "same-origin"),
    ("Cross-Origin-Resource-Policy", "same-origin"),
)

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class View:
    """What the page is made of. status: the body of /status, None when the master does not answer."""

    status: Json | None
    totals: Totals
    history: History
    drifting: frozenset[str]
    """Hosts whose certificate on disk is not the one served."""
    now: datetime


def render(view: View) -> str:
    status = view.status
    if status is None:
        missing = '<p class="bad" role="alert">The master does not answer; what follows comes from the metrics.</p>'
        body = f"<header><h1>terminator</h1>{missing}</header>"
        return _page("terminator: no answer", body, "".join((_figures(view), _time(view), _failures(view, []))))
    parts = (
        _warnings(status),
        _figures(view),
        _time(view),
        _failures(view, status["failures"]),
        certificates_table(status["certificates"], view.drifting),
        backends_table(status["backends"], *view.history.now(view.totals)),
        workers_table(status),
        reloads_table(status["reloads"], view.now),
    )
    return _page(f"terminator: {status['state']}", _header(status, view.now), "".join(parts))


def _page(title: str, header: str, main: str) -> str:
    links = '<a href="/metrics">metrics</a>, <a href="/status">status as JSON</a>, <a href="/certs">certificates</a>'
    footer = f"<footer> <span>{links}. Times are UTC; now is the last {NOW_SECONDS:.0f} seconds.</span></footer>"
    return document(title, f"{header}\n<main>{main}</main>\n{footer}\n<script>{SCRIPT}</script>", head=_HEAD)


def _header(status: Json, now: datetime) -> str:
    state = status["state"]
    mark = "good" if state == "serving" else "warn"
    last = status["reloads"]["last"]
    told = "no reload since the start"
    if last is not None:
        outcome = "good" if last["outcome"] in ("ok", "unchanged") else "bad"
        told = f'last reload <b class="{outcome}">{text(last["outcome"])}</b> {ago(last["at"], now)} ago'
    listeners = ", ".join(f"{each['name']} {each['address']}" for each in status["listeners"])
    return (
        f'<header><h1>terminator <span class="{mark}">{text(state)}</span></h1>'
        f'<p class="soft">{text(status["version"])}, up {ago(status["started"], now)}, process {status["pid"]}; '
        f"{text(status['config'])}, generation {status['generation']} for {ago(status['generation_since'], now)}; "
        f'{told}</p><p class="soft">{text(listeners)}</p></header>'
    )


def _warnings(status: Json) -> str:
    items = [(each, "warn") for each in status["warnings"]] + [(each, "soft") for each in status["switched_off"]]
    if not items:
        return ""
    shown = "".join(f'<p class="{mark}">{text(each)}</p>' for each, mark in items[:MAX_ROWS])
    return section("Warnings", shown, more(len(items)))


def _figures(view: View) -> str:
    now, seconds = view.history.now(view.totals)
    total, made = now.phases.get("total"), now.established + now.failed
    open_connections = sum(view.totals.connections.values())
    return tiles(
        (
            (rate(made / seconds), "handshakes a second"),
            (share_of(now.failed, made), "of handshakes failed"),
            (quantile(total, 0.5), "median handshake"),
            (quantile(total, 0.99), "handshake, 99th percentile"),
            (share_of(now.resumed, now.established), "resumed"),
            (rate(now.requests / seconds), "requests a second"),
            (share_of(now.statuses.get("5xx", 0.0), now.requests), "answered 5xx"),
            (quantile(now.request_seconds, 0.99), "request, 99th percentile"),
            (f"{open_connections:,.0f}", f"connections, {view.totals.in_progress:,.0f} in handshake"),
        )
    )


def _time(view: View) -> str:
    slices = _whole_hour(view.history.slices(), view.now.timestamp())
    now, _ = view.history.now(view.totals)
    hour = view.history.hour(view.totals)
    rows = []
    for phase in PHASES:
        over_time = [milliseconds(each.totals.phases.get(phase), 0.5) for each in slices]
        recent, last_hour = now.phases.get(phase), hour.phases.get(phase)
        rows.append(
            (
                phase,
                *(quantile(recent, share) for share in (0.5, 0.99)),
                *(quantile(last_hour, share) for share in (0.5, 0.95, 0.99)),
                Markup(spark(f"median of {phase} over the last hour", over_time)) if any(over_time) else "",
            )
        )
    head = ("phase", "#now p50", "#now p99", "#hour p50", "#hour p95", "#hour p99", "median over the hour")
    times = [each.at for each in slices]
    totals = [[milliseconds(each.totals.phases.get("total"), share) for each in slices] for share in (0.5, 0.99)]
    counts = [("f1", [each.totals.established for each in slices]), ("fb", [each.totals.failed for each in slices])]
    latency = lines("handshake latency", times, totals, "ms")
    plots = figure("handshake, total", latency, [("k1", "p50"), ("k2", "p99")])
    made = bars("handshakes per minute", times, counts, "")
    plots += figure("handshakes per minute", made, [("k1", "established"), ("kb", "failed")])
    return section(
        "Handshake latency by phase", table("latency by phase", head, rows), f'<div class="plots">{plots}</div>'
    )


def _whole_hour(slices: list[Slice], now: float) -> list[Slice]:
    """With empty minutes before the first, so that an hour is always as wide."""
    first = slices[0].at if slices else now
    missing = max(0, 60 - len(slices))
    return [Slice(first - 60.0 * number, Totals(0.0)) for number in range(missing, 0, -1)] + slices


def _failures(view: View, examples: list[Json]) -> str:
    hour = view.history.hour(view.totals).failures
    classes = sorted(view.totals.failures.items(), key=lambda item: (-hour.get(item[0], 0.0), -item[1]))
    if not classes:
        return section("Failed handshakes", "<p>None since the start.</p>")
    by_class: dict[str, list[Json]] = {}
    for example in sorted(examples, key=lambda row: -row.get("at", 0.0)):
        by_class.setdefault(str(example.get("class")), []).append(example)
    most = max(hour.values(), default=0.0) or 1.0
    rows = [
        (
            kind,
            f"{hour.get(kind, 0.0):,.0f}",
            Markup(meter(hour.get(kind, 0.0) / most, "fb")),
            f"{count:,.0f}",
            Markup(_examples(kind, by_class.get(kind, [])[:3])),
        )
        for kind, count in classes
    ]
    head = ("class", "#last hour", "", "#since the start", "last examples")
    return section("Failed handshakes", table("failures by class", head, rows))


def _examples(kind: str, examples: list[Json]) -> str:
    # The key is the connection's: what a reader has opened must not become another failure when newer ones come.
    return (
        "".join(_example(f"{kind} {each.get('conn_id', number)}", each) for number, each in enumerate(examples)) or "-"
    )


def _example(key: str, example: Json) -> str:
    at = datetime.fromtimestamp(example.get("at", 0.0), UTC)
    who = " ".join(str(example[name]) for name in ("client", "server_name") if name in example)
    told = "\n".join(f"{name}: {value}" for name, value in example.items() if name not in ("at", "class"))
    return (
        f'<details data-key="{text(key)}"><summary>{at:%H:%M:%S} {text(who)}</summary><pre>{text(told)}</pre></details>'
    )


def drifting_hosts(series: Iterable[tuple[tuple[str, ...], object]]) -> Iterator[str]:
    """From the series of terminator_certificate_drift."""
    return (labels[0] for labels, value in series if value)
