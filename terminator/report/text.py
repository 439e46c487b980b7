"""A report for the terminal: tables, bars and sparklines out of the summary."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from terminator.report.forms import bar, clock, ms, percent, sparkline, table

MAX_SPARK = 60

Json = dict[str, Any]


def report_text(value: Json) -> Iterator[str]:
    """The lines of a report on one log or window."""
    yield from _head(value)
    if value["handshakes"]["established"] or value["handshakes"]["failed"]:
        yield from _handshakes(value)
    if value["requests"]["count"]:
        yield from _requests(value)
    yield from _reloads(value)
    if "preview" in value:
        yield from preview_text(value["preview"])


def _head(value: Json) -> Iterator[str]:
    source = value["source"]
    span = f"{clock(value['first'])} to {clock(value['last'])} UTC" if value["first"] else "no events"
    yield f"{', '.join(source['files'])}: {source['lines']:,} lines, {value['events']:,} events, {span}"
    yield f"quantiles are at most {value['quantile_error'] * 100:.0f} % off"
    if source["unreadable"]:
        hint = "" if value["events"] else "; a report needs the log as JSON (`log: {format: json}`)"
        yield f"note: {source['unreadable']:,} lines hold no event of terminator{hint}"
    if value["malformed"]:
        yield f"note: {value['malformed']:,} events lack what their kind has"
    if value["lost_lines"]:
        yield f"caution: {value['lost_lines']:,} lines were lost when the log was written; counts are too low"


def _handshakes(value: Json) -> Iterator[str]:
    found = value["handshakes"]
    yield ""
    yield (
        f"HANDSHAKES   {found['established']:,.0f} established, {found['failed']:,.0f} failed "
        f"({percent(found['failed_share'])}), {percent(found['resumed_share'])} resumed"
    )
    slices = value["timeline"]["slices"]
    width = _width(value["timeline"]["seconds"], len(slices))
    yield _spark("made", [each["established"] + each["failed"] for each in slices], f" in {width}", "{:,.0f}")
    yield _spark("failed", [each["failed"] for each in slices], f" in {width}", "{:,.0f}")
    if found["established"]:
        for name in ("p50", "p99"):
            yield _spark(name, [each[name] for each in slices], " ms", "{:,.4g}")
        yield ""
        yield from table(
            ("PHASE", "P50 MS", "P90", "P95", "P99", "MAX", "SHARE OF TIME"),
            [
                (each["phase"], *_spread(each), bar(each["share"], 16) if each["phase"] != "total" else "")
                for each in found["phases"]
            ],
        )
        yield ""
        yield from _by(found["by"])
        groups = ", ".join(f"{name} {count:,.0f}" for name, count in found["groups"].items())
        offered = percent(found["post_quantum_offered_share"])
        yield f"key exchange: {groups or '-'}; post-quantum offered by {offered}"
    slow = value["networks"]
    if slow["slowest"]:
        yield ""
        yield f"SLOWEST NETWORKS   of {slow['seen']:,}, with {slow['min_count']} handshakes or more{_short(slow)}"
        yield from table(
            ("NETWORK", "HANDSHAKES", "P50 MS", "P90", "P95", "P99", "MAX", "ROUND TRIP P50"),
            [
                (each["network"], f"{each['count']:,.0f}", *_spread(each), ms(each["rtt_p50"]))
                for each in slow["slowest"]
            ],
        )
    yield from _failures(value)


def _by(rows: list[Json]) -> Iterator[str]:
    """Total of each combination, and the two phases that most often explain it."""
    if not rows:
        return
    keys = [key for key in rows[0] if key not in ("count", "phases")]
    body = []
    for row in rows:
        phases = {each["phase"]: each for each in row["phases"]}
        total = phases["total"]
        body.append(
            (
                *(_word(key, row[key]) for key in keys),
                f"{row['count']:,.0f}",
                *(ms(total[name]) for name in ("p50", "p95", "p99")),
                *(ms(phases[phase]["p95"]) for phase in ("first_byte", "flight", "client")),
            )
        )
    head = (*map(str.upper, keys), "HANDSHAKES", "P50 MS", "P95", "P99", "FIRST BYTE P95", "FLIGHT P95", "CLIENT P95")
    yield from table(head, body, left=len(keys))


def _failures(value: Json) -> Iterator[str]:
    if not value["failures"]:
        return
    yield ""
    yield "FAILURES   docs/handshake-failures.md says what each class means and who to ask"
    most = max(each["count"] for each in value["failures"])
    yield from table(
        ("CLASS", "COUNT", "SHARE", "", "PHASE", "OPENSSL", "MOST FREQUENT CLIENT"),
        [
            (
                each["class"],
                f"{each['count']:,.0f}",
                percent(each["share"]),
                bar(each["count"] / most, 10),
                _names(each["phases"]),
                _names(each["openssl"]) or "-",
                _client(each["clients"]),
            )
            for each in value["failures"]
        ],
        right=(1, 2),
    )
    yield ""
    yield f"CLIENT SOFTWARE   by JA4, those that fail first{_short({'undercount': value['clients_undercount']})}"
    yield from table(
        ("JA4", "HANDSHAKES", "FAILED", "CLASSES", "CALLS ITSELF"),
        [
            (
                each["ja4"],
                f"{each['count']:,.0f}",
                f"{each['failed']:,.0f}",
                _names(each["classes"]) or "-",
                each["software"] or "-",
            )
            for each in value["clients"]
        ],
        right=(1, 2),
    )


def _requests(value: Json) -> Iterator[str]:
    found = value["requests"]
    yield ""
    statuses = ", ".join(f"{status} {percent(count / found['count'])}" for status, count in found["statuses"].items())
    yield f"REQUESTS   {found['count']:,.0f}: {statuses}"
    yield _spark(
        "made", [each["requests"] for each in value["timeline"]["slices"]], "", "{:,.0f}"
    )  # the width is that of the handshakes
    yield ""
    yield from table(
        ("HOST", "ROUTE", "REQUESTS", "P50 MS", "P90", "P95", "P99", "MAX", "STATUS"),
        [
            (each["host"], each["route"], f"{each['count']:,.0f}", *_spread(each), _names(each["statuses"]))
            for each in found["routes"]
        ],
        left=2,
        right=tuple(range(2, 8)),
    )
    if found["errors"]:
        yield f"ended badly: {_names(found['errors'])}"
    if value["backends"]:
        yield ""
        yield "BACKENDS"
        yield from table(
            (
                *("BACKEND", "SERVER", "REQUESTS", "REUSED", "RETRIES"),
                *("QUEUE P99", "CONNECT P99", "RESPONSE P50 MS", "P95", "P99", "TRANSFER P99", "ERRORS"),
            ),
            [
                (
                    each["backend"],
                    each["server"],
                    f"{each['count']:,.0f}",
                    percent(each["reused_share"]),
                    f"{each['retries']:,.0f}",
                    ms(each["queue_ms"]["p99"]),
                    ms(each["connect_ms"]["p99"]),
                    *(ms(each["response_ms"][name]) for name in ("p50", "p95", "p99")),
                    ms(each["transfer_ms"]["p99"]),
                    _names(each["errors"]) or "-",
                )
                for each in value["backends"]
            ],
            left=2,
            right=tuple(range(2, 11)),
        )


def _reloads(value: Json) -> Iterator[str]:
    if value["reloads"]:
        yield ""
        yield "RELOADS"
        for each in value["reloads"]:
            yield f"{clock(each['at'])}  {each['outcome']}"
            yield from (f"  {text}" for text in (*each["changes"], *each["errors"]))


# ------------------------------------------------------------------------------------------- preview and comparison


def preview_text(value: Json) -> Iterator[str]:
    yield ""
    yield f"PREVIEW   {value['change']}"
    for host, policy in value["policies"].items():
        groups = " ".join(policy["groups"]) or "OpenSSL's default"
        yield f"{host}: TLS {policy['min_version']} and higher, groups {groups}"
    if not value["served"]:
        yield "no handshake of this log was served and tells what was offered"
        return
    yield (
        f"of {value['served']:,.0f} handshakes that were served, {value['lost']:,.0f} would fail "
        f"({percent(value['lost_share'])}), by {_kinds(value['clients_lost'])} of clients"
        + (f": {_names(value['classes'])}" if value["classes"] else "")
    )
    if value["without_offer"]:
        yield f"note: {value['without_offer']:,.0f} handshakes do not tell what was offered"
    if value["unknown_hosts"]:
        yield f"note: {value['unknown_hosts']:,.0f} handshakes were with hosts that the configuration does not have"
    if value["undercount"]:
        yield f"note: offers that are rare are left out; counts may be {value['undercount']:,.0f} too low for each"
    if value["lost"]:
        yield ""
        yield from table(
            ("HOST", "SERVED", "WOULD FAIL", "SHARE", "CLASSES"),
            [
                (
                    each["host"],
                    f"{each['served']:,}",
                    f"{each['lost']:,.0f}",
                    percent(each["lost_share"]),
                    _names(each["classes"]) or "-",
                )
                for each in value["by_host"]
            ],
            right=(1, 2, 3),
        )
        yield ""
        yield from table(
            ("JA4", "WOULD FAIL", "SHARE OF ALL", "CLASSES", "CALLS ITSELF"),
            [
                (
                    each["ja4"],
                    f"{each['lost']:,.0f}",
                    percent(each["lost_share"]),
                    _names(each["classes"]),
                    each.get("software") or "-",
                )
                for each in value["by_client"]
            ],
            right=(1, 2),
        )


def comparison_text(value: Json) -> Iterator[str]:
    yield f"A  {value['a']}"
    yield f"B  {value['b']}"
    count = len(value["different"]) + len(value["noise"])
    yield (
        f"{count} figures compared; were A and B of the same process, one comparison in "
        f"{1 / value['false_alarm']:.0f} would call anything different"
    )
    yield ""
    if value["different"]:
        yield "DIFFERENT"
        yield from table(
            ("", "", "A", "B", "B IS", "INTERVAL"),
            [
                (row["subject"], row["figure"], _figure(row, "a"), _figure(row, "b"), effect(row), interval(row))
                for row in value["different"]
            ],
            right=(2, 3),
        )
    else:
        yield "nothing differs: all that is seen may be chance"
    if value["noise"]:
        yield ""
        yield "MAY BE CHANCE"
        yield from table(
            ("", "", "A", "B", "INTERVAL"),
            [
                (row["subject"], row["figure"], _figure(row, "a"), _figure(row, "b"), interval(row))
                for row in value["noise"]
            ],
            right=(2, 3),
        )
    if value["too_few"]:
        yield ""
        yield f"too few to compare: {', '.join(value['too_few'])}"


def _kinds(count: int) -> str:
    return f"{count:,} kind" if count == 1 else f"{count:,} kinds"


def _figure(row: Json, side: str) -> str:
    return percent(row[side]) if row["kind"] == "share" else f"{ms(row[side])} ms"


def effect(row: Json) -> str:
    """`12 % slower`, `3.2 points more`."""
    if row["kind"] == "share":
        return f"{abs(row['b'] - row['a']) * 100:.3g} points {'more' if row['b'] > row['a'] else 'less'}"
    if not row["a"]:
        return "slower"
    change = row["b"] / row["a"] - 1
    if change > 1:
        return f"{row['b'] / row['a']:.3g} times as slow"
    return f"{abs(change) * 100:.0f} % {'slower' if change > 0 else 'faster'}"


def interval(row: Json) -> str:
    """Of the change: `+5 % to +14 %` of a duration, `+0.2 to +1.1 points` of a share."""
    low, high = row["verdict"]["low"], row["verdict"]["high"]
    if row["kind"] == "share":
        return f"{low * 100:+.2g} to {high * 100:+.2g} points"
    ends = ["no bound" if end is None else f"{(end - 1) * 100:+.0f} %" for end in (low, high)]
    return " to ".join(ends)


# -------------------------------------------------------------------------------------------------------- pieces


def _spark(name: str, values: list[float | None], unit: str, form: str) -> str:
    """The line of a series, its slices joined in pairs until they fit."""
    while len(values) > MAX_SPARK:
        pairs = [values[at : at + 2] for at in range(0, len(values), 2)]
        values = [max((each for each in pair if each is not None), default=None) for pair in pairs]
    most = max((value for value in values if value is not None), default=0.0)
    return f"{name:<7} {sparkline(values)}  at most {form.format(most)}{unit}"


def _width(seconds: int, slices: int) -> str:
    return f"{seconds} s" if slices else "1 s"


def _spread(value: Json) -> tuple[str, ...]:
    return tuple(ms(value[name]) for name in ("p50", "p90", "p95", "p99", "max"))


def _names(counts: Json) -> str:
    return ", ".join(f"{name} {count:,.0f}" for name, count in counts.items())


def _client(clients: list[Json]) -> str:
    if not clients:
        return "-"
    software = clients[0]["software"]
    return f"{clients[0]['ja4']} ({software})" if software else str(clients[0]["ja4"])


def _short(value: Json) -> str:
    short = value["undercount"]
    return f"; rare ones are left out, counts may be {short:,.0f} too low" if short else ""


def _word(key: str, value: object) -> str:
    if value is None:
        return "-"
    if key == "resumed":
        return "resumed" if value else "full"
    return f"TLS {value}" if key == "version" else str(value)
