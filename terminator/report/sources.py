"""Where the lines of a report come from: files, plain or packed, standard input, exports of the journal.

Files are read in pieces, never whole. A line is an event as terminator wrote it, or what others put around it: one
object per line of `journalctl -o json` (and of container logs), any prefix before the event (`journalctl -o short`), or
one field per line, of which MESSAGE holds the event (`journalctl -o export`, `-o verbose`).
"""

from __future__ import annotations

import gzip
import importlib
import io
import lzma
import os
import re
import shutil
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import IO, Any, cast

import orjson

from terminator.errors import TerminatorError

STDIN = "-"
_PIECE_BYTES = 1 << 20
_MAX_LINE_BYTES = 1 << 20
"""Lines of terminator have 64 KiB at most; an export of the journal may double that."""
_MAGIC = {b"\x1f\x8b": "gzip", b"\x28\xb5\x2f\xfd": "zstd", b"\xfd7zXZ\x00": "xz"}
_FIELD = re.compile(rb" *_{0,2}[A-Z][A-Z0-9_]*=")
"""A line of an entry's other fields."""
_WRAPPED = ("MESSAGE", "log", "message", "line")

Event = dict[str, Any]


class SourceError(TerminatorError):
    """A log cannot be read."""

    reason = "log_unreadable"


class Reader:
    """Iterates over the events of one log. Afterwards `lines` and `unreadable` tell what was seen.

    on_progress: called about once per megabyte with the bytes read so far of the file as it lies on disk
    """

    def __init__(self, path: str, on_progress: Callable[[int], None] | None = None) -> None:
        self.path = path
        self.lines = 0
        self.unreadable = 0
        """Lines that hold no event: cut by a full disk, or of other programs."""
        self._on_progress = on_progress

    def __iter__(self) -> Iterator[Event]:
        loads = orjson.loads
        for line in self._split():
            self.lines += 1
            try:
                event = loads(line)
                event["event"]
            except (ValueError, KeyError, TypeError, IndexError):
                unwrapped = _unwrapped(line)
                if unwrapped is None:
                    self.unreadable += _FIELD.match(line) is None
                    continue
                event = unwrapped
            yield event

    def _split(self) -> Iterator[bytes]:
        rest = b""
        for piece in self._pieces():
            first, *others = piece.split(b"\n")
            rest += first
            if others:
                if rest.strip():
                    yield rest
                rest = others.pop()
                yield from filter(None, others)
            if len(rest) > _MAX_LINE_BYTES:
                rest = b"\0"  # no log of ours, whatever it is; counted as one unreadable line
        if rest.strip():
            yield rest

    def _pieces(self) -> Iterator[bytes]:
        with ExitStack() as stack:
            try:
                raw, opened = self._open(stack)
                while piece := opened.read(_PIECE_BYTES):
                    if self._on_progress is not None:
                        self._on_progress(raw.tell() if raw.seekable() else 0)
                    yield piece
            except (OSError, EOFError, zlib.error, lzma.LZMAError) as error:
                words = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
                raise SourceError(f"{self.path}: {words}") from error

    def _open(self, stack: ExitStack) -> tuple[io.BufferedReader, IO[bytes]]:
        """The file as it lies there, and as it is to be read."""
        raw = cast("io.BufferedReader", sys.stdin.buffer)
        if self.path != STDIN:
            raw = stack.enter_context(open(self.path, "rb"))  # noqa: SIM115 -- the stack closes it
        start = raw.peek(8)[:8]
        kind = next((kind for magic, kind in _MAGIC.items() if start.startswith(magic)), None)
        if kind == "gzip":
            return raw, cast("IO[bytes]", stack.enter_context(gzip.open(raw, "rb")))
        if kind == "xz":
            return raw, cast("IO[bytes]", stack.enter_context(lzma.open(raw, "rb")))
        if kind == "zstd":
            return raw, _zstd(raw, self.path, stack)
        return raw, raw


def _zstd(raw: IO[bytes], path: str, stack: ExitStack) -> IO[bytes]:
    """By whatever there is: Python 3.14, the command zstd, or the package zstandard, which says nothing of a file that
    was cut and hence comes last."""
    if (opened := _opened_by("compression.zstd", raw)) is not None:
        return stack.enter_context(opened)
    command = shutil.which("zstd")
    if command is None or path == STDIN:
        if (opened := _opened_by("zstandard", raw)) is not None:
            return stack.enter_context(opened)
        raise SourceError(f"{path}: packed with zstd; unpack it with `zstd -dc`, or install zstd or zstandard")
    process = subprocess.Popen([command, "-dcq", "--", path], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None

    def finish() -> None:
        assert process.stdout is not None
        process.stdout.close()
        if process.wait() > 0:
            raise SourceError(f"{path}: zstd could not unpack it to its end")

    stack.callback(finish)
    return process.stdout


def _opened_by(module: str, raw: IO[bytes]) -> IO[bytes] | None:
    try:
        return cast("IO[bytes]", _Unpacking(importlib.import_module(module), raw))
    except ImportError:
        return None


class _Unpacking:
    """A stream of a module that has errors of its own; here they are OSErrors, as for files."""

    def __init__(self, module: Any, raw: IO[bytes]) -> None:
        self._error = module.ZstdError
        self._stream = module.open(raw, "rb")

    def read(self, size: int) -> bytes:
        try:
            return cast("bytes", self._stream.read(size))
        except self._error as error:
            raise OSError(str(error)) from error

    def __enter__(self) -> _Unpacking:
        return self

    def __exit__(self, *error: object) -> None:
        self._stream.close()


def _unwrapped(line: bytes) -> Event | None:
    """The event inside a line that is not one itself."""
    try:
        outer = orjson.loads(line)
    except ValueError:
        at = line.find(b'{"time":')
        return _event(line[at:]) if at > 0 else None
    if not isinstance(outer, dict):
        return None
    for key in _WRAPPED:
        inner = outer.get(key)
        if isinstance(inner, list):  # journalctl writes what is not UTF-8 as numbers
            inner = bytes(byte for byte in inner if isinstance(byte, int) and 0 <= byte < 256)
        if isinstance(inner, (str, bytes)):
            return _event(inner)
    return None


def _event(text: str | bytes) -> Event | None:
    try:
        event = orjson.loads(text)
    except ValueError:
        return None
    return event if isinstance(event, dict) and "event" in event else None


def total_bytes(paths: list[str]) -> int | None:
    """Bytes of all files together; None when that cannot be known."""
    try:
        return sum(os.path.getsize(path) for path in paths) if STDIN not in paths else None
    except OSError:
        return None
