"""`terminator backend`: takes a server out for maintenance and brings it back."""

from __future__ import annotations

import argparse
import json
from urllib.parse import urlencode

from terminator.cli.status import add_daemon_arguments, ask_daemon

HELP = """Take one server of a backend out for maintenance, or bring it back. Requests under way finish in every case.
A command holds until `up` or a restart of the daemon, over reloads too; `terminator status` shows it. Exit codes: 0
done, 1 there is no such backend or server, 3 daemon not reachable."""

_EFFECTS = {
    "up": "gets requests again",
    "drain": "gets no new requests; those under way finish",
    "maintenance": "gets no new requests; those under way finish",
    "down": "is free to get requests again, but its health checks fail",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("backend", metavar="BACKEND", help="name of the backend, as in the configuration")
    parser.add_argument("server", metavar="SERVER", help="address of its server, as in the configuration")
    parser.add_argument(
        "command",
        choices=("drain", "down", "up"),
        help="drain and down: no new requests, told apart in status and logs; up: as the health checks say",
    )
    add_daemon_arguments(parser)


def run(args: argparse.Namespace) -> int:
    query = urlencode({"backend": args.backend, "server": args.server, "command": args.command})
    body = ask_daemon(args, "POST", f"/backend?{query}")
    if args.format == "json":
        print(json.dumps(body, indent=2))
    else:
        changed = f", was {body['previous']}" if body["previous"] != body["state"] else ""
        print(f"{body['backend']} {body['server']}: {body['state']}{changed}; it {_EFFECTS[body['state']]}")
    return 0
