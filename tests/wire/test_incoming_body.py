"""Bodies come out in pieces of a useful size, end where their framing says, and give up their trailers at the end."""

from __future__ import annotations

import h11
import pytest

from terminator.wire.incoming_body import MAX_JOINED, BodyFault, IncomingBody


def body_after(head: bytes) -> IncomingBody:
    http = h11.Connection(h11.SERVER)
    http.receive_data(head)
    http.next_event()
    return IncomingBody(http, chunked=head is CHUNKED)


CHUNKED = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"


def test_a_counted_body() -> None:
    body = body_after(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    assert body.piece() is None
    body.feed(b"hel")
    assert body.piece() == b"hel"
    body.feed(b"lo")
    assert body.piece() == b"lo"
    assert body.piece() == b""
    assert body.ended
    assert body.size == 5


def test_small_chunks_are_joined_and_trailers_stay() -> None:
    body = body_after(CHUNKED)
    body.feed(b"1\r\na\r\n" * 10 + b"0\r\nX-Sum: 10\r\n\r\n")
    assert body.piece() == b"a" * 10
    assert body.piece() == b""
    assert body.trailers == [(b"x-sum", b"10")]


def test_very_many_tiny_chunks_are_read_in_turns() -> None:
    body = body_after(CHUNKED)
    body.feed(b"1\r\na\r\n" * (MAX_JOINED + 1))
    assert body.piece() == b"a" * MAX_JOINED
    assert body.crowded
    assert body.piece() == b"a"
    assert not body.crowded


@pytest.mark.parametrize("data", [b"zz\r\n", b"-1\r\nab", b"5\r\nhello!"])
def test_bad_chunks_are_refused(data: bytes) -> None:
    body = body_after(CHUNKED)
    body.feed(data)
    with pytest.raises(BodyFault):  # noqa: PT012
        while body.piece() is not None:
            continue


def test_an_early_end_is_refused() -> None:
    body = body_after(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\n")
    body.feed(b"he")
    body.piece()
    body.feed(b"")
    with pytest.raises(BodyFault):
        body.piece()
