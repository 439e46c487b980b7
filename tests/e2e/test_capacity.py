"""When connections or file descriptors run out, accepting waits; it neither fails nor spins, and it recovers."""

from __future__ import annotations

import resource
import threading
from pathlib import Path

from harness.backends import ok
from harness.daemon import eventually


def open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def test_connections_over_the_limit_wait_for_their_turn(start, answering):
    daemon = start(answering(ok(b"served")).address, limits={"connections": 2})
    first, second = daemon.connect(), daemon.connect()
    used = daemon.cpu_seconds()
    served = threading.Event()

    def third() -> None:
        with daemon.connect() as client:
            client.request()
            assert client.receive_response().body == b"served"
            served.set()

    thread = threading.Thread(target=third)
    thread.start()
    event = daemon.wait_for("server.saturated")
    assert event["server.reason"] == "connections"
    assert not served.wait(1)
    assert daemon.cpu_seconds() - used < 0.5
    first.close()
    assert served.wait(10)
    thread.join()
    second.close()


def test_running_out_of_file_descriptors_waits_and_recovers(start, answering):
    daemon = start(answering(ok(b"served")).address)
    with daemon.connect() as client:  # everything that is loaded late has been loaded
        client.request()
        client.receive_response()
    (worker,) = daemon.workers()
    eventually(lambda: not daemon_connections(worker))
    few = open_files(worker) + 6
    resource.prlimit(worker, resource.RLIMIT_NOFILE, (few, few))
    held = [daemon.connect_plain() for _ in range(20)]
    event = daemon.wait_for("server.saturated")
    assert event["server.reason"] == "file_descriptors"
    used = daemon.cpu_seconds()
    for client in held[:2]:
        assert client.is_open()
    threading.Event().wait(1)  # the second over which spinning would show
    assert daemon.cpu_seconds() - used < 0.5
    for client in held:
        client.close()
    with daemon.connect() as client:
        client.request()
        assert client.receive_response().body == b"served"
    assert len(daemon.all("server.saturated")) < 20


def daemon_connections(worker: int) -> list[str]:
    """Established client connections in the kernel's table that belong to the worker."""
    inodes = set()
    for entry in Path(f"/proc/{worker}/fd").iterdir():
        try:
            target = str(entry.readlink())
        except OSError:
            continue
        if target.startswith("socket:["):
            inodes.add(target[8:-1])
    lines = Path(f"/proc/{worker}/net/tcp").read_text().splitlines()[1:]
    return [line for line in lines if line.split()[3] == "01" and line.split()[9] in inodes and is_server(line)]


def is_server(line: str) -> bool:
    port = int(line.split()[1].rpartition(":")[2], 16)
    return 20_000 <= port < 32_768


def test_no_file_descriptor_is_left_behind(start, answering):
    daemon = start(answering(ok(b"served")).address)
    (worker,) = daemon.workers()

    def use() -> None:
        for number in range(30):
            with daemon.connect() as client:
                client.request()
                if number % 3:
                    client.receive_response()
            with daemon.connect_plain() as client:
                client.send(b"GET / HTTP/1.1\r\n\r\n" if number % 2 else b"\x16\x03\x01")

    use()
    eventually(lambda: not daemon_connections(worker))
    before = open_files(worker)
    use()
    eventually(lambda: open_files(worker) <= before + 1)
