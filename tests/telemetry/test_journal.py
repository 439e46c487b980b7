"""One event, one line: its form, its bounds, its way into files and pipes, and what happens when it is barred."""

from __future__ import annotations

import os
import re
import select
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.config.model import FailureLog, Log
from terminator.errors import StartError
from terminator.telemetry import journal as module
from terminator.telemetry.events import (
    ConfigReload,
    HttpRequest,
    LogDropped,
    LogUnwritable,
    ServerNotice,
    TlsHandshake,
    TunnelClosed,
    WorkerStarted,
)
from terminator.telemetry.journal import Journal


def log(path: Path | str, **other: object) -> Log:
    everywhere = {"handshakes": str(path), "requests": str(path), "lifecycle": str(path)}
    return Log.model_validate(everywhere | other)


def lines(path: Path) -> list[dict[str, object]]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]


def notice(message: str = "x") -> ServerNotice:
    return ServerNotice(topic="test", message=message)


@pytest.fixture
def stdio() -> Iterator[Callable[[int, int], None]]:
    """Puts a descriptor in the place of stdout or stderr, and everything back at the end."""
    kept = {fd: os.dup(fd) for fd in (1, 2)}

    def place(fd: int, target: int) -> None:
        os.dup2(fd, target)

    yield place
    for target, fd in kept.items():
        os.dup2(fd, target)
        os.close(fd)


def fork(work: Callable[[], None]) -> int:
    """A child that does `work` and ends without the test runner's own endings."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def succeeded(child: int) -> bool:
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


# ------------------------------------------------------------------------------------------------------ form


def test_keys_stand_in_fixed_order_and_absent_is_not_null(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"), worker=3, generation=lambda: 7)
    journal.emit(HttpRequest(conn_id="c1", listener="https", status=200, total_ms=1.235, connect_ms=0.0))
    journal.close()
    line = (tmp_path / "a").read_bytes()
    assert line.endswith(b"}\n")
    fields = orjson.loads(line)
    assert list(fields) == [
        "time",
        "level",
        "event",
        "worker",
        "conn.id",
        "listener",
        "http.response.status_code",
        "timing.connect_ms",
        "timing.total_ms",
        "generation",
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", fields["time"])
    assert (fields["worker"], fields["generation"], fields["timing.total_ms"]) == (3, 7, 1.235)


def test_durations_have_three_decimals(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"))
    journal.emit(TunnelClosed(conn_id="c1", duration_ms=1.23456789))
    journal.close()
    assert lines(tmp_path / "a")[0]["timing.tunnel_ms"] == 1.235


def test_an_events_own_generation_and_worker_go_first(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"), worker="master", generation=lambda: 7)
    journal.emit(WorkerStarted(worker=2, pid=17, generation=8))
    journal.close()
    (fields,) = lines(tmp_path / "a")
    assert fields["worker"] == 2
    assert fields["generation"] == 8
    assert list(fields)[-1] == "generation"


@given(st.text(st.characters(exclude_categories=()), max_size=60), st.sampled_from(["json", "text"]))
def test_no_text_of_a_client_breaks_a_line(tmp_path_factory: pytest.TempPathFactory, text: str, form: str) -> None:
    path = tmp_path_factory.mktemp("odd") / "a"
    journal = Journal(log(path, format=form))
    journal.emit(HttpRequest(conn_id="c", listener="l", path=text, user_agent=text, authority=text, query=text))
    journal.emit(TlsHandshake(conn_id="c", listener="l", established=False, server_name=text, error_message=text))
    journal.emit(notice(text))
    journal.close()
    written = path.read_bytes()
    assert written.count(b"\n") == 3
    assert written.endswith(b"\n")
    if form == "json":
        for line in written.splitlines():
            orjson.loads(line)
    else:
        assert all(len(line.decode().splitlines()) == 1 for line in written.split(b"\n")[:-1])
        assert all(character.isprintable() for character in written.decode().replace("\n", ""))


def test_bytes_that_are_no_utf8_and_huge_numbers_are_written(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"))
    odd = b"/caf\xe9".decode("utf-8", "surrogateescape")
    journal.emit(HttpRequest(conn_id="c", listener="l", path=odd, request_bytes=1 << 80, user_agent=b"\xff"))
    journal.close()
    (fields,) = lines(tmp_path / "a")
    assert fields["url.path"] == "/caf\\xe9"
    assert fields["http.request.body.size"] == str(1 << 80)
    assert fields["user_agent.original"] == "\\xff"


def test_an_ordinary_text_is_written_as_it_is(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"))
    journal.emit(notice("Grüße, 世界"))
    journal.close()
    assert lines(tmp_path / "a")[0]["message"] == "Grüße, 世界"


# ----------------------------------------------------------------------------------------------- destinations


def test_sinks_go_where_they_are_sent(tmp_path: Path) -> None:
    where = Log(handshakes=str(tmp_path / "h"), requests="off", lifecycle=str(tmp_path / "l"))
    journal = Journal(where)
    assert (journal.wants("handshakes"), journal.wants("requests")) == (True, False)
    journal.emit(TlsHandshake(conn_id="c", listener="l", established=True))
    journal.emit(HttpRequest(conn_id="c", listener="l"))
    journal.emit(notice())
    journal.close()
    assert [line["event"] for line in lines(tmp_path / "h")] == ["tls.handshake"]
    assert [line["event"] for line in lines(tmp_path / "l")] == ["server.notice"]


def test_one_path_for_two_sinks_is_opened_once(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"))
    assert len(journal.destinations()) == 1
    assert (tmp_path / "a").stat().st_mode & 0o777 & ~0o640 == 0
    journal.close()


def test_a_file_that_cannot_be_opened_is_a_start_error(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    with pytest.raises(StartError, match="No such file or directory"):
        Journal(Log(handshakes=str(tmp_path / "a"), lifecycle=str(tmp_path / "missing" / "b")))
    assert len(os.listdir("/proc/self/fd")) == before


def test_reopen_follows_a_rename(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"))
    journal.emit(notice("one"))
    journal.flush()
    (tmp_path / "a").rename(tmp_path / "a.1")
    journal.emit(notice("two"))
    journal.flush()
    journal.reopen()
    journal.emit(notice("three"))
    journal.close()
    assert [line["message"] for line in lines(tmp_path / "a.1")] == ["one", "two"]
    assert [line["message"] for line in lines(tmp_path / "a")] == ["three"]


def test_reopen_that_fails_keeps_the_old_file_and_says_so(tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir()
    journal = Journal(log(folder / "a"))
    folder.rename(tmp_path / "moved")
    journal.reopen()
    journal.emit(notice("still here"))
    journal.close()
    told, kept = lines(tmp_path / "moved" / "a")
    assert told["event"] == "server.log_unwritable"
    assert "old file is kept: No such file" in str(told["error.message"])
    assert kept["message"] == "still here"


def test_another_log_section_is_prepared_aside(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a"))
    journal.emit(notice("before"))
    with pytest.raises(StartError):
        journal.prepare(log(tmp_path / "missing" / "b"))
    journal.commit(journal.prepare(Log(handshakes="off", requests="off", lifecycle=str(tmp_path / "b"))))
    journal.emit(notice("after"))
    journal.close()
    assert [line["message"] for line in lines(tmp_path / "a")] == ["before"]
    assert [line["message"] for line in lines(tmp_path / "b")] == ["after"]


def test_scanner_failures_are_sampled_and_say_so(tmp_path: Path) -> None:
    journal = Journal(log(tmp_path / "a", failures=FailureLog(sample=0.25)))
    for kind in ("not_tls", "no_shared_cipher"):
        for _ in range(400):
            journal.emit(TlsHandshake(conn_id="c", listener="l", established=False, error_type=kind))
    journal.close()
    noise = [line for line in lines(tmp_path / "a") if line["error.type"] == "not_tls"]
    assert 50 < len(noise) < 150
    assert {line["log.sample"] for line in noise} == {0.25}
    assert sum(line["error.type"] == "no_shared_cipher" for line in lines(tmp_path / "a")) == 400


# ------------------------------------------------------------------------------------------------- bounds


def test_a_stopped_reader_costs_lines_and_never_time(stdio: Callable[[int, int], None]) -> None:
    """stdout is a pipe that nobody reads: emit goes on, drops are counted, and said once when the reader wakes."""
    read_end, write_end = os.pipe()
    stdio(write_end, 1)
    journal = Journal(log("stdout"))
    assert os.get_blocking(write_end)  # the shared description stays as it was
    for number in range(12000):
        journal.emit(notice(f"{number:05d}" + "x" * 100))
    assert journal.flush()
    assert journal.filenos()
    dropped = journal.dropped()["stdout"]
    assert dropped > 1000
    os.set_blocking(read_end, False)
    got = b""
    while journal.flush() or select.select([read_end], [], [], 0)[0]:
        while select.select([read_end], [], [], 0)[0]:
            got += os.read(read_end, 65536)
    told = [orjson.loads(line) for line in got.splitlines()]
    assert [line["message"][:5] for line in told[: 12000 - dropped]] == [f"{n:05d}" for n in range(12000 - dropped)]
    assert [line["log.dropped"] for line in told if line["event"] == LogDropped.event] == [dropped]
    journal.close()
    os.close(read_end)
    os.close(write_end)


def test_close_is_bounded_when_the_reader_stands_still(stdio: Callable[[int, int], None]) -> None:
    read_end, write_end = os.pipe()
    stdio(write_end, 1)
    journal = Journal(log("stdout"))
    for _ in range(2000):
        journal.emit(notice("x" * 100))
    assert journal.close(0.1) > 1000
    os.close(read_end)
    os.close(write_end)


def test_what_is_lost_at_the_close_is_said(stdio: Callable[[int, int], None], tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    stdio(write_end, 1)
    journal = Journal(Log(handshakes="off", requests="stdout", lifecycle=str(tmp_path / "life.log")))
    for _ in range(2000):
        journal.emit(HttpRequest(conn_id="c", listener="l"))
    lost = journal.close(0.1)
    [said] = lines(tmp_path / "life.log")
    assert (said["event"], said["log.destination"], said["log.dropped"]) == (LogDropped.event, "stdout", lost)
    assert lost > 1000
    os.close(read_end)
    os.close(write_end)


def test_a_reader_that_is_gone_is_counted(stdio: Callable[[int, int], None]) -> None:
    read_end, write_end = os.pipe()
    stdio(write_end, 1)
    journal = Journal(Log(handshakes="off", requests="stdout", lifecycle="off"))
    os.close(read_end)
    for _ in range(3):
        journal.emit(HttpRequest(conn_id="c", listener="l"))
    assert not journal.flush()
    journal.emit(HttpRequest(conn_id="c", listener="l"))
    assert journal.dropped() == {"stdout": 4}
    journal.close()
    os.close(write_end)


def test_what_a_reader_that_is_gone_misses_is_told_elsewhere_once_a_minute(
    stdio: Callable[[int, int], None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read_end, write_end = os.pipe()
    stdio(write_end, 1)
    life = tmp_path / "life.log"
    journal = Journal(Log(handshakes="off", requests="stdout", lifecycle=str(life)))
    journal.tell_losses()
    os.close(read_end)

    def lose(count: int) -> None:
        for _ in range(count):
            journal.emit(HttpRequest(conn_id="c", listener="l"))
        journal.flush()
        journal.tell_losses()
        journal.flush()

    def told() -> list[object]:
        return [line["log.dropped"] for line in lines(life) if line["event"] == LogDropped.event]

    lose(3)
    assert [line["event"] for line in lines(life)] == [LogUnwritable.event, LogDropped.event]
    assert told() == [3]
    lose(4)
    assert told() == [3], "a minute has not passed"
    monkeypatch.setattr(module, "_FAULT_SECONDS", 0.0)
    lose(5)
    assert told() == [3, 9]
    lose(0)
    assert told() == [3, 9], "nothing was lost since"
    journal.close()
    os.close(write_end)


def test_a_lifecycle_log_whose_reader_is_gone_is_told_of_on_stderr(stdio: Callable[[int, int], None]) -> None:
    read_end, write_end = os.pipe()
    said, stderr = os.pipe()
    stdio(write_end, 1)
    stdio(stderr, 2)
    journal = Journal(log("stdout"))
    os.close(read_end)
    for _ in range(3):
        journal.emit(notice())
        journal.flush()
    journal.tell_losses()
    told = [orjson.loads(line) for line in os.read(said, 65536).splitlines()]
    assert [line["event"] for line in told] == [LogUnwritable.event, LogDropped.event]
    assert told[1]["log.dropped"] == 3
    journal.close()
    for fd in (write_end, said, stderr):
        os.close(fd)


def test_a_closed_stdout_is_counted() -> None:
    def work() -> None:
        os.close(1)
        journal = Journal(log("stdout"))
        journal.emit(notice())
        assert not journal.flush()
        assert journal.dropped() == {"stdout": 1}
        journal.close()

    assert succeeded(fork(work))


def test_a_full_disk_is_said_on_stderr_once(stdio: Callable[[int, int], None]) -> None:
    read_end, write_end = os.pipe()
    stdio(write_end, 2)
    journal = Journal(log("/dev/full"))
    for _ in range(3):
        journal.emit(notice())
        assert journal.flush()
    assert journal.close(0.1) == 3
    said = os.read(read_end, 65536).splitlines()
    assert len(said) == 1
    assert orjson.loads(said[0])["error.message"] == "No space left on device"
    os.close(read_end)
    os.close(write_end)


def test_a_line_cut_by_a_full_disk_is_ended_and_repeated(tmp_path: Path) -> None:
    """RLIMIT_FSIZE cuts a write as a full disk does: the stump ends in a line of its own, the event comes whole."""
    path = tmp_path / "a"

    def work() -> None:
        import resource

        journal = Journal(log(path))
        resource.setrlimit(resource.RLIMIT_FSIZE, (250, resource.RLIM_INFINITY))
        for number in range(4):
            journal.emit(notice(f"line {number}"))
        assert journal.flush()
        journal.emit(notice("line 4"))
        assert journal.flush()
        resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
        assert not journal.flush() or not journal.flush()
        assert journal.close() == 0

    assert signal.getsignal(signal.SIGXFSZ) == signal.SIG_IGN
    assert succeeded(fork(work))
    whole, stumps = [], []
    for line in path.read_bytes().splitlines():
        try:
            whole.append(orjson.loads(line))
        except orjson.JSONDecodeError:
            stumps.append(line)
    messages = [line["message"] for line in whole if line["event"] == "server.notice"]
    assert messages == [f"line {number}" for number in range(5)]
    assert len(stumps) == 1


def test_a_line_too_long_for_a_pipe_is_cut_in_its_values(stdio: Callable[[int, int], None]) -> None:
    read_end, write_end = os.pipe()
    stdio(write_end, 1)
    journal = Journal(log("stdout"))
    journal.emit(
        HttpRequest(conn_id="c9", listener="https", method="GET", path="/" + "é\x01" * 9000, user_agent="curl")
    )
    journal.emit(ConfigReload(outcome="refused", errors=[f"fault {n} " + "y" * 80 for n in range(300)]))
    journal.flush()
    first, second = os.read(read_end, 65536).splitlines(keepends=True)
    assert max(len(first), len(second)) <= select.PIPE_BUF
    request, reload = orjson.loads(first), orjson.loads(second)
    assert request["log.truncated"] is True
    assert request["conn.id"] == "c9"
    assert request["user_agent.original"] == "curl"
    assert request["url.path"].endswith("…")
    assert reload["reload.errors"][0].startswith("fault 0")
    journal.close()
    os.close(read_end)
    os.close(write_end)


# ------------------------------------------------------------------------------------------ several processes


def _tell(journal: Journal, who: int, count: int) -> None:
    for number in range(count):
        journal.emit(notice(f"{who}:{number}:" + "z" * (number * 7 % 900)))
        if number % 50 == 0:
            while journal.flush():
                select.select([], journal.filenos(), [], 5)
    assert journal.close(20) == 0


def _all_there(told: list[dict[str, object]], count: int) -> bool:
    seen = [str(line["message"]).split(":")[:2] for line in told]
    return all([int(n) for who, n in seen if who == str(me)] == list(range(count)) for me in (0, 1))


def test_two_processes_share_a_file_without_tearing(tmp_path: Path) -> None:
    parent = Journal(log(tmp_path / "a"))
    children = [
        fork(lambda who=who: _tell(parent.in_child(worker=who, generation=lambda: 1), who, 20_000)) for who in (0, 1)
    ]
    assert [succeeded(child) for child in children] == [True, True]
    parent.close()
    assert _all_there(lines(tmp_path / "a"), 20_000)


@pytest.mark.parametrize("inherit", [True, False], ids=["one description", "opened anew"])
def test_two_processes_share_a_pipe_without_tearing(stdio: Callable[[int, int], None], inherit: bool) -> None:
    read_end, write_end = os.pipe()
    stdio(write_end, 1)
    parent = Journal(log("stdout"))

    def work(who: int) -> None:
        os.close(read_end)
        journal = parent.in_child(worker=who, generation=lambda: 1) if inherit else Journal(log("stdout"), worker=who)
        _tell(journal, who, 20_000)

    children = [fork(lambda who=who: work(who)) for who in (0, 1)]
    parent.close()
    os.close(write_end)
    os.dup2(2, 1)
    got = bytearray()
    while data := os.read(read_end, 1 << 20):
        got += data
    assert [succeeded(child) for child in children] == [True, True]
    assert _all_there([orjson.loads(line) for line in bytes(got).splitlines()], 20_000)
    os.close(read_end)


def test_a_child_does_not_write_what_its_parent_buffered(tmp_path: Path) -> None:
    parent = Journal(log(tmp_path / "a"))
    parent.emit(notice("parent"))

    def work() -> None:
        child = parent.in_child(worker=1, generation=lambda: 1)
        child.emit(notice("child"))
        child.close()

    assert succeeded(fork(work))
    parent.close()
    assert [line["message"] for line in lines(tmp_path / "a")] == ["child", "parent"]
