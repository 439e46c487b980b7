"""`terminator schema`: what a configuration may contain, for editors (JSON Schema) and for people (Markdown)."""

from __future__ import annotations

import argparse
import sys

from terminator.config.reference import json_schema_text, markdown

HELP = "Print the JSON Schema (draft 2020-12) of the configuration, or its reference in Markdown."


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--format", choices=("json", "markdown"), default="json", help="default: %(default)s")


def run(args: argparse.Namespace) -> int:
    sys.stdout.write(markdown() if args.format == "markdown" else json_schema_text())
    return 0
