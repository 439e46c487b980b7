"""A head is taken when it is whole, however its bytes arrive, and what follows it stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.wire.head_buffer import HeadBuffer

HEAD = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"


def test_takes_whole_heads_in_turn_and_leaves_the_rest() -> None:
    buffer = HeadBuffer(1000)
    buffer.feed(HEAD + HEAD + b"body")
    assert buffer.take_head() == HEAD
    assert buffer.take_head() == HEAD
    assert buffer.take_head() is None
    assert buffer.take_all() == b"body"
    assert len(buffer) == 0


@given(st.lists(st.integers(1, 20)))
def test_the_pieces_in_which_a_head_arrives_make_no_difference(sizes: list[int]) -> None:
    buffer, rest = HeadBuffer(1000), HEAD + b"tail"
    taken = None
    for size in [*sizes, len(rest)]:
        piece, rest = rest[:size], rest[size:]
        buffer.feed(piece)
        taken = taken or buffer.take_head()
    assert taken == HEAD
    assert buffer.take_all() == b"tail"


@pytest.mark.parametrize(
    ("data", "taken"),
    [
        (b"GET / HTTP/1.1\nHost: a\n\n", b"GET / HTTP/1.1\n"),
        (b"\nGET", b"\n"),
        (b"GET / HTTP/1.1\r\nA: b\nC: d\r\n\r\n", b"GET / HTTP/1.1\r\nA: b\n"),
    ],
)
def test_a_bare_line_feed_ends_the_search_so_that_the_parser_can_refuse_it(data: bytes, taken: bytes) -> None:
    buffer = HeadBuffer(1000)
    buffer.feed(data)
    assert buffer.take_head() == taken


def test_one_empty_line_before_a_request_is_dropped() -> None:
    buffer = HeadBuffer(1000)
    buffer.feed(b"\r\n" + HEAD)
    buffer.skip_empty_line()
    assert buffer.take_head() == HEAD


def test_an_incomplete_head_past_the_limit_overflows() -> None:
    buffer = HeadBuffer(10)
    buffer.feed(b"GET /longer-than-that")
    assert buffer.take_head() is None
    assert buffer.overflows
