"""Every message as a real datagram, as sd_notify(3) has them."""

from __future__ import annotations

import array
import os
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from terminator.errors import StartError
from terminator.service.notify import Notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


@pytest.fixture
def notify(manager: socket.socket) -> Iterator[Notify]:
    notify = Notify({"NOTIFY_SOCKET": manager.getsockname()})
    yield notify
    notify.close()


def lines(manager: socket.socket) -> list[str]:
    return manager.recv(4096).decode().split("\n")


def test_each_message_is_one_datagram(manager: socket.socket, notify: Notify) -> None:
    notify.ready("Serving")
    assert lines(manager) == ["READY=1", "STATUS=Serving"]
    notify.stopping("Draining 3 connections")
    assert lines(manager) == ["STOPPING=1", "STATUS=Draining 3 connections"]
    notify.status("all well")
    assert lines(manager) == ["STATUS=all well"]
    notify.extend_timeout(2.5)
    assert lines(manager) == ["EXTEND_TIMEOUT_USEC=2500000"]
    notify.watchdog()
    assert lines(manager) == ["WATCHDOG=1"]
    notify.failed("no", 98)
    assert lines(manager) == ["STATUS=no", "ERRNO=98"]
    notify.forget("https")
    assert lines(manager) == ["FDSTOREREMOVE=1", "FDNAME=https"]


def test_reloading_carries_the_moment_it_began(manager: socket.socket, notify: Notify) -> None:
    before = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    notify.reloading("Reloading")
    first, moment, status = lines(manager)
    after = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
    assert (first, status) == ("RELOADING=1", "STATUS=Reloading")
    assert before <= int(moment.removeprefix("MONOTONIC_USEC=")) <= after


def test_a_status_of_several_lines_stays_one_line(manager: socket.socket, notify: Notify) -> None:
    notify.status("bad:1:1: wrong\n    1 | x\nREADY=1")
    assert lines(manager) == ["STATUS=bad:1:1: wrong;     1 | x; READY=1"]


def test_descriptors_are_stored_under_their_name(manager: socket.socket, notify: Notify) -> None:
    reader, writer = os.pipe()
    notify.store("pipe", [writer])
    data, ancillary, _, _ = manager.recvmsg(4096, socket.CMSG_LEN(64))
    os.close(writer)
    assert data == b"FDSTORE=1\nFDNAME=pipe"
    fds = array.array("i")
    fds.frombytes(ancillary[0][2])
    os.write(fds[0], b"hello")
    assert os.read(reader, 10) == b"hello"
    for fd in (*fds, reader):
        os.close(fd)


def test_an_abstract_socket_is_spoken_to() -> None:
    name = f"terminator-test-{os.getpid()}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name)
        manager.settimeout(5)
        notify = Notify({"NOTIFY_SOCKET": "@" + name})
        notify.watchdog()
        assert lines(manager) == ["WATCHDOG=1"]
        notify.close()


@pytest.mark.parametrize(
    ("environment", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "3000000"}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": str(os.getpid())}, 3.0),
        ({"WATCHDOG_USEC": "3000000", "WATCHDOG_PID": "1"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": "²"}, None),
    ],
)
def test_the_watchdog_is_fed_only_when_it_is_ours(
    manager: socket.socket, environment: dict[str, str], seconds: float | None
) -> None:
    environ = {"NOTIFY_SOCKET": manager.getsockname(), "PATH": "/bin", **environment}
    notify = Notify(environ)
    assert notify.watchdog_seconds == seconds
    assert environ == {"PATH": "/bin"}, "no child may take them for its own"
    notify.close()


@pytest.mark.parametrize("address", ["", "/nowhere/at/all", "vsock:2:1", "relative"])
def test_without_a_manager_every_message_is_harmless(address: str) -> None:
    notify = Notify({"NOTIFY_SOCKET": address} if address else {})
    notify.ready("x")
    notify.reloading("x")
    notify.watchdog()
    notify.close()


def test_a_manager_that_does_not_read_never_blocks(notify: Notify) -> None:
    for _ in range(10_000):
        notify.watchdog()


def test_a_start_that_fails_says_why_and_by_which_error(manager: socket.socket, notify: Notify) -> None:
    failure = StartError("[::]:443: the address is in use\nsecond line")
    failure.__cause__ = OSError(98, "Address already in use")
    notify.failed_by(failure)
    assert lines(manager) == ["STATUS=[::]:443: the address is in use", "ERRNO=98"]
    notify.failed_by(StartError("no user"))
    assert lines(manager) == ["STATUS=no user"]


def test_readiness_waits_for_room_in_a_full_queue(manager: socket.socket, notify: Notify) -> None:
    """It is said once: if it were lost, the manager would end the start by its timeout."""
    while True:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as other:
            try:
                other.sendto(b"X_OTHER=1", manager.getsockname())
            except BlockingIOError:
                break
    received: list[bytes] = []

    def read_all() -> None:
        while b"READY" not in (received or [b""])[-1]:
            received.append(manager.recv(4096))

    reader = threading.Timer(0.1, read_all)
    reader.start()
    notify.ready("Serving")
    reader.join()
    assert received[-1] == b"READY=1\nSTATUS=Serving"
