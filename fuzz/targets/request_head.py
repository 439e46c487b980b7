"""Request head: what is accepted is read alike by h11, llhttp and http.server, as received and as forwarded."""

from __future__ import annotations

import runpy
from collections.abc import Iterator
from pathlib import Path

from terminator.errors import ClientError
from terminator.wire.head_buffer import HeadBuffer
from terminator.wire.request_head import parse

_TESTS = Path(__file__).parents[2] / "tests" / "wire"
_CASES = runpy.run_path(str(_TESTS / "request_cases.py"))["CASES"]
_ORACLES = runpy.run_path(str(_TESTS / "test_request_head.py"))


def seeds() -> Iterator[bytes]:
    for case in _CASES:
        yield case.raw[:4096]


def check(data: bytes) -> None:
    buffer = HeadBuffer(65536)
    buffer.feed(data)
    buffer.skip_empty_line()
    raw = buffer.take_head()
    if raw is None:
        raw = data
    try:
        head = parse(raw, max_fields=50)
    except ClientError as error:
        assert str(error)
        return
    _ORACLES["assert_read_alike_by_h11"](raw, head)
    _ORACLES["assert_forwarded_alike"](head)
