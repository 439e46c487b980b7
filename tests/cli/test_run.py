"""`terminator run` as a shell sees it: exit codes and what stands on stderr."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import yaml

GOOD = {
    "version": 1,
    "listeners": [{"name": "https", "bind": "127.0.0.1:1"}],
    "hosts": [
        {"names": ["a"], "certificates": [{"chain": "c.pem", "key": "k.pem"}], "routes": [{"path": "/", "respond": {}}]}
    ],
}


def run(*arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-W", "error", "-m", "terminator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, stdin=subprocess.DEVNULL)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("version: 1\nlisteners: [", "terminator.yaml:2:"),
        ("version: 2", "version"),
        (yaml.safe_dump(GOOD), "c.pem: the certificate chain does not exist"),
        (yaml.safe_dump({**GOOD, "workrs": 3}), "did you mean"),
    ],
)
def test_what_is_invalid_is_told_as_text_and_ends_with_2(tmp_path: Path, text: str, complaint: str) -> None:
    (tmp_path / "terminator.yaml").write_text(text)
    done = run("run", "--config", "terminator.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert complaint in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""


def test_a_configuration_that_does_not_exist_ends_with_2(tmp_path: Path) -> None:
    done = run("run", "--config", "missing.yaml", folder=tmp_path)
    assert done.returncode == 2
    assert "missing.yaml" in done.stderr


@pytest.mark.parametrize("arguments", [(), ("fly",), ("run", "--no-such-option"), ("status", "--format", "xml")])
def test_wrong_usage_ends_with_2(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    done = run(*arguments, folder=tmp_path)
    assert done.returncode == 2
    assert done.stderr.startswith("usage: terminator")


def test_version_names_what_it_stands_on(tmp_path: Path) -> None:
    done = run("--version", folder=tmp_path)
    assert done.returncode == 0
    for part in ("terminator ", "Python 3.", "OpenSSL 3", "trio ", "h11 ", "X25519MLKEM768 "):
        assert part in done.stdout


def test_help_lists_only_commands_that_exist(tmp_path: Path) -> None:
    done = run("--help", folder=tmp_path)
    assert done.returncode == 0
    for command in ("run", "check", "reload", "status", "certs"):
        assert f"\n    {command} " in done.stdout


@pytest.mark.parametrize("command", ["run", "reload", "status", "certs"])
def test_each_command_explains_itself(tmp_path: Path, command: str) -> None:
    done = run(command, "--help", folder=tmp_path)
    assert done.returncode == 0
    assert "Exit codes" in done.stdout.replace("\n", " ").replace("  ", " ")


def test_a_reader_that_has_seen_enough_is_no_crash(tmp_path: Path) -> None:
    command = f"{sys.executable} -W error -m terminator schema | head -c 10"
    done = subprocess.run(command, shell=True, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stderr == ""


@pytest.mark.parametrize("redirection", [">&-", ">/dev/full"])
@pytest.mark.parametrize("command", ["schema", "schema --format markdown"])
def test_output_that_cannot_be_written_is_told_and_no_crash(tmp_path: Path, command: str, redirection: str) -> None:
    line = f"{sys.executable} -W error -m terminator {command} {redirection}"
    done = subprocess.run(line, shell=True, capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith("terminator: the output cannot be written: ")
    assert done.stderr.count("\n") == 1


def test_a_closed_stderr_changes_no_exit_code(tmp_path: Path) -> None:
    line = f"{sys.executable} -W error -m terminator run --config missing.yaml <&- >&- 2>&-"
    assert subprocess.run(line, shell=True, timeout=60, cwd=tmp_path).returncode == 2


@pytest.mark.parametrize(
    ("number", "code"),
    [("SIGHUP", 2), ("SIGUSR1", 2), ("SIGTERM", 0), ("SIGINT", 0)],
    ids=["a reload is passed over", "logs reopened, too", "a stop ends at once", "Ctrl-C, too"],
)
def test_a_signal_amid_the_imports_is_obeyed_and_does_not_kill(tmp_path: Path, number: str, code: int) -> None:
    script = (
        "import os, signal, sys\n"
        "from terminator.cli import main\n"
        "class Finder:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name == 'terminator.service': os.kill(os.getpid(), signal.{number})\n"
        "sys.meta_path.insert(0, Finder())\n"
        "sys.exit(main(['run', '--config', 'missing.yaml']))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.returncode == code, done
    assert ("cannot be read" in done.stderr) == (code == 2), "it ended before it came to read"


def test_a_command_imports_only_itself(tmp_path: Path) -> None:
    script = (
        "import sys; from terminator.cli import main\n"
        "try: main(['--help'])\n"
        "except SystemExit: pass\n"
        "print([name for name in ('trio', 'ssl', 'pydantic', 'cryptography') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, cwd=tmp_path)
    assert done.stdout.splitlines()[-1] == "[]"
