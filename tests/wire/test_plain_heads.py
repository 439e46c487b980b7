"""Whatever the express lane takes means to the ordinary readers what it means to the lane, byte for byte; and the
traffic it is for it does take."""

from __future__ import annotations

import contextlib
import dataclasses
import re

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from terminator.errors import TerminatorError
from terminator.wire import request_head, response_head
from terminator.wire.express import chunked
from terminator.wire.forwarding import response_fields
from terminator.wire.framing import Framing
from terminator.wire.plain_heads import PlainAnswer, field_lines_of, plain_answer, same_fields, sole_chunk
from terminator.wire.writing import CUSTOMARY, LAST_CHUNK, chunk, write_response_head

DATE = b"Sat, 21 Nov 2026 10:00:00 GMT"
REQUEST = b"GET / HTTP/1.1\r\nHost: shop.example\r\n\r\n"

# As servers sent them, with their spelling and order.
RECORDED = {
    "nginx": b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
    b"Content-Type: text/html\r\nContent-Length: 2\r\nLast-Modified: Tue, 04 Feb 2025 12:00:00 GMT\r\n"
    b"Connection: keep-alive\r\n"
    b'ETag: "67a1f0c0-267"\r\nAccept-Ranges: bytes\r\n\r\nok',
    "Apache": b"HTTP/1.1 200 OK\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\nServer: Apache/2.4.62 (Debian)\r\n"
    b'Last-Modified: Tue, 04 Feb 2025 12:00:00 GMT\r\nETag: "2-62d4f"\r\nAccept-Ranges: bytes\r\nContent-Length: 2\r\n'
    b"Keep-Alive: timeout=5, max=100\r\nConnection: Keep-Alive\r\nContent-Type: text/html\r\n\r\nok",
    "gunicorn and Django": b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
    b"Connection: keep-alive\r\nContent-Type: text/html; charset=utf-8\r\nX-Frame-Options: DENY\r\nVary: Cookie\r\n"
    b"Content-Length: 2\r\nX-Content-Type-Options: nosniff\r\nReferrer-Policy: same-origin\r\n"
    b"Cross-Origin-Opener-Policy: same-origin\r\nSet-Cookie: sessionid=abc; HttpOnly; Path=/; SameSite=Lax\r\n"
    b"Set-Cookie: csrftoken=def; Path=/\r\n\r\nok",
    "Node and Express": b"HTTP/1.1 201 Created\r\nX-Powered-By: Express\r\n"
    b"Content-Type: application/json; charset=utf-8\r\n"
    b'Content-Length: 2\r\nETag: W/"2-nOO9QiTIwXgNtWtBJezz8kv3SLc"\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\n'
    b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\n\r\n{}",
    "uvicorn and FastAPI": b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 09:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-length: 2\r\n"
    b'content-type: application/json\r\netag: "1"\r\nx-request-id: 7\r\n\r\n{}',
    "hyper and axum": b"HTTP/1.1 200 OK\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 2\r\n"
    b"connection: keep-alive\r\nvary: origin, access-control-request-method\r\n"
    b"date: Sat, 21 Nov 2026 09:00:00 GMT\r\n\r\nok",
    "an error": b"HTTP/1.1 404 Not Found\r\nContent-Type: text/plain\r\nContent-Length: 9\r\n\r\nnot found",
    "nothing to say": b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nX-Request-ID: 7\r\n\r\n",
    "nginx with SSI": b"HTTP/1.1 200 OK\r\nServer: nginx/1.26.3\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
    b"Content-Type: text/html\r\nTransfer-Encoding: chunked\r\nConnection: keep-alive\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "gunicorn and a stream": b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
    b"Connection: keep-alive\r\nTransfer-Encoding: chunked\r\nContent-Type: text/plain; charset=utf-8\r\n\r\n",
    "Node and a stream": b"HTTP/1.1 200 OK\r\nX-Powered-By: Express\r\nDate: Sat, 21 Nov 2026 09:00:00 GMT\r\n"
    b"Connection: keep-alive\r\nKeep-Alive: timeout=5\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{",
    "uvicorn and a stream": b"HTTP/1.1 200 OK\r\ndate: Sat, 21 Nov 2026 09:00:00 GMT\r\nserver: uvicorn\r\n"
    b"content-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n",
    "a beginning": b"HTTP/1.1 200 OK\r\nContent-Type: image/png\r\nContent-Length: 70000\r\n\r\n\x89PNG",
}


def ordinarily(data: bytes, hsts: bytes | None, closing: bool = False) -> PlainAnswer:
    """What the ordinary way makes of the beginning of a response to a GET of an HTTP/1.1 client."""
    head, blank, content = data.partition(b"\r\n\r\n")
    parsed = response_head.parse(head + blank, request_method="GET", max_fields=500)
    asked = request_head.parse(REQUEST, max_fields=100)
    assert parsed.framing is (Framing.CHUNKED if parsed.content_length is None else Framing.LENGTH)
    assert parsed.keep_alive
    fields = response_fields(parsed, asked, close=closing, date=DATE, hsts=hsts)
    answer = write_response_head(parsed.status, parsed.reason, fields)
    return parsed.status, parsed.content_length, answer, content


def by_h11(data: bytes) -> tuple[int, bytes, list[tuple[bytes, bytes]], bytes | None]:
    """Status, reason and fields of a response, as h11 reads it, and its content if that is whole and nothing else is
    there."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    head = connection.next_event()
    assert isinstance(head, h11.Response)
    content, whole = b"", False
    with contextlib.suppress(h11.RemoteProtocolError):
        while isinstance(event := connection.next_event(), h11.Data):
            content += event.data
        whole = isinstance(event, h11.EndOfMessage) and not connection.trailing_data[0]
    fields = [(bytes(name), bytes(value)) for name, value in head.headers]
    return head.status_code, bytes(head.reason), fields, content if whole else None


def lane(data: bytes, hsts: bytes | None = None, closing: bool = False) -> PlainAnswer | None:
    line = b"" if hsts is None else b"Strict-Transport-Security: %b\r\n" % hsts
    return plain_answer(data, lambda: DATE, line, closing=closing)


@pytest.mark.parametrize("hsts", [None, b"max-age=5"])
@pytest.mark.parametrize("data", RECORDED.values(), ids=RECORDED.keys())
def test_what_servers_send_is_plain(data: bytes, hsts: bytes | None) -> None:
    assert lane(data, hsts) == ordinarily(data, hsts)


PLAIN = st.sampled_from(b"Server Date Content-Type Set-Cookie X-B3-Traceid ETag Via Age Location X-Request-ID".split())
ODD = st.one_of(
    st.sampled_from(
        b"Content-Length content-type X-FOO X-3D Etag Connection Keep-Alive Transfer-Encoding Trailer Te TE Upgrade "
        b"Proxy Proxy-Connection Strict-Transport-Security Http2-Settings HTTP2-Settings Content-length X_Y X--Y -X X- "
        b"Proxy-Authenticate".split()
    ),
    st.sampled_from([*CUSTOMARY, *(name.title() for name in CUSTOMARY)]),
    st.from_regex(rb"[A-Za-z0-9-]{1,40}", fullmatch=True),
)
SIMPLE = st.from_regex(rb"[!-~]( ?[!-~\x80-\xff]){0,6}", fullmatch=True)
STRANGE = st.one_of(
    st.sampled_from([b"", b"0", b"2", b"02", b"close", b"keep-alive", b"chunked", b" a", b"a ", b"\ta", b"a\tb"]),
    st.binary(max_size=6),
)
PLAIN_LINE = st.builds(lambda name, value: name + b": " + value, PLAIN, SIMPLE)
ODD_LINE = st.one_of(
    st.builds(lambda name, value: name + b": " + value, ODD, SIMPLE),
    st.builds(lambda name, value: name + b": " + value, PLAIN, STRANGE),
    st.sampled_from([b"X:1", b"X: a\rb", b"X : 1", b" folded", b"", b"Keep-Alive: timeout=5"]),
)
# Most lines are plain, so that most answers with a few of them are taken, and the odd one meets a head that is not odd
# for another reason already.
LINES = st.lists(
    st.one_of(
        PLAIN_LINE,
        PLAIN_LINE,
        PLAIN_LINE,
        st.sampled_from([b"Connection: keep-alive", b"Connection: Keep-Alive"]),
        PLAIN_LINE,
        ODD_LINE,
    ),
    max_size=3,
)
ANSWERS = st.builds(
    lambda line, before, length, after, content: b"\r\n".join([line, *before, *length, *after, b"", content]),
    st.sampled_from(
        [b"HTTP/1.1 200 OK"] * 12
        + [b"HTTP/1.1 204 No Content", b"HTTP/1.1 304 Not Modified", b"HTTP/1.1 100 Continue", b"HTTP/1.1 599 "]
        + [b"HTTP/1.1 200", b"HTTP/1.0 200 OK", b"HTTP/1.1 200 \xc3\xa9", b"HTTP/1.1 600 X", b"HTTP/1.1 200  two"]
    ),
    LINES,
    st.sampled_from(
        [[b"Content-Length: 2"]] * 6
        + [[b"Transfer-Encoding: chunked"]] * 6
        + [[], [b"Content-Length: 02"], [b"Content-Length: 3"], [b"Content-Length: 9" + b"9" * 17]]
        + [
            [b"Transfer-Encoding: " + value]
            for value in (b"Chunked", b"gzip, chunked", b"chunked, chunked", b" chunked")
        ]
        + [[b"Transfer-encoding: chunked"], [b"Transfer-Encoding: chunked"] * 2]
        + [[b"Content-Length: 2", b"Transfer-Encoding: chunked"], [b"Transfer-Encoding: chunked", b"Content-Length: 2"]]
    ),
    LINES,
    st.sampled_from(
        [b"ok"] * 6 + [b"2\r\nok\r\n0\r\n\r\n"] * 6 + [b"", b"o", b"okHTTP/1.1 200 OK\r\n", b"\r\n", b"2\r\nok", b"zz"]
    ),
)


@settings(max_examples=800)
@given(ANSWERS, st.sampled_from([None, b"max-age=5"]), st.booleans(), st.booleans())
def test_a_head_that_the_lane_takes_is_read_alike_by_all(
    data: bytes, hsts: bytes | None, closing: bool, lower: bool
) -> None:
    if lower:
        data = re.sub(rb"(?<=\n)[^:\r\n]+:", lambda name: name[0].lower(), data)
    taken = lane(data, hsts, closing)
    if taken is None:
        return
    assert taken == ordinarily(data, hsts, closing)
    status, reason, fields, content = by_h11(data)
    _, length, _, behind = taken
    head = response_head.parse(data[: len(data) - len(behind)], request_method="GET", max_fields=500)
    assert (status, reason, fields) == (head.status, head.reason, list(head.fields))
    assert length is None or (content is not None) == (length == len(behind))
    if content is not None:
        assert content == b"ok" if length is None else content == behind


@given(st.sampled_from(list(RECORDED.values())), st.data())
def test_a_change_of_one_byte_is_noticed_by_both_or_by_none(data: bytes, draw: st.DataObject) -> None:
    at = draw.draw(st.integers(0, len(data) - 1))
    changed = data[:at] + bytes([draw.draw(st.integers(0, 255))]) + data[at + 1 :]
    taken = lane(changed)
    if taken is not None:
        assert taken == ordinarily(changed, None)


@given(st.binary(max_size=40), st.integers(0, 50), st.sampled_from([b"", b"0", b"0", b"x"]), st.booleans())
def test_a_sole_chunk_is_what_would_be_written(content: bytes, at: int, other: bytes, cut: bool) -> None:
    body = chunk(content) + LAST_CHUNK if content else LAST_CHUNK
    assert sole_chunk(body) == (len(content) or None)
    changed = body[:at] + other + body[at + (1 if cut else 0) :]
    length = sole_chunk(changed)
    if length is not None:
        reader = chunked()
        reader.feed(changed)
        piece = reader.piece()
        assert piece is not None
        assert (len(piece), reader.ended, reader.rest()) == (length, True, b"")
        assert changed == chunk(piece) + LAST_CHUNK


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"0\r\n\r\n",
        b"02\r\nok\r\n0\r\n\r\n",
        b"A\r\n0123456789\r\n0\r\n\r\n",
        b"2;a=b\r\nok\r\n0\r\n\r\n",
        b"2\r\nok\r\n0\r\nX-Sum: 1\r\n\r\n",
        b"2\r\nok\r\n00\r\n\r\n",
        b"1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        b"2\r\nok\r\n0\r\n\r\nHTTP/1.1 200 OK\r\n",
        b"2\r\nok\r\n0\r\n\r",
        b"2\r\nok\r\n",
        b"3\r\nok\r\n0\r\n\r\n",
        b"1\r\nok\r\n0\r\n\r\n",
        b"2\nok\r\n0\r\n\r\n",
    ],
)
def test_what_is_more_than_a_sole_chunk_or_less(body: bytes) -> None:
    assert sole_chunk(body) is None


@pytest.mark.parametrize("name", CUSTOMARY.values())
def test_names_with_a_spelling_of_their_own_stand_as_they_are_written(name: bytes) -> None:
    data = b"HTTP/1.1 200 OK\r\n%b: x\r\nContent-Length: 0\r\n\r\n"
    taken = lane(data % name)
    assert (taken is None) == (name == b"TE")
    if taken is not None:
        assert taken == ordinarily(data % name, None)
    regular = b"-".join(part.capitalize() for part in name.split(b"-"))
    if regular != name:
        assert lane(data % regular) is None  # it is to be sent on in its customary case


@pytest.mark.parametrize("line", [b"Connection: keep-alive", b"Keep-Alive: timeout=5"])
def test_more_than_two_lines_of_persistence_are_not_plain(line: bytes) -> None:
    """The ordinary way bounds how many there may be, and how long their values are together."""
    data = b"HTTP/1.1 200 OK\r\nConnection: keep-alive\r\n%bContent-Length: 0\r\n\r\n"
    assert lane(data % (line + b"\r\n")) == ordinarily(data % (line + b"\r\n"), None)
    assert lane(data % ((line + b"\r\n") * 2)) is None


def test_a_name_as_long_as_names_may_be_is_none_of_the_lane_s() -> None:
    data = b"HTTP/1.1 200 OK\r\n%b: x\r\nContent-Length: 0\r\n\r\n"
    assert lane(data % (b"X" + b"a" * 255)) is None
    assert lane(data % b"-".join([b"X" + b"a" * 31] * 8)) is None
    assert lane(data % b"-".join([b"X" + b"a" * 31] * 7)) is not None


# ------------------------------------------------------------------------------------------------------ requests

TARGETS = st.one_of(
    st.sampled_from(b"/ /a /a?b /a? * http://shop.example/ /%41 /a% //x /a/../b /;x".split()),
    st.binary(max_size=6).map(lambda tail: b"/" + tail),
)
REQUEST_LINES = st.builds(
    lambda method, target, version, end: method + b" " + target + b" " + version + end,
    st.sampled_from(
        [b"GET", b"POST", b"HEAD", b"PUT", b"DELETE", b"OPTIONS", b"PATCH", b"get", b"CONNECT", b"G T", b"PROPFIND"]
    ),
    TARGETS,
    st.sampled_from([b"HTTP/1.1"] * 4 + [b"HTTP/1.0", b"HTTP/2.0", b"http/1.1"]),
    st.sampled_from([b"\r\n"] * 5 + [b"\n", b"\r\n\r\n", b"\r"]),
)
FIELDS = st.sampled_from(
    [
        b"Host: shop.example\r\n\r\n",
        b"Host: shop.example\r\nUser-Agent: x\r\nCookie: a=b\r\n\r\n",
        b"Host: shop.example\r\nContent-Length: 2\r\n\r\n",
        b"host: SHOP.example:443\r\nConnection: keep-alive, X-Hop\r\nX-Hop: 1\r\n\r\n",
    ]
)


@settings(max_examples=500)
@given(FIELDS, REQUEST_LINES, FIELDS, st.sampled_from([b"", b"ok", b"GET / HTTP/1.1\r\n"]))
def test_a_request_with_the_same_fields_means_what_the_first_one_meant(
    first: bytes, line: bytes, second: bytes, behind: bytes
) -> None:
    before = request_head.parse(b"GET /first HTTP/1.1\r\n" + first, max_fields=100)
    fields = field_lines_of(b"GET /first HTTP/1.1\r\n" + first)
    assert fields == first
    data = bytearray(line + second + behind)
    same = same_fields(data, fields)
    if same is None:
        return
    beginning, method, path, query, length = same
    head = request_head.parse(bytes(data[:length]), max_fields=100)
    assert data[length:] == behind
    assert head == dataclasses.replace(
        before,
        method=method,
        target=beginning.decode().removeprefix(method + " "),
        path=path,
        query=query,
    )


@pytest.mark.parametrize("line", [b"GET /b?c=1 HTTP/1.1\r\n", b"POST /b HTTP/1.1\r\n", b"OPTIONS / HTTP/1.1\r\n"])
def test_common_request_lines_are_taken(line: bytes) -> None:
    fields = b"Host: shop.example\r\n\r\n"
    assert same_fields(line + fields, fields) is not None


@pytest.mark.parametrize(
    "line",
    [
        b"HEAD / HTTP/1.1\r\n",  # its response is framed otherwise
        b"GET http://shop.example/ HTTP/1.1\r\n",  # says itself which host it asks for
        b"GET /%41 HTTP/1.1\r\n",
        b"GET / HTTP/1.0\r\n",
        b"OPTIONS * HTTP/1.1\r\n",
    ],
)
def test_other_request_lines_are_not(line: bytes) -> None:
    fields = b"Host: shop.example\r\n\r\n"
    assert request_head.parse(line + fields, max_fields=100)
    assert same_fields(line + fields, fields) is None


@pytest.mark.parametrize(
    "line", [b"GET http://other.example/ HTTP/1.1\r\n", b"GET / HTTP/1.0\r\n", b"HEAD / HTTP/1.1\r\n"]
)
def test_nothing_is_learnt_from_them_either(line: bytes) -> None:
    assert field_lines_of(line + b"Host: shop.example\r\n\r\n") is None


@pytest.mark.parametrize(
    "lines",
    [
        b"",
        b"Transfer-Encoding: Chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Transfer-Encoding: chunked \r\n",
        b"Transfer-Encoding: chunked\r\n" * 2,
        b"Transfer-Encoding: chunked\r\nContent-Length: 2\r\n",
        b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n",
        b"Content-Length: 2\r\n" * 2,
        b"Content-Length: 1" + b"0" * 18 + b"\r\n",
    ],
)
def test_any_other_framing_is_not_plain(lines: bytes) -> None:
    assert lane(b"HTTP/1.1 200 OK\r\nServer: a\r\n" + lines + b"\r\n") is None


@pytest.mark.parametrize(
    "framing", [b"Transfer-Encoding: chunked", b"Content-Length: 2", b"transfer-encoding: chunked"]
)
@pytest.mark.parametrize("status", [b"200", b"204", b"304", b"101"])
def test_a_response_without_content_is_not_plain(status: bytes, framing: bytes) -> None:
    head = b"HTTP/1.1 %b X\r\n%b\r\n\r\n" % (status, framing)
    assert (lane(head) is None) == (status != b"200")


def test_a_head_is_taken_when_it_is_whole() -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nServer: a\r\n\r\n"
    for end in range(len(head)):
        assert lane(head[:end]) is None
    assert lane(head) is not None


def test_what_is_refused_by_the_ordinary_way_is_not_plain() -> None:
    for data in (b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok", b"HTTP/1.1 200 OK\r\nX: 1"):
        assert lane(data) is None
        with pytest.raises(TerminatorError):
            response_head.parse(data.removesuffix(b"ok"), request_method="GET", max_fields=500)
