"""A report as one HTML page with plots: no script, nothing loaded, light and dark."""

from __future__ import annotations

from typing import Any

import orjson

from terminator.report.forms import clock, ms, percent
from terminator.report.text import effect, interval
from terminator.telemetry.markup import STYLE, Markup, digest, document, figure, section, table, text, tiles
from terminator.telemetry.plots import bars, histogram, lines, meter, ranges

Json = dict[str, Any]
_POLICY = f"default-src 'none'; style-src {digest(STYLE)}; base-uri 'none'; form-action 'none'"
_HEAD = f'<meta http-equiv="Content-Security-Policy" content="{text(_POLICY)}">\n'
"""The page needs no script and loads nothing; a browser shall not either, whatever a log holds."""
_MS = ("p50", "p90", "p95", "p99", "max")
_MS_HEAD = ("#p50 ms", "#p90", "#p95", "#p99", "#max")


def page(value: Json) -> str:
    """Of a report, with or without a preview, or of a comparison."""
    if "different" in value:
        names = f"{value['a']} and {value['b']}"
        body = _header("Comparison", names) + f"<main>{_comparison(value)}{_both(value)}</main>"
        return document(f"terminator report: {names}", body, head=_HEAD)
    names = ", ".join(value["source"]["files"])
    body = _header("Report", f"{names}, {clock(value['first'])} to {clock(value['last'])} UTC")
    preview = _preview(value["preview"]) if "preview" in value else ""
    main = f"<main>{preview}{_report(value)}</main>"
    return document(f"terminator report: {names}", body + main + _footer(value), head=_HEAD)


def _header(kind: str, names: str) -> str:
    return f'<header><h1>terminator: {kind}</h1><p class="soft">{text(names)}</p></header>'


def _footer(value: Json) -> str:
    notes = [f"Quantiles are at most {value['quantile_error'] * 100:.0f} % off. Times are UTC."]
    if value["source"]["unreadable"]:
        notes.append(f"{value['source']['unreadable']:,} lines hold no event of terminator.")
    if value["malformed"]:
        notes.append(f"{value['malformed']:,} events lack what their kind has.")
    if value["lost_lines"]:
        notes.append(f"{value['lost_lines']:,} lines were lost when the log was written; counts are too low.")
    return f"<footer>{text(' '.join(notes))}</footer>"


def _report(value: Json) -> str:
    made, asked = value["handshakes"], value["requests"]
    figures = [
        (f"{made['established']:,.0f}", "handshakes established"),
        (percent(made["failed_share"]), "of handshakes failed"),
        (percent(made["resumed_share"]), "resumed"),
        (f"{ms(made['phases'][-1]['p50'])} ms", "median handshake"),
        (f"{ms(made['phases'][-1]['p99'])} ms", "handshake, 99th percentile"),
        (f"{asked['count']:,.0f}", "requests"),
        (f"{ms(asked['ms']['p99'])} ms", "request, 99th percentile"),
    ]
    parts = [tiles(figures), _time(value)]
    if made["established"]:
        parts += [_phases(value), _networks(value["networks"])]
    parts += [_failures(value), _requests(value), _reloads(value["reloads"])]
    return "".join(parts)


def _time(value: Json) -> str:
    slices = value["timeline"]["slices"]
    if not slices:
        return ""
    times = [each["at"] for each in slices]
    width = f"per {value['timeline']['seconds']} s"

    def of(name: str) -> list[float | None]:
        return [each[name] for each in slices]

    counts = bars("handshakes", times, [("f1", of("established")), ("fb", of("failed"))], "")
    latency = lines("handshake latency", times, [of("p50"), of("p99")], "ms")
    requests = bars("requests", times, [("f3", of("requests"))], "")
    plots = figure(f"handshakes {width}", counts, [("k1", "established"), ("kb", "failed")])
    plots += figure("handshake, total", latency, [("k1", "p50"), ("k2", "p99")])
    if value["requests"]["count"]:
        plots += figure(f"requests {width}", requests)
    return section("Over time", f'<div class="plots">{plots}</div>')


def _phases(value: Json) -> str:
    made = value["handshakes"]
    rows = [
        (
            each["phase"],
            f"{each['count']:,.0f}",
            *(ms(each[name]) for name in _MS),
            Markup(meter(each["share"] or 0.0)) if each["phase"] != "total" else "",
        )
        for each in made["phases"]
    ]
    spans = [(each["phase"], [each["p50"], each["p90"], each["p99"]]) for each in made["phases"]]
    plots = figure("median (dot), to 90th (line), to 99th percentile (mark)", ranges("phases", spans, "ms"))
    plots += figure("all handshakes, by total time", histogram("handshake total", made["shape"], "ms"))
    groups = ", ".join(f"{name} {count:,.0f}" for name, count in made["groups"].items()) or "-"
    offered = percent(made["post_quantum_offered_share"])
    return section(
        "Where handshakes spend their time",
        f'<div class="plots">{plots}</div>',
        table("phases", ("phase", "#handshakes", *_MS_HEAD, "share of time"), rows),
        "<h3>By version, resumption, key type and host</h3>",
        _by(made["by"]),
        f'<p class="soft">Key exchange: {text(groups)}. Post-quantum offered by {text(offered)}.</p>',
    )


def _by(rows: list[Json]) -> str:
    keys = [key for key in rows[0] if key not in ("count", "phases")] if rows else []
    body = []
    for row in rows:
        phases = {each["phase"]: each for each in row["phases"]}
        words = ["-" if row[key] is None else _word(key, row[key]) for key in keys]
        total = [ms(phases["total"][name]) for name in _MS]
        others = [ms(phases[phase]["p95"]) for phase in ("first_byte", "flight", "client")]
        body.append((*words, f"{row['count']:,.0f}", *total, *others))
    head = (*keys, "#handshakes", *_MS_HEAD, "#first byte p95", "#flight p95", "#client p95")
    return table("handshakes by kind", head, body)


def _word(key: str, value: object) -> str:
    if key == "resumed":
        return "resumed" if value else "full"
    return str(value)


def _networks(value: Json) -> str:
    if not value["slowest"]:
        return ""
    rows = [
        (each["network"], f"{each['count']:,.0f}", *(ms(each[name]) for name in _MS), ms(each["rtt_p50"]))
        for each in value["slowest"]
    ]
    note = f"Of {value['seen']:,} networks, those with {value['min_count']} handshakes or more, by their median."
    if value["undercount"]:
        note += f" Rare ones are left out; counts may be {value['undercount']:,.0f} too low."
    return section(
        "Slowest networks",
        f'<p class="soft">{text(note)}</p>',
        table("slowest networks", ("network", "#handshakes", *_MS_HEAD, "#round trip p50"), rows),
    )


def _failures(value: Json) -> str:
    if not value["failures"]:
        return ""
    most = max(each["count"] for each in value["failures"])
    rows = [
        (
            each["class"],
            f"{each['count']:,.0f}",
            percent(each["share"]),
            Markup(meter(each["count"] / most, "fb")),
            ", ".join(each["phases"]),
            ", ".join(each["openssl"]) or "-",
            _example(each["example"]),
        )
        for each in value["failures"]
    ]
    clients = [
        (
            each["ja4"],
            f"{each['count']:,.0f}",
            f"{each['failed']:,.0f}",
            ", ".join(f"{kind} {count:,.0f}" for kind, count in each["classes"].items()) or "-",
            each["software"] or "-",
        )
        for each in value["clients"]
    ]
    return section(
        "Failed handshakes",
        table("failures", ("class", "#count", "#share", "", "phase", "OpenSSL's reason", "last example"), rows),
        "<h3>By client software (JA4), those that fail first</h3>",
        table("clients", ("JA4", "#handshakes", "#failed", "classes", "calls itself"), clients),
    )


def _example(event: Json) -> Markup:
    line = orjson.dumps(event, option=orjson.OPT_INDENT_2).decode()
    summary = " ".join(str(event.get(key)) for key in ("client.address", "server.name") if event.get(key)) or "line"
    return Markup(f"<details><summary>{text(summary)}</summary><pre>{text(line)}</pre></details>")


def _requests(value: Json) -> str:
    found = value["requests"]
    if not found["count"]:
        return ""
    routes = [
        (
            each["host"],
            each["route"],
            f"{each['count']:,.0f}",
            *(ms(each[name]) for name in _MS),
            ", ".join(f"{status} {count:,}" for status, count in each["statuses"].items()),
        )
        for each in found["routes"]
    ]
    servers = [
        (
            each["backend"],
            each["server"],
            f"{each['count']:,.0f}",
            percent(each["reused_share"]),
            f"{each['retries']:,.0f}",
            ms(each["connect_ms"]["p99"]),
            *(ms(each["response_ms"][name]) for name in ("p50", "p95", "p99")),
            ", ".join(f"{name} {count:,.0f}" for name, count in each["errors"].items()) or "-",
        )
        for each in value["backends"]
    ]
    head = ("backend", "server", "#requests", "#reused", "#retries", "#connect p99 ms")
    return section(
        "Requests",
        table("routes", ("host", "route", "#requests", *_MS_HEAD, "status"), routes),
        "<h3>Backends</h3>",
        table("backends", (*head, "#response p50 ms", "#p95", "#p99", "errors"), servers),
    )


def _reloads(reloads: list[Json]) -> str:
    if not reloads:
        return ""
    rows = [(clock(each["at"]), each["outcome"], "\n".join((*each["changes"], *each["errors"]))) for each in reloads]
    return section("Reloads", table("reloads", ("time", "outcome", "changes and errors"), rows))


# ------------------------------------------------------------------------------------------ preview and comparison


def _preview(value: Json) -> str:
    hosts = [
        (
            each["host"],
            f"{each['served']:,}",
            f"{each['lost']:,.0f}",
            percent(each["lost_share"]),
            ", ".join(each["classes"]) or "-",
        )
        for each in value["by_host"]
    ]
    clients = [
        (
            each["ja4"],
            f"{each['lost']:,.0f}",
            percent(each["lost_share"]),
            ", ".join(each["classes"]),
            each.get("software") or "-",
        )
        for each in value["by_client"]
    ]
    notes = [
        f"{value[key]:,.0f} {text}."
        for key, text in (
            ("without_offer", "handshakes do not tell what was offered"),
            ("unknown_hosts", "handshakes were with hosts that the configuration does not have"),
        )
        if value[key]
    ]
    if value["undercount"]:
        notes.append(f"Offers that are rare are left out; counts may be {value['undercount']:,.0f} too low for each.")
    return section(
        f"Preview: {value['change']}",
        f"<p>Of {value['served']:,.0f} handshakes that were served, <b>{value['lost']:,.0f}</b> would fail "
        f"({text(percent(value['lost_share']))}).</p>",
        *(f'<p class="soft">{text(note)}</p>' for note in notes),
        table("by host", ("host", "#served", "#would fail", "#share", "classes"), hosts),
        "<h3>By client software (JA4)</h3>" if clients else "",
        table("by client", ("JA4", "#would fail", "#share of all", "classes", "calls itself"), clients)
        if clients
        else "",
    )


def _comparison(value: Json) -> str:
    chance = f"Were both of the same process, one comparison in {1 / value['false_alarm']:.0f} would call anything"
    note = f'<p class="soft">A is {text(value["a"])}, B is {text(value["b"])}. {chance} different.</p>'

    def rows(which: str) -> list[tuple[str, ...]]:
        return [
            (row["subject"], row["figure"], _figure(row, "a"), _figure(row, "b"), effect(row), interval(row))
            for row in value[which]
        ]

    head = ("", "", "#A", "#B", "B is", "interval")
    different = table("different", head, rows("different")) if value["different"] else "<p>Nothing differs.</p>"
    few = f"<p>Too few to compare: {text(', '.join(value['too_few']))}.</p>" if value["too_few"] else ""
    noise = f"<summary>May be chance ({len(value['noise'])})</summary>{table('noise', head, rows('noise'))}"
    return section("What differs", note, different, f"<details>{noise}</details>", few)


def _figure(row: Json, side: str) -> str:
    return percent(row[side]) if row["kind"] == "share" else f"{ms(row[side])} ms"


def _both(value: Json) -> str:
    parts = []
    for name, report in zip("AB", value["reports"], strict=True):
        phases = report["handshakes"]["phases"]
        spans = [(each["phase"], [each["p50"], each["p90"], each["p99"]]) for each in phases]
        shape = report["handshakes"]["shape"]
        parts.append(figure(f"{name}: phases", ranges(f"phases of {name}", spans, "ms")))
        parts.append(figure(f"{name}: total", histogram(f"handshake total of {name}", shape, "ms")))
    return section("Side by side", f'<div class="plots">{"".join(parts)}</div>')
