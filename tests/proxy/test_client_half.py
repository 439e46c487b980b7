"""Requests out of a client's bytes, responses into them; pipelined bytes wait their turn."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest

from terminator.errors import BadRequest, ClientGone, HeadTooLarge, UriTooLong
from terminator.proxy.client_half import ClientHalf
from terminator.transport.stream import Stream
from terminator.wire.framing import Framing


@pytest.fixture
def pair() -> Iterator[tuple[ClientHalf, socket.socket]]:
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    with ours, theirs:
        yield ClientHalf(Stream(ours, ClientGone)), theirs


GET = b"GET /%d HTTP/1.1\r\nHost: a\r\n\r\n"


async def test_pipelined_requests_are_read_one_by_one(pair: tuple[ClientHalf, socket.socket]) -> None:
    half, peer = pair
    peer.send(GET % 1 + b"\r\n" + GET % 2)
    for number in (1, 2):
        assert await half.wait_for_request()
        head = half.head_now(1000, 100)
        assert head is not None
        assert head.path == f"/{number}"
        assert half.request_complete
        half.begin_response(204, b"", [], Framing.NONE, close=False)
        await half.finish()
        assert half.reusable


@pytest.mark.parametrize(
    "framing", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n"]
)
async def test_what_follows_a_body_is_the_next_request(pair: tuple[ClientHalf, socket.socket], framing: bytes) -> None:
    half, peer = pair
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\n" + framing + GET % 2)
    assert await half.wait_for_request()
    assert half.head_now(1000, 100) is not None
    assert await half.receive_body() == b"hello"
    assert await half.receive_body() == b""
    second = half.head_now(1000, 100)
    assert second is not None
    assert second.path == "/2"


async def test_a_head_past_its_limit_is_refused_before_it_is_whole(pair: tuple[ClientHalf, socket.socket]) -> None:
    half, peer = pair
    peer.send(b"GET / HTTP/1.1\r\nX: " + b"x" * 2000)
    assert await half.wait_for_request()
    with pytest.raises(HeadTooLarge):
        half.head_now(1000, 100)


async def test_a_request_line_past_the_limit_is_told_from_fields(pair: tuple[ClientHalf, socket.socket]) -> None:
    half, peer = pair
    peer.send(b"GET /" + b"x" * 2000)
    assert await half.wait_for_request()
    with pytest.raises(UriTooLong):
        half.head_now(1000, 100)


async def test_an_end_amid_the_body_is_a_departure(pair: tuple[ClientHalf, socket.socket]) -> None:
    half, peer = pair
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhel")
    peer.shutdown(socket.SHUT_WR)
    assert await half.wait_for_request()
    half.head_now(1000, 100)
    assert await half.receive_body() == b"hel"
    with pytest.raises(ClientGone):
        await half.receive_body()


async def test_broken_chunks_are_a_bad_request(pair: tuple[ClientHalf, socket.socket]) -> None:
    half, peer = pair
    peer.send(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
    assert await half.wait_for_request()
    half.head_now(1000, 100)
    with pytest.raises(BadRequest):
        await half.receive_body()


@pytest.mark.parametrize(
    ("framing", "wire"),
    [(Framing.CHUNKED, b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"), (Framing.LENGTH, b"abcd"), (Framing.UNTIL_CLOSE, b"abcd")],
)
async def test_a_response_is_framed_as_said(
    pair: tuple[ClientHalf, socket.socket], framing: Framing, wire: bytes
) -> None:
    half, peer = pair
    peer.send(GET % 1)
    assert await half.wait_for_request()
    half.head_now(1000, 100)
    half.begin_response(200, b"OK", [], framing, close=False)
    await half.send_body(b"ab")
    half.queue_body(b"cd")
    await half.finish()
    assert peer.recv(1000) == b"HTTP/1.1 200 OK\r\n\r\n" + wire
    assert half.reusable is (framing is not Framing.UNTIL_CLOSE)
    assert half.response_bytes == 4


@pytest.mark.parametrize(
    ("framing", "wire"), [(Framing.CHUNKED, b"2\r\nab\r\n2\r\ncd\r\n0\r\n\r\n"), (Framing.LENGTH, b"abcd")]
)
async def test_a_head_that_is_written_already_leaves_with_its_body(
    pair: tuple[ClientHalf, socket.socket], framing: Framing, wire: bytes
) -> None:
    half, peer = pair
    for _ in range(2):  # nothing is left of the response before
        half.begin_written_response(b"HTTP/1.1 200 OK\r\n\r\n", framing)
        assert half.response_begun
        await half.send_body(b"ab")
        half.queue_body(b"cd")
        await half.finish()
        assert peer.recv(1000) == b"HTTP/1.1 200 OK\r\n\r\n" + wire
        assert half.response_bytes == 4
