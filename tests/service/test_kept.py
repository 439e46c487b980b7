"""A service manager's store, played by a datagram socket and a second process: what is stored comes back."""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from terminator.config.model import Listener
from terminator.config.values import TcpAddress
from terminator.service import listeners
from terminator.service.kept import Kept
from terminator.service.listeners import Bound, Inherited
from terminator.service.notify import Notify


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(tmp_path / "notify"))
        sock.settimeout(5)
        yield sock


def stored(manager: socket.socket) -> tuple[list[str], list[int]]:
    message, fds, _, _ = socket.recv_fds(manager, 4096, 64)
    return message.decode().split("\n"), fds


def listener(port: int, name: str = "web") -> Listener:
    return Listener.model_construct(name=name, bind=TcpAddress("127.0.0.1", port), backlog=16)


def after_a_restart(fds: list[int], names: list[str], port: int, workers: int, manager: str) -> str:
    """What a new process, given `fds` as the manager gives them, binds for `port`: descriptors per worker, the secret,
    and which descriptors are still open once the rest was dropped."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        text = "nothing"
        try:
            writer = os.dup2(writer, 90)
            high = [os.dup2(fd, 60 + n) for n, fd in enumerate(fds)]
            for n, fd in enumerate(high):
                os.dup2(fd, 3 + n)
            environ = {
                "LISTEN_FDS": str(len(fds)),
                "LISTEN_FDNAMES": ":".join(names),
                "LISTEN_PID": str(os.getpid()),
                "NOTIFY_SOCKET": manager,
            }
            notify, inherited = Notify(environ), Inherited(environ)
            kept = Kept(notify, inherited)
            bound = listeners.bind(listener(port), workers, inherited)
            inherited.drop_kept()
            adopted = [[sock.fileno() for sock in own if sock.fileno() < 20] for own in bound.per_worker]
            kept.store([bound])
            text = f"{adopted} {[len(own) for own in bound.per_worker]} {kept.secret.hex()} {inherited.names}"
        except BaseException as error:
            text = f"{type(error).__name__}: {error}"
        finally:
            os.write(writer, text.encode())
            os._exit(0)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    os.waitpid(child, 0)
    return text


@pytest.mark.skipif(sys.platform != "linux", reason="memfd")
@pytest.mark.parametrize(
    ("workers", "adopted", "counts"),
    [
        pytest.param(2, [[3], [4]], [1, 1], id="as many workers as before"),
        pytest.param(3, [[3], [4], []], [1, 1, 1], id="one more worker binds a socket of its own"),
        pytest.param(1, [[3, 4]], [2], id="one worker takes both queues"),
    ],
)
def test_sockets_and_secret_come_back(
    manager: socket.socket, workers: int, adopted: list[list[int]], counts: list[int]
) -> None:
    notify = Notify({"NOTIFY_SOCKET": manager.getsockname()})
    inherited = Inherited({})
    kept = Kept(notify, inherited)
    bound: Bound = listeners.bind(listener(0), 1, inherited)
    port = bound.per_worker[0][0].getsockname()[1]
    second = listeners.bind(listener(port), 1, inherited, beside_our_own=True)
    both = Bound(listener(port), per_worker=(bound.per_worker[0], second.per_worker[0]))
    both.listen()
    kept.store([both])
    lines, sockets = stored(manager)
    assert (lines, len(sockets)) == (["FDSTORE=1", "FDNAME=kept-web"], 2)
    assert stored(manager) == (["FDSTOREREMOVE=1", "FDNAME=ticket-secret"], [])
    lines, secret = stored(manager)
    assert (lines, os.pread(secret[0], 100, 0)) == (["FDSTORE=1", "FDNAME=ticket-secret"], kept.secret)
    both.close()

    names = ["kept-web", "kept-web", "ticket-secret"]
    text = after_a_restart([*sockets, *secret], names, port, workers, manager.getsockname())
    assert text == f"{adopted} {counts} {kept.secret.hex()} []"
    assert stored(manager) == (["FDSTOREREMOVE=1", "FDNAME=kept-web"], [])
    lines, again = stored(manager)
    assert (lines, len(again)) == (["FDSTORE=1", "FDNAME=kept-web"], max(2, workers))
    for fd in (*sockets, *secret, *again):
        os.close(fd)
    notify.close()


def test_a_kept_socket_of_another_address_is_closed(manager: socket.socket) -> None:
    with socket.socket() as stale, socket.socket() as free:
        stale.bind(("127.0.0.1", 0))
        stale.listen()
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        free.close()
        text = after_a_restart([stale.fileno()], ["kept-web"], port, 1, manager.getsockname())
    assert " [1] " in text, "one socket of its own"
    assert text.endswith("[]"), "nothing of the old address is left"
