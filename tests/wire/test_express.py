"""The express lane reads what h11 reads: on any bytes, cut in any way, the same content, end, trailers and rest."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import h11
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from terminator.wire import express
from terminator.wire.incoming_body import Body, BodyFault, IncomingBody

HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"


@dataclass
class Reading:
    """What a reader made of a stream."""

    content: bytes
    ended: bool
    fault: bool
    rest: bytes = b""
    trailers: tuple[tuple[bytes, bytes], ...] = ()


def read(body: Body, pieces: list[bytes]) -> Reading:
    """Feeds the pieces and then the end of input, and takes all there is after each, as both connections do."""
    content = b""
    try:
        for at, data in enumerate([*pieces, b""]):
            body.feed(data)
            while piece := body.piece():
                content += piece
                assert body.size == len(content)
            if body.ended:
                assert piece == b""
                behind = b"".join(pieces[at + 1 :])
                return Reading(content, True, False, body.rest() + behind, tuple(body.trailers))
            assert piece is None
    except BodyFault:
        return Reading(content, False, True)
    return Reading(content, False, False)


def cut(stream: bytes, cuts: list[int]) -> list[bytes]:
    """The stream in pieces, none of them empty: an empty one means the end of input."""
    borders = [0, *sorted({at for at in cuts if 0 < at < len(stream)}), len(stream)]
    return [stream[start:end] for start, end in pairwise(borders) if start < end]


def by_h11(head: bytes) -> IncomingBody:
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=65536)
    http.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\n" + head + b"\r\n\r\n")
    http.next_event()
    return IncomingBody(http, chunked=head == b"Transfer-Encoding: chunked")


def assert_alike(stream: bytes, cuts: list[int]) -> None:
    """A chunked stream; also the oracle of fuzz/targets/chunked_body.py."""
    theirs = read(by_h11(b"Transfer-Encoding: chunked"), cut(stream, cuts))
    ours = read(express.chunked(), cut(stream, cuts))
    assert_same(ours, theirs)


def assert_same(ours: Reading, theirs: Reading) -> None:
    if ours.fault and theirs.fault:
        # A fault ends everything; how much was given out before depends on how much was read in one go.
        assert ours.content.startswith(theirs.content) or theirs.content.startswith(ours.content)
    else:
        assert ours == theirs


# A stream is a row of these, whole or damaged.
CHUNKS = st.binary(min_size=1, max_size=40).map(lambda data: b"%x\r\n%b\r\n" % (len(data), data))
ODD = st.sampled_from(
    [
        b"5\r\nhello",
        b"5\r\nhelloo\r\n",
        b"5\nhello\r\n",
        b"5;a=b\r\nhello\r\n",
        b'5;a="\r\n"\r\nhello\r\n',
        b"5 \r\nhello\r\n",
        b"005\r\nhello\r\n",
        b"0000000000000005\r\nhello\r\n",
        b"000000000000000000005\r\nhello\r\n",
        b"-5\r\n",
        b"+5\r\n",
        b"0x5\r\nhello\r\n",
        b"5\r\r\nhello\r\n",
        b"\r\n",
        b"\n",
        b"\r",
        b" ",
        b";",
        b"g\r\n",
        b"5\r\nhello\n",
        b"ffffffffffffffff\r\n",
        b"5\r\nhello\r\n\r\n",
        b"X" * 30,
        b"0\r\nX-Sum: 1\r\n\r\n",
        b"0\r\n X: 1\r\n\r\n",
        b"0\r\nX : 1\r\n\r\n",
        b"0\r\nno colon\r\n\r\n",
        b"0;a\r\n\r\n",
        b"000\r\n\r\n",
        b"0\r\n\n",
        b"0\r\n",
        b"0",
        END,
        HELLO,
        HELLO.upper(),
        b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    ]
)
STREAMS = st.lists(CHUNKS | CHUNKS | ODD | st.binary(max_size=4), max_size=8).map(b"".join)
CUTS = st.lists(st.integers(0, 300), max_size=30)


@given(STREAMS | STREAMS.map(lambda stream: stream + END), CUTS)
@settings(max_examples=1500)
@example(b"5\r\nhelloXY0\r\n\r\n", [8])
@example(HELLO + b"3;x\r\nabc\r\n" + END + b"GET /", list(range(40)))
def test_any_chunked_stream_is_read_as_h11_reads_it(stream: bytes, cuts: list[int]) -> None:
    assert_alike(stream, cuts)


@given(STREAMS.map(lambda stream: stream + END + b"next"))
@settings(max_examples=200)
def test_byte_by_byte(stream: bytes) -> None:
    assert_alike(stream, list(range(len(stream))))


@given(st.integers(0, 60), st.binary(max_size=80), CUTS)
@settings(max_examples=500)
def test_any_counted_stream_is_read_as_h11_reads_it(length: int, stream: bytes, cuts: list[int]) -> None:
    theirs = read(by_h11(b"Content-Length: %d" % length), cut(stream, cuts))
    assert_same(read(express.counted(length), cut(stream, cuts)), theirs)


@pytest.mark.parametrize(
    ("stream", "content", "trailers", "rest"),
    [
        (HELLO + END, b"hello", (), b""),
        (HELLO + HELLO + END + b"more", b"hellohello", (), b"more"),
        (HELLO + b"5;ext=1\r\nhello\r\n" + END + b"more", b"hellohello", (), b"more"),
        (HELLO + b"0\r\nX-Sum: 5\r\n\r\nmore", b"hello", ((b"x-sum", b"5"),), b"more"),
        (b"00A\r\n0123456789\r\n00\r\n\r\n", b"0123456789", (), b""),
    ],
    ids=["plain", "bytes behind", "handed over amid the body", "trailers", "leading zeros"],
)
@pytest.mark.parametrize("step", [1, 2, 3, 7, 1000])
def test_chunked(stream, content, trailers, rest, step) -> None:
    reading = read(express.chunked(), cut(stream, list(range(0, len(stream), step))))
    assert reading == Reading(content, True, False, rest, trailers)


@pytest.mark.parametrize(
    "stream",
    [
        b"zz\r\n",
        b"-1\r\nab\r\n",
        b"5\r\nhello!\r\n",
        b"5\r\nhel",
        b"5\r\nhello",
        b"",
        b"5",
        b"0\r\n",
        b"5\nhello\r\n0\r\n\r\n",
        b"5\r\nhello\n0\n\n",
        b"fffffffffffffffffffff\r\n",
        b"0\r\nno colon\r\n\r\n",
    ],
)
@pytest.mark.parametrize("step", [1, 1000])
def test_chunked_faults(stream, step) -> None:
    """RFC 9112 §7.1, §8: what breaks the framing or ends early is never taken for a whole body."""
    assert read(express.chunked(), cut(stream, list(range(0, len(stream), step)))).fault


def test_a_chunk_line_without_end_is_refused() -> None:
    body = express.chunked()
    with pytest.raises(BodyFault):  # noqa: PT012
        for _ in range(100):
            body.feed(b"5;" + b"x" * 4096)
            assert body.piece() is None


def test_endless_trailers_are_refused() -> None:
    body = express.chunked()
    body.feed(b"0\r\n")
    with pytest.raises(BodyFault):  # noqa: PT012
        for number in range(10_000):
            body.feed(b"X-%d: 1\r\n" % number)
            assert body.piece() is None


def test_very_many_tiny_chunks_are_read_in_turns() -> None:
    body = express.chunked()
    body.feed(b"1\r\na\r\n" * (express.MAX_JOINED + 1) + END)
    assert body.piece() == b"a" * express.MAX_JOINED
    assert body.crowded
    assert body.piece() == b"a"
    assert not body.crowded
    assert body.piece() == b""
    assert body.ended


def test_a_body_that_is_here_whole_can_be_looked_at() -> None:
    body = express.CountedBody(4)
    body.feed(b"bo")
    assert body.whole() is None
    body.feed(b"dyGET /")
    assert body.whole() == body.whole() == b"body"
    assert (body.piece(), body.rest()) == (b"body", b"GET /")
    assert express.CountedBody(0).whole() == b""


def test_the_rest_of_a_counted_body_may_be_handed_out() -> None:
    body = express.CountedBody(10)
    body.feed(b"abc")
    assert body.hand_out() == 0  # what is here must be taken first
    assert body.piece() == b"abc"
    assert body.hand_out() == 7
    assert body.ended
    assert body.size == 10
