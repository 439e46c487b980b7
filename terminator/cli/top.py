"""`terminator top`: the running daemon, live."""

from __future__ import annotations

import argparse
import json
import os
import select
import signal
import socket
import sys
import termios
import time
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from terminator.cli.status import add_daemon_arguments
from terminator.errors import TerminatorError
from terminator.report.forms import bar, percent, shown, sparkline, table
from terminator.service.admin_client import NotReachable, ask, socket_of
from terminator.telemetry.board import Distribution
from terminator.telemetry.series import PHASES
from terminator.telemetry.totals import Totals

HELP = """The running daemon, live: rates, handshake latency by phase, failures, backends, workers. `q` ends it.
Without a terminal it shows one picture and ends. Exit codes: 0 well, 3 daemon not reachable."""

ANSWER_SECONDS = 5.0
HISTORY = 60

_ENTER = "\x1b[?1049h\x1b[?25l\x1b[H\x1b[2J"
"""Alternate screen, cursor off."""
_LEAVE = "\x1b[?25h\x1b[?1049l"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_daemon_arguments(parser)
    parser.add_argument("--interval", type=_interval, default=1.0, metavar="SECONDS", help="default: 1")


def run(args: argparse.Namespace) -> int:
    path = args.socket or socket_of(args.config)
    if args.format == "json":
        totals, status = _answers(path)
        print(json.dumps({"totals": totals.as_json(), "status": status}, indent=2))
        return 0
    view = View()
    view.take(*_answers(path), time.monotonic())
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        time.sleep(args.interval)
        view.take(*_answers(path), time.monotonic())
        print("\n".join(view.picture(100, 1000)))
        return 0
    with _Screen() as screen:
        while screen.wait(view, args.interval):
            try:
                view.take(*_answers(path), time.monotonic())
            except NotReachable as error:
                view.lost = str(error)  # a restart is worth watching: the view stays and says so
    return 0


def _answers(path: str) -> tuple[Totals, dict[str, Any]]:
    status, sums = ask("GET", "/totals", path, ANSWER_SECONDS)
    if status != 200:
        raise NotReachable(f"{path}: the daemon answered {status}: {sums}")
    _, told = ask("GET", "/status", path, ANSWER_SECONDS)
    try:
        return Totals.from_json(sums), told
    except (TypeError, KeyError) as error:
        raise TerminatorError(f"{path}: the daemon is of another version than this command ({error})") from error


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.1 <= seconds <= 3600:
        raise argparse.ArgumentTypeError(f"{text}: a number of seconds from 0.1 to 3600")
    return seconds


# -------------------------------------------------------------------------------------------------------- the view


@dataclass(slots=True)
class _Moment:
    handshakes: float
    p50_ms: float | None
    requests: float


class View:
    """What is shown, as a function of the answers taken so far. No terminal in it."""

    def __init__(self) -> None:
        self.lost: str | None = None
        """Why the last question had no answer."""
        self._totals: Totals | None = None
        self._added: Totals | None = None
        self._seconds = 1.0
        self._started: object = None
        self._status: dict[str, Any] = {}
        self._moments: list[_Moment] = []

    def take(self, totals: Totals, status: dict[str, Any], now: float) -> None:
        """The answers of one round. Rates are by the daemon's own clock; a daemon that was restarted counts anew."""
        before, self._totals, self._status, self.lost = self._totals, totals, status, None
        started = status.get("started", self._started)
        restarted, self._started = started != self._started, started
        if before is None or restarted or totals.at <= before.at:
            self._added = None
            return
        self._added, self._seconds = totals.since(before), totals.at - before.at
        self._moments = [
            *self._moments[-HISTORY + 1 :],
            _Moment(
                (self._added.established + self._added.failed) / self._seconds,
                _ms(self._added.phases.get("total"), 0.5),
                self._added.requests / self._seconds,
            ),
        ]

    def picture(self, width: int, height: int) -> list[str]:
        """At most `height` lines of at most `width` characters."""
        lines = [_cut(line, width) for line in self._lines()]
        if len(lines) > height:
            lines = [*lines[: max(0, height - 1)], _cut("… (a taller terminal shows more)", width)]
        return lines[:height]

    def _lines(self) -> Iterator[str]:
        yield from self._head()
        if self._totals is None:
            return
        added = self._added or self._totals.since(self._totals)
        yield from self._rates(added)
        yield ""
        yield from self._phases(added)
        yield from self._failures(added)
        yield from self._backends(added)
        yield ""
        yield from self._workers()

    def _head(self) -> Iterator[str]:
        status = self._status
        if self.lost is not None:
            yield f"NO ANSWER: {self.lost}"
        if "version" not in status:
            yield f"the master does not answer: {status.get('error', '')}"
            return
        last = status["reloads"]["last"]
        reload = f", last reload {last['outcome']}" if last else ""
        soonest = min((each["days_left"] for each in status["certificates"]), default=None)
        expiry = f", first certificate expires in {soonest:.1f} days" if soonest is not None else ""
        yield f"terminator {status['version']} {status['state']}, generation {status['generation']}{reload}{expiry}"

    def _rates(self, added: Totals) -> Iterator[str]:
        assert self._totals is not None
        made = added.established + added.failed
        states = ", ".join(f"{count:,.0f} {state}" for state, count in self._totals.connections.items())
        yield f"connections {sum(self._totals.connections.values()):,.0f}: {states or '-'}"
        lost, now = self._totals.dropped_lines, added.dropped_lines
        dropped = f"   LOG LINES LOST {lost:,.0f}" + (f", {now:,.0f} of them now" if now else "") if lost else ""
        yield ""
        yield (
            f"handshakes {_rate(made / self._seconds):>8}/s  failed {_share(added.failed, made):>7}  "
            f"resumed {_share(added.resumed, added.established):>7}{dropped}"
        )
        yield f"           {sparkline([moment.handshakes for moment in self._moments])}"
        statuses = "  ".join(
            f"{name} {_share(count, added.requests)}" for name, count in sorted(added.statuses.items())
        )
        yield f"requests   {_rate(added.requests / self._seconds):>8}/s  {statuses}"
        yield f"           {sparkline([moment.requests for moment in self._moments])}"

    def _phases(self, added: Totals) -> Iterator[str]:
        whole = added.phases.get("total")
        rows = []
        for phase in PHASES:
            found = added.phases.get(phase)
            share = found.sum / whole.sum if found is not None and whole is not None and whole.sum else None
            figures = [_figure(_ms(found, each)) for each in (0.5, 0.95, 0.99)]
            rows.append((phase, *figures, "" if phase == "total" else bar(share, 20)))
        yield from table(("PHASE", "P50 MS", "P95", "P99", "SHARE OF TIME"), rows, right=(1, 2, 3))
        yield f"p50 total  {sparkline([moment.p50_ms for moment in self._moments])}"

    def _failures(self, added: Totals) -> Iterator[str]:
        assert self._totals is not None
        rows = [
            (kind, _rate(added.failures.get(kind, 0.0) / self._seconds), f"{count:,.0f}")
            for kind, count in sorted(
                self._totals.failures.items(), key=lambda item: (-added.failures.get(item[0], 0.0), -item[1])
            )
        ]
        if rows:
            yield ""
            yield from table(("FAILURES", "PER SECOND", "SINCE START"), rows[:8])

    def _backends(self, added: Totals) -> Iterator[str]:
        servers: dict[tuple[str, str], list[dict[str, Any]]] = {}
        for row in self._status.get("backends", []):
            servers.setdefault((row["backend"], row["server"]), []).append(row)
        rows = []
        for (backend, server), views in servers.items():
            sent = added.servers.get(f"{backend} {server}", 0.0)
            errors = added.server_errors.get(f"{backend} {server}", 0.0)
            spread = added.backend_seconds.get(backend)
            rows.append(
                (
                    backend,
                    server,
                    "/".join(sorted({str(view["state"]) for view in views})),
                    f"{sum(view['in_flight'] for view in views)}",
                    _rate(sent / self._seconds),
                    _share(errors, sent),
                    _figure(_ms(spread, 0.5)),
                    _figure(_ms(spread, 0.99)),
                )
            )
        if rows:
            yield ""
            head = ("BACKEND", "SERVER", "STATE", "IN FLIGHT", "REQUESTS/S", "FAILED", "P50 MS", "P99")
            yield from table(head, rows[:20], left=3)

    def _workers(self) -> Iterator[str]:
        rows = [
            (
                str(each["worker"]),
                each["state"],
                str(each["pid"] or "-"),
                f"{each['connections']:,}",
                ", ".join(f"{count} of {number}" for number, count in each["connections_by_generation"].items()) or "-",
            )
            for each in self._status.get("workers", [])
        ]
        yield from table(("WORKER", "STATE", "PROCESS", "CONNECTIONS", "BY GENERATION"), rows, right=(2, 3))


def _cut(line: str, width: int) -> str:
    line = shown(line)
    return line if len(line) <= width else line[: max(0, width - 1)] + "…"


def _ms(distribution: Distribution | None, share: float) -> float | None:
    found = distribution.quantile(share) if distribution is not None else None
    return None if found is None else found * 1000


def _figure(value: float | None) -> str:
    """Two digits: it is interpolated within a bucket of a histogram."""
    return "-" if value is None else f"{value:.2g}" if value < 99.5 else f"{value:,.0f}"


def _share(part: float, whole: float) -> str:
    return percent(part / whole if whole else None)


def _rate(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


# ------------------------------------------------------------------------------------------------------ the terminal


class _Screen:
    """The terminal while it is ours; given back as it was on every way out, signals included."""

    def __enter__(self) -> _Screen:
        self._in, self._out = sys.stdin.fileno(), sys.stdout.fileno()
        self._saved = termios.tcgetattr(self._in)
        self._woken, self._waker = socket.socketpair()
        self._waker.setblocking(False)
        self._ended_by: int | None = None
        self._old_wakeup = signal.set_wakeup_fd(self._waker.fileno(), warn_on_full_buffer=False)
        self._old = {number: signal.signal(number, self._on_signal) for number in _SIGNALS}
        tty.setcbreak(self._in)
        self._write(_ENTER)
        return self

    def __exit__(self, *error: object) -> None:
        self._give_back()
        for number, handler in self._old.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(self._old_wakeup)
        self._woken.close()
        self._waker.close()
        if self._ended_by is not None:
            os.kill(os.getpid(), self._ended_by)  # now with the handler of before: the shell sees how it ended

    def wait(self, view: View, seconds: float) -> bool:
        """Shows the view, anew whenever the size changes; False when it is time to end."""
        until = time.monotonic() + seconds
        self._show(view)
        while (left := until - time.monotonic()) > 0:
            ready, _, _ = select.select([self._in, self._woken], [], [], left)
            if self._woken in ready:
                self._woken.recv(4096)
                if self._ended_by is not None:
                    return False
                if self._resume():
                    self._write(_ENTER)
                self._show(view)
            if self._in in ready:
                keys = os.read(self._in, 1024)
                if not keys or b"q" in keys or b"Q" in keys or b"\x04" in keys:
                    return False
        return True

    def _show(self, view: View) -> None:
        size = os.get_terminal_size(self._out)  # 0 on a serial line, or a pseudo-terminal that nobody gave a size
        lines = view.picture(size.columns or 80, size.lines or 24)
        # Each line clears what is left of the one before it; no flicker, and nothing scrolls.
        self._write("\x1b[H" + "\r\n".join(f"{line}\x1b[K" for line in lines) + "\x1b[J")

    def _on_signal(self, number: int, _: object) -> None:
        if number == signal.SIGTSTP:
            self._give_back()
            signal.signal(signal.SIGTSTP, signal.SIG_DFL)
            os.kill(os.getpid(), signal.SIGTSTP)
        elif number not in (signal.SIGWINCH, signal.SIGCONT):
            self._ended_by = number

    def _resume(self) -> bool:
        """Whether we were stopped (Ctrl-Z) and now take the terminal again."""
        if signal.getsignal(signal.SIGTSTP) is not signal.SIG_DFL:
            return False
        signal.signal(signal.SIGTSTP, self._on_signal)
        tty.setcbreak(self._in)
        return True

    def _give_back(self) -> None:
        with _without_output_errors():
            self._write(_LEAVE)
        with _without_output_errors():
            termios.tcsetattr(self._in, termios.TCSADRAIN, self._saved)

    def _write(self, text: str) -> None:
        data = memoryview(text.encode())
        while data:
            data = data[os.write(self._out, data) :]


_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGWINCH, signal.SIGTSTP, signal.SIGCONT)


@contextmanager
def _without_output_errors() -> Iterator[None]:
    """A terminal that is gone cannot be given back."""
    try:
        yield
    except (OSError, termios.error):
        return
