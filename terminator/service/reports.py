"""Asks all workers how the backends are and which handshakes failed, and answers with what came in time."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from terminator.service import messages
from terminator.service.process import Message
from terminator.service.workforce import Workforce

PATIENCE_SECONDS = 1.0

Rows = list[dict[str, Any]]


@dataclass(slots=True)
class Reported:
    """Rows of all workers, each with the worker's number, and how many connections they have together."""

    backends: Rows = field(default_factory=list)
    failures: Rows = field(default_factory=list)
    """The last failed handshakes of each class."""
    connections: int = 0


@dataclass(slots=True)
class _Question:
    answer: Callable[[Reported], None]
    deadline: float
    awaited: set[int]
    reported: Reported = field(default_factory=Reported)


class Reports:
    def __init__(self, workforce: Workforce) -> None:
        self._workforce = workforce
        self._questions: dict[int, _Question] = {}
        self._count = 0

    def ask(self, answer: Callable[[Reported], None]) -> None:
        """`answer` gets the rows of all workers that answer in time."""
        self._count += 1
        deadline = time.monotonic() + PATIENCE_SECONDS
        self._questions[self._count] = _Question(answer, deadline, set(self._workforce.live))
        self._workforce.send_all(messages.Report(self._count))
        self._close_answered()

    def heard(self, number: int, message: Message) -> None:
        match message:
            case {"kind": "report", "ask": int(ask), "backends": list(backends), "failures": list(failures)} if (
                ask in self._questions
            ):
                question = self._questions[ask]
                if number in question.awaited:
                    self._count_connections(question, number)
                    question.awaited.discard(number)
                    question.reported.backends += _of(number, backends)
                    question.reported.failures += _of(number, failures)
                self._close_answered()

    def gone(self, number: int) -> None:
        for question in self._questions.values():
            question.awaited.discard(number)
        self._close_answered()

    def wake_at(self) -> float | None:
        return min((question.deadline for question in self._questions.values()), default=None)

    def tick(self, now: float) -> None:
        for question in self._questions.values():
            if question.deadline <= now:
                for number in question.awaited:  # what they said last must do
                    self._count_connections(question, number)
                question.awaited.clear()
        self._close_answered()

    def _count_connections(self, question: _Question, number: int) -> None:
        """A worker says how many there are right before it reports."""
        question.reported.connections += self._workforce.live[number].connections

    def _close_answered(self) -> None:
        for ask in [ask for ask, question in self._questions.items() if not question.awaited]:
            question = self._questions.pop(ask)
            question.answer(question.reported)


def _of(worker: int, rows: list[Any]) -> Rows:
    return [{"worker": worker, **row} for row in rows if isinstance(row, dict)]
