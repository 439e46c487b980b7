"""A real systemd in a container: this machine's own tree as an overlay, or another tree (`TERMINATOR_TEST_TREE`).

Nothing is copied and nothing of this machine is changed: what the container writes lies in memory and goes with it.
The container has its own processes, network (only `lo`) and mounts; commands enter it by nsenter.
"""

from __future__ import annotations

import fcntl
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
SYSTEM_PYTHON = "/usr/bin/python3 -c 'import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))'"
BOOT_SECONDS = 60
"""It takes one; a busy machine may take its time."""


def why_not() -> str | None:
    """Why no container can be booted here, or None."""
    if os.geteuid() != 0:
        return "needs root"
    for tool in ("systemd-nspawn", "nsenter", "setpriv", "mount", "make"):
        if shutil.which(tool) is None:
            return f"needs {tool} (Debian: apt-get install systemd-container util-linux make)"
    if TREE == "/" and subprocess.run(["/bin/sh", "-c", SYSTEM_PYTHON], check=False, capture_output=True).returncode:
        return (
            "needs the system's own /usr/bin/python3, 3.11 or newer, with venv (Debian: apt-get install python3-venv)"
        )
    if "overlay" not in Path("/proc/filesystems").read_text():
        return "needs overlayfs"
    return None


class Container:
    """Booted by `boot`, powered off and forgotten on exit. `root` is its tree as seen from here.

    `layer`: a folder whose files are copied over the machine's own, see `installed`.
    """

    def __init__(self, folder: Path, layer: Path | None = None) -> None:
        self._folder = folder / "layers"
        self._folder.mkdir()
        self._layer = layer
        self.root = self._folder / "root"
        self.written = self._folder / "up"
        """What was written to the tree so far."""
        self._console = folder / "console.log"
        self._nspawn: subprocess.Popen[bytes] | None = None
        self._init = 0
        self._started: list[subprocess.Popen[str]] = []

    def mount(self) -> None:
        """Makes the tree, to be filled before `boot`."""
        _run("mount", "-t", "tmpfs", "tmpfs", str(self._folder))
        for name in ("up", "work", "root"):
            (self._folder / name).mkdir()
        options = f"lowerdir={TREE},upperdir={self.written},workdir={self._folder}/work"
        _run("mount", "-t", "overlay", "overlay", "-o", options, str(self.root))
        for wanted in ("multi-user.target.wants", "timers.target.wants", "sockets.target.wants"):
            shutil.rmtree(self.root / "etc/systemd/system" / wanted, ignore_errors=True)
        if self._layer is not None:
            _run("cp", "-a", f"{self._layer}/.", str(self.root))

    def boot(self) -> None:
        # Should this process be killed, the container goes with it.
        command = ["setpriv", "--pdeathsig", "KILL", "systemd-nspawn", "-q", "-M", f"terminator-{os.getpid()}"]
        command += ["-D", str(self.root), "--register=no", "--keep-unit", "--private-network", "--console=pipe"]
        with self._console.open("wb") as console:
            self._nspawn = subprocess.Popen(
                [*command, "-b", "systemd.unit=basic.target"],
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                cwd="/",
                # Where the host's cgroups are the old ones, the container is to have the new ones all the same.
                env={"PATH": os.environ["PATH"], "UNIFIED_CGROUP_HIERARCHY": "1"},
                start_new_session=True,
            )
        deadline = time.monotonic() + BOOT_SECONDS
        while time.monotonic() < deadline and self._nspawn.poll() is None:
            children = self._children()
            if children:
                self._init = children[0]
                state = self.run("systemctl", "is-system-running", check=False).stdout.strip()
                if state in ("running", "degraded"):
                    return
            time.sleep(0.1)
        raise RuntimeError(f"the container did not boot:\n{self._console.read_text(errors='replace')[-3000:]}")

    def _children(self) -> list[int]:
        assert self._nspawn is not None
        pid = self._nspawn.pid
        with suppress(FileNotFoundError):
            return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return []

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
        """Runs a command inside, beside the test; whatever is left of it goes with the container."""
        started = subprocess.Popen(
            self._inside(command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(started)
        return started

    def _inside(self, command: tuple[str, ...]) -> list[str]:
        environment = ("env", "-i", "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG=C.UTF-8")
        return ["nsenter", "-t", str(self._init), "-m", "-u", "-i", "-n", "-p", "-w", "--", *environment, *command]

    def __enter__(self) -> Container:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if self._nspawn is not None:
                if self._nspawn.poll() is None and self._init:
                    with suppress(ProcessLookupError):
                        os.kill(self._init, signal.SIGKILL)  # nothing in it is worth an orderly end
                self._nspawn.terminate()
                try:
                    self._nspawn.wait(20)
                except subprocess.TimeoutExpired:
                    self._nspawn.kill()
                    self._nspawn.wait()
            for started in self._started:
                started.kill()
                started.communicate()  # closes the pipe too, which a test that failed has left open
        finally:
            for mounted in (self.root, self._folder):
                subprocess.run(["umount", "-l", str(mounted)], check=False, capture_output=True)


def installed(folder: Path) -> Path:
    """A layer with what `make install` writes; made once in `folder`, which all processes of a test run share."""
    layer, complete = folder / "installed", folder / "installed.complete"
    with (folder / "installed.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(layer, ignore_errors=True)
            work = folder / "installing"
            shutil.rmtree(work, ignore_errors=True)
            work.mkdir()
            with Container(work) as container:
                container.mount()
                install(container)
                _run("cp", "-a", str(container.written), str(layer))
                # What stands for a file that was removed; each container removes it itself.
                _run("find", str(layer), "-type", "c", "-delete")
            complete.touch()
    return layer


def install(container: Container) -> None:
    """`make install` into the tree of a container that is not booted yet: it has no network afterwards."""
    _build(container, "install", f"DESTDIR={container.root}" if TREE == "/" else "DESTDIR=")


def package(container: Container) -> None:
    """`make deb`, into /root/dist of the container."""
    _build(container, "deb", f"DIST={container.root if TREE == '/' else ''}/root/dist")


def _build(container: Container, target: str, setting: str) -> None:
    clean = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "PYTHON": "/usr/bin/python3"}
    if TREE == "/":
        _run("make", "-C", str(ROOT), target, setting, "PYTHON=/usr/bin/python3", env=clean)
        return
    # The environment is bound to the other tree's interpreter, so it is made in there.
    source = container.root / "usr/src/terminator"
    wanted = shutil.ignore_patterns(".*", "build", "dist", "tests", "*.egg-info", "__pycache__")
    shutil.copytree(ROOT, source, ignore=wanted)
    shutil.copy("/etc/resolv.conf", container.root / "etc/resolv.conf")
    inside = ("/usr/bin/env", "-i", *(f"{name}={value}" for name, value in clean.items()), setting)
    script = {"install": ("install.sh", "install"), "deb": ("deb.sh",)}[target]
    _run("mount", "-t", "proc", "proc", str(container.root / "proc"))
    try:
        _run("chroot", str(container.root), *inside, f"/usr/src/terminator/packaging/{script[0]}", *script[1:])
    finally:
        _run("umount", str(container.root / "proc"))


def _run(*command: str, env: dict[str, str] | None = None) -> None:
    done = subprocess.run(command, capture_output=True, text=True, env=env, check=False)
    if done.returncode != 0:
        raise RuntimeError(f"{' '.join(command)}: exit code {done.returncode}\n{done.stdout}{done.stderr}")
