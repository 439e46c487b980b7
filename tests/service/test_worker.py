"""What a worker does with what it is told, seen from outside."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.daemon import Daemon, eventually

from terminator.service.admin_client import ask

Make = Callable[..., Daemon]


def reload(running: Daemon, **sections: Any) -> dict[str, Any]:
    running.config_file.write_text(yaml.safe_dump({**running.config, **sections}))
    answer: dict[str, Any] = ask("POST", "/reload", running.config["admin"]["socket"])[1]
    assert answer["outcome"] == "ok", answer
    return answer


def served(running: Daemon, listener: str = "https") -> bytes:
    with running.connect(listener=listener) as client:
        client.request()
        body: bytes = client.receive_response().body
        return body


def test_the_next_request_of_an_open_connection_uses_the_new_generation(daemon: Make) -> None:
    running = daemon().start()
    host = dict(running.config["hosts"][0], routes=[{"path": "/", "respond": {"body": "new"}}])
    with running.connect() as client:
        client.request()
        assert client.receive_response().body == b"served"
        reload(running, hosts=[host])
        client.request()
        assert client.receive_response().body == b"new"
    last = running.wait_for("http.request", count=2)
    assert last["generation"] == 2


def test_listeners_come_and_go_and_every_worker_serves_them(daemon: Make, port: Callable[[], int]) -> None:
    running = daemon(workers=3).start()
    number = port()
    reload(running, listeners=[*running.config["listeners"], {"name": "more", "bind": f"127.0.0.1:{number}"}])
    running.ports["more"] = number
    for _ in range(30):
        assert served(running, "more") == b"served"
    eventually(lambda: len({event["worker"] for event in running.all("http.request", {"listener": "more"})}) == 3)
    reload(running, listeners=running.config["listeners"])
    with pytest.raises(ConnectionRefusedError):
        eventually(lambda: socket.create_connection(("127.0.0.1", number), 5).close())
    assert served(running) == b"served"


def test_a_listener_moves_to_an_overlapping_address(daemon: Make) -> None:
    running = daemon().start()
    number = running.ports["https"]
    reload(running, listeners=[{"name": "https", "bind": f"0.0.0.0:{number}"}])
    assert served(running) == b"served"
    reload(running, listeners=[{"name": "https", "bind": f"[::]:{number}"}])
    assert served(running) == b"served"


def test_a_worker_started_after_a_reload_has_the_generation_in_force(daemon: Make, port: Callable[[], int]) -> None:
    running = daemon(workers=1).start()
    number = port()
    host = dict(running.config["hosts"][0], routes=[{"path": "/", "respond": {"body": "new"}}])
    reload(running, hosts=[host], listeners=[{"name": "https", "bind": f"127.0.0.1:{number}"}])
    running.ports["https"] = number
    os.kill(running.workers()[0], signal.SIGKILL)
    running.wait_for("server.worker_started", count=2)
    assert served(running) == b"new"


def test_log_destinations_change_with_a_reload(daemon: Make, folder: Path) -> None:
    running = daemon(log={"requests": str(folder / "old.log"), "handshakes": "off"}).start()
    served(running)
    eventually(lambda: "http.request" in (folder / "old.log").read_text())
    reload(running, log={"requests": str(folder / "new.log"), "handshakes": "off"})
    served(running)
    eventually(lambda: (folder / "new.log").exists() and "http.request" in (folder / "new.log").read_text())
    for pid in running.workers():
        files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert str(folder / "old.log") not in files


def test_descriptors_do_not_pile_up_over_reloads(daemon: Make) -> None:
    running = daemon().start()

    def counts() -> list[int]:
        return [len(os.listdir(f"/proc/{pid}/fd")) for pid in running.processes()]

    reload(running, timeouts={"drain": "6s"})  # the first brings threads, and what they need
    before = counts()
    for seconds in range(7, 20):
        reload(running, timeouts={"drain": f"{seconds}s"})
    eventually(lambda: all(now <= then for now, then in zip(counts(), before, strict=True)))


@pytest.mark.parametrize(
    "sign",
    [signal.SIGALRM, signal.SIGPROF, signal.SIGABRT],
    ids=["an orphan's alarm", "too much CPU time", "the master's word"],
)
def test_a_loop_that_stands_still_ends_and_shows_where(daemon: Make, sign: signal.Signals) -> None:
    """The signals stand for those who send them."""
    running = daemon(workers=1).start()
    (worker,) = running.workers()
    caught = int(
        dict(line.split(":", 1) for line in Path(f"/proc/{worker}/status").read_text().splitlines())["SigCgt"], 16
    )
    assert caught & 1 << (sign - 1), "faulthandler prints where it hangs"
    os.kill(worker, sign)
    assert running.wait_for("server.worker_exited")["error.message"] == f"killed by {sign.name}"
    running.wait_for("server.worker_started", count=2)
    running.wait_for_line("Stack (most recent call first)", stream="stderr")
    assert "hread 0x" not in "".join(running.output["stderr"]), "another thread's stack, read while it ran"


def test_a_hail_of_messages_from_the_master_harms_no_worker(daemon: Make) -> None:
    """Each message brings a signal, and the next one may come while the last is being handled."""
    running = daemon(workers=1).start()
    (worker,) = running.workers()

    def hail() -> None:
        for _ in range(20_000):
            os.kill(worker, signal.SIGIO)

    threads = [threading.Thread(target=hail) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    served(running)
    assert running.workers() == [worker]
