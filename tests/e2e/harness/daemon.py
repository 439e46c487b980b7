"""The real daemon as a process: started from a configuration, its log read live, stopped and judged at the end."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import yaml
from harness.conversation import Conversation

Event = dict[str, Any]
START_SECONDS, STOP_SECONDS, EVENT_SECONDS = 60, 30, 20


class Daemon:
    """`terminator run` on one configuration. `ports` names the port of each TCP listener."""

    def __init__(
        self, config: dict[str, Any], folder: Path, ca: ssl.SSLContext, *, prefix: tuple[str, ...] = ()
    ) -> None:
        self.config = config
        self.folder = folder
        self.config_file = folder / "terminator.yaml"
        self.config_file.write_text(yaml.safe_dump(config, sort_keys=False))
        self.ports = {
            listener["name"]: int(listener["bind"].rpartition(":")[2])
            for listener in config["listeners"]
            if not listener["bind"].startswith(("unix:", "systemd:"))
        }
        self.events: list[Event] = []
        self.output: dict[str, list[str]] = {"stdout": [], "stderr": []}
        self.expected_exit = 0
        self._ca = ca
        self._prefix = prefix
        self._changed = threading.Condition()
        self._process: subprocess.Popen[bytes] | None = None
        self._readers: list[threading.Thread] = []

    # ---------------------------------------------------------------------------------------- start and stop

    def launch(self) -> None:
        """Starts the process without waiting for anything."""
        # Every warning is an error in the daemon too, and told on stderr, which is judged at the end.
        command = [*self._prefix, sys.executable, "-W", "error", "-m", "terminator", "run", "--config"]
        self._process = subprocess.Popen(
            [*command, str(self.config_file)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=self.folder,
        )
        for name, stream in (("stdout", self._process.stdout), ("stderr", self._process.stderr)):
            assert stream is not None
            reader = threading.Thread(target=self._read, args=(name, stream), daemon=True)
            reader.start()
            self._readers.append(reader)

    def start(self) -> Daemon:
        """Starts the process and waits until it says that it serves."""
        self.launch()
        if self.config.get("log", {}).get("format") == "text":
            self.wait_for_line("server.ready", stream="stderr", seconds=START_SECONDS)
        else:
            self.wait_for("server.ready", seconds=START_SECONDS)
        return self

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def wait(self, seconds: float = STOP_SECONDS) -> int:
        """Waits for the process to end; its exit code."""
        assert self._process is not None
        code = self._process.wait(seconds)
        for reader in self._readers:
            reader.join(seconds)
        return code

    def stop(self) -> None:
        """Asks the process to stop and asserts that it was well until the end."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self.signal(signal.SIGTERM)
        try:
            code = self.wait()
        except subprocess.TimeoutExpired:
            for pid in self.processes():
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self._process.wait()
            raise AssertionError(f"did not stop within {STOP_SECONDS} s of SIGTERM\n{self.story()}") from None
        assert code == self.expected_exit, f"exit code {code}\n{self.story()}"
        crashes = self.all("server.crash")
        assert not crashes, "\n\n".join(f"{crash}\n{crash.get('error.stack', '')}" for crash in crashes)
        spoken = "".join(line for lines in self.output.values() for line in lines)
        for sign in ("Traceback (most recent call last)", "Exception ignored", "Warning:"):
            assert sign not in spoken, spoken

    # ----------------------------------------------------------------------------------------------- its log

    def wait_for(
        self, name: str, where: dict[str, Any] | None = None, *, count: int = 1, seconds: float = EVENT_SECONDS
    ) -> Event:
        """The `count`-th event of this name whose fields are as in `where`, as soon as it is logged."""

        def arrived() -> bool:
            assert self._process is not None
            return len(self.all(name, where)) >= count or (self._process.poll() is not None and not self._reading())

        with self._changed:
            self._changed.wait_for(arrived, seconds)
        found = self.all(name, where)
        if len(found) < count:
            raise AssertionError(f"{len(found)} of {count} events {name} with {where or 'any fields'}\n{self.story()}")
        return found[count - 1]

    def all(self, name: str, where: dict[str, Any] | None = None) -> list[Event]:
        """All events so far of this name whose fields are as in `where`; None asks for an absent field."""
        wanted = (where or {}).items()
        return [e for e in list(self.events) if e["event"] == name and all(e.get(k) == v for k, v in wanted)]

    def wait_for_line(self, text: str, *, stream: str, seconds: float = EVENT_SECONDS) -> str:
        """The first line of stdout or stderr that contains `text`."""

        def found() -> str | None:
            return next((line for line in list(self.output[stream]) if text in line), None)

        with self._changed:
            self._changed.wait_for(lambda: found() is not None or not self._reading(), seconds)
        line = found()
        assert line is not None, f"no line with {text!r} on {stream}\n{self.story()}"
        return line

    def story(self) -> str:
        """What the daemon has told so far, for the message of a failed test."""
        events = "\n".join(json.dumps(event) for event in self.events[-40:])
        return f"events:\n{events}\nother output:\n{''.join(self.output['stdout'] + self.output['stderr'])[-8000:]}"

    def _reading(self) -> bool:
        return any(reader.is_alive() for reader in self._readers)

    def _read(self, name: str, stream: IO[bytes]) -> None:
        for raw in stream:
            line = raw.decode(errors="replace")
            event = None
            if line.startswith("{"):
                with contextlib.suppress(ValueError):
                    event = json.loads(line)
            with self._changed:
                if event is not None and "event" in event:
                    self.events.append({**event, "stream": name})
                else:
                    self.output[name].append(line)
                self._changed.notify_all()
        stream.close()
        with self._changed:
            self._changed.notify_all()

    # ------------------------------------------------------------------------------------------- connections

    def connect_plain(self, listener: str = "https", host: str = "127.0.0.1") -> Conversation:
        """A TCP connection to a listener, nothing sent yet."""
        return Conversation(socket.create_connection((host, self.ports[listener]), 10))

    def connect(
        self,
        server_name: str | None = "a.test",
        *,
        listener: str = "https",
        host: str = "127.0.0.1",
        context: ssl.SSLContext | None = None,
    ) -> Conversation:
        """A TLS connection whose certificate is verified for `server_name`.

        An end without close_notify is told from a clean one (see `Conversation.ending`)."""
        plain = socket.create_connection((host, self.ports[listener]), 10)
        return Conversation(self.secure(plain, server_name, context=context))

    def secure(
        self, plain: socket.socket, server_name: str | None, *, context: ssl.SSLContext | None = None
    ) -> ssl.SSLSocket:
        try:
            return (context or self._ca).wrap_socket(plain, server_hostname=server_name, suppress_ragged_eofs=False)
        except BaseException:
            plain.close()
            raise

    # --------------------------------------------------------------------------------------------- processes

    def processes(self) -> list[int]:
        """The master and all its descendants."""
        found, todo = [], [self.pid]
        while todo:
            pid = todo.pop()
            found.append(pid)
            with contextlib.suppress(OSError):
                for thread in os.listdir(f"/proc/{pid}/task"):
                    todo += map(int, Path(f"/proc/{pid}/task/{thread}/children").read_text().split())
        return found

    def workers(self) -> list[int]:
        """Process ids of the workers, from the events that tell of their start."""
        return [event["process.pid"] for event in self.all("server.worker_started")]

    def resident_kib(self) -> int:
        """Memory of all its processes that is not shared with others."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
                total += sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))
        return total

    def cpu_seconds(self) -> float:
        """CPU time that all its processes have used."""
        total = 0
        for pid in self.processes():
            with contextlib.suppress(OSError):
                fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
                total += int(fields[11]) + int(fields[12])
        return total / os.sysconf("SC_CLK_TCK")


def eventually(condition: Callable[[], object], seconds: float = EVENT_SECONDS) -> None:
    """Waits for what no event tells (a file, a process, a kernel table), looking every 10 ms."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"not within {seconds} s: {condition}"
        time.sleep(0.01)


def is_alive(pid: int) -> bool:
    """Whether a process runs; one that has ended and is not yet waited for does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False
