"""Writes man/terminator.8, man/terminator.yaml.5 and packaging/completion.* from the parser and the model.

Run it after a change of either: `python packaging/generate.py`. A test compares the files with what it would write.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(ROOT), str(ROOT / "packaging")]

import completions  # noqa: E402

from terminator.cli import COMMANDS  # noqa: E402
from terminator.config.reference import json_schema  # noqa: E402


def commands() -> Iterator[tuple[str, str, argparse.ArgumentParser]]:
    """Each subcommand that exists: its name, its description and its parser."""
    for name in COMMANDS:
        if importlib.util.find_spec(f"terminator.cli.{name}") is None:
            continue
        module = importlib.import_module(f"terminator.cli.{name}")
        parser = argparse.ArgumentParser(prog=f"terminator {name}", description=module.HELP, allow_abbrev=False)
        module.add_arguments(parser)
        yield name, module.HELP, parser


def actions(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    """What a caller can write, in the order of the help; `-h` is left out."""
    return [
        action
        for action in parser._actions
        if not isinstance(action, argparse._HelpAction) and action.help is not argparse.SUPPRESS
    ]


def offers() -> list[completions.Command]:
    """What can be completed, for `completions`."""
    return [
        completions.Command(
            name,
            first_sentence(description),
            [
                completions.Option(
                    tuple(action.option_strings),
                    " ".join(help_text(action, parser).split()),
                    None if action.nargs == 0 else (action.metavar or action.dest.upper()),
                    tuple(map(str, action.choices or ())),
                )
                for action in actions(parser)
                if action.option_strings
            ],
            [str(word) for action in actions(parser) if not action.option_strings for word in action.choices or ()],
        )
        for name, description, parser in commands()
    ]


def first_sentence(text: str) -> str:
    return re.split(r"[.:;] |\.$", " ".join(text.split()))[0]


# ------------------------------------------------------------------------------------------------------- man pages

SIGNALS = [
    ("SIGHUP", "reload, as `terminator reload` does it; the outcome is logged"),
    ("SIGTERM, SIGINT", "drain, then end; a second one ends at once"),
    ("SIGUSR1", "open the log files anew, for logrotate"),
]
EXIT_CODES = [
    ("0", "done as asked; a stop by signal is one"),
    ("1", "failed while running; `reload`: refused, the old state serves on"),
    ("2", "usage, or the configuration or a file that it names is invalid"),
    ("3", "the daemon cannot be reached"),
    ("4", "`check --strict`: valid, with warnings"),
]
VARIABLES = [
    ("NOTIFY_SOCKET, WATCHDOG_USEC, WATCHDOG_PID", "the service manager's, see sd_notify(3)"),
    ("LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES", "sockets for `bind: systemd:NAME`, and what was kept over a restart"),
    ("JOURNAL_STREAM", "tells whether stdout and stderr lead to the journal"),
    ("CREDENTIALS_DIRECTORY", "any variable may stand in the configuration as ${NAME}; this one for LoadCredential="),
]
FILES = [
    ("/etc/terminator/terminator.yaml", "the configuration"),
    ("/etc/terminator/certs", "certificates and keys, root:terminator, 0640"),
    ("/run/terminator/admin.sock", "where `reload`, `status` and others ask the daemon"),
    ("/var/lib/terminator/acme", "webroot for ACME HTTP-01"),
    ("/var/log/terminator", "log files, if the configuration names some"),
]


def man_command() -> str:
    out = [
        '.\\" Written by packaging/generate.py from the parser; change it there.',
        '.TH TERMINATOR 8 "" "terminator" "System Administration"',
        ".SH NAME",
        "terminator \\- TLS\\-terminating reverse proxy that explains every handshake",
        ".SH SYNOPSIS",
        ".B terminator",
        ".I COMMAND",
        "[options]",
        ".SH DESCRIPTION",
        roff(
            "terminator takes TLS connections, chooses certificate and TLS policy by server name, and forwards "
            "HTTP/1.1 to backends chosen by the routes of terminator.yaml(5). It runs in the foreground under a "
            "service manager. Results go to standard output, diagnostics to standard error; `--format json` makes "
            "every query's answer one JSON object."
        ),
        ".SH COMMANDS",
    ]
    for _, description, parser in commands():
        synopsis = " ".join(parser.format_usage().split()[1:]).replace(" [-h]", "")
        out += [f".SS {roff(synopsis)}", roff(description)]
        for action in actions(parser):
            out += [".TP", f".B {roff(written(action))}", roff(help_text(action, parser))]
    for title, rows in (
        ("SIGNALS", SIGNALS),
        ("EXIT STATUS", EXIT_CODES),
        ("ENVIRONMENT", VARIABLES),
        ("FILES", FILES),
    ):
        out.append(f".SH {title}")
        for term, text in rows:
            out += [".TP", f".B {roff(term)}", roff(text)]
    out += [".SH SEE ALSO", ".BR terminator.yaml (5),", ".BR systemd.service (5),", ".BR systemctl (1)"]
    return "\n".join(out) + "\n"


def man_configuration() -> str:
    schema = json_schema()
    out = [
        '.\\" Written by packaging/generate.py from the model; change it there.',
        '.TH TERMINATOR.YAML 5 "" "terminator" "File Formats"',
        ".SH NAME",
        "terminator.yaml \\- configuration of terminator(8)",
        ".SH DESCRIPTION",
        roff(
            "YAML 1.2, one mapping. Unknown keys are errors. Durations and sizes carry units (10s, 1m30s, 32KiB); 0 "
            "needs none. Relative paths are relative to the file that they stand in. ${NAME} and ${NAME:-default} take "
            "values from the environment. `terminator check FILE` shows every fault at once, each with its place."
        ),
    ]
    out += section("TOP LEVEL", schema)
    for name, about in schema["$defs"].items():
        if about.get("properties"):
            out += section(name.upper(), about)
    out += [".SH SEE ALSO", ".BR terminator (8)"]
    return "\n".join(out) + "\n"


def section(title: str, about: dict[str, Any]) -> list[str]:
    out = [f".SH {roff(title)}"]
    if about.get("description"):
        out.append(roff(about["description"]))
    required = about.get("required", [])
    for key, value in about["properties"].items():
        facts = sorted(references(value))
        shown = [f"see {', '.join(name.upper() for name in facts)}"] if facts else []
        if key in required:
            shown.append("required")
        elif value.get("default") not in (None, [], {}):
            shown.append(f"default {value['default']}")
        tail = f" ({'; '.join(shown)})" if shown else ""
        out += [".TP", f".B {roff(key)}", roff(value.get("description", "").rstrip(".") + "." + tail)]
    return out


def references(value: Any) -> set[str]:
    """Names of the sections that a value of this schema may be."""
    if isinstance(value, dict):
        own = {value["$ref"].rpartition("/")[2]} if "$ref" in value else set()
        return (own | {name for each in value.values() for name in references(each)}) - {"Variable"}
    if isinstance(value, list):
        return {name for each in value for name in references(each)}
    return set()


def written(action: argparse.Action) -> str:
    """`--config FILE, -c FILE`, as the help has it."""
    metavar = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    shown = metavar if isinstance(metavar, str) else " ".join(metavar)
    if not action.option_strings:
        return shown
    return ", ".join(f"{option} {shown}" if action.nargs != 0 else option for option in action.option_strings)


def help_text(action: argparse.Action, parser: argparse.ArgumentParser) -> str:
    return (action.help or "") % {**vars(action), "prog": parser.prog}


def roff(text: str) -> str:
    """Text that means itself: no line of it is a request, every hyphen can be copied."""
    line = " ".join(text.split()).replace("\\", "\\e").replace("-", "\\-")
    return "\\&" + line if line.startswith((".", "'")) else line


OUTPUTS = {
    ROOT / "man/terminator.8": man_command,
    ROOT / "man/terminator.yaml.5": man_configuration,
    ROOT / "packaging/completion.bash": lambda: completions.bash(offers()),
    ROOT / "packaging/completion.zsh": lambda: completions.zsh(offers()),
    ROOT / "packaging/completion.fish": lambda: completions.fish(offers()),
}

if __name__ == "__main__":
    for path, make in OUTPUTS.items():
        path.parent.mkdir(exist_ok=True)
        path.write_text(make())
