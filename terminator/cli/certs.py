"""`terminator certs`: the certificates that the daemon serves, beside those that lie on disk now."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from typing import Any

from terminator.cli.status import add_daemon_arguments, ask_daemon, table
from terminator.service.account import drifts

HELP = """The certificates that the running daemon serves, and whether they are still those on disk. Exit codes:
0 it answered, 3 daemon not reachable."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_daemon_arguments(parser)
    parser.add_argument("host", nargs="*", help="only hosts with one of these names")


def run(args: argparse.Namespace) -> int:
    body = ask_daemon(args, "GET", "/certs")
    if args.host:
        wanted = {name.lower() for name in args.host}
        body["hosts"] = [host for host in body["hosts"] if not wanted.isdisjoint(host["names"])]
        for name in sorted(wanted.difference(*(host["names"] for host in body["hosts"]))):
            print(f"warning: no host is named {name}", file=sys.stderr)
    if args.format == "json":
        print(json.dumps(body, indent=2))
        return 0
    print("\n".join(_text(body)))
    for text in drifts(body):
        print(f"warning: {text}", file=sys.stderr)
    for host in body["hosts"]:
        for certificate in host["certificates"]:
            for text in certificate["warnings"]:
                print(f"warning: host {host['host']}: {text}", file=sys.stderr)
    return 0


def _text(body: dict[str, Any]) -> Iterator[str]:
    rows = [
        (
            host["host"],
            ", ".join(certificate["names"][:4]) + (" …" if len(certificate["names"]) > 4 else ""),
            certificate["serial"],
            f"{certificate['key_type']} {certificate['key_bits']}",
            certificate["not_after"][:16].replace("T", " "),
            f"{certificate['days_left']:.1f}",
            {"same": "same", "differs": "DIFFERS", "unusable": "UNUSABLE"}[certificate["disk"]["state"]],
            certificate["issuer"],
            certificate["file"],
        )
        for host in body["hosts"]
        for certificate in host["certificates"]
    ]
    yield from table(("HOST", "NAMES", "SERIAL", "KEY", "EXPIRES (UTC)", "DAYS", "ON DISK", "ISSUER", "FILE"), rows)
