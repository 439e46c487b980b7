"""kill -9 of a worker under load costs its own connections alone; of the master, the service ends and frees all."""

from __future__ import annotations

import os
import signal
import socket
import ssl
import threading
from datetime import UTC, datetime, timedelta

import pytest
from harness.backends import ok
from harness.conversation import Truncated
from harness.daemon import Daemon, eventually, is_alive

from terminator.service.children import ORPHAN_SECONDS

CLIENTS = 16


class Load:
    """Clients that ask again and again, each on one connection, until the connection breaks or all is `over`."""

    def __init__(self, daemon: Daemon) -> None:
        self.over = threading.Event()
        self.broken: set[int] = set()
        self.ports: dict[int, int] = {}
        self.asked = [0] * CLIENTS
        self._daemon = daemon
        self._threads = [threading.Thread(target=self._ask, args=(number,), daemon=True) for number in range(CLIENTS)]
        for thread in self._threads:
            thread.start()
        eventually(lambda: min(self.asked) > 2)

    def _ask(self, number: int) -> None:
        try:
            with self._daemon.connect() as client:
                self.ports[number] = client.sock.getsockname()[1]
                while not self.over.wait(0.02):
                    client.request()
                    assert client.receive_response().status == 200
                    self.asked[number] += 1
        except (OSError, Truncated, AssertionError):
            self.broken.add(number)

    def join(self) -> None:
        self.over.set()
        for thread in self._threads:
            thread.join(20)
            assert not thread.is_alive()


def test_a_killed_worker_loses_its_own_connections_only_and_is_replaced_within_a_second(start, answering) -> None:
    """The second is taken from the daemon's own clock: the kill is on this machine, the first handshake that the new
    worker made stands in the log."""
    daemon = start(answering(ok()).address, workers=2, log={"requests": "off"})
    load = Load(daemon)
    worker = {event["client.port"]: event["worker"] for event in daemon.all("tls.handshake")}
    victim = daemon.wait_for("server.worker_started", {"worker": 0})["process.pid"]
    killed = datetime.now(UTC)
    os.kill(victim, signal.SIGKILL)

    def served_by_the_new_one() -> list[datetime]:
        with daemon.connect() as client:
            client.request()
            assert client.receive_response().status == 200
        times = [datetime.fromisoformat(event["time"]) for event in daemon.all("tls.handshake", {"worker": 0})]
        return [time for time in times if time > killed]

    eventually(served_by_the_new_one)
    took = min(served_by_the_new_one()) - killed
    assert took < timedelta(seconds=1), took
    assert len(daemon.all("server.worker_started")) == 3
    before = list(load.asked)
    survivors = [number for number, port in load.ports.items() if worker[port] != 0]
    eventually(lambda: all(load.asked[number] > before[number] + 5 for number in survivors))
    load.join()
    assert load.broken == set(range(CLIENTS)) - set(survivors)


def test_a_killed_master_ends_the_service_within_seconds_and_frees_its_sockets(prepare, answering) -> None:
    daemon = prepare(answering(ok()).address, workers=2).start()
    load = Load(daemon)
    processes = daemon.processes()
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.expected_exit = -signal.SIGKILL
    eventually(lambda: not any(is_alive(pid) for pid in processes), seconds=8)
    load.join()
    with pytest.raises((ConnectionRefusedError, ssl.SSLError)):
        daemon.connect()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", daemon.ports["https"]))
        sock.listen()


STUCK = """
import os
from terminator.proxy.traffic import Traffic

note_gauges = Traffic.note_gauges

def stuck(self):
    while os.path.exists({flag!r}):
        open(f"{flag}.{{os.getpid()}}", "w").close()
    note_gauges(self)

Traffic.note_gauges = stuck
"""
"""Once a second a worker notes its gauges: so its loop stands still as long as a file exists."""


def test_even_a_worker_whose_loop_stands_still_does_not_outlive_the_master(prepare, folder, answering) -> None:
    """Nobody is there to miss its heartbeats, and it does not see the channel closed: the kernel tells it."""
    flag = folder / "stuck"
    (folder / "sitecustomize.py").write_text(STUCK.format(flag=str(flag)))
    daemon = prepare(answering(ok()).address, workers=2, prefix=("env", f"PYTHONPATH={folder}")).start()
    processes, workers = daemon.processes(), daemon.workers()
    flag.touch()
    eventually(lambda: all((folder / f"stuck.{pid}").exists() for pid in workers))
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.expected_exit = -signal.SIGKILL
    eventually(lambda: not any(is_alive(pid) for pid in processes), seconds=ORPHAN_SECONDS + 3)
    flag.unlink()
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", daemon.ports["https"]))
        sock.listen()
