"""Reload: plan → judge → prepare → commit, in all workers or in none.

The master reads, judges and builds everything itself first; then every worker builds the same from the plan's bytes
beside what serves, and says so; only when all have, all swap. Whatever fails before that moment leaves the old state
untouched: workers forget what they prepared, sockets and files opened for it are closed. A worker that dies meanwhile
does not count; its replacement, forked from the old state, prepares as well.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from enum import Enum, auto
from typing import Protocol

from terminator.errors import ConfigError, StartError
from terminator.service import candidate as candidates
from terminator.service import messages
from terminator.service.admin_link import AdminLink
from terminator.service.attempt import Attempt, Outcome, Trigger
from terminator.service.candidate import Candidate
from terminator.service.listeners import Inherited
from terminator.service.process import Message
from terminator.service.standing import Rebound, Standing, fds_for, prepare_frame, rebind
from terminator.service.workforce import Workforce
from terminator.telemetry import journal
from terminator.tls import contexts

PREPARE_SECONDS = 30.0
"""How long workers may take to build a plan, beyond what the number of changed contexts explains."""
PREPARE_SECONDS_PER_CONTEXT = 0.02
COMMIT_SECONDS = 10.0
"""A worker that does not answer a commit is stuck; supervision replaces it by one of the new generation."""

STOPPING = "the service is being stopped"


@dataclass(frozen=True, slots=True)
class Request:
    """`answer` is called once, with the outcome."""

    trigger: Trigger
    answer: Callable[[Attempt], None]
    dry_run: bool = False
    accept_worse: bool = False


class Realm(Protocol):
    """What a reload changes: the master."""

    standing: Standing
    workforce: Workforce
    inherited: Inherited
    journal: journal.Journal
    contexts: contexts.ContextStore
    config_path: str
    admin: AdminLink
    admin_gid: int

    def reload_begins(self) -> None: ...

    def in_force(self, standing: Standing, rebound: Rebound) -> None: ...

    def reload_ended(self, attempt: Attempt) -> None: ...


class _Phase(Enum):
    PREPARING = auto()
    COMMITTING = auto()


@dataclass(slots=True)
class _Rollout:
    """A generation on its way into the workers."""

    request: Request
    begun: float
    candidate: Candidate
    after: Standing
    rebound: Rebound
    contexts: contexts.Prepared
    outlets: journal.Prepared
    frame: bytes
    deadline: float
    warnings: tuple[str, ...]
    phase: _Phase = _Phase.PREPARING
    awaited: set[int] = field(default_factory=set)


class Reloads:
    """One at a time; those asked for meanwhile wait their turn. While `held` all wait."""

    def __init__(self, realm: Realm, *, held: bool = False) -> None:
        self._realm = realm
        self._held = held
        self._waiting: deque[Request] = deque()
        self._rollout: _Rollout | None = None
        self._stopped = False

    @property
    def busy(self) -> bool:
        return self._rollout is not None

    def request(self, request: Request) -> None:
        """Does it, or lets it wait. Signals and changed files are nobody who wants an answer: one of each that waits
        reads all that the next would."""
        if request.trigger == "command" or request.trigger not in (waiting.trigger for waiting in self._waiting):
            self._waiting.append(request)
        self._next()

    def release(self) -> None:
        """The service is ready: what waits may begin."""
        self._held = False
        self._next()

    def wake_at(self) -> float | None:
        return self._rollout.deadline if self._rollout is not None else None

    def tick(self, now: float) -> None:
        rollout = self._rollout
        if rollout is None or now < rollout.deadline:
            return
        if rollout.phase is _Phase.PREPARING:
            late = ", ".join(str(number) for number in sorted(rollout.awaited))
            self._abort(f"worker {late} did not prepare the new generation in time")
        else:
            self._finish_rollout()

    def stop(self) -> None:
        """The service ends: what is under way, what waits, and what is yet asked for, is not done any more."""
        self._stopped = True
        if self._rollout is not None and self._rollout.phase is _Phase.PREPARING:
            self._abort(STOPPING)
        self._next()

    # ---------------------------------------------------------------------------------------------- from workers

    def heard(self, number: int, message: Message) -> None:
        rollout = self._rollout
        if rollout is None or message.get("number") != rollout.after.number:
            return
        match message:
            case {"kind": "prepared", "error": None} if rollout.phase is _Phase.PREPARING:
                self._answered(number)
            case {"kind": "prepared", "error": str(error)} if rollout.phase is _Phase.PREPARING:
                self._abort(f"worker {number} could not prepare the new generation: {error[:2000]}")
            case {"kind": "committed"} if rollout.phase is _Phase.COMMITTING:
                self._answered(number)

    def came(self, number: int) -> None:
        """A worker was forked: from the old state, as long as nothing is committed."""
        if self._rollout is not None and self._rollout.phase is _Phase.PREPARING:
            self._send_prepare(number)

    def gone(self, number: int) -> None:
        if self._rollout is not None:
            self._answered(number)

    # ------------------------------------------------------------------------------------------------ the four steps

    def _next(self) -> None:
        while self._rollout is None and self._waiting and (self._stopped or not self._held):
            request = self._waiting.popleft()
            if self._stopped:
                self._end(request, time.monotonic(), "failed", [STOPPING], error_type="stopping")
            else:
                self._begin(request)

    def _begin(self, request: Request) -> None:
        """Plan and judge; then either it is over or the workers prepare."""
        realm, begun = self._realm, time.monotonic()
        if not request.dry_run:
            realm.reload_begins()
        running = realm.standing.candidate
        try:
            candidate = candidates.read(realm.config_path, running)
        except ConfigError as error:
            self._end(request, begun, "refused", error.problems, error_type=error.reason)
            return
        now = datetime.now(UTC)
        warnings = [
            *candidate.warnings,
            *(f"host {host}: {text}" for host, text in candidates.warnings(candidate, now)),
        ]
        worse = candidates.worse(candidate, running, now)
        if worse and candidate.config.reload.refuse_worse and not request.accept_worse:
            self._end(
                request, begun, "refused", worse, candidate=candidate, warnings=warnings, error_type="certificate_worse"
            )
            return
        if candidate.is_same_as(running):
            if not request.dry_run:
                # The same in all that serves. What was read now is nearer to the disk: stamps, modes, warnings.
                realm.standing = replace(realm.standing, candidate=candidate)
            self._end(request, begun, "unchanged", candidate=candidate, warnings=warnings)
            return
        try:
            rollout = self._plan(request, begun, candidate, tuple(dict.fromkeys((*worse, *warnings))))
        except ConfigError as error:
            self._end(request, begun, "refused", error.problems, candidate=candidate, error_type=error.reason)
            return
        except StartError as error:
            self._end(request, begun, "refused", [str(error)], candidate=candidate, error_type=error.reason)
            return
        if request.dry_run:
            self._discard(rollout)
            self._end(request, begun, "ok", candidate=candidate, warnings=rollout.warnings)
            return
        self._rollout = rollout
        for number in list(realm.workforce.live):
            self._send_prepare(number)
        self._when_all_answered()

    def _plan(self, request: Request, begun: float, candidate: Candidate, warnings: tuple[str, ...]) -> _Rollout:
        """Builds and opens all that the new generation needs in the master; raises and leaves nothing behind."""
        realm, before = self._realm, self._realm.standing
        made = realm.contexts.prepare(candidate.materials)
        rebound = rebind(
            candidate, before, realm.admin.sockets, realm.workforce.count, realm.inherited, realm.admin_gid
        )
        try:
            outlets = realm.journal.prepare(candidate.config.log)
        except StartError:
            rebound.abandon()
            raise
        after = Standing(before.number + 1, candidate, rebound.bound, datetime.now(UTC))
        frame = prepare_frame(after, before, rebound)
        patience = PREPARE_SECONDS + len(made.fresh) * PREPARE_SECONDS_PER_CONTEXT
        return _Rollout(
            request, begun, candidate, after, rebound, made, outlets, frame, time.monotonic() + patience, warnings
        )

    def _send_prepare(self, number: int) -> None:
        assert self._rollout is not None
        self._rollout.awaited.add(number)
        process = self._realm.workforce.live[number].process
        process.send_frame(self._rollout.frame, fds_for(number, self._rollout.rebound))

    def _answered(self, number: int) -> None:
        assert self._rollout is not None
        self._rollout.awaited.discard(number)
        self._when_all_answered()

    def _when_all_answered(self) -> None:
        rollout = self._rollout
        if rollout is None or rollout.awaited:
            return
        if rollout.phase is _Phase.COMMITTING:
            self._finish_rollout()
            return
        try:
            rollout.rebound.listen()
        except StartError as error:
            self._abort(str(error))
            return
        rollout.phase = _Phase.COMMITTING
        rollout.deadline = time.monotonic() + COMMIT_SECONDS
        rollout.awaited = set(self._realm.workforce.live)
        self._realm.contexts.commit(rollout.contexts)
        self._realm.in_force(rollout.after, rollout.rebound)
        self._realm.journal.commit(rollout.outlets)
        self._realm.workforce.send_all(messages.Commit(rollout.after.number))
        if not rollout.awaited:
            self._finish_rollout()

    def _finish_rollout(self) -> None:
        rollout, self._rollout = self._rollout, None
        assert rollout is not None
        self._end(rollout.request, rollout.begun, "ok", candidate=rollout.candidate, warnings=rollout.warnings)
        self._next()

    def _abort(self, reason: str) -> None:
        rollout, self._rollout = self._rollout, None
        assert rollout is not None
        self._realm.workforce.send_all(messages.Abort(rollout.after.number))
        self._discard(rollout)
        self._end(
            rollout.request,
            rollout.begun,
            "failed",
            [reason],
            candidate=rollout.candidate,
            warnings=rollout.warnings,
            error_type="prepare_failed",
        )
        self._next()

    def _discard(self, rollout: _Rollout) -> None:
        rollout.rebound.abandon()
        self._realm.journal.abandon(rollout.outlets)

    def _end(
        self,
        request: Request,
        begun: float,
        outcome: Outcome,
        errors: Iterable[str] = (),
        *,
        candidate: Candidate | None = None,
        warnings: Iterable[str] = (),
        error_type: str | None = None,
    ) -> None:
        attempt = Attempt(
            outcome=outcome,
            trigger=request.trigger,
            at=datetime.now(UTC),
            generation=self._realm.standing.number,
            duration_ms=round((time.monotonic() - begun) * 1000, 3),
            errors=tuple(errors),
            warnings=tuple(warnings),
            changes=candidate.changes if candidate is not None else (),
            needs_restart=candidate.restart if candidate is not None else (),
            dry_run=request.dry_run,
            error_type=error_type,
        )
        if not request.dry_run:
            self._realm.reload_ended(attempt)
        request.answer(attempt)
