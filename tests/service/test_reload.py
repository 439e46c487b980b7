"""All workers or none: the master's side of a reload against workers that answer, fail, die, come and dawdle."""

from __future__ import annotations

import pickle
import socket
import subprocess
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from terminator.service import candidate, listeners, messages
from terminator.service.admin_link import NOTHING
from terminator.service.attempt import Attempt
from terminator.service.reload import COMMIT_SECONDS, Reloads, Request
from terminator.service.standing import Rebound, Standing
from terminator.telemetry.journal import Journal
from terminator.tls.contexts import ContextStore
from terminator.tls.openssl import Capabilities


class RecordingProcess:
    """A worker's process that only remembers what it was told."""

    def __init__(self) -> None:
        self.told: list[object] = []
        self.fds: list[int] = []

    def send(self, message: object) -> None:
        self.told.append(message)

    def send_frame(self, frame: bytes, fds: list[int]) -> None:
        self.told.append(pickle.loads(frame))
        self.fds += fds


class Workers:
    """The workforce as far as a reload looks at it."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.live = {number: SimpleNamespace(process=RecordingProcess()) for number in range(count)}

    def send_all(self, message: object) -> None:
        for worker in self.live.values():
            worker.process.send(message)

    def told(self, number: int) -> list[str]:
        return [type(message).__name__ for message in self.live[number].process.told]


class Realm:
    """The master as far as a reload looks at it; records what happened to it."""

    def __init__(self, config_path: Path) -> None:
        self.config_path = str(config_path)
        self.workforce: Any = Workers(2)
        self.inherited = listeners.Inherited({})
        self.admin: Any = SimpleNamespace(sockets=NOTHING)
        self.admin_gid = -1
        first = candidate.read(self.config_path)
        self.journal = Journal(first.config.log)
        self.contexts = ContextStore(Capabilities())
        self.contexts.commit(self.contexts.prepare(first.materials))
        bound = tuple(listeners.bind(each, 2, self.inherited) for each in first.config.listeners)
        for each in bound:
            each.listen()
        self.standing = Standing(1, first, bound, datetime.now(UTC))
        self.history: list[str] = []
        self.reloads = Reloads(self)

    def reload_begins(self) -> None:
        self.history.append("begins")

    def in_force(self, standing: Standing, rebound: Rebound) -> None:
        self.standing = standing
        for each in rebound.closing():
            each.close()
        self.history.append(f"in force {standing.number}")

    def reload_ended(self, attempt: Attempt) -> None:
        self.history.append(attempt.outcome)


@pytest.fixture
def config_file(folder: Path, pair: Any, port: Callable[[], int]) -> Path:
    file = folder / "terminator.yaml"
    file.write_text(
        yaml.safe_dump(
            {
                "version": 1,
                "listeners": [{"name": "https", "bind": f"127.0.0.1:{port()}"}],
                "hosts": [
                    {
                        "names": ["a.test"],
                        "certificates": [pair.as_config()],
                        "routes": [{"path": "/", "respond": {"body": "x"}}],
                    }
                ],
                "log": {"handshakes": "off", "requests": "off", "lifecycle": "off"},
            }
        )
    )
    return file


@pytest.fixture
def realm(config_file: Path) -> Iterator[Realm]:
    realm = Realm(config_file)
    yield realm
    for each in realm.standing.bound:
        each.close()
    realm.journal.close()


@pytest.fixture
def change(config_file: Path) -> Callable[..., None]:
    def make(**sections: Any) -> None:
        config = yaml.safe_load(config_file.read_text())
        config_file.write_text(yaml.safe_dump({**config, **sections}))

    return make


def ask(realm: Realm, **options: Any) -> list[Attempt]:
    answers: list[Attempt] = []
    realm.reloads.request(Request("command", answers.append, **options))
    return answers


def say(realm: Realm, number: int, kind: str, generation: int = 2, **details: Any) -> None:
    realm.reloads.heard(number, {"kind": kind, "number": generation, **details})


def test_all_prepare_then_all_commit_then_it_is_answered(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    answers = ask(realm)
    assert (realm.workforce.told(0), realm.history) == (["Prepare"], ["begins"])
    say(realm, 0, "prepared", error=None)
    assert (realm.workforce.told(0), realm.standing.number) == (["Prepare"], 1), "one is not all"
    say(realm, 1, "prepared", error=None)
    assert (realm.workforce.told(0), realm.standing.number) == (["Prepare", "Commit"], 2)
    assert answers == [], "a client that asks right after the answer must find the new generation everywhere"
    say(realm, 1, "committed")
    say(realm, 0, "committed")
    (attempt,) = answers
    assert (attempt.outcome, attempt.generation) == ("ok", 2)
    assert [each.text for each in attempt.changes] == ["timeouts.drain: 30 → 7"]
    assert realm.history == ["begins", "in force 2", "ok"]
    assert not realm.reloads.busy


def test_one_worker_that_cannot_aborts_all(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    answers = ask(realm)
    say(realm, 0, "prepared", error=None)
    say(realm, 1, "prepared", error="OSError: no memory")
    assert [realm.workforce.told(n) for n in (0, 1)] == [["Prepare", "Abort"]] * 2
    (attempt,) = answers
    assert (attempt.outcome, attempt.error_type, attempt.generation) == ("failed", "prepare_failed", 1)
    assert attempt.errors == ("worker 1 could not prepare the new generation: OSError: no memory",)
    assert realm.history == ["begins", "failed"]
    say(realm, 0, "committed")
    assert len(answers) == 1


def test_a_worker_that_dawdles_aborts_all(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    answers = ask(realm)
    say(realm, 0, "prepared", error=None)
    deadline = realm.reloads.wake_at()
    assert deadline is not None
    realm.reloads.tick(deadline - 0.1)
    assert answers == []
    realm.reloads.tick(deadline)
    assert answers[0].errors == ("worker 1 did not prepare the new generation in time",)
    assert realm.standing.number == 1


def test_a_worker_that_dies_does_not_count_and_its_replacement_prepares(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    answers = ask(realm)
    say(realm, 0, "prepared", error=None)
    realm.workforce.live[1] = SimpleNamespace(process=RecordingProcess())
    realm.reloads.came(1)
    realm.reloads.gone(0)
    assert realm.workforce.told(1) == ["Prepare"]
    assert realm.standing.number == 1, "the replacement has not prepared"
    say(realm, 1, "prepared", error=None)
    assert realm.standing.number == 2
    say(realm, 1, "committed")
    realm.reloads.gone(0)
    assert [attempt.outcome for attempt in answers] == ["ok"]


def test_with_no_worker_alive_the_next_ones_start_with_the_new_generation(realm: Realm, change: Any) -> None:
    realm.workforce.live.clear()
    change(timeouts={"drain": "7s"})
    answers = ask(realm)
    assert [attempt.outcome for attempt in answers] == ["ok"]
    assert realm.standing.number == 2


def test_a_worker_that_does_not_say_committed_holds_nobody_up(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    answers = ask(realm)
    for number in (0, 1):
        say(realm, number, "prepared", error=None)
    say(realm, 0, "committed")
    deadline = realm.reloads.wake_at()
    assert deadline is not None
    realm.reloads.tick(deadline + COMMIT_SECONDS)
    assert [attempt.outcome for attempt in answers] == ["ok"], "supervision replaces it by one of the new generation"


def test_one_reload_at_a_time_and_the_others_in_turn(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    first = ask(realm)
    second = ask(realm)
    third = ask(realm, dry_run=True)
    assert (first, second, third) == ([], [], [])
    for kind in ("prepared", "committed"):
        for number in (0, 1):
            say(realm, number, kind, error=None)
    assert [attempt.outcome for attempt in (*first, *second, *third)] == ["ok", "unchanged", "unchanged"]
    assert realm.history == ["begins", "in force 2", "ok", "begins", "unchanged"], "a dry run is not told as a reload"


def test_a_hail_of_signals_is_two_reloads(realm: Realm, change: Any) -> None:
    """The one under way, which may have read too early, and one more."""
    change(timeouts={"drain": "7s"})
    first = ask(realm)
    for _ in range(50):
        realm.reloads.request(Request("signal", lambda attempt: None))
        realm.reloads.request(Request("watch", lambda attempt: None))
    commands = [ask(realm) for _ in range(2)]
    for kind in ("prepared", "committed"):
        for number in (0, 1):
            say(realm, number, kind, error=None)
    assert [attempt.outcome for attempt in first] == ["ok"]
    assert [attempt.outcome for answers in commands for attempt in answers] == ["unchanged"] * 2, "each has its answer"
    assert realm.history.count("unchanged") == 4


def test_what_is_asked_for_before_the_service_is_ready_waits(realm: Realm) -> None:
    realm.reloads = Reloads(realm, held=True)
    first, second = ask(realm), ask(realm)
    assert (first, second) == ([], [])
    realm.reloads.release()
    assert [attempt.outcome for attempt in (*first, *second)] == ["unchanged"] * 2
    realm.reloads = Reloads(realm, held=True)
    third = ask(realm)
    realm.reloads.stop()
    assert [attempt.outcome for attempt in third] == ["failed"]


def test_a_stop_aborts_what_is_under_way_and_refuses_what_waits(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    first, second = ask(realm), ask(realm)
    realm.reloads.stop()
    assert [attempt.outcome for attempt in (*first, *second)] == ["failed", "failed"]
    assert realm.standing.number == 1


def test_only_what_changed_travels(realm: Realm, change: Any) -> None:
    change(timeouts={"drain": "7s"})
    ask(realm)
    (prepare,) = realm.workforce.live[0].process.told
    assert isinstance(prepare, messages.Prepare)
    assert (prepare.hosts, dict(prepare.changed)) == (("a.test",), {})
    assert prepare.config is not None
    assert prepare.config.timeouts.drain == 7


def test_the_length_of_a_queue_changes_when_all_have_prepared(realm: Realm, change: Any) -> None:
    (bound,) = realm.standing.bound
    change(listeners=[{"name": "https", "bind": str(bound.config.bind), "backlog": 9}])
    ask(realm)
    port = bound.every_socket()[0].getsockname()[1]

    def lengths() -> set[str]:
        done = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True)
        return {line.split()[2] for line in done.stdout.splitlines()}

    assert lengths() == {"4096"}
    for number in (0, 1):
        say(realm, number, "prepared", error=None)
    assert lengths() == {"9"}


def test_what_is_found_unchanged_is_known_as_it_is_now(realm: Realm, pair: Any) -> None:
    pair.key.chmod(0o604)
    (dry,) = ask(realm, dry_run=True)
    assert (dry.outcome, realm.standing.candidate.materials["a.test"].pairs[0].key_mode) == ("unchanged", 0o600)
    (attempt,) = ask(realm)
    assert attempt.outcome == "unchanged"
    assert any("readable by others" in text for text in attempt.warnings)
    assert realm.standing.candidate.materials["a.test"].pairs[0].key_mode == 0o604
    assert realm.standing.candidate.watch.touched() == set()


def test_a_renewed_certificate_travels_once(realm: Realm, certificates: Any, pair: Any) -> None:
    certificates.issue(pair.chain.parent, "a.test")
    ask(realm)
    (prepare,) = realm.workforce.live[0].process.told
    assert isinstance(prepare, messages.Prepare)
    assert list(prepare.changed) == ["a.test"]
    assert prepare.config is None, "the one in force"
    (new,) = prepare.changed["a.test"].pairs
    assert new.chain_pem == pair.chain.read_bytes()


def test_a_dry_run_touches_nothing_and_sees_what_the_reload_sees(
    realm: Realm, change: Any, port: Callable[[], int]
) -> None:
    number = port()
    change(listeners=[{"name": "new", "bind": f"127.0.0.1:{number}"}])
    (dry,) = ask(realm, dry_run=True)
    assert (dry.outcome, dry.generation, realm.history) == ("ok", 1, [])
    assert realm.workforce.told(0) == []
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", number), 1)
    answers = ask(realm)
    for kind in ("prepared", "committed"):
        for worker in (0, 1):
            say(realm, worker, kind, error=None)
    assert answers[0].changes == dry.changes


def test_new_listeners_travel_with_their_sockets_and_old_ones_close(
    realm: Realm, change: Any, port: Callable[[], int]
) -> None:
    before = realm.standing.bound[0]
    change(listeners=[{"name": "new", "bind": f"127.0.0.1:{port()}"}])
    ask(realm)
    (prepare,) = realm.workforce.live[1].process.told
    assert isinstance(prepare, messages.Prepare)
    assert ([new.config.name for new in prepare.added], prepare.removed) == (["new"], ("https",))
    assert len(realm.workforce.live[1].process.fds) == 1
    assert realm.workforce.live[0].process.fds != realm.workforce.live[1].process.fds
    assert before.every_socket()[0].fileno() >= 0, "until the commit it serves"
    for number in (0, 1):
        say(realm, number, "prepared", error=None)
    assert before.every_socket()[0].fileno() == -1


def test_a_listener_that_only_changes_its_settings_keeps_its_socket_and_queue(realm: Realm, change: Any) -> None:
    before = realm.standing.bound[0]
    change(listeners=[{"name": "renamed", "bind": str(before.config.bind), "tls": False}])
    ask(realm)
    for number in (0, 1):
        say(realm, number, "prepared", error=None)
    (after,) = realm.standing.bound
    assert after.config.name == "renamed"
    assert after.every_socket() == before.every_socket()
    assert after.every_socket()[0].fileno() >= 0


@pytest.mark.parametrize(
    ("sections", "complaint"),
    [
        ({"listeners": [{"name": "x", "bind": "192.0.2.1:9"}]}, "does not have the address"),
        ({"log": {"lifecycle": "/nonexistent/folder/x.log"}}, "log file /nonexistent/folder/x.log"),
        ({"admin": {"socket": "/nonexistent/folder/x.sock"}}, "the folder does not exist"),
        ({"tls": {"ticket_secret_file": "/nonexistent/secret"}}, "the ticket secret does not exist"),
        ({"hosts": []}, "hosts"),
    ],
)
def test_what_cannot_be_had_refuses_the_whole_reload(
    realm: Realm, change: Any, port: Callable[[], int], sections: dict[str, Any], complaint: str
) -> None:
    number = port()
    if "listeners" not in sections:
        change(listeners=[{"name": "extra", "bind": f"127.0.0.1:{number}"}])
    change(**sections)
    (attempt,) = ask(realm)
    assert attempt.outcome == "refused"
    assert complaint in "\n".join(attempt.errors)
    assert realm.workforce.told(0) == []
    with socket.socket() as free:  # what had been opened before the fault is closed again
        free.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        free.bind(("127.0.0.1", number))
        free.listen()


def test_an_unchanged_ticket_secret_is_no_change_and_another_one_is(realm: Realm, change: Any, folder: Path) -> None:
    secret = folder / "secret"
    secret.write_text("s" * 40 + "\n")
    change(tls={"ticket_secret_file": str(secret)})
    for kind in ("prepared", "committed"):
        if kind == "prepared":
            ask(realm)
        for number in (0, 1):
            say(realm, number, kind, error=None)
    assert [attempt.outcome for attempt in ask(realm)] == ["unchanged"]
    secret.write_text("t" * 40 + "\n")
    (dry,) = ask(realm, dry_run=True)
    assert [each.text for each in dry.changes] == ["tls.ticket_secret_file: other content"]
    secret.write_text("short")
    (refused,) = ask(realm)
    assert "at least 32 are needed" in refused.errors[0]
