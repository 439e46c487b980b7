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

from terminator.service.history import NOW_SECONDS, History
from terminator.telemetry.board import Distribution
from terminator.telemetry.markup import STYLE, Markup, digest, document, figure, section, table, text, tiles
from terminator.telemetry.plots import bars, lines, meter, spark
from terminator.telemetry.series import PHASES
from terminator.telemetry.totals import Totals

MAX_ROWS = 100
SOON_DAYS = 21.0
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
        _certificates(status["certificates"], view.drifting),
        _backends(view, status["backends"]),
        _workers(status),
        _reloads(status["reloads"], view.now),
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
        told = f'last reload <b class="{outcome}">{text(last["outcome"])}</b> {_ago(last["at"], now)} ago'
    listeners = ", ".join(f"{each['name']} {each['address']}" for each in status["listeners"])
    return (
        f'<header><h1>terminator <span class="{mark}">{text(state)}</span></h1>'
        f'<p class="soft">{text(status["version"])}, up {_ago(status["started"], now)}, process {status["pid"]}; '
        f"{text(status['config'])}, generation {status['generation']} for {_ago(status['generation_since'], now)}; "
        f'{told}</p><p class="soft">{text(listeners)}</p></header>'
    )


def _warnings(status: Json) -> str:
    items = [(each, "warn") for each in status["warnings"]] + [(each, "soft") for each in status["switched_off"]]
    if not items:
        return ""
    shown = "".join(f'<p class="{mark}">{text(each)}</p>' for each, mark in items[:MAX_ROWS])
    return section("Warnings", shown, _more(len(items)))


def _figures(view: View) -> str:
    now, seconds = view.history.now(view.totals)
    total, made = now.phases.get("total"), now.established + now.failed
    open_connections = sum(view.totals.connections.values())
    return tiles(
        (
            (_rate(made / seconds), "handshakes a second"),
            (_share(now.failed, made), "of handshakes failed"),
            (_quantile(total, 0.5), "median handshake"),
            (_quantile(total, 0.99), "handshake, 99th percentile"),
            (_share(now.resumed, now.established), "resumed"),
            (_rate(now.requests / seconds), "requests a second"),
            (_share(now.statuses.get("5xx", 0.0), now.requests), "answered 5xx"),
            (_quantile(now.request_seconds, 0.99), "request, 99th percentile"),
            (f"{open_connections:,.0f}", f"connections, {view.totals.in_progress:,.0f} in handshake"),
        )
    )


def _time(view: View) -> str:
    slices = _whole_hour(view.history.slices(), view.now.timestamp())
    now, _ = view.history.now(view.totals)
    hour = view.history.hour(view.totals)
    rows = []
    for phase in PHASES:
        over_time = [_milliseconds(each.totals.phases.get(phase), 0.5) for each in slices]
        recent, last_hour = now.phases.get(phase), hour.phases.get(phase)
        rows.append(
            (
                phase,
                *(_quantile(recent, share) for share in (0.5, 0.99)),
                *(_quantile(last_hour, share) for share in (0.5, 0.95, 0.99)),
                Markup(spark(f"median of {phase} over the last hour", over_time)) if any(over_time) else "",
            )
        )
    head = ("phase", "#now p50", "#now p99", "#hour p50", "#hour p95", "#hour p99", "median over the hour")
    plots = ""
    if slices:
        times = [each.at for each in slices]
        totals = [[_milliseconds(each.totals.phases.get("total"), share) for each in slices] for share in (0.5, 0.99)]
        counts = [("f1", [each.totals.established for each in slices]), ("fb", [each.totals.failed for each in slices])]
        plots = figure(
            "handshake, total", lines("handshake latency", times, totals, "ms"), [("k1", "p50"), ("k2", "p99")]
        )
        keys = [("k1", "established"), ("kb", "failed")]
        plots += figure("handshakes per minute", bars("handshakes per minute", times, counts, ""), keys)
    return section(
        "Handshake latency by phase", table("latency by phase", head, rows), f'<div class="plots">{plots}</div>'
    )


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
    return "".join(_example(f"{kind} {number}", each) for number, each in enumerate(examples)) or "-"


def _example(key: str, example: Json) -> str:
    at = datetime.fromtimestamp(example.get("at", 0.0), UTC)
    who = " ".join(str(example[name]) for name in ("client", "server_name") if name in example)
    told = "\n".join(f"{name}: {value}" for name, value in example.items() if name not in ("at", "class"))
    return (
        f'<details data-key="{text(key)}"><summary>{at:%H:%M:%S} {text(who)}</summary><pre>{text(told)}</pre></details>'
    )


def _certificates(certificates: list[Json], drifting: frozenset[str]) -> str:
    ordered = sorted(certificates, key=lambda each: each["days_left"])
    rows = [
        (
            each["host"],
            Markup(f'<b class="{_expiry_mark(each["days_left"])}">{_days(each["days_left"])}</b>'),
            each["not_after"][:16].replace("T", " "),
            each["key_type"],
            Markup('<b class="warn">differs; reload</b>') if each["host"] in drifting else "same",
            Markup(f"<code>{text(each['serial'])}</code>"),
            each["file"],
        )
        for each in ordered[:MAX_ROWS]
    ]
    head = ("host", "expires", "at", "key", "on disk", "serial", "file")
    return section("Certificates", table("certificates by expiry", head, rows), _more(len(ordered)))


def _backends(view: View, rows: list[Json]) -> str:
    if not rows:
        return ""
    now, seconds = view.history.now(view.totals)
    servers: dict[tuple[str, str], list[Json]] = {}
    for row in rows:
        servers.setdefault((str(row["backend"]), str(row["server"])), []).append(row)
    shown = []
    for (backend, server), views in list(servers.items())[:MAX_ROWS]:
        key = f"{backend} {server}"
        sent, errors = now.servers.get(key, 0.0), now.server_errors.get(key, 0.0)
        shown.append(
            (
                backend,
                server,
                Markup(_states(views)),
                f"{sum(row['in_flight'] for row in views):,}",
                f"{sum(row['idle_connections'] for row in views):,}",
                _rate(sent / seconds),
                _share(errors, sent),
                _quantile(now.backend_seconds.get(backend), 0.5),
                _quantile(now.backend_seconds.get(backend), 0.99),
            )
        )
    head = ("backend", "server", "state", "#in flight", "#idle", "#requests/s", "#failed", "#response p50", "#p99")
    return section("Backends", table("backends", head, shown), _more(len(servers)))


def _states(views: list[Json]) -> str:
    """One word where all workers agree, else who thinks what."""
    states = {str(row["state"]) for row in views}
    if len(states) == 1:
        state = states.pop()
        return f'<span class="{"good" if state == "up" else "bad"}">{text(state)}</span>'
    told = ", ".join(f"worker {row.get('worker')}: {row['state']}" for row in views)
    return f'<span class="warn">{text(told)}</span>'


def _workers(status: Json) -> str:
    rows = [
        (
            each["worker"],
            Markup(f'<span class="{"good" if each["state"] == "serving" else "warn"}">{text(each["state"])}</span>'),
            each["pid"] or "-",
            (each["since"] or "-")[:19].replace("T", " "),
            f"{each['connections']:,}",
            ", ".join(f"{count} of {number}" for number, count in each["connections_by_generation"].items()) or "-",
        )
        for each in status["workers"]
    ]
    return section(
        "Workers",
        table("workers", ("worker", "state", "process", "since", "#connections", "by generation"), rows),
    )


def _reloads(reloads: Json, now: datetime) -> str:
    history = reloads["history"]
    if not history:
        return section("Reloads", "<p>None since the start.</p>")
    rows = []
    for each in history:
        good = each["outcome"] in ("ok", "unchanged")
        what = "dry run" if each["dry_run"] else each["trigger"]
        rows.append(
            (
                Markup(f'<time datetime="{text(each["at"])}">{text(each["at"][:19].replace("T", " "))}</time>'),
                f"{_ago(each['at'], now)} ago",
                Markup(f'<b class="{"good" if good else "bad"}">{text(each["outcome"])}</b>'),
                what,
                each["generation"],
                f"{each['duration_ms']:.0f} ms",
                Markup(_difference(each)),
            )
        )
    told = f'<p class="soft">{reloads["good"]} of {reloads["attempts"]} were good.</p>'
    head = ("at", "", "outcome", "by", "#generation", "#took", "what")
    return section("Reloads", told, table("reloads", head, rows))


def _difference(reload: Json) -> str:
    texts = [*(change["text"] for change in reload["changes"]), *reload["errors"], *reload["warnings"]]
    texts += [f"needs a restart: {each}" for each in reload["needs_restart"]]
    if not texts:
        return "-"
    whole = text("\n".join(map(str, texts)))
    first = text(str(texts[0]).splitlines()[0])
    if len(texts) == 1 and "\n" not in whole:
        return first
    return f'<details data-key="{text(reload["at"])}"><summary>{first} …</summary><pre>{whole}</pre></details>'


# --------------------------------------------------------------------------------------------------------- figures


def drifting_hosts(series: Iterable[tuple[tuple[str, ...], object]]) -> Iterator[str]:
    """From the series of terminator_certificate_drift."""
    return (labels[0] for labels, value in series if value)


def _more(count: int) -> str:
    return f'<p class="soft">and {count - MAX_ROWS:,} more</p>' if count > MAX_ROWS else ""


def _milliseconds(distribution: Distribution | None, share: float) -> float | None:
    found = distribution.quantile(share) if distribution is not None else None
    return None if found is None else found * 1000


def _quantile(distribution: Distribution | None, share: float) -> str:
    """Interpolated within a bucket of the histogram, so two digits are all it knows."""
    found = _milliseconds(distribution, share)
    return "-" if found is None else f"{found:.2g} ms" if found < 99.5 else f"{found:,.0f} ms"


def _share(part: float, whole: float) -> str:
    return "-" if not whole else f"{part / whole * 100:.3g} %"


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _expiry_mark(days: float) -> str:
    return "bad" if days < 1 else "warn" if days < SOON_DAYS else "good"


def _days(days: float) -> str:
    return f"in {days:,.1f} days" if days >= 0 else f"{-days:,.1f} days ago"


def _ago(moment: str, now: datetime) -> str:
    seconds = max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
