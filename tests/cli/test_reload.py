"""`terminator reload`: what it asks, what it tells, and the exit code for each outcome."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from terminator.cli import main


def outcome(verdict: str, **more: Any) -> dict[str, Any]:
    return {
        "outcome": verdict,
        "dry_run": False,
        "generation": 4,
        "duration_ms": 120.0,
        "errors": [],
        "warnings": [],
        "changes": [],
        "needs_restart": [],
        **more,
    }


CHANGE = {"kind": "setting", "action": "changed", "name": "timeouts.drain", "text": "timeouts.drain: 5 → 6"}


@pytest.mark.parametrize(
    ("status", "answer", "code", "out", "err"),
    [
        pytest.param(
            200,
            outcome("ok", changes=[CHANGE], warnings=["host a: x"], needs_restart=["workers: runs with 2, …"]),
            0,
            [
                "timeouts.drain: 5 → 6",
                "needs a restart: workers: runs with 2, …",
                "reloaded: 1 change, generation 4 is in force (0.12 s)",
            ],
            ["warning: host a: x"],
            id="done",
        ),
        pytest.param(
            200, outcome("unchanged"), 0, ["nothing has changed; generation 4 serves on"], [], id="nothing to do"
        ),
        pytest.param(
            409,
            outcome("refused", errors=["a.yaml:1:1: wrong\n    1 | x\n      | ^"]),
            1,
            [],
            ["error: a.yaml:1:1: wrong", "    1 | x", "      | ^", "reload refused: generation 4 serves on"],
            id="refused",
        ),
        pytest.param(
            500,
            outcome("failed", errors=["worker 1 did not prepare"]),
            1,
            [],
            ["error: worker 1 did not prepare", "reload failed: generation 4 serves on"],
            id="failed",
        ),
        pytest.param(
            200,
            outcome("ok", changes=[CHANGE, CHANGE], dry_run=True),
            0,
            ["timeouts.drain: 5 → 6"] * 2 + ["dry run: a reload would make 2 changes to generation 4"],
            [],
            id="dry run with changes",
        ),
        pytest.param(
            200,
            outcome("unchanged", dry_run=True),
            0,
            ["dry run: a reload would change nothing in generation 4"],
            [],
            id="dry run without",
        ),
        pytest.param(
            409,
            outcome("refused", dry_run=True, errors=["expired"]),
            1,
            [],
            ["error: expired", "dry run: a reload would be refused; generation 4 serves on"],
            id="dry run refused",
        ),
    ],
)
def test_each_outcome(
    admin: Any,
    capsys: pytest.CaptureFixture[str],
    status: int,
    answer: dict[str, Any],
    code: int,
    out: list[str],
    err: list[str],
) -> None:
    admin.answer = (status, answer)
    assert main(["reload", "--socket", admin.path]) == code
    told = capsys.readouterr()
    assert (told.out.splitlines(), told.err.splitlines()) == (out, err)
    assert main(["reload", "--socket", admin.path, "--format", "json"]) == code
    assert json.loads(capsys.readouterr().out) == answer


@pytest.mark.parametrize(
    ("options", "target"),
    [
        ([], "/reload?dry_run=0&accept_worse=0"),
        (["--dry-run"], "/reload?dry_run=1&accept_worse=0"),
        (["--accept-worse"], "/reload?dry_run=0&accept_worse=1"),
    ],
)
def test_what_is_asked(admin: Any, options: list[str], target: str) -> None:
    admin.answer = (200, outcome("unchanged"))
    main(["reload", "--socket", admin.path, *options])
    assert admin.asked == [f"POST {target}"]


def test_a_daemon_that_is_not_there_ends_with_3(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["reload", "--socket", str(tmp_path / "none")]) == 3
    assert "is the daemon running" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("status", "answer", "code", "complaint"),
    [
        (503, {"error": "the master does not answer"}, 1, "the daemon answered 503: the master does not answer"),
        (200, b"<html>", 3, "did not answer"),
    ],
)
def test_an_answer_that_is_none(
    admin: Any, capsys: pytest.CaptureFixture[str], status: int, answer: Any, code: int, complaint: str
) -> None:
    admin.answer = (status, answer)
    assert main(["reload", "--socket", admin.path]) == code
    assert complaint in capsys.readouterr().err


def test_the_socket_is_found_in_the_configuration_even_if_it_is_invalid(
    admin: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Else the daemon could not say why it refuses it, and log and status would not know of the attempt."""
    admin.answer = (409, outcome("refused", errors=["no hosts"]))
    file = tmp_path / "t.yaml"
    file.write_text(f"version: 1\nadmin: {{socket: {admin.path}}}\n")
    assert main(["reload", "--config", str(file)]) == 1
    assert "no hosts" in capsys.readouterr().err


@pytest.mark.parametrize("text", ["version: 1", "admin: {socket: [1]}", "admin: 3", "a: [", "admin: {socket: 3}"])
def test_a_configuration_without_a_socket_is_told_and_ends_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], text: str
) -> None:
    file = tmp_path / "t.yaml"
    file.write_text(text)
    assert main(["reload", "--config", str(file)]) == 2
    assert "t.yaml" in capsys.readouterr().err
