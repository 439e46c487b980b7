"""The command `terminator`: which subcommands exist, how errors are told, and the exit codes.

Exit codes: 0 well, 1 failure while running, 2 usage or invalid configuration, 3 daemon not reachable, 4 warnings under
`check --strict`. Results go to stdout, diagnostics to stderr. A subcommand is a module of this package with `HELP`,
`add_arguments(parser)` and `run(args) -> int`; only the one that was asked for is imported, so that each starts fast.
"""

from __future__ import annotations

import argparse
import errno
import importlib
import importlib.util
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType, ModuleType

from terminator.errors import ConfigError, TerminatorError

COMMANDS = {
    "run": "serve, in the foreground",
    "check": "check a configuration with its certificates and keys",
    "reload": "make the running daemon read its configuration and certificates anew",
    "status": "what the running daemon is doing",
    "certs": "the certificates that are served, beside those on disk",
    "explain": "which listener, certificate, route and backend answer a URL",
    "report": "what the logs say about handshakes, with plots",
    "selftest": "attack the running daemon, with a verdict for each host",
    "top": "the running daemon, live",
    "backend": "take a server of a backend out of service, or back",
    "schema": "the JSON Schema of the configuration",
    "demo": "a running proxy to try, with certificates of its own",
}

FAILED, INVALID, NOT_REACHABLE, INTERRUPTED = 1, 2, 3, 130
UNPRINTABLE = {errno.EBADF, errno.ENOSPC, errno.EDQUOT, errno.EIO}
"""What printing fails with when stdout is closed, or a file on a full disk."""


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command; returns its exit code. Usage errors leave by SystemExit(2), as argparse does it."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    if _asked(arguments) == "run":
        _end_on_signals()
    _complete_streams()
    try:
        args = _parser(arguments).parse_args(arguments)
        code: int = args.run(args)
        sys.stdout.flush()
        return code
    except ConfigError as error:
        print(error, file=sys.stderr)
        return INVALID
    except TerminatorError as error:
        print(f"terminator: {error}", file=sys.stderr)
        return NOT_REACHABLE if error.reason == "not_reachable" else FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough. The interpreter's own flush at exit must find nothing to fail on.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
    except OSError as error:
        if error.errno not in UNPRINTABLE or error.filename is not None:
            raise
        print(f"terminator: the output cannot be written: {error.strerror}", file=sys.stderr)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED


def _complete_streams() -> None:
    """Gives a program that was started with one of descriptors 0 to 2 closed something in its place: else a socket
    would get the number, and what is printed would go to a peer. Writing to stdout still fails (EBADF), as it would
    have, and can be told on stderr."""
    for number, name, mode in ((0, "stdin", os.O_RDONLY), (1, "stdout", os.O_RDONLY), (2, "stderr", os.O_WRONLY)):
        try:
            os.fstat(number)
        except OSError:
            os.set_inheritable(os.open(os.devnull, mode), True)  # the lowest number that is free: this one
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))


def _parser(arguments: list[str]) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="terminator",
        description="TLS-terminating reverse proxy daemon that explains every handshake.",
        epilog="`terminator COMMAND --help` explains a command.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action=_Version, help="versions of terminator and of what it stands on")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    asked = _asked(arguments)
    for name, text in COMMANDS.items():
        if importlib.util.find_spec(f"terminator.cli.{name}") is None:
            continue
        if name != asked:  # listed, and not imported
            commands.add_parser(name, help=text, add_help=False)
            continue
        module: ModuleType = importlib.import_module(f"terminator.cli.{name}")
        command = commands.add_parser(name, help=text, description=module.HELP, allow_abbrev=False)
        module.add_arguments(command)
        command.set_defaults(run=module.run)
    return parser


def _asked(arguments: Sequence[str]) -> str | None:
    """The command that is asked for."""
    return next((argument for argument in arguments if not argument.startswith("-")), None)


def _end_on_signals() -> None:
    """A daemon that is asked to stop while it still imports has nothing to finish: it ends at once, and well.

    Not by an exception, which amid an import may come out as another one. The master's handlers take over later.
    """

    def end(number: int, frame: FrameType | None) -> None:
        os._exit(0)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, end)
    for number in (signal.SIGHUP, signal.SIGUSR1):
        signal.signal(number, signal.SIG_IGN)  # what will be read now is as new as a reload could make it


class _Version(argparse.Action):
    """Prints the versions and leaves."""

    def __init__(self, option_strings: Sequence[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, dest, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(
        self,
        parser: argparse.ArgumentParser,
        namespace: argparse.Namespace,
        values: object,
        option_string: str | None = None,
    ) -> None:
        from terminator.cli.versions import long_version

        print(long_version())
        parser.exit()
