"""Questions to all workers: answered by all, by those still there, or when the patience ends."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

import pytest

from terminator.service import messages
from terminator.service.reports import PATIENCE_SECONDS, Reports


class Workers:
    def __init__(self) -> None:
        self.live = {0: SimpleNamespace(connections=3), 1: SimpleNamespace(connections=4)}
        self.asked: list[int] = []

    def send_all(self, message: messages.Report) -> None:
        self.asked.append(message.ask)


@pytest.fixture
def setting() -> tuple[Reports, Workers, list[Any]]:
    workers: Any = Workers()
    return Reports(workers), workers, []


def report(ask: int, *backends: dict[str, Any]) -> dict[str, Any]:
    return {"kind": "report", "ask": ask, "backends": list(backends), "failures": []}


def test_it_waits_for_every_worker(setting: tuple[Reports, Workers, list[Any]]) -> None:
    reports, workers, answers = setting
    reports.ask(answers.append)
    (ask,) = workers.asked
    reports.heard(1, report(ask, {"backend": "web"}))
    assert answers == []
    reports.heard(0, report(ask, {"backend": "web"}))
    assert [row["worker"] for row in answers[0].backends] == [1, 0]
    assert answers[0].connections == 7
    assert reports.wake_at() is None
    reports.heard(0, report(ask))
    assert len(answers) == 1


def test_a_worker_that_dies_is_not_waited_for(setting: tuple[Reports, Workers, list[Any]]) -> None:
    reports, workers, answers = setting
    reports.ask(answers.append)
    reports.heard(0, report(workers.asked[0], {"backend": "web"}))
    reports.gone(1)
    assert len(answers) == 1


def test_patience_ends(setting: tuple[Reports, Workers, list[Any]]) -> None:
    reports, workers, answers = setting
    reports.ask(answers.append)
    reports.heard(0, report(workers.asked[0]))
    due = reports.wake_at()
    assert due is not None
    assert due <= time.monotonic() + PATIENCE_SECONDS
    reports.tick(due - 0.1)
    assert answers == []
    reports.tick(due)
    assert (len(answers), answers[0].backends) == (1, [])
    assert answers[0].connections == 7, "of the silent one what it said last"


def test_with_no_worker_the_answer_is_at_once(setting: tuple[Reports, Workers, list[Any]]) -> None:
    reports, workers, answers = setting
    workers.live.clear()
    reports.ask(answers.append)
    assert len(answers) == 1


@pytest.mark.parametrize(
    "message", [{"kind": "report"}, {"kind": "report", "ask": 99, "backends": []}, {"kind": "report", "ask": "1"}, {}]
)
def test_nonsense_is_passed_over(setting: tuple[Reports, Workers, list[Any]], message: dict[str, Any]) -> None:
    reports, _, answers = setting
    reports.ask(answers.append)
    reports.heard(0, message)
    assert answers == []
