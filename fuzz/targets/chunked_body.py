"""Chunked bodies: the express lane and h11 find the same content, end, trailers and rest, however the bytes are cut."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

_ORACLES = runpy.run_path(str(Path(__file__).parents[2] / "tests" / "wire" / "test_express.py"))


def seeds() -> Iterator[bytes]:
    yield b"\x00\x005\r\nhello\r\n0\r\n\r\nGET / HTTP/1.1\r\n"
    yield b"\x07\x015\r\nhello\r\n3;a=b\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    yield b"\x03\x020000000000000005\r\nhello\r\n000\r\n\r\n"
    yield b"\x02\x031\r\na\r\n" * 3


def check(data: bytes) -> None:
    """The first two bytes say where the rest is cut."""
    if len(data) < 2:
        return
    step, offset, stream = data[0], data[1], data[2:]
    cuts = list(range(offset % 16, len(stream), step)) if step else [offset]
    _ORACLES["assert_alike"](stream, cuts)
