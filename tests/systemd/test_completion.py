"""Completion as the shells themselves offer it; zsh on a terminal, where alone it completes."""

from __future__ import annotations

import os
import pty
import re
import select
import shutil
import subprocess
import time
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
PACKAGING = ROOT / "packaging"

CASES = [
    pytest.param(["rel"], {"reload"}, id="command"),
    pytest.param(["reload", "--dr"], {"--dry-run"}, id="option"),
    pytest.param(["status", "--format", ""], {"text", "json"}, id="value of an option"),
    pytest.param(["backend", "dra"], {"drain"}, id="word of a command"),
]


def needs(shell: str) -> pytest.MarkDecorator:
    return pytest.mark.skipif(shutil.which(shell) is None, reason=f"needs {shell} (Debian package {shell})")


@needs("bash")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_bash_completes(words: list[str], offered: set[str], tmp_path: Path) -> None:
    script = f"""source {PACKAGING}/completion.bash
        COMP_WORDS=(terminator-proxy {" ".join(repr(word) for word in words)}); COMP_CWORD={len(words)}; _terminator
        printf '%s\\n' "${{COMPREPLY[@]}}" """
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert set(done.stdout.split()) == offered


@needs("fish")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_fish_completes(words: list[str], offered: set[str], tmp_path: Path) -> None:
    line = " ".join(["terminator-proxy", *words])
    script = f"source {PACKAGING}/completion.fish; complete -C '{line}'"
    home = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    command = ["fish", "--no-config", "-c", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd=tmp_path, env=home)
    assert {row.partition("\t")[0] for row in done.stdout.splitlines()} == offered
    assert done.stderr == ""


@needs("zsh")
@pytest.mark.parametrize(("words", "offered"), CASES)
def test_zsh_completes(words: list[str], offered: set[str], tmp_path: Path) -> None:
    (tmp_path / "functions").mkdir()
    shutil.copy(PACKAGING / "completion.zsh", tmp_path / "functions/_terminator-proxy")
    (tmp_path / "work").mkdir()
    terminal, its_end = pty.openpty()
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "TERM": "xterm", "PS1": "% "}
    shell = subprocess.Popen(
        ["setsid", "--ctty", "zsh", "-f", "-i"],
        cwd=tmp_path / "work",
        env=environment,
        stdin=its_end,
        stdout=its_end,
        stderr=its_end,
    )
    os.close(its_end)
    try:
        load = f"fpath=({tmp_path}/functions $fpath); autoload -Uz compinit; compinit -u -d {tmp_path}/dump"
        os.write(terminal, f"{load}; print re''ady\n".encode())
        said(terminal, "ready")
        os.write(terminal, f"{' '.join(['terminator-proxy', *words])}\t".encode())
        said(terminal, *(rf"{word}\b" for word in offered))
    finally:
        os.close(terminal)  # a hang-up ends it
        shell.wait(30)


def said(terminal: int, *patterns: str, seconds: float = 30) -> None:
    """Reads until the shell has shown them all."""
    shown = b""
    end = time.monotonic() + seconds
    while not all(re.search(pattern, shown.decode(errors="replace")) for pattern in patterns):
        ready, _, _ = select.select([terminal], [], [], max(0.0, end - time.monotonic()))
        assert ready, f"{patterns} not within {seconds} s: {shown!r}"
        shown += os.read(terminal, 4096)
