"""The live view: what it shows, and that the terminal is given back as it was, however it ends."""

from __future__ import annotations

import contextlib
import fcntl
import http.server
import json
import os
import pty
import re
import select
import signal
import socketserver
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from terminator.cli import main
from terminator.cli.top import View
from terminator.telemetry.board import Distribution
from terminator.telemetry.totals import Totals

ENTER, LEAVE = b"\x1b[?1049h", b"\x1b[?1049l"
SPREAD = Distribution((0.001, 0.01, 0.1), (0.0, 90.0, 10.0, 0.0), 1.0)


def totals(at: float) -> Totals:
    """A daemon that makes ten handshakes a second."""
    return Totals(
        at=at,
        established=at * 9,
        failed=at,
        resumed=at * 3,
        failures={"timeout": at},
        phases={
            name: Distribution(SPREAD.bounds, tuple(n * at for n in SPREAD.counts), SPREAD.sum * at)
            for name in ("client", "total")
        },
        statuses={"2xx": at * 95, "5xx": at * 5},
        servers={"web 127.0.0.1:8000": at * 100},
        server_errors={"web 127.0.0.1:8000": at},
        connections={"idle": 3.0, "active": 2.0},
    )


def status(**changes: Any) -> dict[str, Any]:
    return {
        "version": "0.1.0",
        "state": "serving",
        "generation": 4,
        "reloads": {"last": {"outcome": "ok"}},
        "certificates": [{"days_left": 30.0}, {"days_left": 12.5}],
        "backends": [
            {"worker": 0, "backend": "web", "server": "127.0.0.1:8000", "state": "up", "in_flight": 2},
            {"worker": 1, "backend": "web", "server": "127.0.0.1:8000", "state": "down", "in_flight": 1},
        ],
        "workers": [
            {"worker": 0, "state": "serving", "pid": 77, "connections": 5, "connections_by_generation": {"4": 5}}
        ],
        **changes,
    }


# -------------------------------------------------------------------------------------------------------- the view


def test_rates_are_those_between_two_answers() -> None:
    view = View()
    view.take(totals(100.0), status(), 0.0)
    view.take(totals(102.0), status(), 2.0)
    text = "\n".join(view.picture(120, 60))
    for part in (
        "generation 4, last reload ok, first certificate expires in 12.5 days",
        "connections 5: 3 idle, 2 active",
        "10.0/s",
        "failed    10 %",
        "resumed  33.3 %",
        "100/s",
        "2xx 95 %",
        "down/up",
        "77",
    ):
        assert part in text, part
    assert re.search(r"timeout +1\.0 +102", text)
    assert re.search(r"client +6 +55 +91 ", text)


def test_before_the_second_answer_there_are_no_rates() -> None:
    view = View()
    view.take(totals(100.0), status(), 0.0)
    assert "0.0/s" in "\n".join(view.picture(120, 60))


def test_after_a_restart_of_the_daemon_nothing_is_negative() -> None:
    view = View()
    view.take(totals(100.0), status(), 0.0)
    view.take(totals(101.0), status(), 1.0)
    view.take(totals(3.0), status(), 2.0)
    view.take(totals(4.0), status(), 3.0)
    text = "\n".join(view.picture(120, 60))
    assert "10.0/s" in text
    assert "-" not in re.findall(r"handshakes +(\S+)", text)[0]


def test_a_restart_is_known_by_the_time_of_the_start_and_not_by_the_clock() -> None:
    """The clock goes on over a restart of the daemon, and the counters begin anew."""
    view = View()
    view.take(replace(totals(1000.0), at=100.0), status(started="a"), 0.0)
    view.take(replace(totals(1001.0), at=101.0), status(started="a"), 1.0)
    assert "10.0/s" in "\n".join(view.picture(120, 60))
    view.take(replace(totals(1.0), at=102.0), status(started="b"), 2.0)
    text = "\n".join(view.picture(120, 60))
    assert "handshakes      0.0/s" in text, "nothing can be said yet"
    view.take(replace(totals(2.0), at=103.0), {"error": "the master does not answer"}, 3.0)
    view.take(replace(totals(3.0), at=104.0), status(started="b"), 4.0)
    assert "10.0/s" in "\n".join(view.picture(120, 60))


def test_lost_log_lines_are_told_as_long_as_the_daemon_runs() -> None:
    view = View()
    view.take(replace(totals(1.0), dropped_lines=5.0), status(), 0.0)
    view.take(replace(totals(2.0), dropped_lines=7.0), status(), 1.0)
    assert "LOG LINES LOST 7, 2 of them now" in "\n".join(view.picture(120, 60))
    view.take(replace(totals(3.0), dropped_lines=7.0), status(), 2.0)
    text = "\n".join(view.picture(120, 60))
    assert "LOG LINES LOST 7" in text
    assert "of them now" not in text


@pytest.mark.parametrize("text", ["x", "", "0", "-1", "nan", "inf", "3601"])
def test_the_interval_is_a_number_of_seconds(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["top", "--interval", text])
    assert left.value.code == 2
    assert "a number of seconds from 0.1 to 3600" in capsys.readouterr().err


@pytest.mark.parametrize(("width", "height"), [(120, 60), (80, 24), (40, 10), (10, 3), (1, 1), (5, 0)])
def test_the_picture_keeps_to_the_terminal(width: int, height: int) -> None:
    view = View()
    view.take(totals(1.0), status(), 0.0)
    view.take(totals(2.0), status(), 1.0)
    lines = view.picture(width, height)
    assert len(lines) <= height
    assert all(len(line) <= width and line.isprintable() for line in lines)


def test_a_daemon_that_is_lost_or_whose_master_is_silent() -> None:
    view = View()
    view.take(totals(1.0), {"error": "the master does not answer"}, 0.0)
    assert "the master does not answer" in view.picture(80, 24)[0]
    view.lost = "gone"
    assert "NO ANSWER: gone" in view.picture(80, 24)[0]


# ------------------------------------------------------------------------------------------------ under a terminal


class Daemon(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    """An admin socket that answers as the daemon's would."""

    daemon_threads = True

    def __init__(self, path: str) -> None:
        self.begun = time.monotonic()
        super().__init__(path, Handler)


class Handler(http.server.BaseHTTPRequestHandler):
    server: Daemon

    def do_GET(self) -> None:
        at = time.monotonic() - self.server.begun + 100
        body = json.dumps(totals(at).as_json() if self.path == "/totals" else status()).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def address_string(self) -> str:
        return "unix"

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def socket_path() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as folder:
        path = f"{folder}/admin.sock"
        server = Daemon(path)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield path
        server.shutdown()
        thread.join()
        server.server_close()


SHELL = """
import os, signal, sys
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
child = os.fork()
if child == 0:
    os.setpgid(0, 0)
    signal.signal(signal.SIGTTOU, signal.SIG_DFL)
    os.execv(sys.executable, [sys.executable, *sys.argv[1:]])
os.setpgid(child, child)
os.tcsetpgrp(0, child)
while True:
    _, state = os.waitpid(child, os.WUNTRACED)
    if not os.WIFSTOPPED(state):
        sys.exit(os.waitstatus_to_exitcode(state))
    os.tcsetpgrp(0, os.getpgrp())
    os.write(1, b"<stopped>")
    os.read(0, 1)
    os.tcsetpgrp(0, child)
    os.killpg(child, signal.SIGCONT)
"""
"""As much of a shell's job control as Ctrl-Z needs: a stopped command is continued by a key."""


class Terminal:
    """`terminator top` under a pseudo-terminal; `shell` puts job control in between."""

    def __init__(self, path: str, *, shell: bool = False) -> None:
        self.ours, self.theirs = pty.openpty()
        self.resize(30, 100)
        self.before = termios.tcgetattr(self.theirs)
        self.output = b""
        command = ["-m", "terminator", "top", "--socket", path, "--interval", "0.1"]
        self.process = subprocess.Popen(
            [sys.executable, *(("-c", SHELL) if shell else ()), *command],
            stdin=self.theirs,
            stdout=self.theirs,
            stderr=self.theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )

    def resize(self, lines: int, columns: int) -> None:
        fcntl.ioctl(self.ours, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def expect(self, text: bytes, seconds: float = 30.0) -> bytes:
        """Reads until `text` has come; what came from then on is still to be read."""
        deadline = time.monotonic() + seconds
        while text not in self.output:
            ready, _, _ = select.select([self.ours], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.output[-3000:]!r}"
            try:
                piece = os.read(self.ours, 65536)
            except OSError:
                piece = b""
            assert piece, f"it ended without {text!r}: {self.output[-3000:]!r}"
            self.output += piece
        seen, _, self.output = self.output.partition(text)
        return seen

    def type(self, keys: bytes) -> None:
        os.write(self.ours, keys)

    def ended_well(self, code: int) -> None:
        self.expect(LEAVE)
        assert self.process.wait(20) == code
        assert termios.tcgetattr(self.theirs) == self.before, "the terminal is as it was"

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self.ours)
        os.close(self.theirs)


@pytest.fixture
def terminal(socket_path: str) -> Iterator[Terminal]:
    with contextlib.closing(Terminal(socket_path)) as made:
        made.expect(ENTER)
        made.expect(b"handshakes")
        yield made


def test_q_ends_it(terminal: Terminal) -> None:
    terminal.expect(b"10.0/s")
    terminal.type(b"xq")
    terminal.ended_well(0)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_end_it_and_the_shell_sees_by_which(terminal: Terminal, number: signal.Signals) -> None:
    os.kill(terminal.process.pid, number)
    terminal.ended_well(130 if number == signal.SIGINT else -number)


def test_control_c_ends_it(terminal: Terminal) -> None:
    terminal.type(b"\x03")
    terminal.ended_well(130)


def test_it_follows_the_size_of_the_terminal(terminal: Terminal) -> None:
    terminal.expect(b"WORKER")
    terminal.resize(8, 40)
    terminal.expect(b"(a taller terminal shows more")
    terminal.resize(50, 120)
    terminal.expect(b"BY GENERATION")
    terminal.type(b"q")
    terminal.ended_well(0)


def test_a_terminal_without_a_size_counts_as_one_of_80_by_24(terminal: Terminal) -> None:
    terminal.resize(0, 0)
    terminal.expect("… (a taller terminal shows more)".encode())
    picture = terminal.expect("… (a taller terminal shows more)".encode())
    assert picture.count(b"\r\n") == 23
    assert max(len(line) for line in re.sub(rb"\x1b\[\w", b"", picture).decode().splitlines()) <= 80
    terminal.type(b"q")
    terminal.ended_well(0)


def test_stopped_and_continued(socket_path: str) -> None:
    with contextlib.closing(Terminal(socket_path, shell=True)) as terminal:
        terminal.expect(ENTER)
        terminal.expect(b"handshakes")
        terminal.type(b"\x1a")
        terminal.expect(LEAVE)
        terminal.expect(b"<stopped>")
        assert termios.tcgetattr(terminal.theirs) == terminal.before
        terminal.type(b"\n")
        terminal.expect(ENTER)
        terminal.expect(b"handshakes")
        terminal.type(b"q")
        terminal.ended_well(0)


def test_a_daemon_that_goes_away_is_told_and_waited_for(terminal: Terminal, socket_path: str) -> None:
    os.rename(socket_path, socket_path + ".away")
    terminal.expect(b"NO ANSWER")
    os.rename(socket_path + ".away", socket_path)
    terminal.expect(b"\x1b[Hterminator 0.1.0 serving")
    terminal.type(b"q")
    terminal.ended_well(0)


def test_an_error_gives_the_terminal_back_too(terminal: Terminal) -> None:
    """A closed standard input is the end of the keys."""
    terminal.type(b"\x04")
    terminal.ended_well(0)


# ---------------------------------------------------------------------------------------------- without a terminal


def test_without_a_terminal_one_picture_is_shown(socket_path: str) -> None:
    command = [sys.executable, "-m", "terminator", "top", "--socket", socket_path, "--interval", "0.2"]
    done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=True)
    assert "handshakes" in done.stdout
    assert "\x1b" not in done.stdout
    assert done.stdout.count("terminator 0.1.0") == 1


def test_as_json(socket_path: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--socket", socket_path, "--format", "json"]) == 0
    value = json.loads(capsys.readouterr().out)
    assert Totals.from_json(value["totals"]).established > 0
    assert value["status"]["state"] == "serving"


def test_nobody_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["top", "--socket", str(tmp_path / "none")]) == 3
    assert "no such socket" in capsys.readouterr().err
