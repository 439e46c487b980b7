"""The events of a service's life that are made of many facts: start and readiness. Pure but for the process id."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from terminator.service.candidate import Candidate, warnings
from terminator.service.standing import Standing
from terminator.telemetry.events import CertificateWarning, Event, ServerNotice, ServerReady, ServerStart


@dataclass(frozen=True, slots=True)
class Versions:
    """What is told at the start."""

    terminator: str
    python: str
    openssl: str


def at_start(
    versions: Versions, config_path: str, candidate: Candidate, problems: tuple[str, ...], now: datetime
) -> Iterator[Event]:
    """`problems`: what this machine's TLS cannot do. A bad certificate serves at the start all the same."""
    yield ServerStart(
        version=versions.terminator,
        pid=os.getpid(),
        python=versions.python,
        openssl=versions.openssl,
        config=config_path,
    )
    for problem in problems:
        yield ServerNotice(topic="tls_switched_off", message=problem)
    for text in candidate.warnings:
        yield ServerNotice(topic="config_warning", message=text)
    for host, text in warnings(candidate, now):
        file, colon, message = text.partition(": ")
        yield CertificateWarning(host=host, file=file if colon else "", message=message if colon else text)


def ready(standing: Standing, workers: int, start_seconds: float) -> ServerReady:
    return ServerReady(
        listeners=[f"{each.config.name}={each.address()}" for each in standing.bound],
        hosts=len(standing.candidate.config.hosts),
        workers=workers,
        duration_ms=round(start_seconds * 1000, 3),
    )
