"""`terminator report`: what the logs say about handshakes and requests."""

from __future__ import annotations

import argparse
import io
import json
import os
import sys
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson

from terminator.config.load import load
from terminator.config.model import TlsPolicy
from terminator.errors import ConfigError, StartError
from terminator.report import summary as answers
from terminator.report.compare import compare
from terminator.report.forms import shown
from terminator.report.preview import parse_policy, preview
from terminator.report.sources import STDIN, Reader, total_bytes
from terminator.report.tally import Tally
from terminator.report.text import comparison_text, report_text
from terminator.report.window import Window, parse_window
from terminator.telemetry.line import escaped_controls

HELP = """What the logs say: where handshakes spend their time, which clients fail and why, requests by route, backends.
Reads JSON logs, plain or packed (gzip, xz, zstd), `-` for standard input, and exports of the journal (journalctl -u
terminator -o json). Exit codes: 0 well, 1 a log cannot be read, 2 usage."""

PROGRESS_SECONDS = 0.2
MAX_ROWS = 1_000_000
PAGE_START = b"<!doctype html>"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("logs", nargs="*", metavar="LOG", help="log files, in any order; `-` is standard input")
    parser.add_argument(
        "--window",
        metavar="FROM..TO",
        help="only this span: 2026-11-21T09:00..10:00, 2026-11-20.., now-1h.. (UTC unless an offset is written)",
    )
    parser.add_argument(
        "--compare",
        nargs=2,
        metavar=("A", "B"),
        help="two logs, or two windows of LOG: what differs, and what is noise",
    )
    parser.add_argument(
        "--preview",
        action="append",
        metavar="CHANGE",
        help='who would be turned away by another policy: "profile=modern", "min_version=1.3", "groups=X25519", '
        '"ciphers=ECDHE-RSA-AES128-GCM-SHA256"; may be given several times',
    )
    parser.add_argument(
        "--config", "-c", metavar="FILE", help="with --preview: change each host's policy as configured here"
    )
    parser.add_argument(
        "--by",
        default=",".join(answers.DIMENSIONS),
        metavar="WHAT",
        help="what tells handshakes apart (default: %(default)s)",
    )
    parser.add_argument("--top", type=_positive, default=10, metavar="N", help="rows of each table (default: 10)")
    parser.add_argument("--html", metavar="FILE", help="also write a page with plots, in one file")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object on stdout")


def run(args: argparse.Namespace) -> int:
    now = datetime.now(UTC)
    by = _dimensions(args.by)
    whole = _window(args.window, now) if args.window else Window("")
    value: dict[str, Any]
    if args.html:
        _only_over_pages(args.html)
    if [*args.logs, *(args.compare or ())].count(STDIN) > 1:
        raise ConfigError(["`-`: standard input can be read once"])
    if args.compare:
        if args.preview:
            raise ConfigError(["--compare and --preview answer different questions; ask one at a time"])
        first, second = _sides(args, whole, now)
        names = (first.name, second.name)
        one, other = _tallied(args.logs, first, second)
        value = answers.comparison_summary(names, compare(one.tally, other.tally))
        value["reports"] = [side.answers(args.top, by) for side in (one, other)]
        lines = comparison_text(value)
    else:
        if not args.logs:
            raise ConfigError(["which LOG? `-` reads standard input"])
        policies = _policies(args)
        side = _Side(", ".join(args.logs), args.logs, whole, Tally(offers=policies is not None))
        side.read()
        value = side.answers(args.top, by)
        if policies is not None:
            value["preview"] = _previewed(side.tally, policies, args)
        lines = report_text(value)
    if args.html:
        from terminator.report.page import page

        try:
            Path(args.html).write_text(page(value), encoding="utf-8")
        except OSError as error:
            raise StartError(f"{args.html}: {error.strerror}") from error
    if args.format == "json":
        sys.stdout.buffer.write(_json(value))
    else:
        _print(lines)
    return 0


# ------------------------------------------------------------------------------------------------------- reading


@dataclass(slots=True)
class _Side:
    """One body of lines: files, and the window of them that counts."""

    name: str
    logs: list[str]
    window: Window
    tally: Tally
    lines: int = 0
    unreadable: int = 0

    def read(self) -> None:
        _read(self.logs, [self])

    def answers(self, top: int, by: Iterable[str]) -> dict[str, Any]:
        source = {"files": self.logs, "window": self.window.text, "lines": self.lines, "unreadable": self.unreadable}
        return {"source": source, **answers.summary(self.tally, top=top, by=by)}


def _read(logs: list[str], sides: list[_Side]) -> None:
    """One pass over the logs; each event goes to the sides whose window holds it."""
    progress = _Progress(total_bytes(logs))
    try:
        _read_with(progress, logs, sides)
    finally:
        progress.end()


def _read_with(progress: _Progress, logs: list[str], sides: list[_Side]) -> None:
    for log in logs:
        reader = Reader(log, progress.file(log))
        if len(sides) == 1 and not sides[0].window.text:
            add = sides[0].tally.add
            for event in reader:
                add(event)
        else:
            for event in reader:
                moment = str(event.get("time", ""))
                for side in sides:
                    if side.window.holds(moment):
                        side.tally.add(event)
        for side in sides:
            side.lines += reader.lines
            side.unreadable += reader.unreadable


def _sides(args: argparse.Namespace, whole: Window, now: datetime) -> tuple[_Side, _Side]:
    sides = []
    for text in args.compare:
        if text == STDIN or ".." not in text or "/" in text or os.path.exists(text):
            sides.append(_Side(text, [text], whole, Tally()))
        elif args.window:
            raise ConfigError(["--window bounds files; with windows to --compare it has no meaning"])
        else:
            sides.append(_Side(text, args.logs, _window(text, now), Tally()))
    windows = [bool(side.logs == args.logs) for side in sides]
    if any(windows) and not args.logs:
        raise ConfigError(["--compare of two windows: of which LOG?"])
    if args.logs and not any(windows):
        raise ConfigError(["--compare of two files takes no other LOG"])
    return sides[0], sides[1]


def _tallied(logs: list[str], one: _Side, other: _Side) -> tuple[_Side, _Side]:
    if one.logs is logs and other.logs is logs:
        _read(logs, [one, other])
    else:
        one.read()
        other.read()
    return one, other


class _Progress:
    """A bar on stderr while it takes long; nothing where stderr is no terminal."""

    def __init__(self, total: int | None) -> None:
        self._total = total
        self._shown = sys.stderr.isatty()
        self._begun = self._said = time.monotonic()
        self._before = 0
        self._here = 0

    def file(self, log: str) -> Any:
        self._before += self._here
        self._here = 0
        return self._note if self._shown else None

    def _note(self, here: int) -> None:
        self._here = here
        now = time.monotonic()
        if now - self._said < PROGRESS_SECONDS:
            return
        self._said = now
        done = self._before + here
        if self._total:
            share = min(1.0, done / self._total)
            left = (now - self._begun) * (1 - share) / share if share else 0.0
            text = f"{'█' * round(share * 30):░<30} {share:4.0%}, {left:.0f} s to go"
        else:
            text = f"{done / 1e6:.0f} MB"
        sys.stderr.write(f"\r\x1b[K{text}")
        sys.stderr.flush()

    def end(self) -> None:
        if self._shown and self._said != self._begun:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()


# ------------------------------------------------------------------------------------------------------ arguments


def _policies(args: argparse.Namespace) -> dict[str, TlsPolicy] | None:
    """By host; `*` where no configuration tells the hosts apart."""
    if not args.preview:
        if args.config:
            raise ConfigError(["--config belongs to --preview"])
        return None
    if not args.config:
        return {"*": parse_policy(args.preview)}
    config = load(args.config).config
    return {host.names[0]: parse_policy(args.preview, config.policy(host)) for host in config.hosts}


def _previewed(tally: Tally, policies: dict[str, TlsPolicy], args: argparse.Namespace) -> dict[str, Any]:
    from terminator.tls import proofs

    found = answers.preview_summary(" ".join(args.preview), preview(tally, policies, proofs.prove()), args.top)
    software = {ja4: client.software.most_common(1) for ja4, client in tally.clients.items()}
    for row in found["by_client"]:
        names = software.get(row["ja4"])
        row["software"] = names[0][0] if names else None
    return found


def _window(text: str, now: datetime) -> Window:
    try:
        return parse_window(text, now)
    except ValueError as error:
        raise ConfigError([str(error)]) from error


def _dimensions(text: str) -> list[str]:
    names = [name for name in text.split(",") if name]
    if not names or not set(names) <= set(answers.DIMENSIONS):
        raise ConfigError([f"--by {text}: take some of {','.join(answers.DIMENSIONS)}"])
    return names


def _positive(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text[:10]) <= MAX_ROWS:
        raise argparse.ArgumentTypeError(f"{text}: a number from 1 to {MAX_ROWS:,}")
    return int(text)


# -------------------------------------------------------------------------------------------------------- writing


def _only_over_pages(path: str) -> None:
    """`--html *.log` would put the page in the place of the first log."""
    try:
        with open(path, "rb") as file:
            start = file.read(len(PAGE_START)) if os.path.isfile(path) else b""
    except FileNotFoundError:
        return  # written when it comes to it, and then it is said if that is impossible
    except OSError as error:
        raise StartError(f"{path}: {error.strerror}") from error
    if start and start != PAGE_START:
        raise ConfigError([f"--html {path}: it exists and is no HTML page; name another file"])


def _json(value: dict[str, Any]) -> bytes:
    options = orjson.OPT_INDENT_2 | orjson.OPT_NON_STR_KEYS | orjson.OPT_APPEND_NEWLINE
    try:
        return escaped_controls(orjson.dumps(value, option=options))
    except TypeError:  # a file's name that is no UTF-8
        return json.dumps(value, indent=2).encode() + b"\n"


def _print(lines: Iterator[str]) -> None:
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")  # bars and blocks, where the locale is not of UTF-8
    for line in lines:
        print(shown(line))
