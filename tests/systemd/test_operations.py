"""docs/operations.md as it is: every command of it runs, in its order, beginning with the package's installation.

On the way the package is upgraded under load, as the page says, and removed and purged at the end.
"""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

sys.path.insert(0, str(Path(__file__).parent))

from container import Container, package, why_not
from machine import HERE, NAME, Load, Machine

ROOT = HERE.parent.parent
PAGE = (ROOT / "docs/operations.md").read_text()
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.MULTILINE | re.DOTALL)

in_a_container = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


def test_every_alert_has_its_section() -> None:
    rules = yaml.safe_load((ROOT / "config/prometheus-rules.yaml").read_text())
    alerts = [rule["alert"] for group in rules["groups"] for rule in group["rules"] if "alert" in rule]
    remedies = PAGE[PAGE.index("## What to do when") : PAGE.index("## Limits and sizing")]
    sections = re.split(r"^### ", remedies, flags=re.MULTILINE)[1:]
    named = [name for section in sections for name in re.findall(r"Terminator\w+", section.splitlines()[0])]
    assert sorted(named) == sorted(alerts)
    assert all(BLOCK.search(section) for section in sections), "each says what to type"


@pytest.mark.parametrize("_container", [pytest.param(None, marks=in_a_container)], ids=[""])
def test_every_command_of_the_page_runs(_container: None, tmp_path: Path) -> None:
    commands = [line for block in BLOCK.findall(PAGE) for line in block.splitlines()]
    assert len(commands) > 50
    with Container(tmp_path) as box:
        box.mount()
        package(box)
        _newer(box, "0.1.1")
        box.boot()
        machine = Machine(box)
        for command in commands:
            if command.startswith("logrotate") and box.run("which", "logrotate", check=False).returncode != 0:
                continue
            if command.startswith("apt-get remove"):
                _upgrade(machine)
            done = box.run("bash", "-o", "pipefail", "-c", f"cd /root && {command}", check=False)
            assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"
        assert box.run("systemctl", "is-active", "terminator.socket", check=False).stdout.strip() != "active"
        assert (box.root / "etc/terminator/terminator.yaml").exists()
        box.run("apt-get", "purge", "-y", "terminator-proxy")
        assert not (box.root / "opt/terminator").exists()
        assert not (box.root / "etc/terminator/terminator.yaml").exists()
        assert (box.root / f"etc/terminator/certs/{NAME}").is_symlink()


def _newer(box: Container, version: str) -> None:
    """The same package under a newer version, in another folder."""
    (package_file,) = (box.root / "root/dist").glob("*.deb")
    unpacked, newer = box.root / "root/unpacked", box.root / "root/newer"
    newer.mkdir()
    subprocess.run(["dpkg-deb", "-R", package_file, unpacked], check=True)
    control = unpacked / "DEBIAN/control"
    control.write_text(re.sub(r"^Version: [^+]+", f"Version: {version}", control.read_text(), flags=re.MULTILINE))
    subprocess.run(["dpkg-deb", "-Znone", "-b", unpacked, newer / "newer.deb"], check=True, capture_output=True)


def _upgrade(machine: Machine) -> None:
    """No connection is refused; and a configuration that the new version refuses leaves the old process serving."""
    box = machine.box
    for name in ("backend.py", "load.py"):
        (box.root / "opt" / name).write_bytes((HERE / name).read_bytes())
    box.run("systemd-run", "--unit=app", "/usr/bin/python3", "/opt/backend.py", "8001")
    machine.until(lambda: ":8001" in box.run("ss", "-ltn").stdout, "the backend listens")
    (box.root / "opt/ca.pem").write_bytes((box.root / "root/first/fullchain.pem").read_bytes())  # it is its own issuer
    before = machine.show("MainPID")
    load: Load
    with machine.load("443") as load:
        box.run("apt-get", "install", "-y", "/root/newer/newer.deb")
        load.go_on()
    assert set(load.outcomes()) == {"443 ok"}
    assert box.run("dpkg-query", "-W", "-f", "${Version}", "terminator-proxy").stdout.startswith("0.1.1+")
    after = machine.show("MainPID")
    assert after != before

    config = box.root / "etc/terminator/terminator.yaml"
    good = config.read_text()
    config.write_text(good.replace("backend: app", "backend: gone"))
    done = box.run("apt-get", "install", "-y", "--reinstall", "/root/newer/newer.deb")
    assert "goes on with the old version" in done.stdout + done.stderr
    assert (machine.show("MainPID"), machine.fetch()) == (after, "200")
    config.write_text(good)
