"""Starting a child process: fork, then let go of everything that is the master's.

Only a single-threaded process forks, and it has never run an event loop. A child keeps the file descriptors it is
given and no other: neither the other children's sockets and channels nor the master's selector. The Python objects that
owned them stay alive and untouched until the child leaves by `os._exit`, since a socket object that is collected later
would close a descriptor that has long been somebody else's.
"""

from __future__ import annotations

import faulthandler
import fcntl
import gc
import grp
import os
import pwd
import resource
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from types import FrameType

from terminator.errors import StartError
from terminator.service.channel import MasterEnd, pair

STANDARD_FDS = (0, 1, 2)
ORPHAN_SECONDS = 6
"""How long a child may live without the master, at most: a worker takes 3 seconds to cut what it has."""
CRASHED = 70
"""Exit code of a child that ended by an exception (EX_SOFTWARE)."""


@dataclass(frozen=True, slots=True)
class Identity:
    """Whom children run as."""

    uid: int
    gid: int
    groups: tuple[int, ...]

    def assume(self) -> None:
        """Gives up root for good."""
        os.setgroups(self.groups)
        os.setresgid(self.gid, self.gid, self.gid)
        os.setresuid(self.uid, self.uid, self.uid)


def identity(user: str | None, group: str | None) -> Identity | None:
    """Whom `user:` and `group:` of the configuration name; None where the children stay what the master is."""
    if user is None and group is None:
        return None
    try:
        entry = pwd.getpwnam(user) if user is not None else pwd.getpwuid(os.geteuid())
    except KeyError:
        raise StartError(
            f"user: this machine has no user {user!r}; create it (systemd-sysusers) or change user"
        ) from None
    try:
        gid = grp.getgrnam(group).gr_gid if group is not None else entry.pw_gid
    except KeyError:
        raise StartError(f"group: this machine has no group {group!r}; create it or change group") from None
    if os.geteuid() != 0:
        if (entry.pw_uid, gid) == (os.geteuid(), os.getegid()):
            return None
        raise StartError(
            f"user: only root can start workers as {entry.pw_name}; start as root or remove user and group"
        )
    return Identity(entry.pw_uid, gid, tuple(os.getgrouplist(entry.pw_name, gid)))


def fork(
    run: Callable[[socket.socket], int], *, title: str, keep: Iterable[int], become: Identity | None
) -> tuple[int, MasterEnd]:
    """Forks a child that calls `run` with its end of the channel and ends with the code it returns.

    `keep` are the descriptors the child needs beside its channel and 0 to 2. Returns (process id, our end).
    """
    ours, theirs = pair()
    kept = {*keep, theirs.fileno(), *STANDARD_FDS}
    sys.stdout.flush()
    sys.stderr.flush()
    # What is alive now will be in the child for ever: without this its first collection would touch, and so copy,
    # every page that it shares with the master.
    gc.freeze()
    before = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
    pid = os.fork()
    if pid == 0:
        _become_child(run, theirs, kept, title, become)
    signal.pthread_sigmask(signal.SIG_SETMASK, before)
    gc.unfreeze()
    theirs.close()
    return pid, MasterEnd(ours)


def _become_child(
    run: Callable[[socket.socket], int], channel: socket.socket, kept: set[int], title: str, become: Identity | None
) -> None:
    """Never returns."""
    code = CRASHED
    try:
        signal.set_wakeup_fd(-1)
        for number in (signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            signal.signal(number, signal.SIG_IGN)  # a terminal sends them to all of us; the master decides
        for number in (signal.SIGTERM, signal.SIGCHLD):
            signal.signal(number, signal.SIG_DFL)
        _close_all_but(kept)
        # The stack of the thread that is hit alone: reading those of others while they run may end in SIGSEGV, and
        # then the wait status would tell the wrong reason.
        faulthandler.enable(all_threads=False)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))  # a core file would hold private keys
        _entitle(title)
        if become is not None:
            become.assume()
        _end_without_master(channel)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        code = run(channel)
        sys.stdout.flush()
    except BaseException:  # the last resort of a process: say why, and let the master see the exit code
        traceback.print_exc()
        sys.stderr.flush()
    finally:
        os._exit(code)


def _close_all_but(kept: set[int]) -> None:
    for fd in [int(name) for name in os.listdir("/proc/self/fd")]:
        if fd not in kept:
            try:
                os.close(fd)
            except OSError:  # the listing's own
                continue


def _end_without_master(channel: socket.socket) -> None:
    """Sees to it that this process does not outlive the master for long, whatever it is doing then.

    Its event loop finds the channel closed and ends by itself. A loop that stands still finds nothing; the kernel sends
    SIGIO all the same, for every message and for the end, and the timer that is set at the end kills the process.
    """
    descriptor = channel.fileno()

    def look(number: int, frame: FrameType | None) -> None:
        poll = (
            select.poll()
        )  # one for each call: the next signal may come amid this one, and a poll is used by one only
        poll.register(descriptor, 0)  # its end is told unasked
        if poll.poll(0):
            signal.alarm(ORPHAN_SECONDS)

    signal.signal(signal.SIGIO, look)
    fcntl.fcntl(channel, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(channel, fcntl.F_SETFL, fcntl.fcntl(channel, fcntl.F_GETFL) | os.O_ASYNC)
    look(0, None)  # the master may be gone already


def _entitle(title: str) -> None:
    """The name in ps and top (at most 15 bytes)."""
    try:
        with open("/proc/self/comm", "w") as comm:
            comm.write(title[:15])
    except OSError:  # hidden by ProcSubset=pid or the like
        return


def describe_exit(status: int) -> str:
    """A wait status in words: `exit code 1`, `killed by SIGKILL`."""
    code = os.waitstatus_to_exitcode(status)
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
