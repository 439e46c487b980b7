"""What both heads share; the verdicts themselves stand in the tables of the two heads."""

from __future__ import annotations

import pytest

from terminator.wire.framing import (
    Malformed,
    check_transfer_encoding,
    connection_options,
    content_length,
    field_lines,
    joined,
    one,
)

BLOCK = b"x\r\nA: 1\r\nb:2\r\nA:  3 \r\n\r\n"


def test_field_lines_in_order() -> None:
    assert field_lines(BLOCK, 3) == ((b"a", b"1"), (b"b", b"2"), (b"a", b"3"))


def test_no_field_lines() -> None:
    assert field_lines(b"x\r\n\r\n", 3) == ()


def test_repeated_fields() -> None:
    fields = field_lines(BLOCK, 3)
    assert joined(fields, b"a") == b"1, 3"
    assert joined(fields, b"c") is None
    assert one(fields, b"b", "RFC 0") == b"2"
    assert one(fields, b"c", "RFC 0") is None
    with pytest.raises(Malformed, match="more than one A field"):
        one(fields, b"a", "RFC 0")


@pytest.mark.parametrize(
    ("line", "fault"),
    [
        (b"A: b\n", "bare LF"),
        (b"\r\n", "empty line"),
        (b" A: b\r\n", "folded"),
        (b"A\r\n", "without a colon"),
        (b":b\r\n", "empty field name"),
        (b"A : b\r\n", "whitespace between"),
        (b"A b: c\r\n", "no token"),
        (b"a" * 257 + b": b\r\n", "256 bytes"),
        (b"A: b\rc\r\n", "bare CR"),
        (b"A: \0\r\n", "NUL"),
        (b"A: \x1b\r\n", "control byte"),
    ],
)
def test_the_fault_is_named(line: bytes, fault: str) -> None:
    with pytest.raises(Malformed, match=fault):
        field_lines(b"x\r\nA: b\r\n" + line + b"C: d\r\n\r\n", 3)


def test_connection_options() -> None:
    assert connection_options(b"Close , ,X-A") == {b"close", b"x-a"}
    assert connection_options(b"") == frozenset()
    with pytest.raises(Malformed, match="1024 bytes"):
        connection_options(b"a," * 600)


def test_content_length() -> None:
    assert content_length(b"0") == 0
    assert content_length(b"007") == 7
    for value in (b"", b"-1", b"1 ", b"1,1", b"\xb2", b"1" * 19):
        with pytest.raises(Malformed):
            content_length(value)


def test_transfer_encoding() -> None:
    check_transfer_encoding(b"cHunked", b"1", None)
    for value, version, length in ((b"gzip", b"1", None), (b"chunked", b"0", None), (b"chunked", b"1", b"3")):
        with pytest.raises(Malformed):
            check_transfer_encoding(value, version, length)
