"""What outlives a restart in the service manager's store (FDSTORE): listening sockets bound here and the ticket secret.

While the old process ends and the new one starts, the manager's copies of the sockets stay open, so the kernel queues
connections instead of refusing them; and session tickets go on resuming. Sockets of a .socket unit need none of this,
the manager holds them anyway. A manager without a store (or FileDescriptorStoreMax=0) ignores all of it.
"""

from __future__ import annotations

import os
from collections.abc import Iterable

from terminator.service.listeners import KEPT_PREFIX, Bound, Inherited
from terminator.service.notify import Notify

SECRET_NAME = "ticket-secret"
SECRET_BYTES = 48
FDS_PER_MESSAGE = 64
"""The kernel takes 253 in one message; the manager's buffer for them is smaller."""


class Kept:
    """secret: random, the same as before the restart if the manager gave it back."""

    def __init__(self, notify: Notify, inherited: Inherited) -> None:
        self._notify = notify
        self._names = {name for name in inherited.names if name.startswith(KEPT_PREFIX)}
        fd = inherited.other_fds.get(SECRET_NAME)
        secret = os.pread(fd, SECRET_BYTES + 1, 0) if fd is not None else b""
        self._secret_is_kept = len(secret) == SECRET_BYTES
        self.secret = secret if self._secret_is_kept else os.urandom(SECRET_BYTES)

    def store(self, bound: Iterable[Bound]) -> None:
        """Makes the store hold exactly these listeners; to be called when others have come into force."""
        for name in self._names:
            self._notify.forget(name)
        self._names = set()
        for each in bound:
            fds = [sock.fileno() for sockets in each.per_worker for sock in sockets]
            name = KEPT_PREFIX + each.config.name
            for first in range(0, len(fds), FDS_PER_MESSAGE):
                self._notify.store(name, fds[first : first + FDS_PER_MESSAGE])
                self._names.add(name)
        if not self._secret_is_kept:
            self._store_secret()

    def _store_secret(self) -> None:
        fd = os.memfd_create(SECRET_NAME)
        try:
            os.write(fd, self.secret)
            self._notify.forget(SECRET_NAME)
            self._notify.store(SECRET_NAME, [fd])
        finally:
            os.close(fd)
        self._secret_is_kept = True
