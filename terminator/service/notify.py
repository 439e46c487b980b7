"""What systemd is told, one datagram per message (sd_notify(3)); nothing at all without $NOTIFY_SOCKET."""

from __future__ import annotations

import array
import os
import select
import socket
import time
from collections.abc import MutableMapping

MICROSECONDS = 1_000_000
PATIENCE_SECONDS = 1.0
"""How long what is said only once waits for room in the manager's queue; nobody is served by us meanwhile."""


class Notify:
    """The line to the service manager. Every method is safe to call without one, and never raises; `ready` and
    `store`, which nothing says again, wait up to PATIENCE_SECONDS for a busy manager, the others not at all."""

    def __init__(self, environ: MutableMapping[str, str]) -> None:
        """Takes the variables out of `environ`, so that no child believes that they are its own."""
        self._socket: socket.socket | None = None
        self.watchdog_seconds: float | None = None
        """How often systemd wants to hear WATCHDOG=1 at the latest; None when it does not watch."""
        address = environ.pop("NOTIFY_SOCKET", "")
        period, watched = environ.pop("WATCHDOG_USEC", ""), environ.pop("WATCHDOG_PID", "")
        if not address.startswith(("/", "@")):
            return
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        self._socket.setblocking(False)
        try:
            self._socket.connect("\0" + address[1:] if address.startswith("@") else address)
        except OSError:  # a manager that is gone is no reason not to serve
            self.close()
            return
        if period.isascii() and period.isdigit() and int(period) > 0 and watched in ("", str(os.getpid())):
            self.watchdog_seconds = int(period) / MICROSECONDS

    def ready(self, status: str) -> None:
        """Start is complete, or a reload has ended, well or not."""
        self._send("READY=1", f"STATUS={status}", patient=True)

    def reloading(self, status: str) -> None:
        """MONOTONIC_USEC in the same datagram, or a `Type=notify-reload` job waits until it times out."""
        now = time.clock_gettime_ns(time.CLOCK_MONOTONIC) // 1000
        self._send("RELOADING=1", f"MONOTONIC_USEC={now}", f"STATUS={status}")

    def stopping(self, status: str) -> None:
        self._send("STOPPING=1", f"STATUS={status}")

    def status(self, text: str) -> None:
        self._send(f"STATUS={text}")

    def extend_timeout(self, seconds: float) -> None:
        """Asks for more time to start or stop; to be repeated before the last grant runs out."""
        self._send(f"EXTEND_TIMEOUT_USEC={int(seconds * MICROSECONDS)}")

    def watchdog(self) -> None:
        self._send("WATCHDOG=1")

    def failed(self, status: str, errno: int = 0) -> None:
        self._send(f"STATUS={status}", *([f"ERRNO={errno}"] if errno else []))

    def failed_by(self, error: BaseException) -> None:
        """Why the service cannot start: the text in `systemctl status`, and the system's error number if any."""
        cause = error.__cause__ if isinstance(error.__cause__, OSError) else error
        number = cause.errno if isinstance(cause, OSError) and cause.errno is not None else 0
        self.failed(str(error).partition("\n")[0], number)

    def store(self, name: str, fds: list[int]) -> None:
        """Keeps `fds` over a restart; they come back by the LISTEN_FDS protocol under `name`."""
        self._send("FDSTORE=1", f"FDNAME={name}", fds=fds, patient=True)

    def forget(self, name: str) -> None:
        self._send("FDSTOREREMOVE=1", f"FDNAME={name}")

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, *lines: str, fds: list[int] | None = None, patient: bool = False) -> None:
        if self._socket is None:
            return
        message = "\n".join(line.replace("\n", "; ") for line in lines).encode()
        rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", fds))] if fds else []
        deadline = time.monotonic() + PATIENCE_SECONDS
        while True:
            try:
                self._socket.sendmsg([message], rights)
                return
            except BlockingIOError:
                left = deadline - time.monotonic()
                if not patient or left <= 0:
                    return  # what is said again and again comes with the next message
                select.select([], [self._socket], [], left)
            except OSError:  # it is gone
                return
