"""`terminator explain`: which listener, host, certificate, route and backend answer a URL, and why no other does."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from datetime import UTC, datetime

import orjson

from terminator.cli.status import table
from terminator.config.load import DEFAULT_PATH, load
from terminator.errors import ConfigError
from terminator.proxy.explanation import Explanation, explain
from terminator.proxy.question import Question, question
from terminator.tls import openssl, policy
from terminator.tls.certificates import load_pair

HELP = """Tell what becomes of a request: listener, host, certificate, TLS policy, every route with the reason why it
won or lost, backend, and the header fields that are added. Nothing is sent anywhere."""

USAGE = 2


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("url", metavar="URL", help="for example https://shop.example/cart?id=1")
    parser.add_argument(
        "--config", metavar="FILE", default=DEFAULT_PATH, help="the configuration (default: %(default)s)"
    )
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
    story = explain(load(args.config).config, asked, load_pair, datetime.now(UTC))
    tls = _policy(story)
    if args.format == "json":
        body = {"url": args.url, "method": args.method, "client": args.client or None, **_as_json(story, tls)}
        sys.stdout.buffer.write(orjson.dumps(body, option=orjson.OPT_INDENT_2) + b"\n")
        return 0
    for line in _text(asked, story, tls):
        print(line)
    return 0


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip() or not text.isprintable():
        raise argparse.ArgumentTypeError(f"{text!r} is no field; write 'Name: value'")
    return name.strip(), value.strip()


def _policy(story: Explanation) -> list[str]:
    """The TLS policy in lines of `word  meaning`; empty when no host was found."""
    if story.policy is None:
        return []
    try:
        lines = policy.describe(policy.resolve(story.policy, openssl.prove()))
    except ConfigError as error:
        lines = [f"unusable   {text}" for text in error.problems]
    lines.append(f"ALPN       {' '.join(story.policy.alpn)}")
    auth = story.policy.client_auth
    if auth.mode != "none":
        allowed = f", only {', '.join(auth.allow)}" if auth.allow else ""
        word = "required" if auth.mode == "require" else "asked for"
        lines.append(f"clients    certificate {word}, by an authority in {auth.ca}{allowed}")
    return lines


def _as_json(story: Explanation, tls: list[str]) -> dict[str, object]:
    shown = {name: getattr(story, name) for name in Explanation.__dataclass_fields__ if name != "policy"}
    shown["tls"] = {word: rest.strip() for word, _, rest in (line.partition("  ") for line in tls)}
    return {name: value for name, value in shown.items() if value not in (None, [], (), {})}


def _text(asked: Question, story: Explanation, tls: list[str]) -> Iterator[str]:
    yield f"{asked.method} {asked.scheme}://{asked.authority}{asked.target}"
    yield f"  → {story.outcome}"
    if story.listeners:
        yield ""
        yield f"listener     {', '.join(story.listeners)}"
    for note in story.notes:
        yield f"             {note}"
    if story.host is not None:
        how = f"by its name {story.pattern}" if story.pattern else "as tls.unknown_sni"
        yield f"host         {story.host}, {how}; SNI {story.sni or 'none'}"
    for one in story.certificates:
        if one.serial is not None and one.not_after is not None:
            until = f"{one.not_after:%Y-%m-%d}, {one.days_left:.1f} days left"
            yield f"certificate  {one.key_type}, serial {one.serial}, until {until}: {one.chain}"
        else:
            yield f"certificate  unusable: {one.chain}"
        for problem in one.problems:
            yield f"             {problem}"
    for number, line in enumerate(tls):
        yield f"{'TLS' if not number else '':<13}{line}"
    if story.routes:
        yield ""
        rows = [
            ("→" if one.won else "", f"routes[{one.index}]", one.route, one.action, one.why) for one in story.routes
        ]
        yield from table(("", "ROUTE", "MATCHES", "ACTION", "WHY"), rows)
    if story.backend is not None:
        yield ""
        yield f"backend      {story.backend.name}, {story.backend.balance}"
        for server in story.backend.servers:
            most = f", at most {server.max_connections} requests per worker" if server.max_connections else ""
            yield f"             {server.address}, weight {server.weight}{', backup' if server.backup else ''}{most}"
    yield from _fields(story)


def _fields(story: Explanation) -> Iterator[str]:
    changes = (
        ("request", story.request_added, story.request_removed),
        ("response", story.response_added, story.response_removed),
    )
    for what, added, removed in changes:
        if added or removed:
            yield ""
            yield f"header fields of the {what}"
            yield from (f"  + {line}" for line in added)
            yield from (f"  - {line}" for line in removed)
