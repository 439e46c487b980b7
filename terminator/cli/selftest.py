"""`terminator selftest`: plays a stranger's attacks against the running daemon, with a verdict for each host."""

from __future__ import annotations

import argparse
import os
import ssl
import sys
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from itertools import groupby
from typing import Any

import orjson

from terminator.cli.status import add_daemon_arguments
from terminator.config.load import Loaded, load
from terminator.config.values import SystemdSocket, parse_bind_address
from terminator.errors import TerminatorError
from terminator.selftest.attacks import HostTrial
from terminator.selftest.border import DoorTrial
from terminator.selftest.caller import Caller
from terminator.selftest.target import Door, Realm, realm_of
from terminator.selftest.tickets import Tickets
from terminator.selftest.verdict import Verdict
from terminator.service.admin_client import NotReachable, ask, socket_of
from terminator.tls import proofs
from terminator.tls.memory import no_password

HELP = """Play a stranger's attacks against the running daemon and tell the verdict on each host: clients without a
certificate, sessions and names of other hosts, old protocols, foreign suites, renegotiation, garbage. No key is needed,
and no backend sees more than a HEAD of a path that nobody serves. Exit codes: 0 nothing came through, 1 something did,
2 usage or invalid configuration, 3 daemon not reachable."""

WELL, CAME_THROUGH, USAGE = 0, 1, 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_daemon_arguments(parser)
    parser.add_argument("host", nargs="*", help="only hosts with one of these names")
    parser.add_argument(
        "--listener", metavar="NAME", action="append", default=[], help="only this one; may be repeated"
    )
    parser.add_argument(
        "--connect", metavar="ADDRESS", help="attack host:port or unix:/path instead of the listeners' own addresses"
    )
    parser.add_argument(
        "--cert",
        metavar="FILE",
        help="a client certificate, to try more on hosts that require one: PEM, chain included",
    )
    parser.add_argument("--key", metavar="FILE", help="its key (default: the file of --cert)")
    parser.add_argument("--quiet", "-q", action="store_true", help="tell only what came through, and the sum")


def run(args: argparse.Namespace) -> int:
    loaded, addresses, notes = _find(args)
    realm = realm_of(loaded.config, addresses, proofs.prove())
    doors, hosts = _chosen(args, realm)
    if doors is None or hosts is None:
        return USAGE
    try:
        identity = _identity(args)
    except (OSError, ValueError) as error:
        print(f"terminator selftest: --cert: {error}", file=sys.stderr)
        return USAGE
    for note in notes:
        print(f"warning: {note}", file=sys.stderr)
    verdicts: list[Verdict] = []
    attacks = _attack(realm, doors, hosts, identity)
    for _, group in groupby(attacks, key=lambda verdict: (verdict.listener, verdict.host)):
        about = list(group)
        verdicts += about
        if args.format == "text":
            for line in _text(about, quiet=args.quiet):
                print(line, flush=True)
    counts = {outcome: sum(one.outcome == outcome for one in verdicts) for outcome in ("pass", "FAIL", "skipped")}
    if args.format == "json":
        body = {
            "passed": counts["pass"],
            "failed": counts["FAIL"],
            "skipped": counts["skipped"],
            "warnings": notes,
            "verdicts": [verdict.as_json() for verdict in verdicts],
        }
        sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
    else:
        print(f"{len(verdicts)} checks: {counts['pass']} passed, {counts['FAIL']} failed, {counts['skipped']} skipped")
    return CAME_THROUGH if counts["FAIL"] else WELL


def _attack(realm: Realm, doors: list[Door], hosts: set[str], identity: tuple[str, str] | None) -> Iterator[Verdict]:
    for door in doors:
        caller = Caller(door, realm.handshakes_per_second, identity=identity, groups=realm.groups)
        yield from DoorTrial(realm, caller).verdicts()
        tickets = Tickets(caller)
        for subject in realm.subjects:
            if subject.name in hosts:
                yield from HostTrial(realm, subject, caller, tickets).verdicts()


def _text(verdicts: list[Verdict], *, quiet: bool) -> Iterator[str]:
    """What became of one host, or of a listener without one. What was skipped for one reason stands in one line."""
    first = verdicts[0]
    failed = sum(verdict.outcome == "FAIL" for verdict in verdicts)
    where = f"listener {first.listener}" if first.host is None else f"host {first.host}, listener {first.listener}"
    if not quiet or failed:
        yield f"{where}: {f'{failed} FAILED' if failed else 'pass'}"
    for verdict in verdicts:
        if verdict.outcome == "FAIL" or (verdict.outcome == "pass" and not quiet):
            yield f"  {verdict.outcome:<7}  {verdict.check}: {verdict.detail}"
    skipped: dict[str, list[str]] = {}
    for verdict in verdicts:
        if verdict.outcome == "skipped" and not quiet:
            skipped.setdefault(verdict.detail, []).append(verdict.check)
    for reason, checks in skipped.items():
        yield f"  skipped  {', '.join(checks)}: {reason}"


# ------------------------------------------------------------------------------------------------------- finding


def _find(args: argparse.Namespace) -> tuple[Loaded, dict[str, str], list[str]]:
    """The configuration in force, where its listeners really listen, and what makes the two doubtful."""
    if args.connect is not None and args.socket is None:
        return load(args.config), {}, []  # whoever answers there; it may be another machine
    if args.socket is None:
        loaded = load(args.config)
        if loaded.config.admin.socket is None:
            return loaded, {}, ["the configuration has no admin.socket: what it says is taken for what is in force"]
    status, body = ask("GET", "/status", args.socket or socket_of(args.config))
    if status != 200:
        raise TerminatorError(f"the daemon answered {status}: {body.get('error', body)}")
    if args.socket is not None:
        loaded = load(body["config"])
    addresses = {listener["name"]: listener["address"] for listener in body["listeners"]}
    return loaded, addresses, list(_doubts(loaded, body, addresses))


def _doubts(loaded: Loaded, body: Mapping[str, Any], addresses: Mapping[str, str]) -> Iterator[str]:
    """What the daemon read may be something else than what was read here."""
    if body["state"] == "draining":
        raise NotReachable("the daemon is draining and takes no connections")
    last = body["reloads"]["last"]
    since = datetime.fromisoformat(body["generation_since"])
    if last is not None and last["outcome"] in ("ok", "unchanged"):
        since = max(since, datetime.fromisoformat(last["at"]))
    for file in loaded.files:
        try:
            changed = datetime.fromtimestamp(os.stat(file).st_mtime, UTC)
        except OSError:
            continue
        if changed > since:
            yield f"{file} has changed since the daemon read it: reload, or the verdicts are about another policy"
    for listener in loaded.config.listeners:
        if listener.tls and listener.name not in addresses:
            yield f"listener {listener.name} is not open in the daemon; restart it, or reload"


def _identity(args: argparse.Namespace) -> tuple[str, str] | None:
    """The files of the client certificate that was given, proved to load. Raises OSError or ValueError."""
    if args.cert is None:
        if args.key is not None:
            raise ValueError("--key needs it")
        return None
    identity = (args.cert, args.key or args.cert)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(*identity, password=no_password)
    return identity


def _chosen(args: argparse.Namespace, realm: Realm) -> tuple[list[Door] | None, set[str] | None]:
    """The doors and the names of the hosts that were asked for; None, told on stderr, for what does not exist."""
    doors = [door for door in realm.doors if not args.listener or door.name in args.listener]
    if args.connect is not None:
        try:
            address = parse_bind_address(args.connect)
        except ValueError as error:
            print(f"terminator selftest: --connect: {error}", file=sys.stderr)
            return None, None
        if isinstance(address, SystemdSocket):
            print("terminator selftest: --connect: a name of systemd's is no address", file=sys.stderr)
            return None, None
        doors = [replace(door, address=address) for door in doors[:1]]
    unknown = set(args.listener) - {door.name for door in realm.doors}
    if unknown or not doors:
        what = f"there is no TLS listener {', '.join(sorted(unknown))}" if unknown else "there is no TLS listener"
        print(f"terminator selftest: {what}", file=sys.stderr)
        return None, None
    wanted = {name.lower() for name in args.host}
    hosts = {one.name for one in realm.subjects if not wanted or not wanted.isdisjoint(one.names)}
    missing = wanted - {name for one in realm.subjects for name in one.names}
    if missing:
        print(f"terminator selftest: there is no host {', '.join(sorted(missing))}", file=sys.stderr)
        return doors, None
    return doors, hosts
