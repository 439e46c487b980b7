"""docs/operations.md as it is: every command of it runs, in its order, on a machine where terminator was installed."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from container import Container, install, why_not  # noqa: E402

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_every_command_of_the_page_runs(tmp_path: Path) -> None:
    page = (ROOT / "docs/operations.md").read_text()
    commands = [line for block in BLOCK.findall(page) for line in block.splitlines()]
    assert len(commands) > 15
    with Container(tmp_path) as machine:
        machine.mount()
        install(machine)
        machine.boot()
        machine.run("systemd-sysusers", "/usr/lib/sysusers.d/terminator.conf")
        machine.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/terminator.conf")
        for command in commands:
            if command.startswith("logrotate") and machine.run("which", "logrotate", check=False).returncode != 0:
                continue
            done = machine.run("bash", "-c", command, check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
