"""The units as systemd judges them without starting anything, and the man pages as the parser and the model say."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent.parent
UNITS = sorted(
    path for suffix in ("service", "socket", "path", "timer") for path in (ROOT / "systemd").glob(f"*.{suffix}")
)
THRESHOLD = 15
"""Tenths: `systemd-analyze security` counts from 0 to 10. Caddy's unit has 9.0, nginx's and HAProxy's have 9.6."""

needs_analyze = pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="needs systemd-analyze")


@pytest.fixture(scope="module")
def units(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The units with a program that exists here in place of the installed one."""
    folder = tmp_path_factory.mktemp("units")
    for unit in UNITS:
        text = unit.read_text().replace("/opt/terminator/bin/terminator", "/bin/true")
        text = re.sub(r"^Documentation=.*\n", "", text, flags=re.MULTILINE)  # man pages are not installed here
        (folder / unit.name).write_text(text)
    return folder


@needs_analyze
def test_systemd_finds_no_fault_in_the_units(units: Path) -> None:
    done = subprocess.run(
        ["systemd-analyze", "verify", *map(str, sorted(units.iterdir()))], capture_output=True, text=True, check=False
    )
    complaints = [line for line in done.stderr.splitlines() if "terminator" in line]
    assert not complaints, done.stderr


@needs_analyze
def test_the_sandbox_is_on(units: Path) -> None:
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={THRESHOLD}", "--no-pager"]
    done = subprocess.run([*command, str(units / "terminator.service")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_what_is_generated_is_up_to_date() -> None:
    sys.path.insert(0, str(ROOT / "packaging"))
    try:
        import generate
    finally:
        sys.path.remove(str(ROOT / "packaging"))
    stale = [path.name for path, make in generate.OUTPUTS.items() if path.read_text() != make()]
    assert not stale, "run `python packaging/generate.py`"


@pytest.mark.parametrize("page", ["terminator.8", "terminator.yaml.5"])
def test_a_man_page_renders_without_a_warning(page: str) -> None:
    if shutil.which("man") is None:
        pytest.skip("needs man")
    command = ["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", str(ROOT / "man" / page)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
