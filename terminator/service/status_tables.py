"""The tables of the status page: certificates, backends, workers, reloads; and how its figures are written."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from terminator.telemetry.board import Distribution
from terminator.telemetry.markup import Markup, section, table, text
from terminator.telemetry.totals import Totals

MAX_ROWS = 100
SOON_DAYS = 21.0

Json = dict[str, Any]


def certificates_table(certificates: list[Json], drifting: frozenset[str]) -> str:
    """Those that expire first stand first. drifting: hosts whose files are not what is served."""
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
    return section("Certificates", table("certificates by expiry", head, rows), more(len(ordered)))


def backends_table(rows: list[Json], now: Totals, seconds: float) -> str:
    """rows: one per worker and server; now: what came in the last `seconds`."""
    if not rows:
        return ""
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
                rate(sent / seconds),
                share_of(errors, sent),
                quantile(now.backend_seconds.get(backend), 0.5),
                quantile(now.backend_seconds.get(backend), 0.99),
            )
        )
    head = ("backend", "server", "state", "#in flight", "#idle", "#requests/s", "#failed", "#response p50", "#p99")
    return section("Backends", table("backends", head, shown), more(len(servers)))


def _states(views: list[Json]) -> str:
    """One word where all workers agree, else who thinks what."""
    states = {str(row["state"]) for row in views}
    if len(states) == 1:
        state = states.pop()
        return f'<span class="{"good" if state == "up" else "bad"}">{text(state)}</span>'
    told = ", ".join(f"worker {row.get('worker')}: {row['state']}" for row in views)
    return f'<span class="warn">{text(told)}</span>'


def workers_table(status: Json) -> str:
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


def reloads_table(reloads: Json, now: datetime) -> str:
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
                f"{ago(each['at'], now)} ago",
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


def more(count: int) -> str:
    return f'<p class="soft">and {count - MAX_ROWS:,} more</p>' if count > MAX_ROWS else ""


def milliseconds(distribution: Distribution | None, share: float) -> float | None:
    found = distribution.quantile(share) if distribution is not None else None
    return None if found is None else found * 1000


def quantile(distribution: Distribution | None, share: float) -> str:
    """Interpolated within a bucket of the histogram, so two digits are all it knows."""
    found = milliseconds(distribution, share)
    return "-" if found is None else f"{found:.2g} ms" if found < 99.5 else f"{found:,.0f} ms"


def share_of(part: float, whole: float) -> str:
    return "-" if not whole else f"{part / whole * 100:.3g} %"


def rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def _expiry_mark(days: float) -> str:
    return "bad" if days < 1 else "warn" if days < SOON_DAYS else "good"


def _days(days: float) -> str:
    figure = f"{abs(days):,.1f}" if abs(days) < 100 else f"{abs(days):,.0f}"
    return f"in {figure} days" if days >= 0 else f"{figure} days ago"


def ago(moment: str, now: datetime) -> str:
    seconds = max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
