"""One outcome, told alike to log, caller and service manager."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from terminator.service.attempt import Attempt
from terminator.service.difference import Change


def attempt(**changes: Any) -> Attempt:
    facts: dict[str, Any] = {
        "outcome": "ok",
        "trigger": "command",
        "at": datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC),
        "generation": 4,
        "duration_ms": 12.5,
    }
    return Attempt(**(facts | changes))


CHANGE = Change("setting", "changed", "timeouts.drain", "timeouts.drain: 5 → 6")


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"changes": (CHANGE,)}, "reloaded 14:02:11 UTC, 1 changes"),
        ({"outcome": "unchanged"}, "reloaded 14:02:11 UTC, nothing had changed"),
        (
            {"outcome": "refused", "errors": ("a.yaml:1:1: wrong\n  1 | x", "another")},
            "reload refused 14:02:11 UTC, generation 4 serves on: a.yaml:1:1: wrong (and 1 more)",
        ),
        (
            {"outcome": "failed", "errors": ("worker 1",)},
            "reload failed 14:02:11 UTC, generation 4 serves on: worker 1",
        ),
    ],
)
def test_the_sentence_for_the_service_manager(changes: dict[str, Any], sentence: str) -> None:
    assert attempt(**changes).sentence() == sentence
    assert attempt(**changes).good == (attempt(**changes).outcome in ("ok", "unchanged"))


def test_event_and_json_say_the_same() -> None:
    told = attempt(changes=(CHANGE,), warnings=("w",), needs_restart=("workers: …",), errors=("e",), error_type="x")
    event, value = told.event(), told.as_json()
    assert event.outcome == value["outcome"]
    assert event.errors == value["errors"] == ["e"]
    assert event.warnings == value["warnings"] == ["w"]
    assert event.changes == [change["text"] for change in value["changes"]]
    assert event.needs_restart == value["needs_restart"]
    assert (event.generation, event.duration_ms, event.error_type) == (4, 12.5, "x")
    assert value["changes"] == [
        {"kind": "setting", "action": "changed", "name": "timeouts.drain", "text": "timeouts.drain: 5 → 6"}
    ]


def test_what_is_absent_is_absent_from_the_log() -> None:
    event = attempt().event()
    assert (event.errors, event.warnings, event.changes, event.needs_restart) == (None, None, None, None)
