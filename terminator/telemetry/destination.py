"""One place where log lines go, written without ever blocking the caller and without tearing a line.

Several processes (master, workers, admin) write to the same file or pipe. What keeps their lines whole:

- Lines are handed to the kernel in *pieces* of whole lines, one system call each. A piece is at most `piece_bytes`, and
  no line may be longer (the journal shortens it): PIPE_BUF for a pipe, where such a write is atomic (POSIX write());
  16 KiB for a stream socket (journald), which Linux takes as one buffer or not at all; 64 KiB for a file opened with
  O_APPEND, which the inode's lock makes atomic.
- stdout and stderr are never set to O_NONBLOCK: that flag belongs to the open file description, which the shell and
  other programs share. A pipe or terminal is opened anew through /proc/self/fd instead, which yields a description of
  our own; a socket is written with MSG_DONTWAIT. Where opening anew is refused (another user's pipe), the shared
  descriptor is written only after poll(2) promises room for PIPE_BUF bytes.
- A full disk can cut a line in the file. The line is then repeated whole later, after a newline that ends its stump.

Threads: everything belongs to one thread, save `write_gathered`, which may run in another beside `put`. To that end the
buffer is double: lines are put into one half while the other is being written.
"""

from __future__ import annotations

import errno
import os
import select
import socket
import stat
from collections.abc import Callable
from contextlib import suppress
from enum import Enum

from terminator.errors import StartError

BUFFER_BYTES = 1 << 19  # of each half
_BURST_BYTES = 64 * 1024
_PIPE_PIECE = select.PIPE_BUF
_SOCKET_PIECE = 16 * 1024
_FILE_PIECE = 64 * 1024
_PASSING = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.ENOMEM, errno.ENOBUFS}


class Progress(Enum):
    """What a call of `write` came to."""

    DONE = "done"  # nothing is left
    MORE = "more"  # a burst went out; call again after others had their turn
    BLOCKED = "blocked"  # wait until `fd` is writable
    FAILED = "failed"  # try again in a second: the disk is full


class Kind(Enum):
    FILE = "file"
    DEVICE = "device"
    PIPE = "pipe"
    TERMINAL = "terminal"
    SOCKET = "socket"
    NOTHING = "nothing"


_PIECES = {Kind.PIPE: _PIPE_PIECE, Kind.TERMINAL: _PIPE_PIECE, Kind.SOCKET: _SOCKET_PIECE}


class Destination:
    """`stdout`, `stderr` or a file, with its bounded buffer.

    dropped: lines that found the buffer full, or the destination broken; grows only
    lost:    lines that were taken and could not be written any more; grows only
    fault:   why the last write failed, None when it went well
    """

    def __init__(self, name: str, fd: int, *, own: bool, room: int = BUFFER_BYTES) -> None:
        self.name = name
        self.fd = fd
        self.kind = _kind(fd)
        self.piece_bytes = _PIECES.get(self.kind, _FILE_PIECE)
        self.scheduled = False  # the journal's mark: somebody will call `write`
        self.dropped = 0
        self.lost = 0
        self.fault: str | None = None
        self._own = own
        self._full_room = room
        self._set_room(-1 if self.kind is Kind.NOTHING else room)
        self.on_half_full: Callable[[], None] | None = None
        """Called with each line that finds half of the buffer taken: time to write."""
        self._buffer = bytearray()
        self._gathered = bytearray()
        self._offset = 0
        self._after_stump = False
        self._socket: socket.socket | None = None
        if self.kind is Kind.NOTHING:
            self.fault = os.strerror(errno.EBADF)
        elif self.kind is Kind.SOCKET:
            self._socket = socket.socket(fileno=os.dup(fd))

    def put(self, line: bytes) -> bool:
        """Takes a whole line for writing; False when it was dropped."""
        buffer = self._buffer
        if len(buffer) > self._half:
            if len(buffer) > self._room:
                self.dropped += 1
                return False
            if self.on_half_full is not None:
                self.on_half_full()
        buffer += line
        return True

    @property
    def pending(self) -> bool:
        return bool(self._buffer) or self._offset < len(self._gathered)

    @property
    def roomy(self) -> bool:
        """Whether at least half of the buffer is free."""
        return len(self._buffer) <= self._half

    @property
    def gone(self) -> bool:
        """Whether nobody reads it any more: what is put from now on is dropped."""
        return self._room < 0

    @property
    def may_block(self) -> bool:
        """Whether `write_gathered` belongs in a thread: a disk can be slow, and there is no way to ask it."""
        return self.kind is Kind.FILE

    @property
    def can_wait(self) -> bool:
        """Whether `fd` can be waited on to become writable."""
        return self.kind in (Kind.PIPE, Kind.TERMINAL, Kind.SOCKET)

    def write(self) -> Progress:
        """Writes what can be written at once, some 64 KiB at most. Never raises OSError."""
        self.gather()
        progress = self.write_gathered()
        return Progress.MORE if progress is Progress.DONE and self.pending else progress

    def gather(self) -> None:
        """Makes what was put ready for `write_gathered`."""
        if self._offset == len(self._gathered):
            self._gathered, self._buffer, self._offset = self._buffer, bytearray(), 0

    def write_gathered(self, at_most: float = _BURST_BYTES) -> Progress:
        """As `write`, but only what was gathered; DONE when that is out. at_most: MORE after so many bytes."""
        written, whole = 0, memoryview(self._gathered)
        while self._offset < len(whole):
            if written >= at_most:
                return Progress.MORE
            piece = whole[self._offset : self._piece_end()]
            try:
                count = self._send(piece)
            except BlockingIOError:
                return Progress.BLOCKED
            except OSError as error:
                return self._failed(error)
            self.fault = None
            self._offset += count
            written += count
            if count < len(piece) and self.kind is Kind.FILE:
                self._repeat_cut_line()
        return Progress.DONE

    def give_up(self) -> None:
        """Counts what is left as lost, and forgets it."""
        self.lost += self._gathered.count(b"\n", self._offset) + self._buffer.count(b"\n")
        self._gathered, self._buffer, self._offset = bytearray(), bytearray(), 0

    def reopen(self) -> None:
        """Opens a file's path anew (after a rename by logrotate), under the same descriptor number.

        Raises OSError and keeps the old file when that fails. Nothing happens to stdout and stderr.
        """
        if self.name in ("stdout", "stderr"):
            return
        new = _open_path(self.name)
        try:
            os.dup2(new, self.fd, inheritable=False)
        finally:
            os.close(new)
        self.kind = _kind(self.fd)
        self.piece_bytes = _PIECES.get(self.kind, _FILE_PIECE)
        self._after_stump = self.kind is Kind.FILE
        self._set_room(self._full_room)
        self.fault = None

    def give_to(self, uid: int, gid: int) -> None:
        """Lets another user reopen the file; raises OSError. Nothing happens to stdout and stderr."""
        if self.name not in ("stdout", "stderr") and self.kind is Kind.FILE:
            os.fchown(self.fd, uid, gid)

    def in_child(self) -> Destination:
        """The same place with an empty buffer, for a process just forked."""
        return Destination(self.name, self.fd, own=self._own, room=self._full_room)

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self.kind is not Kind.NOTHING and self._own:
            os.close(self.fd)
        self.kind = Kind.NOTHING
        self._set_room(-1)

    def _set_room(self, room: int) -> None:
        """For so many bytes; below zero, nothing is taken any more."""
        self._room, self._half = room, room // 2

    def _piece_end(self) -> int:
        limit = self._offset + self.piece_bytes
        if limit >= len(self._gathered):
            return len(self._gathered)
        return self._gathered.rfind(b"\n", self._offset, limit) + 1 or limit

    def _send(self, piece: memoryview) -> int:
        """One system call, at most; the number of bytes of `piece` that are out."""
        if self._socket is not None:
            return self._socket.send(piece, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        if not self._own and self.kind in (Kind.PIPE, Kind.TERMINAL) and not _writable(self.fd):
            raise BlockingIOError
        if self._after_stump and not _ends_with_newline(self.fd):
            count = os.write(self.fd, b"\n" + piece) - 1
        else:
            count = os.write(self.fd, piece)
        self._after_stump = False
        return count

    def _failed(self, error: OSError) -> Progress:
        self.fault = error.strerror or str(error)
        if error.errno in _PASSING and self.kind in (Kind.FILE, Kind.DEVICE):
            if self.kind is Kind.FILE:
                self._repeat_cut_line()
            return Progress.FAILED
        self._set_room(-1)  # a reader that is gone does not come back: from now on `put` drops
        self.lost += self._gathered.count(b"\n", self._offset)
        self._offset = len(self._gathered)
        return Progress.DONE

    def _repeat_cut_line(self) -> None:
        """A write was cut, by this process or by another: go on with a whole line, on a line of its own."""
        self._offset = self._gathered.rfind(b"\n", 0, self._offset) + 1
        self._after_stump = True


def open_destination(name: str) -> Destination:
    """The destination that the configuration calls `stdout`, `stderr` or by an absolute path; raises StartError.

    A closed stdout is no error: the service runs on, and the drops are counted.
    """
    if name in ("stdout", "stderr"):
        shared = 1 if name == "stdout" else 2
        fd, own = _own_description(shared)
        return Destination(name, fd, own=own)
    try:
        return Destination(name, _open_path(name), own=True)
    except OSError as error:
        raise StartError(f"log file {name}: {error.strerror}; check the folder and its rights") from error


def write_at_once(fd: int, line: bytes) -> None:
    """Writes what fits into one piece if the descriptor takes it now, else nothing."""
    if _writable(fd):
        with suppress(OSError):  # there is nobody left to tell; the drops are counted
            os.write(fd, line[:_PIPE_PIECE])


def _open_path(path: str) -> int:
    """O_NONBLOCK matters to a FIFO only: without a reader, opening it fails instead of waiting."""
    return os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOCTTY | os.O_NONBLOCK, 0o640)


def _own_description(fd: int) -> tuple[int, bool]:
    """A descriptor for `fd`'s pipe or terminal that may be non-blocking; for other kinds a duplicate is good enough.

    A file is not opened anew: who shares its description also shares its offset, and would write over our lines.
    """
    kind = _kind(fd)
    if kind is Kind.NOTHING:
        return fd, False
    if kind in (Kind.PIPE, Kind.TERMINAL):
        try:
            flags = os.O_WRONLY | os.O_NONBLOCK | os.O_APPEND | os.O_CLOEXEC | os.O_NOCTTY
            return os.open(f"/proc/self/fd/{fd}", flags), True
        except OSError:
            return fd, False
    return os.dup(fd), True


def _kind(fd: int) -> Kind:
    try:
        mode = os.fstat(fd).st_mode
    except OSError:
        return Kind.NOTHING
    if stat.S_ISFIFO(mode):
        return Kind.PIPE
    if stat.S_ISSOCK(mode):
        return Kind.SOCKET
    if stat.S_ISCHR(mode):
        return Kind.TERMINAL if os.isatty(fd) else Kind.DEVICE
    return Kind.FILE


def _ends_with_newline(fd: int) -> bool:
    """Whether the file ends where a line ends; the descriptor itself is for writing only."""
    try:
        reader = os.open(f"/proc/self/fd/{fd}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        size = os.fstat(reader).st_size
        return size == 0 or os.pread(reader, 1, size - 1) == b"\n"
    except OSError:
        return False
    finally:
        os.close(reader)


def _writable(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, select.POLLOUT)
    return bool(poll.poll(0))
