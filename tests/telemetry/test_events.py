"""The catalogue of log lines: names are unique, spelt alike, and explained."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields

import pytest

from terminator.telemetry.events import (
    ConfigReload,
    Event,
    HttpRequest,
    ServerNotice,
    TlsHandshake,
    WorkerExited,
    log_names,
)
from terminator.telemetry.logs_page import event_types

KEY = re.compile(r"[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*")


def test_event_names_are_unique() -> None:
    names = Counter(kind.event for kind in event_types())
    assert [name for name, count in names.items() if count > 1] == []
    assert all(KEY.fullmatch(name) for name in names)


@pytest.mark.parametrize("kind", event_types(), ids=lambda kind: kind.event)
def test_keys_are_spelt_alike_and_explained(kind: type[Event]) -> None:
    names = [name for _, name, _ in log_names(kind)]
    assert len(set(names)) == len(names)
    assert names[-1] == "generation"
    for attribute, name, meaning in log_names(kind):
        assert KEY.fullmatch(name), name
        assert meaning, name
        assert not meaning.endswith("."), name
        assert attribute.endswith("_ms") == name.startswith("timing."), name
        assert name.endswith("_ms") == name.startswith("timing."), name


@pytest.mark.parametrize("kind", event_types(), ids=lambda kind: kind.event)
def test_every_field_has_a_place_in_the_log(kind: type[Event]) -> None:
    assert {field.name for field in fields(kind)} == {attribute for attribute, _, _ in log_names(kind)}


@pytest.mark.parametrize(
    ("event", "level"),
    [
        (TlsHandshake(conn_id="c", listener="l", established=True), "info"),
        (TlsHandshake(conn_id="c", listener="l", established=False), "notice"),
        (HttpRequest(conn_id="c", listener="l"), "info"),
        (HttpRequest(conn_id="c", listener="l", error_type="no_route"), "notice"),
        (ConfigReload(outcome="ok"), "info"),
        (ConfigReload(outcome="refused"), "error"),
        (WorkerExited(worker=0, pid=1, reason="signal 9", expected=False), "error"),
        (WorkerExited(worker=0, pid=1, reason="exit code 0", expected=True), "info"),
        (ServerNotice(topic="config_warning", message="secrets are logged"), "warning"),
        (ServerNotice(topic="tls_switched_off", message="groups"), "notice"),
    ],
)
def test_a_line_is_as_grave_as_what_it_tells(event: Event, level: str) -> None:
    assert event.severity() == level
