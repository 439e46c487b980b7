"""Decisions carried out on recorded processes: forks, kills, reports, and what workers say of themselves."""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Iterator
from typing import Any

import pytest

from terminator.service import channel
from terminator.service.channel import MasterEnd
from terminator.service.workforce import Workforce
from terminator.telemetry.events import Event

NO_PID = 2**22
"""Beyond every process id, so that a signal reaches nobody."""


class Setting:
    def __init__(self) -> None:
        self.selector = selectors.DefaultSelector()
        self.events: list[Event] = []
        self.heard: list[tuple[int, Any]] = []
        self.came: list[int] = []
        self.gone: list[int] = []
        self.ends: dict[int, socket.socket] = {}
        self.opened: list[socket.socket] = []
        self.forks = 0
        self.workforce = Workforce(
            2,
            fork=self._fork,
            selector=self.selector,
            emit=self.events.append,
            hear=lambda number, message: self.heard.append((number, message)),
            came=self.came.append,
            gone=self.gone.append,
        )
        self.workforce.tick(time.monotonic())

    def _fork(self, number: int) -> tuple[int, MasterEnd]:
        self.forks += 1
        ours, theirs = channel.pair()
        self.ends[number] = theirs
        self.opened.append(theirs)
        return NO_PID + self.forks, MasterEnd(ours)

    def say(self, number: int, text: bytes) -> None:
        self.ends[number].send(len(text).to_bytes(4, "big") + text)
        for key, _ in self.selector.select(0):
            key.data()

    def close(self) -> None:
        for worker in self.workforce.live.values():
            worker.process.close()
        for end in self.opened:
            end.close()
        self.selector.close()


@pytest.fixture
def setting() -> Iterator[Setting]:
    setting = Setting()
    yield setting
    setting.close()


def test_all_are_forked_and_told_of(setting: Setting) -> None:
    assert setting.came == [0, 1]
    assert [event.event for event in setting.events] == ["server.worker_started"] * 2
    assert sorted(setting.workforce.live) == [0, 1]


def test_heartbeats_are_believed_within_reason(setting: Setting) -> None:
    for number in (0, 1):
        setting.say(number, b'{"kind": "ready"}')
    assert setting.workforce.table.was_ready
    setting.say(0, b'{"kind": "beat", "connections": 7, "generations": {"1": 5, "2": 2, "x": "y"}}')
    setting.say(1, b'{"kind": "beat", "connections": "many", "generations": {}}')
    assert setting.workforce.connections == 7
    assert setting.workforce.live[0].generations == {"1": 5, "2": 2}
    assert setting.heard == [(1, {"kind": "beat", "connections": "many", "generations": {}})]


def test_other_messages_are_passed_on(setting: Setting) -> None:
    setting.say(1, b'{"kind": "prepared", "number": 2, "error": null}')
    assert setting.heard == [(1, {"kind": "prepared", "number": 2, "error": None})]


def test_a_death_is_told_and_the_place_taken_again(setting: Setting) -> None:
    for number in (0, 1):
        setting.say(number, b'{"kind": "ready"}')
    pid = setting.workforce.live[0].process.pid
    assert setting.workforce.exited(pid, signal.SIGKILL, time.monotonic())
    assert setting.gone == [0]
    assert setting.came == [0, 1, 0]
    exited = next(event for event in setting.events if event.event == "server.worker_exited")
    assert exited.severity() == "error"
    assert not setting.workforce.exited(1, 0, time.monotonic())


def test_connections_that_were_cut_are_counted(setting: Setting) -> None:
    for number in (0, 1):
        setting.say(number, b'{"kind": "ready"}')
        setting.say(number, b'{"kind": "beat", "connections": 5, "generations": {"1": 5}}')
    setting.workforce.drain(1.0)
    setting.say(0, b'{"kind": "drained", "cut": 2}')
    for number, status in ((0, 0), (1, signal.SIGKILL)):
        setting.workforce.exited(setting.workforce.live[number].process.pid, status, time.monotonic())
    assert setting.workforce.table.ended
    assert setting.workforce.cut == 2 + 5, "what a killed worker had open was cut as well"


def test_a_stuck_one_is_told_before_it_is_killed(setting: Setting) -> None:
    setting.say(0, b'{"kind": "ready"}')
    setting.workforce.tick(time.monotonic() + 30)
    notice = setting.events[-1]
    assert notice.event == "server.notice"
    assert "worker 0 gets SIGABRT" in notice.message  # type: ignore[attr-defined]


def test_a_death_at_the_start_gives_up(setting: Setting) -> None:
    setting.workforce.exited(setting.workforce.live[0].process.pid, 256, time.monotonic())
    assert setting.workforce.gave_up == "a worker died before the service was ready"


def test_the_service_manager_hears_of_it_only_while_some_worker_serves(setting: Setting) -> None:
    """What the watchdog's message hangs on: through start and stop, and while one event loop turns; not when none does
    and none has come back."""
    workforce = setting.workforce
    assert workforce.heard, "it starts"
    setting.say(0, b'{"kind": "ready"}')
    setting.say(1, b'{"kind": "ready"}')
    now = time.monotonic()
    workforce.tick(now + 30)
    assert not workforce.heard, "both stand still and are being killed"
    for number in (0, 1):
        workforce.exited(workforce.live[number].process.pid, signal.SIGKILL, now + 30)
    assert not workforce.heard, "others were started but do not serve yet"
    setting.say(1, b'{"kind": "ready"}')
    assert workforce.heard, "one serves"
    workforce.tick(time.monotonic() + 30)
    assert not workforce.heard
    workforce.drain(1.0)
    assert workforce.heard, "it stops: that has a time limit of its own"
