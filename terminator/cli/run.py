"""`terminator run`: the daemon, in the foreground."""

from __future__ import annotations

import argparse
import os
import signal
import time

from terminator.cli.versions import version
from terminator.config.load import DEFAULT_PATH
from terminator.errors import TerminatorError

HELP = """Serve, in the foreground, until SIGTERM or SIGINT: these drain first, a second one ends at once. SIGHUP
reloads, SIGUSR1 reopens log files. Exit codes: 0 stopped as asked, 1 failed, 2 the configuration or a file it names is
invalid."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--config", "-c", metavar="FILE", default=DEFAULT_PATH, help="the configuration (default: %(default)s)"
    )


def run(args: argparse.Namespace) -> int:
    import platform
    import ssl

    from terminator.service import candidate
    from terminator.service.announcements import Versions
    from terminator.service.master import Master
    from terminator.service.notify import Notify

    begun = time.monotonic()
    # A reload reads the same file, wherever the process stands by then.
    path = os.path.abspath(args.config)
    versions = Versions(version(), platform.python_version(), ssl.OPENSSL_VERSION)
    manager = {name: value for name, value in os.environ.items() if name == "NOTIFY_SOCKET"}
    try:
        first = candidate.read(path)
        # From here on there is something to take down: a stop waits until the master's own handlers stand.
        signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTERM, signal.SIGINT))
        master = Master(path, first, versions, os.environ, begun)
    except TerminatorError as error:
        Notify(manager).failed_by(error)
        raise
    return master.run()
