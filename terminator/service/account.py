"""What the daemon says of itself: the JSON of /status and /certs and the service manager's STATUS line.

Functions of facts; `certs` and `drifting` look at the disk.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from terminator.errors import CertificateError
from terminator.service.attempt import Attempt
from terminator.service.expiry import days_left
from terminator.service.reports import Reported
from terminator.service.standing import Standing
from terminator.service.workforce import Workforce
from terminator.tls import judgement
from terminator.tls.material import HostMaterial, Materials, Pair

HISTORY = 20


@dataclass(slots=True)
class Reloaded:
    """The reloads since the start. `last` and `last_good` are what every channel tells."""

    attempts: int = 0
    good: int = 0
    last: Attempt | None = None
    last_good: datetime | None = None
    history: deque[Attempt] = field(default_factory=lambda: deque(maxlen=HISTORY))
    """The last ones, the newest at the end."""

    def note(self, attempt: Attempt) -> None:
        self.attempts += 1
        self.history.append(attempt)
        self.last = attempt
        if attempt.good:
            self.good += 1
            self.last_good = attempt.at


def status(
    *,
    version: str,
    started: datetime,
    state: str,
    config_path: str,
    standing: Standing,
    workforce: Workforce,
    reloaded: Reloaded,
    reported: Reported,
    capabilities_off: Sequence[str],
    lost_lines: Mapping[str, float],
) -> dict[str, Any]:
    """The body of /status. lost_lines: log lines lost since the start, by destination."""
    now = datetime.now(UTC)
    per_generation: dict[str, int] = {}
    for worker in workforce.live.values():
        for number, count in worker.generations.items():
            per_generation[number] = per_generation.get(number, 0) + count
    return {
        "version": version,
        "pid": os.getpid(),
        "state": state,
        "started": started.isoformat(),
        "config": config_path,
        "generation": standing.number,
        "generation_since": standing.since.isoformat(),
        "connections": workforce.connections,
        "connections_by_generation": per_generation,
        "workers": [
            {
                "worker": slot.number,
                "state": slot.state.name.lower(),
                "pid": slot.pid,
                "since": live.since.isoformat() if (live := workforce.live.get(slot.number)) else None,
                "connections": live.connections if live else 0,
                "connections_by_generation": live.generations if live else {},
            }
            for slot in workforce.table.slots
        ],
        "listeners": [
            {"name": each.config.name, "address": each.address(), "tls": each.config.tls} for each in standing.bound
        ],
        "reloads": {
            "attempts": reloaded.attempts,
            "good": reloaded.good,
            "last_good": reloaded.last_good.isoformat() if reloaded.last_good else None,
            "last": reloaded.last.as_json() if reloaded.last else None,
            "history": [attempt.as_json() for attempt in reversed(reloaded.history)],
        },
        "certificates": [
            {
                "host": material.host,
                "file": pair.chain_file,
                "serial": pair.info.serial,
                "key_type": pair.info.key_type,
                "not_after": pair.info.not_after.isoformat(),
                "days_left": round(days_left(pair.info.not_after, now), 2),
            }
            for material in standing.candidate.materials.values()
            for pair in material.pairs
        ],
        "warnings": [
            f"host {material.host}: {text}"
            for material in standing.candidate.materials.values()
            for text in judgement.host_warnings(material, now)
        ]
        + [f"log {where}: {_count(round(lines), 'line')} lost since the start" for where, lines in lost_lines.items()],
        "log_lines_lost": {where: round(lines) for where, lines in lost_lines.items()},
        "switched_off": list(capabilities_off),
        "backends": reported.backends,
        "failures": sorted(reported.failures, key=lambda row: -row.get("at", 0.0)),
    }


def certs(standing: Standing) -> dict[str, Any]:
    """The body of /certs: per host what is served, and how it stands to what lies on disk at this moment."""
    now = datetime.now(UTC)
    materials = standing.candidate.materials
    disk = _Disk(materials)
    return {
        "generation": standing.number,
        "hosts": [
            {
                "host": material.host,
                "names": list(material.names),
                "client_auth": material.policy.client_auth.mode,
                "certificates": [_certificate(pair, material, disk, now) for pair in material.pairs],
            }
            for material in materials.values()
        ],
    }


def sentence(standing: Standing, workforce: Workforce, reloaded: Reloaded) -> str:
    """`Serving 3 listeners, 12 certificates, …` for `systemctl status`."""
    infos = [pair.info for material in standing.candidate.materials.values() for pair in material.pairs]
    left = days_left(min(info.not_after for info in infos), datetime.now(UTC))
    parts = [
        f"Serving {_count(len(standing.bound), 'listener')}",
        _count(len(infos), "certificate"),
        f"the first {'expires' if left >= 0 else 'expired'} "
        + (f"in {left:.0f} days" if left >= 0 else f"{-left:.0f} days ago"),
        _count(workforce.connections, "connection"),
        f"generation {standing.number}",
    ]
    text = ", ".join(parts)
    return f"{text}; {reloaded.last.sentence()}" if reloaded.last is not None else text


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _certificate(pair: Pair, material: HostMaterial, disk: _Disk, now: datetime) -> dict[str, Any]:
    info = pair.info
    return {
        "file": pair.chain_file,
        "key_file": pair.key_file,
        "serial": info.serial,
        "subject": info.subject,
        "issuer": info.issuer,
        "names": list(info.names),
        "key_type": info.key_type,
        "key_bits": info.key_bits,
        "sha256": info.sha256,
        "not_before": info.not_before.isoformat(),
        "not_after": info.not_after.isoformat(),
        "days_left": round(days_left(info.not_after, now), 2),
        "warnings": judgement.warnings(pair, material.names, now),
        "disk": disk.compare(pair),
    }


def drifting(materials: Materials, touched: AbstractSet[str]) -> set[str]:
    """The hosts of which a certificate is served that is not the one on disk; only `touched` files are looked at."""
    disk = _Disk(materials)
    return {
        material.host
        for material in materials.values()
        for pair in material.pairs
        if not touched.isdisjoint((pair.chain_file, pair.key_file)) and disk.compare(pair)["state"] != "same"
    }


class _Disk:
    """The certificate files as they are now."""

    def __init__(self, materials: Materials) -> None:
        from terminator.tls.certificates import Shelf

        self._shelf = Shelf(materials)

    def compare(self, served: Pair) -> dict[str, Any]:
        """`state`: same, differs (a reload would change something) or unusable (a reload would be refused)."""
        try:
            found = self._shelf.pair(served.chain_file, served.key_file)
        except CertificateError as error:
            return {"state": "unusable", "error": str(error)}
        if found.digest == served.digest:
            return {"state": "same"}
        return {"state": "differs", "serial": found.info.serial, "not_after": found.info.not_after.isoformat()}


def drifts(certs_body: dict[str, Any]) -> Iterable[str]:
    """One text per certificate that is served and differs from what lies on disk."""
    for host in certs_body["hosts"]:
        for certificate in host["certificates"]:
            disk = certificate["disk"]
            where = f"host {host['host']}: {certificate['file']}"
            if disk["state"] == "differs":
                yield (
                    f"{where}: serial {certificate['serial']} is served, serial {disk['serial']} lies on disk; "
                    "run `terminator reload`"
                )
            elif disk["state"] == "unusable":
                yield f"{where}: serial {certificate['serial']} is served, what lies on disk cannot be: {disk['error']}"
