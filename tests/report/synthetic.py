"""Logs made up from seeds, as terminator writes them, so that what a report must find is known beforehand."""

from __future__ import annotations

import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson

BEGIN = datetime(2026, 11, 21, 9, tzinfo=UTC)
BROWSER = ("t13d1516h2_8daaf6152771_b186095e22b6", "Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/131.0 Safari/537.36")
OLD = ("t12d1209h1_d34a8e72043a_0b53d1e6b9a4", "OldApp/1.2")

Event = dict[str, Any]


def clock(seconds: float) -> str:
    return (BEGIN + timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def handshake(at: float = 0.0, total: float | None = None, **fields: Any) -> Event:
    """An established handshake; keyword names have _ for the dots of the log's keys, and __ for _."""
    phases = {"first_byte": 10.0, "hello": 0.05, "select": 0.1, "flight": 0.8, "client": 12.0}
    phases |= {key: fields.pop(key) for key in list(fields) if key in phases}
    whole = total if total is not None else sum(phases.values())
    event = {
        "time": clock(at),
        "level": "info",
        "event": "tls.handshake",
        "worker": 0,
        "conn.id": f"0-{at}",
        "listener": "https",
        "tls.established": True,
        "tls.protocol.version": "1.3",
        "tls.group": "X25519MLKEM768",
        "tls.resumed": False,
        "host": "shop.example",
        "certificate.key": "ecdsa",
        "client.address": "203.0.113.7",
        "tls.client.ja4": BROWSER[0],
        "tls.client.offered_versions": "1.3,1.2",
        "tls.client.offered_groups": "X25519MLKEM768,x25519,secp256r1",
        "tls.client.offered_ciphers": "130113021303c02bc02f",
        "tls.client.offered_pq": True,
        **{f"timing.{phase}_ms": round(value, 3) for phase, value in phases.items()},
        "timing.handshake_ms": round(whole, 3),
        "timing.rtt_ms": 9.0,
    }
    return named(event, fields)


def failure(at: float = 0.0, kind: str = "unsupported_version", phase: str = "handshake", **fields: Any) -> Event:
    event = handshake(at)
    for key in ("tls.protocol.version", "tls.group", "tls.resumed", "certificate.key"):
        del event[key]
    event |= {"tls.established": False, "error.type": kind, "error.phase": phase, "level": "notice"}
    return named(event, fields)


def request(at: float = 0.0, total: float = 30.0, **fields: Any) -> Event:
    event = {
        "time": clock(at),
        "level": "info",
        "event": "http.request",
        "worker": 0,
        "conn.id": f"0-{at}",
        "listener": "https",
        "host": "shop.example",
        "http.request.method": "GET",
        "url.path": "/api/cart",
        "user_agent.original": BROWSER[1],
        "http.response.status_code": 200,
        "route": "/api",
        "backend": "api",
        "backend.server": "127.0.0.1:8001",
        "backend.reused": True,
        "timing.queue_ms": 0.0,
        "timing.connect_ms": 0.0,
        "timing.response_ms": round(total * 0.9, 3),
        "timing.transfer_ms": round(total * 0.1, 3),
        "timing.total_ms": round(total, 3),
    }
    return named(event, fields)


def named(event: Event, fields: dict[str, Any]) -> Event:
    for name, value in fields.items():
        key = name.replace("__", "\0").replace("_", ".").replace("\0", "_")
        if value is None:
            event.pop(key, None)
        else:
            event[key] = value
    return event


def day(count: int, seed: int, *, slower: float = 1.0, failing: float = 0.02) -> Iterator[Event]:
    """A plausible log: `count` connections in an hour, with resumption, failures, two hosts and requests."""
    rng = random.Random(seed)
    for number in range(count):
        at = number * 3600 / count
        host = rng.choice(["shop.example", "shop.example", "admin.example"])
        address = f"203.0.{rng.randrange(40)}.{rng.randrange(256)}"
        if rng.random() < failing:
            kind = rng.choice(["unsupported_version", "timeout", "client_closed", "no_shared_cipher"])
            yield failure(at, kind, host=host, client_address=address, tls_client_ja4=OLD[0])
            continue
        resumed = rng.random() < 0.6
        rtt = rng.lognormvariate(math.log(20), 0.6)
        yield handshake(
            at,
            conn_id=f"0-{number:x}",
            host=host,
            client_address=address,
            tls_resumed=resumed,
            certificate_key=None if resumed else "ecdsa",
            first_byte=rtt * rng.uniform(0.9, 1.1),
            flight=rng.lognormvariate(math.log(0.4 if resumed else 0.9), 0.3) * slower,
            client=rtt * rng.uniform(0.9, 1.3) * slower,
            timing_rtt__ms=round(rtt, 3),
        )
        for _ in range(rng.randrange(4)):
            total = rng.lognormvariate(math.log(30), 0.8)
            status = rng.choices([200, 304, 404, 502], [90, 5, 4, 1])[0]
            backend = rng.choice(["api", "web"])
            yield request(at, total, conn_id=f"0-{number:x}", host=host, route=f"/{backend}", backend=backend,
                          http_response_status__code=status)  # fmt: skip


def write(path: Path, events: Iterator[Event] | list[Event]) -> Path:
    with path.open("wb") as file:
        file.writelines(orjson.dumps(event) + b"\n" for event in events)
    return path
