"""The admin process's questions: each is answered once, with the status that its outcome has."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import pytest

from terminator.service.attempt import Attempt
from terminator.service.backends import CommandRefused
from terminator.service.questions import Questions
from terminator.service.reload import Request


class Realm:
    """The master as far as questions look at it."""

    def __init__(self) -> None:
        self.said = "serving"
        self.workforce = SimpleNamespace(table=SimpleNamespace(any_serving=True))
        self.standing = SimpleNamespace(candidate=SimpleNamespace(config=SimpleNamespace(backends={})))
        self.backends = SimpleNamespace(command=self.command)
        self.requests: list[Request] = []

    def state(self) -> str:
        return self.said

    def reload(self, request: Request) -> None:
        self.requests.append(request)

    def command(self, configured: Any, name: str, server: str, command: str) -> dict[str, str]:
        if name == "unknown":
            raise CommandRefused("no backend 'unknown'")
        return {"backend": name, "server": server, "command": command}


@pytest.fixture
def realm() -> Realm:
    return Realm()


def ask(realm: Any, **message: Any) -> list[tuple[int, Any]]:
    answers: list[tuple[int, Any]] = []
    Questions(realm).ask(message, lambda status, body: answers.append((status, body)))
    return answers


@pytest.mark.parametrize(
    ("state", "any_serving", "status"), [("serving", True, 200), ("serving", False, 503), ("draining", True, 503)]
)
def test_readiness_needs_a_worker_that_serves_and_no_end_in_sight(
    realm: Realm, state: str, any_serving: bool, status: int
) -> None:
    realm.said, realm.workforce.table.any_serving = state, any_serving
    assert ask(realm, what="ready") == [(status, {"ready": status == 200, "state": state})]


@pytest.mark.parametrize(("outcome", "status"), [("ok", 200), ("unchanged", 200), ("refused", 409), ("failed", 500)])
def test_a_reload_is_answered_when_it_has_ended_by_its_outcome(realm: Realm, outcome: Any, status: int) -> None:
    answers = ask(realm, what="reload", dry_run=False, accept_worse=True)
    (request,) = realm.requests
    assert (request.trigger, request.dry_run, request.accept_worse) == ("command", False, True)
    assert answers == []
    attempt = Attempt(outcome=outcome, trigger="command", at=datetime.now(UTC), generation=2, duration_ms=1.0)
    assert request.answer is not None
    request.answer(attempt)
    assert answers == [(status, attempt.as_json())]


def test_a_command_about_a_server_is_carried_out_or_refused(realm: Realm) -> None:
    known = ask(realm, what="backend", backend="web", server="127.0.0.1:1", command="drain")
    assert known == [(200, {"backend": "web", "server": "127.0.0.1:1", "command": "drain"})]
    unknown = ask(realm, what="backend", backend="unknown", server="x", command="drain")
    assert unknown == [(404, {"error": "no backend 'unknown'"})]


@pytest.mark.parametrize(
    "message",
    [
        {},
        {"what": "shutdown"},
        {"what": "reload"},
        {"what": "reload", "dry_run": "yes", "accept_worse": False},
        {"what": "backend", "backend": "web", "server": 7, "command": "drain"},
        {"what": "explain", "question": "https://a.test/"},
    ],
)
def test_what_is_no_question_is_refused_and_does_nothing(realm: Realm, message: dict[str, Any]) -> None:
    assert ask(realm, **message) == [(400, {"error": "the master does not know this question"})]
    assert realm.requests == []


def test_a_question_to_explain_that_makes_no_sense_says_why(realm: Realm) -> None:
    ((status, body),) = ask(realm, what="explain", question={})
    assert status == 400
    assert body["error"]
