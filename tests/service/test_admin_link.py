"""The admin process as the master keeps it: sockets that stay or go, questions, deaths."""

from __future__ import annotations

import json
import pickle
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from terminator.config.model import Admin
from terminator.config.values import TcpAddress, UnixAddress
from terminator.errors import StartError
from terminator.service import channel, listeners, messages
from terminator.service.admin_link import NOTHING, AdminLink, AdminSockets, bind, names
from terminator.service.channel import MasterEnd
from terminator.telemetry.events import Event

NONE = listeners.Inherited({})


def admin(path: Path | None = None, bind: Any = None) -> Admin:
    return Admin.model_construct(socket=str(path) if path else None, bind=bind)


# ---------------------------------------------------------------------------------------------------------- sockets


def test_the_socket_is_for_its_owner_and_group_and_gone_after_its_time(folder: Path) -> None:
    path = folder / "admin.sock"
    sockets = bind(admin(path), NONE, -1)
    assert (path.stat().st_mode & 0o777, len(sockets.full), sockets.read_only) == (0o660, 1, ())
    sockets.close()
    assert not path.exists()


def test_what_stays_under_its_address_keeps_its_socket(folder: Path, port: Callable[[], int]) -> None:
    path, address = folder / "admin.sock", TcpAddress("127.0.0.1", port())
    one = bind(admin(path), NONE, -1)
    two = bind(admin(path, address), NONE, -1, (admin(path), one))
    assert (two.full, two.file, len(two.read_only)) == (one.full, one.file, 1)
    one.close(keep=two)
    assert path.exists()
    assert two.full[0].fileno() >= 0
    two.close()


def test_a_browser_may_ask_by_the_machines_name_and_by_the_one_bound() -> None:
    own = socket.gethostname().lower()
    assert names(Admin()) == {own}
    assert names(admin(bind=TcpAddress("Web1.Example", 9145))) == {own, "web1.example"}


def test_a_fault_in_one_leaves_nothing_of_the_other(folder: Path) -> None:
    path = folder / "admin.sock"
    with pytest.raises(StartError, match=r"belongs to admin\.socket"):
        bind(admin(path, UnixAddress(str(folder / "x.sock"))), NONE, -1)
    assert not path.exists()


# ---------------------------------------------------------------------------------------------------------- process


class Link:
    """A link whose processes are sleeping ones; `ends` has the other end of each one's channel."""

    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.children: list[subprocess.Popen[bytes]] = []
        self.ends: list[socket.socket] = []
        self.events: list[Event] = []
        self.questions: list[tuple[dict[str, Any], Callable[[int, object], None]]] = []
        self.link = AdminLink(
            fork=self.fork,
            selector=self.selector,
            emit=self.events.append,
            ask=lambda message, answer: self.questions.append((message, answer)),
        )

    def fork(self, sockets: AdminSockets) -> tuple[int, MasterEnd]:
        ours, theirs = channel.pair()
        theirs.setblocking(True)
        theirs.settimeout(10)
        self.ends.append(theirs)
        self.children.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]))
        return self.children[-1].pid, MasterEnd(ours)

    def turn(self) -> None:
        for key, _ in self.selector.select(0):
            key.data()

    def heard(self, number: int) -> list[object]:
        """What the process was told so far."""
        data, end = b"", self.ends[number]
        end.setblocking(False)
        try:
            while more := end.recv(65536):
                data += more
        except BlockingIOError:
            pass
        found = []
        while data:
            size = int.from_bytes(data[:4], "big")
            found.append(pickle.loads(data[4 : 4 + size]))
            data = data[4 + size :]
        return found

    def say(self, number: int, **message: Any) -> None:
        payload = json.dumps(message).encode()
        self.ends[number].sendall(len(payload).to_bytes(4, "big") + payload)
        self.turn()

    def end(self, number: int, status: int) -> None:
        self.children[number].kill()
        self.children[number].wait()
        self.link.exited(self.children[number].pid, status, time.monotonic())


@pytest.fixture
def link() -> Iterator[Link]:
    made = Link()
    yield made
    made.link.stop()
    for number in range(len(made.children)):
        made.end(number, 0)
    for end in made.ends:
        end.close()
    made.selector.close()


def sockets() -> AdminSockets:
    return AdminSockets(full=(socket.create_server(("127.0.0.1", 0)),))


def test_without_a_socket_no_process_runs(link: Link) -> None:
    link.link.serve(NOTHING)
    assert link.children == []
    assert link.link.ended


def test_a_question_is_answered_to_the_one_who_asked(link: Link) -> None:
    link.link.serve(sockets())
    link.say(0, kind="ask", ask=5, what="status")
    ((message, answer),) = link.questions
    assert message["what"] == "status"
    answer(200, {"x": 1})
    assert link.heard(0) == [messages.Answer(5, 200, {"x": 1})]


def test_one_that_dies_is_told_and_replaced_and_gets_no_answer_of_the_old_one(link: Link) -> None:
    link.link.serve(sockets())
    link.say(0, kind="ready")
    link.say(0, kind="ask", ask=1, what="status")
    link.end(0, signal.SIGKILL)
    assert [(event.topic, "SIGKILL" in event.message) for event in link.events] == [("admin_exited", True)]  # type: ignore[attr-defined]
    link.link.tick(time.monotonic() + 60)
    assert len(link.children) == 2
    link.questions[0][1](200, {})
    assert link.heard(1) == []


def test_new_sockets_get_a_new_process_and_the_old_one_finishes(link: Link) -> None:
    first, second = sockets(), sockets()
    link.link.serve(first)
    link.say(0, kind="ready")
    link.link.serve(second)
    assert (first.full[0].fileno(), second.full[0].fileno() >= 0) == (-1, True)
    assert [type(message) for message in link.heard(0)] == [messages.Drain]
    assert len(link.children) == 2
    link.end(0, 0)
    assert link.events == []


def test_a_stop_ends_it_and_starts_none_any_more(link: Link) -> None:
    link.link.serve(sockets())
    link.say(0, kind="ready")
    link.link.stop()
    assert [type(message) for message in link.heard(0)] == [messages.Drain]
    assert not link.link.ended
    link.end(0, 0)
    link.link.tick(time.monotonic() + 60)
    assert (link.link.ended, len(link.children), link.events) == (True, 1, [])


def test_the_process_of_somebody_else_is_not_ours(link: Link) -> None:
    link.link.serve(sockets())
    assert not link.link.exited(1, 0, time.monotonic())
