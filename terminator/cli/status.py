"""`terminator status`: what the running daemon is doing; and how commands reach the daemon."""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from terminator.config.load import DEFAULT_PATH
from terminator.errors import TerminatorError
from terminator.service.admin_client import ask, socket_of

HELP = "What the running daemon is doing. Exit codes: 0 it answered, 3 daemon not reachable."


def add_daemon_arguments(parser: argparse.ArgumentParser) -> None:
    """How every command that asks the daemon finds it."""
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--socket", metavar="PATH", help="the daemon's admin socket")
    where.add_argument(
        "--config", "-c", metavar="FILE", default=DEFAULT_PATH, help="or its configuration (default: %(default)s)"
    )
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object on stdout")


def ask_daemon(args: argparse.Namespace, method: str, target: str, good: tuple[int, ...] = (200,)) -> Any:
    """The daemon's answer. Raises NotReachable (exit code 3), or TerminatorError for an answer that is none."""
    status, body = ask(method, target, args.socket or socket_of(args.config))
    if status not in good:
        raise TerminatorError(f"the daemon answered {status}: {body.get('error', body)}")
    return body


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_daemon_arguments(parser)


def run(args: argparse.Namespace) -> int:
    body = ask_daemon(args, "GET", "/status")
    if args.format == "json":
        print(json.dumps(body, indent=2))
    else:
        print("\n".join(_text(body, datetime.now(UTC))))
    return 0


def _text(body: dict[str, Any], now: datetime) -> Iterator[str]:
    yield f"terminator {body['version']}, {body['state']} since {_ago(body['started'], now)}, process {body['pid']}"
    yield f"configuration {body['config']}, generation {body['generation']} since {_ago(body['generation_since'], now)}"
    yield f"connections {body['connections']}{_generations(body['connections_by_generation'], body['generation'])}"
    yield from _last_reload(body["reloads"], now)
    yield ""
    yield from table(
        ("LISTENER", "ADDRESS", "TLS"),
        [(each["name"], each["address"], "yes" if each["tls"] else "no") for each in body["listeners"]],
    )
    yield ""
    yield from table(
        ("WORKER", "PROCESS", "STATE", "SINCE", "CONNECTIONS"),
        [
            (
                each["worker"],
                each["pid"] or "-",
                each["state"],
                _ago(each["since"], now) if each["since"] else "-",
                f"{each['connections']}{_generations(each['connections_by_generation'], body['generation'])}",
            )
            for each in body["workers"]
        ],
    )
    yield ""
    yield from table(
        ("HOST", "CERTIFICATE", "KEY", "DAYS LEFT"),
        [(each["host"], each["serial"], each["key_type"], f"{each['days_left']:.1f}") for each in body["certificates"]],
    )
    if body["backends"]:
        yield ""
        columns = list(dict.fromkeys(key for row in body["backends"] for key in row))
        rows = [[_cell(row.get(column)) for column in columns] for row in body["backends"]]
        yield from table([column.upper().replace("_", " ") for column in columns], rows)
    for text in body["warnings"]:
        yield f"warning: {text}"
    for text in body["switched_off"]:
        yield f"switched off: {text}"


def _last_reload(reloads: dict[str, Any], now: datetime) -> Iterator[str]:
    last = reloads["last"]
    if last is None:
        yield "no reload since the start"
        return
    yield (
        f"last reload {last['outcome']} {_ago(last['at'], now)} ago by {last['trigger']}, "
        f"{reloads['good']} of {reloads['attempts']} were good"
    )
    for text in last["errors"]:
        yield from (f"  {line}" for line in text.splitlines())
    for text in last["needs_restart"]:
        yield f"  needs a restart: {text}"


def table(head: Sequence[object], rows: Sequence[Sequence[object]]) -> Iterator[str]:
    """Lines of a table whose columns are as wide as they must be."""
    texts = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()


def _generations(counts: dict[str, int], present: int) -> str:
    """How many are still of earlier generations."""
    earlier = {number: count for number, count in counts.items() if number != str(present)}
    if not earlier:
        return ""
    return " (" + ", ".join(f"{count} of generation {number}" for number, count in sorted(earlier.items())) + ")"


def _ago(moment: str, now: datetime) -> str:
    seconds = max(0.0, (now - datetime.fromisoformat(moment)).total_seconds())
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"


def _cell(value: object) -> str:
    if value is None:
        return "-"
    return f"{value:.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
