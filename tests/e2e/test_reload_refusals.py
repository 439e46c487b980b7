"""Whatever is broken or worse: the old certificate serves on, and every channel tells the same."""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.certificates import Certificates, Pair
from harness.commands import terminator
from harness.daemon import Daemon
from trustme import KeyType

DAY = dt.timedelta(days=1)
WITHOUT_PRIVILEGE = ("setpriv", "--bounding-set=-dac_override,-dac_read_search")
"""Root reads what it has no right to read; this takes that away."""


def serial(daemon: Daemon) -> str:
    with daemon.connect() as client:
        return str((client.sock.getpeercert() or {})["serialNumber"])


def metrics(daemon: Daemon) -> dict[str, float]:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(daemon.config["admin"]["socket"])
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        data = b""
        while more := sock.recv(65536):
            data += more
    lines = [line.rpartition(" ") for line in data.decode().splitlines() if line.startswith("terminator_config_")]
    return {name: float(value) for name, _, value in lines}


def state(daemon: Daemon) -> dict[str, Any]:
    done = command(daemon, "status", "--format", "json")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def command(daemon: Daemon, *arguments: str) -> Any:
    return terminator(*arguments, "--socket", daemon.config["admin"]["socket"], folder=daemon.folder)


class Manager:
    """A service manager that only listens."""

    def __init__(self, path: Path) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.sock.bind(str(path))
        self.sock.settimeout(0.1)
        self.heard = ""

    def status(self, text: str) -> str:
        """The last STATUS, as soon as it contains `text`."""
        deadline = time.monotonic() + 20
        while text not in self.heard and time.monotonic() < deadline:
            try:
                lines = self.sock.recv(65536).decode().split("\n")
            except TimeoutError:
                continue
            self.heard = next((line[7:] for line in lines if line.startswith("STATUS=")), self.heard)
        return self.heard


@pytest.fixture
def manager(folder: Path) -> Iterator[Manager]:
    made = Manager(folder / "notify")
    yield made
    made.sock.close()


def mismatched(own: Certificates, pair: Pair) -> None:
    pair.key.write_bytes(own.pair("b.test").key.read_bytes())


def garbled(own: Certificates, pair: Pair) -> None:
    pair.chain.write_bytes(os.urandom(500))


def half_written(own: Certificates, pair: Pair) -> None:
    """The key is there already, the chain still being written."""
    own.issue(pair.chain.parent, "a.test")
    whole = pair.chain.read_bytes()
    pair.chain.write_bytes(whole[: len(whole) // 2])


def half_renewed(own: Certificates, pair: Pair) -> None:
    """The chain is new, the key still the old one."""
    key = pair.key.read_bytes()
    own.issue(pair.chain.parent, "a.test")
    pair.key.write_bytes(key)


def directory(own: Certificates, pair: Pair) -> None:
    pair.chain.unlink()
    pair.chain.mkdir()


def issued(*names: str, start: float = 0, end: float = 90, **options: Any) -> Callable[[Certificates, Pair], None]:
    def issue(own: Certificates, pair: Pair) -> None:
        now = dt.datetime.now(dt.UTC)
        whole = {"not_before": now + start * DAY, "not_after": now + end * DAY, **options}
        own.issue(pair.chain.parent, *(names or ("a.test",)), **whole)

    return issue


FAULTS = {
    "mismatched": (mismatched, "key"),
    "key missing": (lambda own, pair: pair.key.unlink(), "does not exist"),
    "chain missing": (lambda own, pair: pair.chain.unlink(), "does not exist"),
    "garbage": (garbled, "fullchain.pem"),
    "empty": (lambda own, pair: pair.chain.write_text(""), "empty"),
    "directory": (directory, "directory"),
    "unreadable": (lambda own, pair: pair.key.chmod(0), "CAP_DAC_OVERRIDE" if os.geteuid() == 0 else "not readable"),
    "half-written": (half_written, "fullchain.pem"),
    "half-renewed": (half_renewed, "key"),
    "expired": (issued(start=-0.5, end=-0.1), "expired"),
    "not yet valid": (issued(start=1), "not valid before"),
    "name lost": (issued("b.test"), "no longer covers a.test"),
    "weaker": (issued(key_type=KeyType.RSA), "is weaker than the"),
    "older": (issued(start=-30), "is older than the one served"),
    "configuration": (None, "workres"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_the_old_one_serves_and_all_channels_agree(
    prepare, site, manager: Manager, certificates: Certificates, folder: Path, fault: str
) -> None:
    now = dt.datetime.now(dt.UTC)
    pair = certificates.issue(folder / "pair", "a.test", not_before=now - DAY, not_after=now + 60 * DAY)
    host = site.host("a.test", certificates=[pair.as_config()])
    host["routes"] = [{"path": "/", "respond": {"body": "x"}}]
    prefix = ("env", f"NOTIFY_SOCKET={folder / 'notify'}")
    if fault == "unreadable" and os.geteuid() == 0:
        prefix = (*WITHOUT_PRIVILEGE, *prefix)
    daemon = prepare(hosts=[host], prefix=prefix).start()
    before, whole = serial(daemon), {file: file.read_bytes() for file in (pair.chain, pair.key)}
    spoil, reason = FAULTS[fault]
    if spoil is not None:
        spoil(certificates, pair)
    else:
        daemon.config_file.write_text(yaml.safe_dump({**daemon.config, "workres": 1}))

    done = command(daemon, "reload")
    assert done.returncode == 1
    dry = command(daemon, "reload", "--dry-run")
    assert dry.returncode == 1
    event = daemon.wait_for("config.reload")
    assert (event["reload.outcome"], event["generation"]) == ("refused", 1)
    (error,) = event["reload.errors"]
    assert reason in error
    assert str(pair.chain.parent if spoil else daemon.config_file) in error
    first = error.splitlines()[0]
    for line in error.splitlines():
        assert line.strip() in done.stderr
        assert line.strip() in dry.stderr
    last = state(daemon)["reloads"]["last"]
    assert (last["outcome"], last["errors"], last["generation"]) == ("refused", [error], 1)
    counted = metrics(daemon)
    assert counted["terminator_config_last_reload_successful"] == 0
    assert counted['terminator_config_reloads_total{outcome="refused"}'] == 1
    assert f"reload refused {last['at'][11:19]} UTC, generation 1 serves on: {first}" in manager.status("refused")
    assert serial(daemon) == before

    if pair.chain.is_dir():
        pair.chain.rmdir()
    for file, content in whole.items():
        file.write_bytes(content)
        file.chmod(0o600)
    daemon.config_file.write_text(yaml.safe_dump(daemon.config))
    assert command(daemon, "reload").returncode == 0
    assert "nothing had changed" in manager.status("nothing had changed")
    assert metrics(daemon)["terminator_config_last_reload_successful"] == 1
    assert serial(daemon) == before
