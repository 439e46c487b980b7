"""Which certificates come to their end, each threshold said once. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta

from terminator.telemetry.events import CertificateExpiring
from terminator.tls.material import HostMaterial

THRESHOLDS_DAYS = (21, 7, 1, 0)

Said = frozenset[tuple[str, str, int]]
"""(host, certificate's SHA-256, threshold in days)."""


def days_left(not_after: datetime, now: datetime) -> float:
    return (not_after - now) / timedelta(days=1)


def expiring(materials: Iterable[HostMaterial], said: Said, now: datetime) -> tuple[list[CertificateExpiring], Said]:
    """The events to log now, and what has then been said. Of several thresholds passed at once (a start after a long
    pause) only the nearest is said."""
    events: list[CertificateExpiring] = []
    all_said = set(said)
    alive: set[tuple[str, str]] = set()
    for material in materials:
        for pair in material.pairs:
            info = pair.info
            alive.add((material.host, info.sha256))
            left = days_left(info.not_after, now)
            passed = {(material.host, info.sha256, days) for days in THRESHOLDS_DAYS if left <= days}
            if passed <= all_said:
                continue
            all_said |= passed
            events.append(
                CertificateExpiring(
                    host=material.host,
                    file=pair.chain_file,
                    serial=info.serial,
                    not_after=f"{info.not_after:%Y-%m-%dT%H:%M:%SZ}",
                    days_left=round(left, 2),
                )
            )
    return events, frozenset(entry for entry in all_said if entry[:2] in alive)
