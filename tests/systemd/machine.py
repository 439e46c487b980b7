"""The container with the installed service, and what the tests ask of it."""

from __future__ import annotations

import collections
import datetime as dt
import json
import os
import shutil
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import trustme
from container import Container, installed
from cryptography import x509

HERE = Path(__file__).parent
NAME = "www.example.com"
CERTS = "etc/terminator/certs"
PROGRAM = "/opt/terminator/bin/terminator"
UNITS = ("terminator.socket", "terminator-http.socket", "terminator.service")
CONFIG = {
    "version": 1,
    "workers": 2,
    "listeners": [
        {"name": "https", "bind": "systemd:https"},
        {"name": "http", "bind": "systemd:http", "tls": False, "acme_webroot": "/var/lib/terminator/acme"},
        {"name": "own", "bind": "127.0.0.1:8443"},
    ],
    "hosts": [
        {
            "names": [NAME],
            "certificates": [{"chain": f"certs/{NAME}/fullchain.pem", "key": f"certs/{NAME}/privkey.pem"}],
            "routes": [{"path": "/", "backend": "app"}],
        }
    ],
    "backends": {"app": {"servers": ["127.0.0.1:8000"]}},
    "timeouts": {"drain": "30s"},
    "log": {"requests": "/var/log/terminator/requests.log"},
    "admin": {"socket": "/run/terminator/admin.sock", "bind": "127.0.0.1:9145"},
}
WATCHDOG_SECONDS = 8
STOP_SECONDS = 3
# Waiting is shortened; nothing else is changed. The restarts of many tests are no sign of a service that fails.
DROP_IN = f"""[Unit]
StartLimitIntervalSec=0
[Service]
WatchdogSec={WATCHDOG_SECONDS}
TimeoutStopSec={STOP_SECONDS}
"""


@contextmanager
def booted(factory: pytest.TempPathFactory) -> Iterator[Machine]:
    """A machine with terminator installed, and its sockets, certificate and backend in place."""
    shared = factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        shared = shared.parent
    with Container(factory.mktemp("container"), installed(shared)) as container:
        container.mount()
        machine = Machine(container)
        machine.prepare()
        container.boot()
        machine.set_up()
        yield machine


class Machine:
    def __init__(self, container: Container) -> None:
        self.box = container
        self.run = container.run
        self.authority = trustme.CA()
        self._begun = 0.0
        self._loads = 0

    def prepare(self) -> None:
        root = self.box.root
        self.configure()
        self._drop_ins.mkdir(parents=True)
        (self._drop_ins / "test.conf").write_text(DROP_IN)
        shutil.copy(HERE / "backend.py", root / "opt/backend.py")
        shutil.copy(HERE / "load.py", root / "opt/load.py")
        self.authority.cert_pem.write_to_path(str(root / "opt/ca.pem"))

    def set_up(self) -> None:
        self.run("systemd-sysusers", "/usr/lib/sysusers.d/terminator.conf")
        self.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/terminator.conf")
        self.issue("/root/first")
        done = self.hook("/root/first")
        assert done.returncode == 0, done.stderr
        self.run("systemd-run", "--unit=app", "/usr/bin/python3", "/opt/backend.py", "8000")
        self.until(lambda: ":8000" in self.run("ss", "-ltn").stdout, "the backend listens")

    def settle(self) -> None:
        """Before each test: it serves, by the configuration above; `journal` begins here."""
        extra = [path for path in self._drop_ins.iterdir() if path.name != "test.conf"]
        for path in extra:
            path.unlink()
        changed = self._config_file.read_text() != json.dumps(CONFIG)
        self.configure()
        if extra:
            self.run("systemctl", "daemon-reload")
        self.run("systemctl", "stop", "terminator-watch.path", "terminator-watch.timer")
        if extra or changed or self.show("ActiveState") != "active":
            self.run("systemctl", "stop", "terminator.service")
            self.run("systemctl", "reset-failed", check=False)
            self.run("systemctl", "start", *UNITS)
        self.run("journalctl", "--sync")  # what was said before has its time by now
        self._begun = time.time()

    @property
    def _config_file(self) -> Path:
        return self.box.root / "etc/terminator/terminator.yaml"

    @property
    def _drop_ins(self) -> Path:
        return self.box.root / "etc/systemd/system/terminator.service.d"

    def drop_in(self, text: str) -> None:
        """More settings of the unit, until the end of the test."""
        (self._drop_ins / "more.conf").write_text(f"[Service]\n{text}")
        self.run("systemctl", "daemon-reload")

    def configure(self, **changes: Any) -> None:
        self._config_file.write_text(json.dumps({**CONFIG, **changes}))

    def issue(self, folder: str, days: int = 90) -> None:
        """A new certificate and key, as an ACME client leaves them: in a folder that only root can enter."""
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        leaf = self.authority.issue_cert(NAME, not_after=expires)
        inside = self.box.root / folder.lstrip("/")
        inside.mkdir(parents=True, exist_ok=True, mode=0o700)
        (inside / "fullchain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        (inside / "privkey.pem").write_bytes(leaf.private_key_pem.bytes())

    def hook(self, folder: str, **environment: str) -> subprocess.CompletedProcess[str]:
        given = [f"{name}={value}" for name, value in environment.items()]
        command = ("/opt/terminator/hooks/install-pair", NAME, f"{folder}/fullchain.pem", f"{folder}/privkey.pem")
        return self.run("env", *given, *command, check=False)

    def fetch(self, path: str = "/", port: int = 443) -> str:
        """The status of one request."""
        where = ("--cacert", "/opt/ca.pem", "--resolve", f"{NAME}:{port}:127.0.0.1")
        url = f"https://{NAME}:{port}{path}"
        return self.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *where, url, check=False).stdout

    def serial(self) -> str:
        certs = self.run(PROGRAM, "certs", "--format", "json").stdout
        return str(json.loads(certs)["hosts"][0]["certificates"][0]["serial"])

    def serial_of(self, folder: str) -> str:
        """Of a certificate that was issued."""
        pem = (self.box.root / folder.lstrip("/") / "fullchain.pem").read_bytes()
        return f"{x509.load_pem_x509_certificate(pem).serial_number:x}"

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self.run(PROGRAM, "status", "--format", "json").stdout)
        return answer

    def workers(self) -> set[str]:
        return {str(worker["pid"]) for worker in self.status()["workers"]}

    def show(self, key: str, unit: str = "terminator.service") -> str:
        return self.run("systemctl", "show", "-P", key, unit).stdout.strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """What the service has said since the test began."""
        self.run("journalctl", "--sync", check=False)
        since = f"--since=@{self._begun:.6f}"
        command = ("journalctl", "-u", "terminator", "-o", "json", "--no-pager", since, *matches)
        return [json.loads(line) for line in self.run(*command).stdout.splitlines()]

    def until(self, what: Callable[[], bool], why: str, seconds: float = 60) -> None:
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                log = "\n".join(str(line.get("MESSAGE"))[:300] for line in self.journal()[-30:])
                raise AssertionError(f"{why}: not within {seconds} s\n{log}")
            time.sleep(0.1)

    @contextmanager
    def load(self, *ports: str) -> Iterator[Load]:
        """Clients that come all the time."""
        self._loads += 1
        file = f"/opt/load-{self._loads}"
        running = self.box.start("python3", "/opt/load.py", file, "/opt/ca.pem", NAME, *ports)
        load = Load(self, self.box.root / file.lstrip("/"), set(ports))
        load.go_on()
        yield load
        (self.box.root / f"{file.lstrip('/')}.stop").touch()
        said = running.communicate(timeout=60)[0]
        assert (running.returncode, said) == (0, "")


class Load:
    def __init__(self, machine: Machine, file: Path, ports: set[str]) -> None:
        self._machine = machine
        self._file = file
        self._ports = ports

    def outcomes(self) -> collections.Counter[str]:
        """How often what: `443 ok`, `443 ConnectionRefusedError: …`."""
        return collections.Counter(self._file.read_text().splitlines() if self._file.exists() else ())

    def go_on(self, times: int = 20) -> None:
        """Returns when so many more requests were answered on each port."""
        before = self.outcomes()
        wanted = {f"{port} ok": before[f"{port} ok"] + times for port in self._ports}
        self._machine.until(
            lambda: all(self.outcomes()[outcome] >= count for outcome, count in wanted.items()),
            f"{times} more answers on each of {self._ports}; so far {before}",
        )
