"""Noticing that certificate files have changed on disk, when they have come to rest.

Files are looked at, not watched: inotify tells nothing of a symbolic link swapped in a parent folder (certbot) or of a
network file system. A renewal writes several files; a change is told only when nothing more has changed for
`QUIET_SECONDS`, so that chain and key are read as a pair. A pair that does not match all the same is refused by the
reload, and the change that completes it is another one.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterable

from terminator.config.model import Config

POLL_SECONDS = 1.0
QUIET_SECONDS = 2.0

Stamp = tuple[int, int, int, int] | None
"""Device, inode, modification time in ns and size of what the path leads to; None when there is nothing."""


def watched_files(config: Config) -> tuple[str, ...]:
    """Every file of certificates, keys, authorities and revocation lists that the configuration names."""
    paths: dict[str, None] = {}
    for host in config.hosts:
        for certificate in host.certificates:
            paths[certificate.chain] = paths[certificate.key] = None
        auth = config.policy(host).client_auth
        if auth.mode != "none":
            paths.update({path: None for path in (auth.ca, auth.crl) if path is not None})
    return tuple(paths)


class Watch:
    """Compares the files with how they stood when they were last read."""

    def __init__(self, paths: Iterable[str]) -> None:
        self._paths = tuple(paths)
        begun = time.monotonic()
        self._at_first = self._read = self._last = self._look()
        self._changed_at: float | None = None
        self.cost_seconds = time.monotonic() - begun
        """What one look takes: thousands of files are looked at less often."""

    def changed(self, now: float) -> bool:
        """To be called every `POLL_SECONDS`: whether a change has come to rest. Each change is told once."""
        stamps = self._look()
        if stamps != self._last:
            self._last, self._changed_at = stamps, now
        if self._changed_at is None or now - self._changed_at < QUIET_SECONDS:
            return False
        self._changed_at = None
        differs = stamps != self._read
        self._read = stamps
        return differs

    def touched(self) -> set[str]:
        """The files that are no longer what they were when they were read at first."""
        return {path for path, was, is_ in zip(self._paths, self._at_first, self._look(), strict=True) if was != is_}

    def _look(self) -> tuple[Stamp, ...]:
        return tuple(_stamp(path) for path in self._paths)


def _stamp(path: str) -> Stamp:
    try:
        status = os.stat(path)
    except OSError:
        return None
    return status.st_dev, status.st_ino, status.st_mtime_ns, status.st_size
