"""What the side-by-side tools share: compare.py's backend, certificates and proxies, started together, ended together.

Proxies run on CPU 0, backend and load on CPU 1, as compare.py has it. A variant is terminator with an edited
configuration, on a port of its own, so that it can run beside the others in the same rounds. All ports are free ones.
"""

from __future__ import annotations

import contextlib
import os
import pathlib
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator

import compare

TERMINATOR = f"{sys.executable} -m terminator run --config {{config}}"


class Stage:
    """Made by `stage()`; names are those of compare.py or of variants."""

    def __init__(self, folder: pathlib.Path) -> None:
        self.folder = folder
        self._running: dict[str, subprocess.Popen[bytes]] = {}
        self._commands: dict[str, str] = {}
        self._known = compare.command

    def command(self, name: str, folder: pathlib.Path, terminator: str) -> str:
        """Stands in for compare.py's, which knows no variants."""
        return self._commands.get(name) or self._known(name, folder, terminator)

    def start(self, name: str, cpu: int = 0) -> int:
        """The process id. Exits with the last words of what does not start."""
        self._running[name] = compare.start(name, self.folder, TERMINATOR, cpu)
        return self._running[name].pid

    def start_variant(self, name: str, edit: Callable[[str], str], program: str = TERMINATOR) -> int:
        """terminator with the configuration that `edit` makes of compare.py's. program: a command with {config}."""
        compare.PORTS[name] = free_port()
        text = (self.folder / "terminator.yaml").read_text()
        text = text.replace(str(compare.PORTS["terminator"]), str(compare.PORTS[name]))
        config = self.folder / f"{name}.yaml"
        config.write_text(edit(text.replace("admin.sock", f"{name}.sock")))
        self._commands[name] = program.format(config=config)
        return self.start(name)

    def measure(self, scenario: str, name: str, seconds: int) -> tuple[float, float]:
        """compare.py's figure (CPU per unit of work) and rate per second."""
        return compare.measure(scenario, name, self._running[name].pid, self.folder, seconds)

    def put_first(self) -> None:
        """Before all other work on the machine, which is not what is measured (SCHED_RR, needs root); and what this
        process starts from now on."""
        for started in (os.getpid(), *(each.pid for each in self._running.values())):
            for pid in compare.tree(started):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    os.sched_setscheduler(int(thread), os.SCHED_RR, os.sched_param(1))

    def stop_all(self) -> None:
        for process in self._running.values():
            compare.stop(process)


@contextlib.contextmanager
def stage() -> Iterator[Stage]:
    """With the backend running; everything is stopped and deleted at the end. Exits where it cannot run."""
    if reasons := hindrances():
        sys.exit(f"cannot measure here: {'; '.join(reasons)}")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="bench-"))
    compare.PORTS.update({name: free_port() for name in compare.PORTS})
    set_up = Stage(folder)
    known, compare.command = compare.command, set_up.command
    try:
        compare.make_files(folder)
        set_up.start("backend", cpu=1)
        yield set_up
    finally:
        set_up.stop_all()
        compare.command = known
        shutil.rmtree(folder, ignore_errors=True)


def hindrances() -> list[str]:
    """Why nothing can be measured on this machine; empty where it can."""
    reasons = [f"{name} is not installed" for name in ("nginx", "wrk", "openssl", "taskset") if not shutil.which(name)]
    if not {0, 1} <= os.sched_getaffinity(0):
        reasons.append("CPUs 0 and 1 are needed")
    return reasons


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        return int(sock.getsockname()[1])
