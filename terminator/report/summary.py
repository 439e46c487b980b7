"""The answers of a report as one JSON value; the terminal and the page are renderings of it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

from terminator.report.compare import FALSE_ALARM, Comparison
from terminator.report.counts import Counts
from terminator.report.preview import Lost, Preview
from terminator.report.sketch import GAMMA, RELATIVE_ERROR, ZERO, Sketch, merged, value_of
from terminator.report.tally import PHASES, Group, Tally

QUANTILES = (0.5, 0.9, 0.95, 0.99)
DIMENSIONS = ("version", "resumed", "key", "host")
MIN_NETWORK_COUNT = 10
"""A network with fewer handshakes is no candidate for the slowest."""

Json = dict[str, Any]


def summary(tally: Tally, *, top: int, by: Iterable[str] = DIMENSIONS) -> Json:
    """top: rows of each table; by: which of DIMENSIONS tell the rows of `handshakes.by` apart."""
    established = sum(group.count for group in tally.groups.values())
    resumed = sum(group.count for key, group in tally.groups.items() if key[1])
    made = established + tally.failed
    return {
        "events": tally.events,
        "first": tally.first or None,
        "last": tally.last or None,
        "lost_lines": tally.lost_lines,
        "malformed": tally.malformed,
        "quantile_error": RELATIVE_ERROR,
        "handshakes": {
            "established": established,
            "failed": tally.failed,
            "failed_share": tally.failed / made if made else None,
            "resumed": resumed,
            "resumed_share": resumed / established if established else None,
            "phases": _phases(tally.groups.values()),
            "shape": _shape(merged(group.phases["handshake"] for group in tally.groups.values())),
            "by": _by(tally, tuple(by), top),
            "groups": _counted(tally.negotiated, top),
            "post_quantum_offered_share": _ratio(tally.post_quantum[True], tally.post_quantum.total()),
        },
        "networks": _networks(tally, top),
        "failures": _failures(tally, made),
        "clients": _clients(tally, top),
        "clients_undercount": tally.clients.undercount,
        "requests": _requests(tally, top),
        "backends": _backends(tally, top),
        "tunnels": {"closed_by": _counted(tally.tunnels, top), "ms": _spread(tally.tunnel_ms)},
        "reloads": [_reload(event) for event in tally.reloads],
        "lifecycle": dict(tally.lifecycle),
        "timeline": _timeline(tally),
    }


def comparison_summary(names: tuple[str, str], found: Comparison) -> Json:
    return {
        "a": names[0],
        "b": names[1],
        "false_alarm": FALSE_ALARM,
        "level": found.level,
        "different": [asdict(row) for row in found.different],
        "noise": [asdict(row) for row in found.noise],
        "too_few": list(found.too_few),
    }


def preview_summary(change: str, found: Preview, top: int) -> Json:
    return {
        "change": change,
        "served": found.served,
        "lost": found.lost.count,
        "lost_share": _ratio(found.lost.count, found.served),
        "classes": _counted(found.lost.classes, top),
        "without_offer": found.without_offer,
        "unknown_hosts": found.unknown_hosts,
        "undercount": found.undercount,
        "policies": {
            host: {
                "profile": policy.profile,
                "min_version": policy.min_version,
                "ciphers": list(policy.ciphers),
                "groups": list(policy.groups),
            }
            for host, policy in found.policies.items()
        },
        "by_host": [
            {"host": host, "served": served, **_lost(found.by_host.get(host, Lost()), served)}
            for host, served in sorted(
                found.served_by_host.items(), key=lambda item: -(found.by_host.get(item[0], Lost()).count)
            )[:top]
        ],
        "by_client": [
            {"ja4": ja4, **_lost(lost, found.served)}
            for ja4, lost in sorted(found.by_client.items(), key=lambda item: -item[1].count)[:top]
        ],
        "clients_lost": len(found.by_client),
    }


# ------------------------------------------------------------------------------------------------------ its parts


def _phases(groups: Iterable[Group]) -> list[Json]:
    groups = list(groups)
    whole = sum(group.phases["handshake"].total for group in groups)
    rows = []
    for phase in PHASES:
        sketch = merged(group.phases[phase] for group in groups)
        name = "total" if phase == "handshake" else phase
        rows.append({"phase": name, "share": _ratio(sketch.total, whole), **_spread(sketch)})
    return rows


def _by(tally: Tally, by: tuple[str, ...], top: int) -> list[Json]:
    places = [DIMENSIONS.index(name) for name in by]
    gathered: dict[tuple[Any, ...], list[Group]] = {}
    for key, group in tally.groups.items():
        gathered.setdefault(tuple(key[place] for place in places), []).append(group)
    ordered = sorted(gathered.items(), key=lambda item: (-sum(group.count for group in item[1]), str(item[0])))
    return [
        {
            **dict(zip(by, key, strict=True)),
            "count": sum(group.count for group in groups),
            "phases": _phases(groups),
        }
        for key, groups in ordered[:top]
    ]


def _networks(tally: Tally, top: int) -> Json:
    candidates = [(name, each) for name, each in tally.networks.items() if each.count >= MIN_NETWORK_COUNT]
    slowest = sorted(candidates, key=lambda item: -(item[1].handshake_ms.quantile(0.5) or 0.0))[:top]
    return {
        "seen": len(tally.networks),
        "undercount": tally.networks.undercount,
        "min_count": MIN_NETWORK_COUNT,
        "slowest": [
            {"network": name, "count": each.count, "rtt_p50": each.rtt_ms.quantile(0.5), **_spread(each.handshake_ms)}
            for name, each in slowest
        ],
    }


def _failures(tally: Tally, made: float) -> list[Json]:
    ordered = sorted(tally.failures.items(), key=lambda item: -item[1].count)
    return [
        {
            "class": kind,
            "count": failure.count,
            "share": _ratio(failure.count, made),
            "phases": dict(failure.phases),
            "openssl": dict(failure.openssl.most_common(5)),
            "clients": [
                {"ja4": ja4, "count": client.failures[kind], "software": _software(client.software)}
                for ja4, client in sorted(tally.clients.items(), key=lambda item: -item[1].failures[kind])[:3]
                if client.failures[kind]
            ],
            # An edited line may hold anything, nested deeper than JSON can be written.
            "example": {key: each for key, each in failure.example.items() if not isinstance(each, (dict, list))},
        }
        for kind, failure in ordered
    ]


def _clients(tally: Tally, top: int) -> list[Json]:
    """Client software with failures first, then by number of handshakes."""
    ordered = sorted(tally.clients.items(), key=lambda item: (-item[1].failures.total(), -item[1].count))
    return [
        {
            "ja4": ja4,
            "software": _software(client.software),
            "count": client.count,
            "failed": client.failures.total(),
            "classes": dict(client.failures.most_common(5)),
        }
        for ja4, client in ordered[:top]
    ]


def _requests(tally: Tally, top: int) -> Json:
    routes = sorted(tally.routes.items(), key=lambda item: -item[1].count)
    statuses: Counter[str] = Counter()
    errors = Counts()
    for _, route in routes:
        for error, count in route.errors.items():
            errors.add(error, count)
        for status, requests in route.statuses.items():
            statuses[_status_class(status)] += requests
    return {
        "count": sum(route.count for _, route in routes),
        "statuses": dict(sorted(statuses.items())),
        "errors": _counted(errors, top),
        "ms": _spread(merged(route.total_ms for _, route in routes)),
        "routes": [
            {
                "host": host,
                "route": path,
                "count": route.count,
                "statuses": {str(status or "-"): count for status, count in route.statuses.most_common(8)},
                "errors": dict(route.errors.most_common(5)),
                **_spread(route.total_ms),
            }
            for (host, path), route in routes[:top]
        ],
    }


def _backends(tally: Tally, top: int) -> list[Json]:
    ordered = sorted(tally.servers.items(), key=lambda item: -item[1].count)
    return [
        {
            "backend": backend,
            "server": address,
            "count": server.count,
            "reused_share": _ratio(server.reused, server.count),
            "retries": server.retries,
            "errors": dict(server.errors.most_common(5)),
            "queue_ms": _spread(server.queue_ms),
            "connect_ms": _spread(server.connect_ms),
            "response_ms": _spread(server.response_ms),
            "transfer_ms": _spread(server.transfer_ms),
        }
        for (backend, address), server in ordered[:top]
    ]


def _timeline(tally: Tally) -> Json:
    slices = tally.timeline.slices()
    return {
        "seconds": tally.timeline.seconds,
        "slices": [
            {
                "at": at,
                "established": each.established,
                "failed": each.failed,
                "requests": each.requests,
                "server_errors": each.server_errors,
                "p50": each.handshake_ms.quantile(0.5),
                "p99": each.handshake_ms.quantile(0.99),
            }
            for at, each in slices
        ],
    }


def _reload(event: Json) -> Json:
    return {
        "at": event.get("time"),
        "outcome": event.get("reload.outcome"),
        "errors": event.get("reload.errors") or [],
        "changes": event.get("reload.changes") or [],
    }


# -------------------------------------------------------------------------------------------------------- figures


def _spread(sketch: Sketch) -> Json:
    """count, p50, p90, p95, p99, max and mean in the sketch's unit."""
    values = sketch.quantiles(QUANTILES)
    named = {f"p{share * 100:g}": value for share, value in zip(QUANTILES, values, strict=True)}
    count = sketch.count
    return {
        "count": count,
        **named,
        "max": sketch.largest if count else None,
        "mean": sketch.total / count if count else None,
    }


def _shape(sketch: Sketch) -> list[tuple[float, float, float]]:
    """(from, to, count) of bars some 15 % wide, for a histogram on a logarithmic axis."""
    width = 8
    bars: Counter[int] = Counter()
    for bucket, count in sketch.buckets.items():
        if bucket != ZERO:
            bars[(bucket - 1) // width] += int(count)
    return [
        (value_of(bar * width + 1), value_of(bar * width + 1) * GAMMA**width, float(bars[bar])) for bar in sorted(bars)
    ]


def _counted(counter: Counts | Counter[str], top: int) -> dict[str, float]:
    return dict(counter.most_common(top))


def _lost(lost: Lost, of: float) -> Json:
    return {"lost": lost.count, "lost_share": _ratio(lost.count, of), "classes": dict(lost.classes)}


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None


def _software(names: Counter[str]) -> str | None:
    return ", ".join(name for name, _ in names.most_common(2)) or None


def _status_class(status: int | None) -> str:
    return f"{status // 100}xx" if status is not None else "none"
