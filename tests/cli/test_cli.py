"""The command as a whole: which subcommands there are, exit codes, and streams that are closed or full."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terminator import cli
from terminator.errors import StartError, TerminatorError

PROGRAM = [sys.executable, "-W", "error", "-m", "terminator"]


class Far(TerminatorError):
    reason = "not_reachable"


@pytest.fixture
def command(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `terminator schema` do this."""

    def make(run: Any) -> None:
        module = SimpleNamespace(HELP="x", add_arguments=lambda parser: None, run=run)
        monkeypatch.setattr("importlib.import_module", lambda name: module)

    return make


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (StartError("no right"), cli.FAILED, "terminator: no right\n"),
        (Far("no such socket"), cli.NOT_REACHABLE, "terminator: no such socket\n"),
        (KeyboardInterrupt(), cli.INTERRUPTED, ""),
    ],
)
def test_errors_have_their_exit_code_and_one_line(
    command: Any, capsys: pytest.CaptureFixture[str], error: BaseException, code: int, text: str
) -> None:
    def run(args: object) -> int:
        raise error

    command(run)
    assert cli.main(["schema"]) == code
    assert capsys.readouterr().err == text


def test_a_defect_is_not_hidden(command: Any) -> None:
    def run(args: object) -> int:
        raise FileNotFoundError(2, "No such file", "x")

    command(run)
    with pytest.raises(FileNotFoundError):
        cli.main(["schema"])


@pytest.mark.parametrize("arguments", [[], ["--help"], ["no-such-command"], ["reload", "--dry"]])
def test_usage_errors_leave_with_2_and_help_lists_every_command(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as left:
        cli.main(arguments)
    assert left.value.code == (0 if arguments == ["--help"] else 2)
    out, err = capsys.readouterr()
    if arguments == ["--help"]:
        assert [
            name for name in cli.COMMANDS if name not in out and (Path(cli.__file__).parent / f"{name}.py").exists()
        ] == []
    else:
        assert "usage: terminator" in err


def test_a_reader_that_has_seen_enough_is_no_trouble() -> None:
    done = subprocess.run(
        ["bash", "-c", '"$@" | head -c 1; exit ${PIPESTATUS[0]}', "-", *PROGRAM, "schema"], capture_output=True
    )
    assert (done.stdout, done.stderr) == (b"{", b"")
    assert done.returncode in (0, cli.FAILED)


def test_a_full_disk_and_a_closed_stdout_are_told() -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run([*PROGRAM, "schema"], stdout=full, stderr=subprocess.PIPE, text=True)
    assert done.returncode == cli.FAILED
    assert done.stderr == "terminator: the output cannot be written: No space left on device\n"
    done = subprocess.run(["bash", "-c", '"$@" >&-', "-", *PROGRAM, "schema"], stderr=subprocess.PIPE, text=True)
    assert done.returncode == cli.FAILED
    assert done.stderr == "terminator: the output cannot be written: Bad file descriptor\n"
