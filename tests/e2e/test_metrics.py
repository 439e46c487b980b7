"""Every metric has its value in the running daemon, and counters go on over reloads and the crash of a worker."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
import yaml
from harness.backends import ok
from harness.commands import openssl_client
from harness.daemon import Daemon, eventually
from prometheus_client.openmetrics import parser as openmetrics
from prometheus_client.parser import text_string_to_metric_families

from terminator.service.admin_client import _UnixConnection
from terminator.telemetry.series import FAMILIES

RARE = {"terminator_connections_refused_total"}
"""Proved where it arises: tests/e2e/test_abuse_is_bounded.py."""

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def scrape(daemon: Daemon, accept: str = "") -> tuple[str, str]:
    connection = _UnixConnection(daemon.config["admin"]["socket"], 30)
    connection.request("GET", "/metrics", headers={"Accept": accept})
    response = connection.getresponse()
    body = response.read().decode()
    connection.close()
    assert response.status == 200
    return body, response.headers["Content-Type"]


def samples(daemon: Daemon) -> Samples:
    found: Samples = {}
    for family in text_string_to_metric_families(scrape(daemon)[0]):
        for sample in family.samples:
            found[sample.name, tuple(sorted(sample.labels.items()))] = sample.value
    return found


def value(found: Samples, name: str, **labels: str) -> float:
    return sum(
        number for (each, known), number in found.items() if each == name and labels.items() <= dict(known).items()
    )


def ask_once(daemon: Daemon, path: str = "/") -> None:
    with daemon.connect() as client:
        client.send(f"GET {path} HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n".encode())
        client.receive_response()


@pytest.fixture
def daemon(start: Any, answering: Any, site: Any) -> Daemon:
    host = site.host("a.test")
    host["routes"].append({"path": "/dead", "backend": "dead"})
    made: Daemon = start(
        hosts=[host],
        backends={
            "b": {"servers": [answering(ok()).address]},
            "dead": {"servers": ["127.0.0.1:9", "127.0.0.1:10"]},
        },
    )
    return made


def test_every_metric_has_a_value(daemon: Daemon) -> None:
    ask_once(daemon)
    ask_once(daemon, "/dead")
    openssl_client(daemon.ports["https"], "-servername", "nowhere.test")
    daemon.wait_for("tls.handshake", {"tls.established": False})
    daemon.wait_for("http.request", count=2)
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reload")
    # The gauges are written about once a second, some of the master's every ten.
    eventually(lambda: value(samples(daemon), "terminator_workers") == 1, 30)
    found = samples(daemon)
    names = {name for name, _ in found}
    missing = [
        family.name
        for family in FAMILIES.values()
        if family.name not in RARE and not names & {family.name, f"{family.name}_count"}
    ]
    assert not missing
    assert value(found, "terminator_tls_handshakes_total", outcome="established", host="a.test", version="1.3") == 2
    assert value(found, "terminator_tls_handshake_failures_total", reason="unrecognized_name") == 1
    assert value(found, "terminator_tls_handshake_duration_seconds_count", phase="total") == 2
    assert value(found, "terminator_http_requests_total", route="/", method="GET", status="200") == 1
    assert value(found, "terminator_http_requests_total", route="/dead", status="502") == 1
    assert value(found, "terminator_backend_errors_total", backend="dead") >= 1
    assert value(found, "terminator_backend_retries_total", backend="dead") >= 1
    assert value(found, "terminator_backend_up", backend="b") == 1
    assert value(found, "terminator_config_reloads_total", outcome="unchanged") == 1
    assert value(found, "terminator_certificate_drift", host="a.test") == 0
    assert value(found, "terminator_certificate_not_after_timestamp_seconds", host="a.test") > 1.7e9
    assert value(found, "terminator_build_info") == 1


def test_openmetrics_is_spoken_when_asked_for(daemon: Daemon) -> None:
    ask_once(daemon)
    body, kind = scrape(daemon, "application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    families = {family.name for family in openmetrics.text_string_to_metric_families(body)}
    assert "terminator_tls_handshakes" in families
    assert scrape(daemon)[1].startswith("text/plain; version=")


def test_counters_survive_a_reload_and_the_crash_of_a_worker(daemon: Daemon) -> None:
    ask_once(daemon)
    daemon.wait_for("http.request")
    config = {**daemon.config, "timeouts": {"drain": "5s", "handshake": "9s"}}
    daemon.config_file.write_text(yaml.safe_dump(config))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reload", {"reload.outcome": "ok"})
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_for("server.worker_started", count=2)
    eventually(lambda: value(samples(daemon), "terminator_worker_restarts_total") == 1)
    ask_once(daemon)
    daemon.wait_for("http.request", count=2)
    found = samples(daemon)
    assert value(found, "terminator_http_requests_total", status="200") == 2
    assert value(found, "terminator_tls_handshakes_total", outcome="established") == 2
    assert value(found, "terminator_config_generation") == 2
