"""A head is taken when it is whole, however its bytes arrive, and what follows it stays."""

from __future__ import annotations

import re

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


@given(
    st.lists(st.sampled_from([b"\r\n", b"\n", b"\r", b"a", b"\r\n\r\n"]), max_size=20).map(b"".join), st.integers(0, 40)
)
def test_a_head_ends_with_the_first_empty_line_or_bare_line_feed(data: bytes, cut: int) -> None:
    buffer = HeadBuffer(1000)
    end = re.search(rb"\r\n\r\n|(?<!\r)\n", data)
    buffer.feed(data[:cut])
    taken = buffer.take_head()
    buffer.feed(data[cut:])
    taken = taken or buffer.take_head()
    assert taken == (data[: end.end()] if end is not None else None)
    assert buffer.take_all() == (data[end.end() :] if end is not None else data)


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


def test_what_somebody_else_has_read_is_forgotten_as_a_head_would_be() -> None:
    buffer = HeadBuffer(1000)
    buffer.feed(b"\r\n" + HEAD)
    buffer.skip_empty_line()
    assert buffer.peek() == HEAD
    buffer.forget()
    assert len(buffer) == 0
    buffer.feed(b"\r\n" + HEAD)  # an empty line may stand before the next one too
    buffer.skip_empty_line()
    assert buffer.take_head() == HEAD
