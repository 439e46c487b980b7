"""A real systemd in a container: this machine's own tree as an overlay, or another tree (`TERMINATOR_TEST_TREE`).

Nothing is copied and nothing of this machine is changed: what the container writes lies in memory and goes with it.
The container has its own processes, network (only `lo`) and mounts; commands enter it by nsenter.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).parent.parent.parent
TREE = os.environ.get("TERMINATOR_TEST_TREE", "/")
BOOT_SECONDS = 20


def why_not() -> str | None:
    """Why no container can be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("systemd-nspawn", "nsenter", "mount"):
        if shutil.which(tool) is None:
            return f"needs {tool} (Debian: apt-get install systemd-container)"
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "needs overlayfs"
    return None


class Container:
    """Booted on entry, powered off and forgotten on exit. `root` is its tree as seen from here."""

    def __init__(self, folder: Path) -> None:
        self._layers = folder / "layers"
        self._layers.mkdir()
        self.root = self._layers / "root"
        self._console = folder / "console.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0

    def mount(self) -> None:
        """Makes the tree, to be filled before `boot`."""
        _run("mount", "-t", "tmpfs", "tmpfs", str(self._layers))
        for name in ("up", "work", "root"):
            (self._layers / name).mkdir()
        options = f"lowerdir={TREE},upperdir={self._layers}/up,workdir={self._layers}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        for wanted in ("multi-user.target.wants", "timers.target.wants", "sockets.target.wants"):
            shutil.rmtree(self.root / "etc/systemd/system" / wanted, ignore_errors=True)

    def boot(self) -> None:
        command = ["systemd-nspawn", "-q", "-M", f"terminator-{os.getpid()}", "-D", str(self.root), "--register=no"]
        command += ["--keep-unit", "--private-network", "--console=pipe", "-b", "systemd.unit=basic.target"]
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd="/",
                # Where the host's cgroups are the old ones, the container is to have the new ones all the same.
                env={"PATH": os.environ["PATH"], "UNIFIED_CGROUP_HIERARCHY": "1"},
                start_new_session=True,
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline:
            if self._nspawn.poll() is not None:
                break
            children = Path(f"/proc/{self._nspawn.pid}/task/{self._nspawn.pid}/children").read_text().split()
            if children:
                self._init = int(children[0])
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the container did not boot:\n{self._console.read_text(errors='replace')[-3000:]}")

    def run(self, *command: str, check: bool = True, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Runs a command inside, waits for it."""
        done = subprocess.run(
            self._inside(command),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        if check and done.returncode != 0:
            raise AssertionError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
        return done

    def start(self, *command: str) -> subprocess.Popen[str]:
        """Runs a command inside, beside the test."""
        return subprocess.Popen(
            self._inside(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        environment = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
        return ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-w", "--", *environment, *command]

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._nspawn is not None:
            if self._nspawn.poll() is None and self._init:
                with suppress(ProcessLookupError):
                    os.kill(self._init, signal.SIGKILL)  # nothing in it is worth an orderly end
            self._nspawn.terminate()
            self._nspawn.wait(20)
        for mounted in (self.root, self._layers):
            subprocess.run(["umount", "-l", str(mounted)], check=False, capture_output=True)


def install(container: Container) -> None:
    """`make install` into the tree of a container that is not booted yet: it has no network afterwards."""
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON": "/usr/bin/python3"}
    if TREE == "/":
        environment = {**clean, "DESTDIR": str(container.root)}
        subprocess.run([ROOT / "packaging/install.sh", "install"], check=True, env=environment, capture_output=True)
        return
    # The environment is bound to the other tree's interpreter, so it is made in there.
    source = container.root / "usr/src/terminator"
    wanted = shutil.ignore_patterns(".*", "build", "dist", "tests", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=wanted)
    shutil.copy("/etc/resolv.conf", container.root / "etc/resolv.conf")
    inside = ("/usr/bin/env", "-i", *(f"{name}={value}" for name, value in clean.items()))
    _run("mount", "-t", "proc", "proc", str(container.root / "proc"))
    try:
        _run("chroot", str(container.root), *inside, "/usr/src/terminator/packaging/install.sh", "install")
    finally:
        _run("umount", str(container.root / "proc"))


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True)
