"""What the admin process may ask the master, and the answers: HTTP status and JSON value."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Protocol

from terminator.service import account
from terminator.service.account import Reloaded
from terminator.service.announcements import Versions
from terminator.service.backends import Backends, CommandRefused
from terminator.service.explaining import explained, question_of
from terminator.service.process import Message
from terminator.service.reload import Request
from terminator.service.reports import Reported, Reports
from terminator.service.standing import Standing
from terminator.service.workforce import Workforce
from terminator.telemetry.board import Board
from terminator.telemetry.drops import lost_lines
from terminator.tls.openssl import Capabilities

RELOAD_STATUS = {"ok": 200, "unchanged": 200, "refused": 409, "failed": 500}

Answer = Callable[[int, object], None]


class Realm(Protocol):
    """What is asked about: the master."""

    standing: Standing
    workforce: Workforce
    reports: Reports
    backends: Backends
    reloaded: Reloaded
    capabilities: Capabilities
    versions: Versions
    board: Board
    started: datetime
    config_path: str

    def state(self) -> str: ...

    def reload(self, request: Request) -> None: ...


class Questions:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm

    def ask(self, message: Message, answer: Answer) -> None:
        """Answers now or when the workers have answered; every question once."""
        realm = self._realm
        match message:
            case {"what": "ready"}:
                ready = realm.state() != "draining" and realm.workforce.table.any_serving
                answer(200 if ready else 503, {"ready": ready, "state": realm.state()})
            case {"what": "certs"}:
                answer(200, account.certs(realm.standing))
            case {"what": "status"}:
                realm.reports.ask(lambda reported: answer(200, self._status(reported)))
            case {"what": "reload", "dry_run": bool(dry_run), "accept_worse": bool(accept_worse)}:
                realm.reload(
                    Request(
                        "command",
                        lambda attempt: answer(RELOAD_STATUS[attempt.outcome], attempt.as_json()),
                        dry_run=dry_run,
                        accept_worse=accept_worse,
                    )
                )
            case {"what": "backend", "backend": str(name), "server": str(server), "command": str(command)}:
                configured = realm.standing.candidate.config.backends
                try:
                    answer(200, realm.backends.command(configured, name, server, command))
                except CommandRefused as error:
                    answer(404, {"error": str(error)})
            case {"what": "explain", "question": dict(query)}:
                self._explain(query, answer)
            case _:
                answer(400, {"error": "the master does not know this question"})

    def _explain(self, query: dict[str, object], answer: Answer) -> None:
        try:
            asked = question_of(query)
        except ValueError as error:
            answer(400, {"error": str(error)})
            return
        standing, capabilities = self._realm.standing, self._realm.capabilities
        self._realm.reports.ask(
            lambda reported: answer(200, explained(asked, standing, capabilities, reported.backends))
        )

    def _status(self, reported: Reported) -> dict[str, object]:
        realm = self._realm
        return account.status(
            version=realm.versions.terminator,
            started=realm.started,
            state=realm.state(),
            config_path=realm.config_path,
            standing=realm.standing,
            workforce=realm.workforce,
            reloaded=realm.reloaded,
            reported=reported,
            capabilities_off=realm.capabilities.problems,
            lost_lines=lost_lines(realm.board),
        )
