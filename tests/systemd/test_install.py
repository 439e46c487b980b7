"""`make install` and `make uninstall` below DESTDIR, under another PREFIX: what they write, what they never touch."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from container import why_not
from machine import CERTS, NAME, UNITS, booted

ROOT = Path(__file__).parent.parent.parent
PREFIX = "/srv/edge/terminator"
PYTHON = os.path.realpath(sys.executable)

needs_make = pytest.mark.skipif(shutil.which("make") is None, reason="needs make")


def make(target: str, **settings: object) -> subprocess.CompletedProcess[str]:
    command = ["make", "-C", str(ROOT), "--no-print-directory", target, f"PYTHON={PYTHON}"]
    command += [f"{name}={value}" for name, value in settings.items()]
    environment = {"PATH": os.environ["PATH"], "HOME": os.environ.get("HOME", "/")}
    for name in ("PIP_CONFIG_FILE", "PIP_INDEX_URL", "SSL_CERT_FILE"):  # where this machine gets packages from
        if name in os.environ:
            environment[name] = os.environ[name]
    return subprocess.run(command, capture_output=True, text=True, env=environment, timeout=250)


@needs_make
@pytest.mark.slow
@pytest.mark.timeout(300)
def test_an_installation_under_another_prefix_is_whole_and_goes_again(tmp_path: Path) -> None:
    stage = tmp_path / "stage"
    source_before = sorted(path.name for path in ROOT.iterdir())
    done = make("install", DESTDIR=stage, PREFIX=PREFIX)
    assert done.returncode == 0, done.stderr
    root = stage / PREFIX.lstrip("/")
    assert sorted(path.name for path in ROOT.iterdir()) == source_before, "nothing is left in the source"
    assert sorted(path.name for path in root.parent.iterdir()) == ["terminator"], "nothing half made beside it"

    shown = subprocess.run([root / "bin/python", "-B", "-m", "terminator", "--version"], capture_output=True, text=True)
    assert shown.stdout.startswith("terminator "), shown.stderr
    unit = (stage / "usr/lib/systemd/system/terminator.service").read_text()
    assert f"ExecStart={PREFIX}/bin/terminator run" in unit
    assert os.readlink(stage / "usr/sbin/terminator-proxy") == f"{PREFIX}/bin/terminator"
    assert (root / "bin/terminator").read_text().startswith(f"#!{PREFIX}/bin/python\n")
    for path in stage.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            assert str(tmp_path).encode() not in content, path
            assert str(ROOT).encode() not in content, path
            if "site-packages" not in path.parts:
                assert b"/opt/terminator" not in content, path
        assert path.is_symlink() or not path.stat().st_mode & 0o022, f"{path} can be written by others"

    # A second one keeps what the operator wrote, and drops modules that are gone.
    (stage / "etc/terminator/terminator.yaml").write_text("mine\n")
    (stage / "etc/logrotate.d/terminator").write_text("mine too\n")
    (package,) = root.glob("lib/python3*/site-packages/terminator")
    (package / "gone.py").write_text("")
    done = make("install", DESTDIR=stage, PREFIX=PREFIX)
    assert done.returncode == 0, done.stderr
    assert (stage / "etc/terminator/terminator.yaml").read_text() == "mine\n"
    assert (stage / "etc/logrotate.d/terminator").read_text() == "mine too\n"
    assert not (package / "gone.py").exists()

    # One that cannot be completed leaves the one before as it is.
    broken = {"PIP_NO_INDEX": "1", "PATH": os.environ["PATH"]}
    command = [ROOT / "packaging/install.sh", "install"]
    settings = {"DESTDIR": str(stage), "PREFIX": PREFIX, "PYTHON": PYTHON}
    assert subprocess.run(command, env={**broken, **settings}, capture_output=True).returncode != 0
    assert (root / "hooks/install-pair").exists()
    assert sorted(path.name for path in root.parent.iterdir()) == ["terminator"]

    done = make("uninstall", DESTDIR=stage, PREFIX=PREFIX)
    assert done.returncode == 0, done.stderr
    left = sorted(str(path.relative_to(stage)) for path in stage.rglob("*") if not path.is_dir())
    assert left == ["etc/logrotate.d/terminator", "etc/terminator/terminator.yaml"]


@needs_make
@pytest.mark.parametrize("target", ["install", "uninstall"])
def test_a_folder_that_is_not_terminators_alone_is_never_touched(tmp_path: Path, target: str) -> None:
    """`make install PREFIX=/usr/local` is what fingers type, and the folder is replaced as a whole."""
    theirs = tmp_path / "usr/local/bin/tool"
    theirs.parent.mkdir(parents=True)
    theirs.write_text("theirs")
    done = make(target, DESTDIR=tmp_path, PREFIX="/usr/local")
    assert done.returncode != 0
    assert "is not empty and no installation of terminator" in done.stderr
    assert theirs.read_text() == "theirs"


@pytest.mark.parametrize("target", ["install", "uninstall"])
@pytest.mark.parametrize(
    "prefix",
    [
        "/",
        "/opt",
        "opt/terminator",
        "/opt/../etc",
        "/opt/.",
        "/opt/terminator/",
        "/opt//x",
        "/opt/a b",
        "/opt/a|b",
        "/opt/$HOME",
    ],
)
def test_a_prefix_that_cannot_be_meant_is_refused(tmp_path: Path, prefix: str, target: str) -> None:
    environment = {"PATH": os.environ["PATH"], "DESTDIR": str(tmp_path), "PREFIX": prefix, "PYTHON": PYTHON}
    done = subprocess.run([ROOT / "packaging/install.sh", target], env=environment, capture_output=True, text=True)
    assert (done.returncode, list(tmp_path.iterdir())) == (2, [])
    assert "PREFIX=" in done.stderr


@pytest.mark.root
@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(why_not() is not None, reason=str(why_not()))
def test_uninstalling_a_running_service_stops_it_and_keeps_what_is_the_operators(
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    with booted(tmp_path_factory) as machine:
        for folder in ("packaging", "systemd"):
            shutil.copytree(ROOT / folder, machine.box.root / "usr/src/uninstall" / folder)
        machine.run("systemctl", "enable", "--now", *UNITS)
        assert machine.fetch() == "200"
        machine.run("/usr/src/uninstall/packaging/install.sh", "uninstall")
        assert machine.show("LoadState") == "not-found"
        assert ":443" not in machine.run("ss", "-ltn").stdout
        assert machine.run("pgrep", "-u", "terminator", check=False).stdout == ""
        assert not (machine.box.root / "opt/terminator").exists()
        assert (machine.box.root / CERTS / NAME).is_symlink()
        assert (machine.box.root / "etc/terminator/terminator.yaml").exists()
        assert not (machine.box.root / "etc/logrotate.d/terminator").exists()
