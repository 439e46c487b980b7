"""`terminator explain`: which listener, host, certificate, route and backend answer a URL, and why no other does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlencode

import orjson

from terminator.cli.status import ask_daemon, table
from terminator.config.load import DEFAULT_PATH, load
from terminator.proxy.explanation import explain
from terminator.proxy.question import question
from terminator.proxy.telling import tell
from terminator.tls import proofs
from terminator.tls.certificates import load_pair

HELP = """Tell what becomes of a request: listener, host, certificate, TLS policy, every route with the reason why it
won or lost, backend, and the header fields that are added. Nothing is sent anywhere. Asked is a configuration file, or
with --live or --socket the running daemon, which tells the state of the servers as well."""

USAGE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="for example https://shop.example/cart?id=1")
    parser.add_argument(
        "--config", "-c", metavar="FILE", default=DEFAULT_PATH, help="the configuration (default: %(default)s)"
    )
    parser.add_argument("--live", action="store_true", help="ask the daemon that runs with this configuration")
    parser.add_argument("--socket", metavar="PATH", help="ask the daemon with this admin socket")
    parser.add_argument("--method", default="GET", help="method of the request (default: %(default)s)")
    parser.add_argument(
        "--header", metavar="'NAME: VALUE'", type=_header, action="append", default=[], help="a field; may be repeated"
    )
    parser.add_argument("--sni", metavar="NAME", help="server name in TLS, '' for none (default: the URL's host)")
    parser.add_argument("--client", metavar="IP", default="", help="address of the client")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object on stdout")


def run(args: argparse.Namespace) -> int:
    try:
        asked = question(args.url, method=args.method, headers=args.header, sni=args.sni, client=args.client)
    except ValueError as error:
        print(f"terminator explain: {error}", file=sys.stderr)
        return USAGE
    if args.live or args.socket:
        body = _ask(args)
    else:
        story = explain(load(args.config).config, asked, load_pair, datetime.now(UTC))
        body = tell(asked, story, proofs.prove())
    if args.format == "json":
        sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
        return 0
    for line in _text(body):
        print(line)
    return 0


def _ask(args: argparse.Namespace) -> Any:
    query = [("url", args.url), ("method", args.method), ("client", args.client)]
    query += [("header", f"{name}: {value}") for name, value in args.header]
    if args.sni is not None:
        query.append(("sni", args.sni))
    return ask_daemon(args, "GET", f"/explain?{urlencode(query)}")


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no field; write 'Name: value'")
    return name.strip(), value.strip()


def _text(body: dict[str, Any]) -> Iterator[str]:
    yield f"{body['method']} {body['url']}"
    yield f"  → {body['outcome']}"
    if "listeners" in body:
        yield ""
        yield f"listener     {', '.join(body['listeners'])}"
    for note in body.get("notes", []):
        yield f"             {note}"
    if "host" in body:
        how = f"by its name {body['pattern']}" if "pattern" in body else "as tls.unknown_sni"
        yield f"host         {body['host']}, {how}; SNI {body.get('sni', 'none')}"
    for one in body.get("certificates", []):
        yield from _certificate(one)
    for number, (word, meaning) in enumerate(body.get("tls", {}).items()):
        yield f"{'TLS' if not number else '':<13}{word:<10} {meaning}"
    if "routes" in body:
        yield ""
        rows = [
            ("→" if one["won"] else "", f"routes[{one['index']}]", one["route"], one["action"], one["why"])
            for one in body["routes"]
        ]
        yield from table(("", "ROUTE", "MATCHES", "ACTION", "WHY"), rows)
    if "backend" in body:
        yield ""
        yield f"backend      {body['backend']['name']}, {body['backend']['balance']}"
        for server in body["backend"]["servers"]:
            yield f"             {_server(server)}"
    for what in ("request", "response"):
        added, removed = body.get(f"{what}_added", []), body.get(f"{what}_removed", [])
        if added or removed:
            yield ""
            yield f"header fields of the {what}"
            yield from (f"  + {line}" for line in added)
            yield from (f"  - {line}" for line in removed)


def _certificate(one: dict[str, Any]) -> Iterator[str]:
    if one["serial"] is not None and one["not_after"] is not None:
        until = f"{one['not_after'][:10]}, {one['days_left']:.1f} days left"
        yield f"certificate  {one['key_type']}, serial {one['serial']}, until {until}: {one['chain']}"
    else:
        yield f"certificate  unusable: {one['chain']}"
    for problem in one["problems"]:
        yield f"             {problem}"


def _server(server: dict[str, Any]) -> str:
    parts = [f"{server['address']}, weight {server['weight']}"]
    if server["backup"]:
        parts.append("backup")
    if server["max_connections"]:
        parts.append(f"at most {server['max_connections']} requests per worker")
    if "state" in server:
        parts.append(server["state"] + (f" ({server['reason']})" if "reason" in server else ""))
        parts.append(f"{server['in_flight']} in flight")
    return ", ".join(parts)
