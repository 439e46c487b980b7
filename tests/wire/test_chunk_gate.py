"""The gate of chunked bodies: its verdict table, the same however the bytes are cut, and never laxer than h11."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminator.wire.chunk_gate import MAX_SIZE_LINE_BYTES, MAX_TRAILER_BYTES, ChunkGate
from terminator.wire.framing import Malformed

HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"

# (claim, stream, section); all are refused
REFUSED = [
    ("a bare LF behind the size", b"5\nhello\r\n" + END, "RFC 9112 §2.2"),
    ("a bare LF behind the content", b"5\r\nhello\n" + END, "RFC 9112 §7.1"),
    ("a bare CR behind the size", b"5\rhello\r\n" + END, "RFC 9112 §2.2"),
    ("two CRs behind the size", b"5\r\r\nhello\r\n" + END, "RFC 9112 §2.2"),
    ("a bare LF at the very end", HELLO + b"0\r\n\n", "RFC 9112 §2.2"),
    ("a bare LF behind the last size", HELLO + b"0\n\r\n", "RFC 9112 §2.2"),
    ("a bare LF behind a trailer", HELLO + b"0\r\nX: 1\n\r\n", "RFC 9112 §2.2"),
    ("a bare CR in a trailer", HELLO + b"0\r\nX: 1\rY: 2\r\n\r\n", "RFC 9112 §2.2"),
    ("a folded trailer", HELLO + b"0\r\nX: 1\r\n 2\r\n\r\n", "RFC 9112 §5.2"),
    ("a trailer with a space before its colon", HELLO + b"0\r\nX : 1\r\n\r\n", "RFC 9112 §5.1"),
    ("a trailer without a colon", HELLO + b"0\r\nGET / HTTP/1.1\r\n\r\n", "RFC 9112 §5"),
    ("a NUL in a trailer", HELLO + b"0\r\nX: \0\r\n\r\n", "RFC 9110 §5.5"),
    ("a bare CR in an extension", b"5;a\rb\r\nhello\r\n" + END, "RFC 9112 §7.1.1"),
    ("a bare LF in an extension", b"5;a\nb\r\nhello\r\n" + END, "RFC 9112 §7.1.1"),
    ("a NUL in an extension", b"5;a=\0\r\nhello\r\n" + END, "RFC 9112 §7.1.1"),
    ("an extension without a name", b"5;\r\nhello\r\n" + END, "RFC 9112 §7.1.1"),
    ("an extension with an open quote", b'5;a="b\r\nhello\r\n' + END, "RFC 9112 §7.1.1"),
    ("a CRLF in a quoted extension", b'5;a="\r\n"\r\nhello\r\n' + END, "RFC 9112 §7.1.1"),
    ("a word behind the size", b"5 a\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("a space before the size", b" 5\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("a sign", b"+5\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("a negative size", b"-5\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("a prefix of C", b"0x5\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("an underscore of Python", b"0_5\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("no size", b"\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("a size beyond 2**64", b"10000000000000005\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    ("a size of sixteen digits", b"0000000000000005\r\nhello\r\n" + END, "by decision"),
    ("more content than the size says", b"5\r\nhello!\r\n" + END, "RFC 9112 §7.1"),
    ("less content than the size says", b"5\r\nhell\r\n" + END, "RFC 9112 §7.1"),
    ("an endless size line", b"5;" + b"a" * MAX_SIZE_LINE_BYTES, "by decision"),
    ("endless trailers", b"0\r\n" + b"X: 1\r\n" * (MAX_TRAILER_BYTES // 6 + 1), "by decision"),
]
ACCEPTED = [
    ("plain", HELLO + END),
    ("leading zeros", b"005\r\nhello\r\n000\r\n\r\n"),
    ("both cases", b"a\r\n0123456789\r\nA\r\n0123456789\r\n" + END),
    ("an extension", b"5;a=b;c\r\nhello\r\n" + b"0;d\r\n\r\n"),
    ("whitespace around an extension", b'5 ; a = "b\\"\t;"\r\nhello\r\n' + END),
    ("whitespace behind a size", b"5  \r\nhello\r\n" + END),
    ("trailers", HELLO + b"0\r\nX-Sum: 1\r\nY:\r\n\r\n"),
    ("anything behind the end", HELLO + END + b"\n\0\xff"),
    ("line feeds in the content", b"4\r\n\n\r\n\r\r\n" + END),
]


def passes(stream: bytes, step: int) -> bool:
    gate = ChunkGate()
    try:
        for at in range(0, len(stream), step):
            gate.look(stream[at : at + step])
    except Malformed:
        return False
    return True


@pytest.mark.parametrize(("claim", "stream", "section"), REFUSED, ids=[case[0] for case in REFUSED])
def test_refused(claim: str, stream: bytes, section: str) -> None:
    assert not any(passes(stream, step) for step in (1, 2, 3, 100_000)), section


@pytest.mark.parametrize(("claim", "stream"), ACCEPTED, ids=[case[0] for case in ACCEPTED])
def test_accepted(claim: str, stream: bytes) -> None:
    assert all(passes(stream, step) for step in (1, 2, 3, 100_000))


LINES = st.sampled_from(
    [HELLO, END, b"0\r\n", b"X: 1\r\n", b"5;a=b\r\n", b"\r\n", b"\n", b"\r", b"hello", b"5", b";", b" "]
)


@given(st.lists(LINES | st.binary(max_size=3), max_size=10).map(b"".join))
@settings(max_examples=1000)
def test_what_passes_h11_takes_too(stream: bytes) -> None:
    if passes(stream, len(stream) or 1):
        http = h11.Connection(h11.SERVER)
        http.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + stream)
        while isinstance(http.next_event(), (h11.Request, h11.Data)):
            continue
