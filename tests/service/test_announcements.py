"""What is told at the start: versions, what is switched off, and what is wrong with certificates that serve."""

from __future__ import annotations

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from terminator.service import announcements, candidate
from terminator.service.announcements import Versions

VERSIONS = Versions("0.1.0", "3.11.2", "OpenSSL 3.0.19")


@pytest.fixture
def read(folder: Path, pair: Any) -> candidate.Candidate:
    file = folder / "t.yaml"
    host = {
        "names": ["a.test"],
        "certificates": [pair.as_config()],
        "routes": [{"path": "/", "respond": {"body": "x"}}],
    }
    listener = {"name": "https", "bind": "127.0.0.1:8443"}
    file.write_text(yaml.safe_dump({"version": 1, "workers": 1, "listeners": [listener], "hosts": [host]}))
    return candidate.read(str(file))


def told(read: candidate.Candidate, now: datetime, problems: tuple[str, ...] = ()) -> list[Any]:
    return list(announcements.at_start(VERSIONS, "/etc/t.yaml", read, problems, now))


def test_a_good_start_tells_who_runs_and_warns_of_nothing(read: candidate.Candidate) -> None:
    start, *others = told(read, datetime.now(UTC))
    assert (start.event, start.version, start.pid) == ("server.start", "0.1.0", os.getpid())
    assert (start.python, start.openssl, start.config) == ("3.11.2", "OpenSSL 3.0.19", "/etc/t.yaml")
    assert [each for each in others if each.event == "certificate.warning"] == []


def test_what_this_machine_cannot_do_is_told(read: candidate.Candidate) -> None:
    notices = told(read, datetime.now(UTC), ("tickets: not proved",))[1:]
    assert ("tls_switched_off", "tickets: not proved") in [(each.topic, each.message) for each in notices]


def test_an_expired_certificate_serves_and_is_warned_of_by_host_and_file(read: candidate.Candidate, pair: Any) -> None:
    warnings = [
        each for each in told(read, datetime.now(UTC) + timedelta(days=365_000)) if each.event == "certificate.warning"
    ]
    assert [(each.host, each.file) for each in warnings] == [("a.test", str(pair.chain))]
    assert "expired" in warnings[0].message


def test_readiness_names_listeners_and_counts(read: candidate.Candidate) -> None:
    bound = (SimpleNamespace(config=SimpleNamespace(name="https"), address=lambda: "127.0.0.1:8443"),)
    standing: Any = SimpleNamespace(candidate=read, bound=bound)
    event = announcements.ready(standing, 2, 0.25)
    assert (event.listeners, event.hosts, event.workers) == (["https=127.0.0.1:8443"], 1, 2)
    assert event.duration_ms == 250
