"""`terminator status` in words and as JSON."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from terminator.cli import main
from terminator.cli.status import table


def ago(**parts: float) -> str:
    return (datetime.now(UTC) - timedelta(**parts)).isoformat()


def body() -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "pid": 100,
        "state": "serving",
        "started": ago(hours=5),
        "config": "/etc/t.yaml",
        "generation": 3,
        "generation_since": ago(seconds=50),
        "connections": 7,
        "connections_by_generation": {"3": 5, "2": 2},
        "workers": [
            {
                "worker": 0,
                "state": "serving",
                "pid": 101,
                "since": ago(days=3),
                "connections": 7,
                "connections_by_generation": {"3": 5, "2": 2},
            },
            {
                "worker": 1,
                "state": "waiting",
                "pid": None,
                "since": None,
                "connections": 0,
                "connections_by_generation": {},
            },
        ],
        "listeners": [{"name": "https", "address": "[::]:443", "tls": True}],
        "reloads": {
            "attempts": 2,
            "good": 1,
            "last": {
                "outcome": "refused",
                "at": ago(minutes=10),
                "trigger": "signal",
                "errors": ["a.pem: expired\nmore"],
                "needs_restart": ["workers: runs with 2, configured is 3"],
            },
        },
        "certificates": [{"host": "a.test", "serial": "5e", "key_type": "ecdsa", "days_left": 12.25}],
        "warnings": ["host a.test: soon"],
        "switched_off": ["ticket keys cannot be set"],
        "backends": [{"worker": 0, "backend": "web", "server": "127.0.0.1:8000", "weight": 0.5, "note": None}],
    }


def test_the_state_in_words(admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    admin.answer = (200, body())
    assert main(["status", "--socket", admin.path]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "terminator 0.1.0, serving since 5 h, process 100",
        "configuration /etc/t.yaml, generation 3 since 50 s",
        "connections 7 (2 of generation 2)",
        "last reload refused 10 min ago by signal, 1 of 2 were good",
        "  a.pem: expired",
        "  more",
        "  needs a restart: workers: runs with 2, configured is 3",
        "",
        "LISTENER  ADDRESS   TLS",
        "https     [::]:443  yes",
        "",
        "WORKER  PROCESS  STATE    SINCE  CONNECTIONS",
        "0       101      serving  3 d    7 (2 of generation 2)",
        "1       -        waiting  -      0",
        "",
        "HOST    CERTIFICATE  KEY    DAYS LEFT",
        "a.test  5e           ecdsa  12.2",
        "",
        "WORKER  BACKEND  SERVER          WEIGHT  NOTE",
        "0       web      127.0.0.1:8000  0.5     -",
        "warning: host a.test: soon",
        "switched off: ticket keys cannot be set",
    ]
    assert admin.asked == ["GET /status"]


def test_without_a_reload_and_backends(admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    fresh = body()
    fresh["reloads"]["last"] = None
    fresh["backends"] = []
    admin.answer = (200, fresh)
    assert main(["status", "--socket", admin.path]) == 0
    told = capsys.readouterr().out
    assert "no reload since the start" in told
    assert "BACKEND" not in told


def test_the_state_as_json(admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    admin.answer = (200, body())
    assert main(["status", "--socket", admin.path, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == admin.answer[1]


def test_a_daemon_that_is_not_there_ends_with_3() -> None:
    assert main(["status", "--socket", "/nonexistent"]) == 3


def test_columns_are_as_wide_as_they_must_be() -> None:
    assert list(table(("A", "B"), [("long one", 1), ("x", 22)])) == ["A         B", "long one  1", "x         22"]
