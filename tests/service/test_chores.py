"""What a running daemon does by the clock, seen from outside."""

from __future__ import annotations

import http.client
import os
import signal
import socket
import ssl
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml
from harness.daemon import Daemon, eventually

from terminator.service import candidate
from terminator.service.admin_client import ask
from terminator.service.attempt import Attempt, Outcome, Trigger
from terminator.service.chores import AGAIN_SECONDS, AGAIN_SECONDS_AT_MOST, Chores
from terminator.service.messages import TicketKeys
from terminator.service.notify import Notify
from terminator.service.reload import Request
from terminator.service.standing import Standing
from terminator.service.timers import Timers
from terminator.telemetry.board import Board, worker_row
from terminator.telemetry.journal import Journal
from terminator.tls.tickets import Tickets

Make = Callable[..., Daemon]


def metrics(running: Daemon) -> list[str]:
    client = http.client.HTTPConnection("localhost")
    client.sock = socket.socket(socket.AF_UNIX)
    client.sock.connect(running.config["admin"]["socket"])
    client.request("GET", "/metrics")
    lines = client.getresponse().read().decode().splitlines()
    client.close()
    return [line for line in lines if not line.startswith("#")]


def test_changed_certificates_are_reloaded_by_themselves(daemon: Make, certificates: Any, pair: Any) -> None:
    running = daemon(reload={"watch": True}).start()
    certificates.issue(pair.chain.parent, "a.test")
    event = running.wait_for("config.reload", {"reload.trigger": "watch"})
    assert (event["reload.outcome"], event["generation"]) == ("ok", 2)
    pair.key.write_text("half a renewal")
    event = running.wait_for("config.reload", {"reload.trigger": "watch"}, count=2)
    assert (event["reload.outcome"], event["generation"]) == ("refused", 2)
    certificates.issue(pair.chain.parent, "a.test")
    event = running.wait_for("config.reload", {"reload.trigger": "watch"}, count=3)
    assert (event["reload.outcome"], event["generation"]) == ("ok", 3)


def test_what_was_only_against_the_moment_is_tried_again(
    daemon: Make, certificates: Any, pair: Any, port: Callable[[], int]
) -> None:
    """The address of a new listener is in use, and then it is not; no file changes in between."""
    running = daemon(reload={"watch": True}).start()
    listeners = running.config["listeners"]
    with socket.create_server(("127.0.0.1", port())) as taken:
        more = {"name": "more", "bind": f"127.0.0.1:{taken.getsockname()[1]}"}
        running.config_file.write_text(yaml.safe_dump({**running.config, "listeners": [*listeners, more]}))
        certificates.issue(pair.chain.parent, "a.test")
        event = running.wait_for("config.reload", {"reload.trigger": "watch"})
        assert (event["reload.outcome"], event["error.type"]) == ("refused", "start_failed")
    event = running.wait_for("config.reload", {"reload.trigger": "watch"}, count=2)
    assert (event["reload.outcome"], event["generation"]) == ("ok", 2)


def attempt(outcome: Outcome, trigger: Trigger = "watch", error_type: str | None = None) -> Attempt:
    return Attempt(
        outcome=outcome, trigger=trigger, at=datetime.now(UTC), generation=1, duration_ms=1.0, error_type=error_type
    )


class Clock:
    """The timers of a master that only counts the reloads that are asked for."""

    def __init__(self) -> None:
        self.board = Board(1)
        self.journal = None
        self.timers = Timers()
        self.asked: list[Trigger] = []

    def reload(self, request: Request) -> None:
        self.asked.append(request.trigger)

    def seconds_left(self) -> float | None:
        due = self.timers.wake_at()
        return None if due is None else due - time.monotonic()


FAILED = attempt("failed", error_type="prepare_failed")


def test_it_is_tried_again_ever_more_seldom_until_it_is_over() -> None:
    clock: Any = Clock()
    chores = Chores(clock)
    for number in range(10):
        chores.reload_ended(FAILED)
        assert clock.seconds_left() == pytest.approx(min(AGAIN_SECONDS * 2**number, AGAIN_SECONDS_AT_MOST), abs=1)
        clock.timers.tick(clock.timers.wake_at())
    assert clock.asked == ["watch"] * 10
    chores.reload_ended(attempt("refused", error_type="config_invalid"))
    chores.reload_ended(FAILED)
    assert clock.seconds_left() == pytest.approx(AGAIN_SECONDS, abs=1)


@pytest.mark.parametrize(
    "over",
    [
        attempt("ok"),
        attempt("ok", "command"),
        attempt("refused", error_type="certificate_worse"),
        attempt("failed", error_type="stopping"),
    ],
)
def test_what_is_over_is_not_tried_again(over: Attempt) -> None:
    clock: Any = Clock()
    chores = Chores(clock)
    chores.reload_ended(FAILED)
    chores.reload_ended(over)
    assert clock.timers.wake_at() is None


def test_whoever_asks_for_a_reload_is_told_and_asks_again_himself() -> None:
    clock: Any = Clock()
    Chores(clock).reload_ended(attempt("failed", "command", "prepare_failed"))
    assert clock.timers.wake_at() is None


def test_the_watch_can_be_switched_by_a_reload(daemon: Make, certificates: Any, pair: Any) -> None:
    running = daemon().start()
    running.config_file.write_text(yaml.safe_dump({**running.config, "reload": {"watch": True}}))
    ask("POST", "/reload", running.config["admin"]["socket"])
    certificates.issue(pair.chain.parent, "a.test")
    running.wait_for("config.reload", {"reload.trigger": "watch"})


def test_an_expired_certificate_serves_at_the_start_and_is_said(daemon: Make, certificates: Any, pair: Any) -> None:
    past = datetime.now(UTC) - timedelta(days=2)
    certificates.issue(pair.chain.parent, "a.test", not_after=past)
    running = daemon().start()
    event = running.wait_for("certificate.expiring")
    assert event["certificate.days_left"] == pytest.approx(-2, abs=0.1)
    assert (event["host"], event["certificate.file"]) == ("a.test", str(pair.chain))
    warning = running.wait_for("certificate.warning")
    assert "expired on" in warning["error.message"]
    assert warning["certificate.file"] == str(pair.chain)
    status = ask("GET", "/status", running.config["admin"]["socket"])[1]
    assert any("expired on" in text for text in status["warnings"])
    running.config_file.write_text(running.config_file.read_text().replace("drain: 5s", "drain: 6s"))
    assert ask("POST", "/reload", running.config["admin"]["socket"])[1]["outcome"] == "ok", "it is served already"
    assert len(running.all("certificate.expiring")) == 1, "each threshold once"


def test_reloads_and_certificates_are_metrics(daemon: Make, certificates: Any, pair: Any) -> None:
    running = daemon().start()
    before = metrics(running)
    assert "terminator_config_generation 1.0" in before
    assert "terminator_config_last_reload_successful 1.0" in before
    assert 'terminator_certificate_drift{host="a.test"} 0.0' in before
    serials = [line for line in before if line.startswith("terminator_certificate_not_after_timestamp_seconds")]
    assert len(serials) == 1
    certificates.issue(pair.chain.parent, "a.test")
    ask("POST", "/reload", running.config["admin"]["socket"])
    running.config_file.write_text("")
    ask("POST", "/reload", running.config["admin"]["socket"])
    after = metrics(running)
    assert "terminator_config_generation 2.0" in after
    assert "terminator_config_last_reload_successful 0.0" in after
    assert 'terminator_config_reloads_total{outcome="ok"} 1.0' in after
    assert 'terminator_config_reloads_total{outcome="refused"} 1.0' in after
    renewed = [line for line in after if line.startswith("terminator_certificate_not_after_timestamp_seconds")]
    assert len(renewed) == 1
    assert renewed != serials, "the old serial is gone"


def resumes(running: Daemon, context: ssl.SSLContext, session: ssl.SSLSession) -> bool:
    plain = running.connect_plain().sock
    with context.wrap_socket(plain, server_hostname="a.test", session=session) as again:
        return bool(again.session_reused)


def session_of(running: Daemon, context: ssl.SSLContext) -> ssl.SSLSession:
    with running.connect(context=context) as client:
        client.request()
        client.receive_response()
        session = client.sock.session  # type: ignore[union-attr]
    assert session is not None
    return session


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_changed_ticket_secret_reaches_every_worker(
    daemon: Make, certificates: Any, folder: Path, version: ssl.TLSVersion
) -> None:
    secret = folder / "secret"
    secret.write_text("s" * 40)
    running = daemon(tls={"ticket_secret_file": str(secret)}).start()
    context = certificates.client_context()
    context.minimum_version = context.maximum_version = version
    session = session_of(running, context)
    assert [resumes(running, context, session) for _ in range(8)] == [True] * 8
    secret.write_text("t" * 40)
    assert ask("POST", "/reload", running.config["admin"]["socket"])[1]["outcome"] == "ok"
    eventually(lambda: not any(resumes(running, context, session) for _ in range(8)))
    session = session_of(running, context)
    assert [resumes(running, context, session) for _ in range(8)] == [True] * 8


@pytest.mark.slow
@pytest.mark.timeout(240)
def test_machines_with_one_secret_share_tickets_and_the_turn_of_their_keys(
    daemon: Make, certificates: Any, folder: Path
) -> None:
    """With the shortest rotation, a minute: periods are counted from the epoch, so the test knows when one turns."""
    secret = folder / "secret"
    secret.write_text("s" * 40)
    sections = {"tls": {"ticket_secret_file": str(secret), "ticket_rotation": "1m"}}
    machines = [daemon(**sections).start() for _ in range(2)]
    contexts = []
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        contexts.append(certificates.client_context())
        contexts[-1].minimum_version = contexts[-1].maximum_version = version

    def everywhere(sessions: list[ssl.SSLSession]) -> set[bool]:
        return {
            resumes(machine, context, session)
            for machine in machines
            for context, session in zip(contexts, sessions, strict=True)
            for _ in range(6)
        }

    eventually(lambda: 2 < time.time() % 60 < 35, seconds=35)  # so that no key turns meanwhile
    sessions = [session_of(machines[0], context) for context in contexts]
    assert everywhere(sessions) == {True}, "any worker of any machine"
    period = time.time() // 60
    eventually(lambda: time.time() // 60 > period, seconds=61)
    eventually(lambda: everywhere(sessions) == {False})
    sessions = [session_of(machines[1], context) for context in contexts]
    assert everywhere(sessions) == {True}
    for machine in machines:
        assert not machine.all("tls.handshake_failed"), "a ticket that is too old costs a full handshake, no error"


def test_keys_that_turn_while_the_service_starts_are_turned(folder: Path, pair: Any) -> None:
    """The first contexts are made with the keys of their moment, and making thousands of them takes seconds."""
    file = folder / "t.yaml"
    host = {"names": ["a.test"], "certificates": [pair.as_config()], "routes": [{"path": "/", "respond": {"body": ""}}]}
    file.write_text(
        yaml.safe_dump({"version": 1, "listeners": [{"name": "https", "bind": "127.0.0.1:8443"}], "hosts": [host]})
    )
    read = candidate.read(str(file))
    often = read.config.model_copy(update={"tls": read.config.tls.model_copy(update={"ticket_rotation": 0.05})})
    rotated: list[Tickets] = []
    told: list[TicketKeys] = []
    journal = Journal(read.config.log.model_copy(update={"lifecycle": "off"}))
    realm: Any = SimpleNamespace(
        standing=Standing(1, replace(read, config=often), (), datetime.now(UTC)),
        workforce=SimpleNamespace(send_all=told.append),
        contexts=SimpleNamespace(rotate=rotated.append),
        kept=SimpleNamespace(secret=b"s" * 32),
        journal=journal,
        board=Board(worker_row(1)),
        timers=Timers(),
    )
    chores = Chores(realm)
    first = chores.tickets()
    eventually(lambda: time.time() // 0.05 > first.period)
    chores.in_force()
    assert len(rotated) == 1
    assert rotated[0].period > first.period
    assert [keys.tickets for keys in told] == rotated
    journal.close()


def test_a_replaced_worker_takes_the_tickets_of_the_others(daemon: Make, certificates: Any) -> None:
    running = daemon(workers=1).start()
    context = certificates.client_context()
    session = session_of(running, context)
    os.kill(running.workers()[0], signal.SIGKILL)
    running.wait_for("server.worker_started", count=2)
    assert resumes(running, context, session)


class Watched:
    """What the watchdog's chore asks of the master: the workforce's word, and the line to the service manager."""

    def __init__(self, notify: Notify) -> None:
        self.board = Board(1)
        self.journal = None
        self.notify = notify
        self.workforce = self
        self.heard = True


def test_the_watchdog_is_fed_while_a_worker_is_heard_and_starved_otherwise(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        notify = Notify({"NOTIFY_SOCKET": manager.getsockname()})
        watched: Any = Watched(notify)
        chores = Chores(watched)
        chores._say_alive()
        assert manager.recv(100) == b"WATCHDOG=1"
        watched.heard = False
        chores._say_alive()
        with pytest.raises(BlockingIOError):
            manager.recv(100)
        notify.close()
