"""`terminator reload`: make the daemon read its configuration and certificates anew, and wait for the outcome."""

from __future__ import annotations

import argparse
import json
import sys
from typing import Any

from terminator.cli.status import add_daemon_arguments, ask_daemon

HELP = """Make the running daemon read its configuration and certificates anew, and wait for the outcome. Exit codes:
0 done or nothing to do, 1 refused or failed (the old state serves on, the reasons are on stderr), 3 daemon not
reachable."""

DONE, NOT_DONE = 0, 1


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_daemon_arguments(parser)
    parser.add_argument("--dry-run", action="store_true", help="only show what would change against what is running")
    parser.add_argument(
        "--accept-worse", action="store_true", help="take certificates that are expired, weaker, older or lost a name"
    )


def run(args: argparse.Namespace) -> int:
    target = f"/reload?dry_run={int(args.dry_run)}&accept_worse={int(args.accept_worse)}"
    outcome = ask_daemon(args, "POST", target, good=(200, 409, 500))
    if args.format == "json":
        print(json.dumps(outcome, indent=2))
    else:
        _tell(outcome)
    return DONE if outcome["outcome"] in ("ok", "unchanged") else NOT_DONE


def _tell(outcome: dict[str, Any]) -> None:
    for text in outcome["warnings"]:
        print(f"warning: {text}", file=sys.stderr)
    for text in outcome["errors"]:
        print(f"error: {text}", file=sys.stderr)
    for change in outcome["changes"]:
        print(change["text"])
    for text in outcome["needs_restart"]:
        print(f"needs a restart: {text}")
    print(_verdict(outcome), file=sys.stdout if not outcome["errors"] else sys.stderr)


def _verdict(outcome: dict[str, Any]) -> str:
    changes = len(outcome["changes"])
    what = f"{changes} change" if changes == 1 else f"{changes} changes"
    generation, seconds = outcome["generation"], outcome["duration_ms"] / 1000
    match outcome["outcome"], outcome["dry_run"]:
        case "ok", True:
            return f"dry run: a reload would make {what} to generation {generation}"
        case "unchanged", True:
            return f"dry run: a reload would change nothing in generation {generation}"
        case verdict, True:
            return f"dry run: a reload would be {verdict}; generation {generation} serves on"
        case "ok", _:
            return f"reloaded: {what}, generation {generation} is in force ({seconds:.2f} s)"
        case "unchanged", _:
            return f"nothing has changed; generation {generation} serves on"
        case verdict, _:
            return f"reload {verdict}: generation {generation} serves on"
