"""Heads as bytes: one form, and nothing that breaks out of its place."""

from __future__ import annotations

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from terminator.wire.writing import phrase, spell, spelled, write_request_head, write_response_head


@pytest.mark.parametrize(
    ("name", "customary"),
    [
        (b"content-type", b"Content-Type"),
        (b"CONTENT-TYPE", b"Content-Type"),
        (b"etag", b"ETag"),
        (b"www-authenticate", b"WWW-Authenticate"),
        (b"sec-websocket-key", b"Sec-WebSocket-Key"),
        (b"x-request-id", b"X-Request-ID"),
        (b"te", b"TE"),
        (b"x_a-b", b"X_a-B"),
        (b"-", b"-"),
    ],
)
def test_customary_case(name: bytes, customary: bytes) -> None:
    assert spell(name) == customary
    assert spelled([(name, b"v")]) == [(customary, b"v")]


@pytest.mark.parametrize("name", [b"", b"a b", b"a:", b"a\r\nb", b"\xc3\xa4", b"a\0"])
def test_names_that_are_no_token(name: bytes) -> None:
    with pytest.raises(ValueError, match="token"):
        write_request_head("GET", "/", [(name, b"v")])


def test_request_head() -> None:
    fields = [(b"host", b"a"), (b"accept", b"*/*")]
    assert write_request_head("GET", "/b?c", fields) == b"GET /b?c HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n"


def test_response_head() -> None:
    assert write_response_head(200, b"OK", [(b"etag", b'"a"')]) == b'HTTP/1.1 200 OK\r\nETag: "a"\r\n\r\n'
    assert write_response_head(299, b"", []) == b"HTTP/1.1 299 \r\n\r\n"


@pytest.mark.parametrize("value", [b"a\r\nb:c", b"a\rb", b"a\nb", b"a\0b", b"a\x1bb", b"\x7f", b"\r\n\r\n"])
def test_injection_is_a_defect(value: bytes) -> None:
    for write in (
        lambda: write_request_head("GET", "/", [(b"a", value)]),
        lambda: write_request_head("GET", "/" + value.decode(), []),
        lambda: write_response_head(200, b"OK", [(b"a", value)]),
        lambda: write_response_head(200, value, []),
    ):
        with pytest.raises(ValueError, match="control byte"):
            write()


@pytest.mark.parametrize(("method", "target"), [("GE T", "/"), ("", "/"), ("GÉT", "/"), ("GET", "/a b"), ("GET", "")])
def test_request_lines_that_are_none(method: str, target: str) -> None:
    with pytest.raises(ValueError):
        write_request_head(method, target, [])


@pytest.mark.parametrize("status", [0, 99, 600])
def test_no_status(status: int) -> None:
    with pytest.raises(ValueError):
        write_response_head(status, b"", [])


@given(st.lists(st.tuples(st.just(b"a"), st.binary(max_size=8))), st.binary(max_size=8))
def test_every_line_is_one_field(fields: list[tuple[bytes, bytes]], reason: bytes) -> None:
    try:
        head = write_response_head(200, reason, fields)
    except ValueError:
        assume(False)
    assert head.count(b"\n") == head.count(b"\r\n") == head.count(b"\r") == len(fields) + 2


def test_phrases() -> None:
    assert phrase(413) == "Content Too Large"
    assert phrase(404) == "Not Found"
    assert phrase(299) == ""
