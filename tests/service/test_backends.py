"""The master's knowledge of servers: told once, passed on to all, kept over workers and reloads."""

from __future__ import annotations

from typing import Any

import pytest

from terminator.config.model import Backend
from terminator.service import messages
from terminator.service.backends import Backends, CommandRefused

ONE, TWO = "127.0.0.1:1", "127.0.0.1:2"
CONFIGURED = {"b": Backend(servers=[ONE, TWO], health_check={})}  # type: ignore[list-item, arg-type]


class Stage:
    """Workers that only remember what they were told."""

    def __init__(self) -> None:
        self.live: list[int] = []
        self.told: list[tuple[int, Any]] = []
        self.events: list[Any] = []
        self.backends = Backends(
            lambda n, message: self.told.append((n, message)), lambda: self.live, self.events.append
        )

    def start(self, *numbers: int) -> None:
        for number in numbers:
            self.live.append(number)
            self.backends.came(number)

    def end(self, number: int) -> None:
        self.live.remove(number)
        self.backends.gone(number)

    def verdict(self, number: int, ok: bool, server: str = ONE) -> None:
        message = {"kind": "verdict", "backend": "b", "server": server, "ok": ok, "reason": "check: x"}
        self.backends.heard(number, message)

    def take(self) -> list[tuple[int, Any]]:
        told, self.told = self.told, []
        return told


@pytest.fixture
def stage() -> Stage:
    made = Stage()
    made.start(0, 1, 2)
    assert made.take() == [(0, messages.Probe())]
    return made


def test_a_verdict_goes_to_the_others_and_is_told_once(stage: Stage) -> None:
    stage.verdict(0, False)
    assert stage.take() == [(n, messages.Verdict("b", ONE, False, "check: x")) for n in (1, 2)]
    stage.verdict(0, True)
    assert [(event.state, event.previous) for event in stage.events] == [("down", "up"), ("up", "down")]


def test_a_first_good_check_is_no_change(stage: Stage) -> None:
    stage.verdict(0, True)
    assert not stage.events


def test_another_worker_checks_when_the_first_has_ended(stage: Stage) -> None:
    stage.verdict(0, False)
    stage.take()
    stage.end(0)
    assert stage.take() == [(1, messages.Probe())]
    stage.start(0)
    assert stage.take() == [(0, messages.Verdict("b", ONE, False, "check: x"))]
    for number in (0, 1, 2):
        stage.end(number)
    stage.take()
    stage.start(5)
    assert (5, messages.Probe()) in stage.take()


def test_a_command_goes_to_all_and_to_who_comes_later(stage: Stage) -> None:
    told = stage.backends.command(CONFIGURED, "b", TWO, "drain")
    assert told == {"backend": "b", "server": TWO, "state": "drain", "previous": "up"}
    assert stage.take() == [(n, messages.Maintenance("b", TWO, "drain")) for n in (0, 1, 2)]
    stage.start(3)
    assert stage.take() == [(3, messages.Maintenance("b", TWO, "drain"))]
    stage.verdict(0, False, TWO)
    assert [event.state for event in stage.events] == ["drain"]
    assert stage.backends.command(CONFIGURED, "b", TWO, "up")["state"] == "down"  # the checks keep their say


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("c", ONE, "up"), "there are b"),
        (("b", "x", "up"), f"it has {ONE}, {TWO}"),
        (("b", ONE, "stop"), "drain, down, up"),
    ],
)
def test_what_there_is_not_is_refused(stage: Stage, arguments: tuple[str, str, str], said: str) -> None:
    with pytest.raises(CommandRefused, match=said):
        stage.backends.command(CONFIGURED, *arguments)
    assert not stage.told


def test_a_reload_forgets_what_it_has_no_more(stage: Stage) -> None:
    stage.verdict(0, False, ONE)
    stage.backends.command(CONFIGURED, "b", TWO, "down")
    stage.take()
    stage.backends.in_force({"b": Backend(servers=[ONE])})  # type: ignore[list-item]
    stage.start(3)
    assert stage.take() == []


@pytest.mark.parametrize(
    "message", [{}, {"kind": "verdict"}, {"kind": "verdict", "backend": "b", "server": ONE, "ok": 1}]
)
def test_what_a_worker_may_not_say_is_ignored(stage: Stage, message: dict[str, Any]) -> None:
    stage.backends.heard(1, message)
    assert not stage.told
    assert not stage.events
