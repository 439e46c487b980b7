"""What the master does by the clock: ticket keys, expiring certificates, changed files, service manager, gauges."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol

from terminator.service import account, messages
from terminator.service.attempt import Attempt
from terminator.service.expiry import Said, expiring
from terminator.service.kept import Kept
from terminator.service.notify import Notify
from terminator.service.reload import Request
from terminator.service.standing import Standing
from terminator.service.timers import Timers
from terminator.service.watch import POLL_SECONDS
from terminator.service.workforce import Workforce
from terminator.telemetry.board import MASTER_ROW, Board
from terminator.telemetry.drops import DropMeter
from terminator.telemetry.events import ServerNotice
from terminator.telemetry.journal import Journal
from terminator.tls.contexts import ContextStore
from terminator.tls.tickets import Tickets, TicketSecret

STATUS_SECONDS = 10.0
EXPIRY_SECONDS = 3600.0
DRIFT_SECONDS = 60.0
DRAIN_SAY_SECONDS = 5.0
AGAIN_SECONDS = 5.0
"""After which a reload that changed files called for is tried again, if its failure may pass; doubled each time."""
AGAIN_SECONDS_AT_MOST = 320.0


class Realm(Protocol):
    """What the chores are about: the master."""

    standing: Standing
    workforce: Workforce
    contexts: ContextStore
    journal: Journal
    board: Board
    timers: Timers
    notify: Notify
    kept: Kept

    def sentence(self) -> str: ...

    def reload(self, request: Request) -> None: ...


class Chores:
    def __init__(self, realm: Realm) -> None:
        self._realm = realm
        self._tickets: Tickets | None = None
        self._said: Said = frozenset()
        self._gauges = realm.board.writer(MASTER_ROW)
        self._gauges.on_overflow = lambda text: realm.journal.emit(ServerNotice(topic="metrics_full", message=text))
        self._drops = DropMeter(realm.journal, self._gauges)
        self._again_seconds = AGAIN_SECONDS

    def start(self, **versions: str) -> None:
        """Once the service is about to serve. versions: labels of terminator_build_info."""
        realm = self._realm
        self._gauges.gauge("terminator_build_info", **versions).set(1)
        realm.timers.every("status", STATUS_SECONDS, self._say_status)
        realm.timers.every("expiry", EXPIRY_SECONDS, self._announce_expiry)
        realm.timers.every("drift", DRIFT_SECONDS, self._note_drift)
        if realm.notify.watchdog_seconds is not None:
            realm.timers.every("watchdog", realm.notify.watchdog_seconds / 2, self._say_alive)
        self._gauges.gauge("terminator_config_last_reload_successful").set(1)
        self._gauges.gauge("terminator_config_last_reload_success_timestamp_seconds").set(time.time())
        self.in_force()

    def stop(self, drain_seconds: float) -> None:
        """The service drains: only the service manager still needs to hear from us."""
        for name in ("status", "expiry", "drift", "watch", "again", "tickets"):
            self._realm.timers.cancel(name)
        until = time.monotonic() + drain_seconds

        def extend() -> float:
            left = max(0.0, until - time.monotonic())
            self._realm.notify.extend_timeout(min(left, DRAIN_SAY_SECONDS) + 2 * DRAIN_SAY_SECONDS)
            return left

        def say() -> None:
            left, count = extend(), self._realm.workforce.connections
            self._realm.notify.status(f"Draining {count} connections, at most {left:.0f} s")

        self._realm.timers.every("drain", DRAIN_SAY_SECONDS, say)
        extend()

    def in_force(self) -> None:
        """A generation came into force."""
        realm = self._realm
        self._rotate_tickets()
        self._announce_expiry()
        self._note_certificates()
        self._note_drift()
        if realm.standing.candidate.config.reload.watch:
            watch = realm.standing.candidate.watch
            realm.timers.every("watch", max(POLL_SECONDS, watch.cost_seconds * 50), self._look_at_files)
        else:
            realm.timers.cancel("watch")
            realm.timers.cancel("again")

    def reload_ended(self, attempt: Attempt) -> None:
        self._plan_another(attempt)
        if attempt.outcome == "unchanged":
            self._note_drift()
        gauges = self._gauges
        gauges.counter("terminator_config_reloads_total", outcome=attempt.outcome).inc()
        gauges.gauge("terminator_config_last_reload_successful").set(float(attempt.good))
        if attempt.good:
            gauges.gauge("terminator_config_last_reload_success_timestamp_seconds").set(attempt.at.timestamp())

    def worker_restarted(self) -> None:
        self._gauges.counter("terminator_worker_restarts_total").inc()

    # ------------------------------------------------------------------------------------------------------- tickets

    def tickets(self) -> Tickets:
        """The keys of this moment, by the configuration in force: what the first contexts are made with."""
        self._tickets = self._secret().tickets(time.time())
        return self._tickets

    def _secret(self) -> TicketSecret:
        candidate = self._realm.standing.candidate
        return TicketSecret(candidate.ticket_secret or self._realm.kept.secret, candidate.config.tls.ticket_rotation)

    def _rotate_tickets(self) -> None:
        now = time.time()
        secret = self._secret()
        tickets = secret.tickets(now)
        if tickets != self._tickets:
            self._realm.contexts.rotate(tickets)
            self._realm.workforce.send_all(messages.TicketKeys(tickets))
            self._tickets = tickets
        # An hour at most: the clock of the day may be set, the monotonic one is not.
        wait = min(secret.next_rotation(now) - now, 3600.0) + 0.01
        self._realm.timers.once("tickets", wait, self._rotate_tickets)

    # -------------------------------------------------------------------------------------------------- certificates

    def _announce_expiry(self) -> None:
        materials = self._realm.standing.candidate.materials
        events, self._said = expiring(materials.values(), self._said, datetime.now(UTC))
        for event in events:
            self._realm.journal.emit(event)

    def _note_certificates(self) -> None:
        name = "terminator_certificate_not_after_timestamp_seconds"
        self._gauges.forget(name)
        for host, material in self._realm.standing.candidate.materials.items():
            for pair in material.pairs:
                self._gauges.gauge(name, host=host, serial=pair.info.serial).set(pair.info.not_after.timestamp())
        self._gauges.gauge("terminator_config_generation").set(self._realm.standing.number)

    def _note_drift(self) -> None:
        candidate = self._realm.standing.candidate
        drifting = account.drifting(candidate.materials, candidate.watch.touched())
        self._gauges.forget("terminator_certificate_drift")
        for host in candidate.materials:
            self._gauges.gauge("terminator_certificate_drift", host=host).set(float(host in drifting))

    def _look_at_files(self) -> None:
        if self._realm.standing.candidate.watch.changed(time.monotonic()):
            self._reload_for_files()

    def _reload_for_files(self) -> None:
        self._realm.reload(Request("watch", lambda attempt: None))

    def _plan_another(self, attempt: Attempt) -> None:
        """Changed files call once; when only the moment was against it, nobody would call again before the next
        change."""
        if attempt.trigger == "watch" and attempt.may_pass:
            self._realm.timers.once("again", self._again_seconds, self._reload_for_files)
            self._again_seconds = min(2 * self._again_seconds, AGAIN_SECONDS_AT_MOST)
        elif attempt.trigger == "watch" or attempt.good:
            self._realm.timers.cancel("again")
            self._again_seconds = AGAIN_SECONDS

    # ------------------------------------------------------------------------------------------------ service manager

    def _say_alive(self) -> None:
        # Stuck workers are ours to replace. When that does not bring one back, the service manager shall start anew.
        if self._realm.workforce.heard:
            self._realm.notify.watchdog()

    def _say_status(self) -> None:
        self._realm.notify.status(self._realm.sentence())
        self._gauges.gauge("terminator_workers").set(len(self._realm.workforce.live))
        self._drops.note()
