"""The client's half of HTTP/1.1 on one connection: requests in, responses out.

`wire.request_head` is the gate, and `wire.writing` makes every head anew. A request whose framing is plain is read by
the express lane; any other is read by h11 as well, head and body, and the two readings of the head must agree.
Pipelined bytes wait here, unread, until their turn.
"""

from __future__ import annotations

from collections.abc import Iterable

import h11
import trio

from terminator.errors import BadRequest, ClientGone
from terminator.transport.stream import Stream
from terminator.wire import express, request_head
from terminator.wire.framing import Framing
from terminator.wire.head_buffer import HeadBuffer
from terminator.wire.incoming_body import Body, BodyFault, IncomingBody
from terminator.wire.request_head import RequestHead
from terminator.wire.writing import LAST_CHUNK, chunk, last_chunk, write_response_head

RECEIVE_BYTES = 65536

MAX_RAW_HEAD_BYTES = 4096
"""Of a head that is kept for `take_raw_head`, also by a connection that waits for its next request."""

Fields = Iterable[tuple[bytes, bytes]]


class ClientHalf:
    """Belongs to the task of one client connection."""

    __slots__ = (
        "_body",
        "_framing",
        "_head",
        "_incoming",
        "_max_fields",
        "_outgoing",
        "_raw_head",
        "ended_by_us",
        "response_begun",
        "response_bytes",
        "reusable",
        "stream",
    )

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._incoming = HeadBuffer(0)
        self._outgoing: list[bytes] = []
        self._body: Body | None = None
        self._head: RequestHead | None = None
        self._raw_head = b""
        self._framing = Framing.NONE
        self._max_fields = 0
        self.response_begun = False
        """The final response has been begun: no other one can be sent for this request."""
        self.response_bytes = 0
        """Content of the response sent so far, without framing."""
        self.ended_by_us = False
        """An answer of our own says that no other request is read. The client may be sending one all the same."""
        self.reusable = False
        """Both messages are complete and nobody said close: another request may follow."""

    # ------------------------------------------------------------------------------------------------- the request

    @property
    def request_begun(self) -> bool:
        """Whether a byte of the next request has been received."""
        return len(self._incoming) > 0

    def request_waiting(self) -> bool:
        """Whether a byte of the next request has been received already, or can be without waiting."""
        if not len(self._incoming):
            try:
                self._take_in(self.stream.receive_now(RECEIVE_BYTES) or b"")
            except ClientGone:
                return False
        return len(self._incoming) > 0

    async def wait_for_request(self) -> bool:
        """True as soon as a byte of the next request is there, False when the client has said goodbye instead."""
        while not len(self._incoming):
            data = await self.stream.receive_later(RECEIVE_BYTES)
            if not data:
                return False
            self._take_in(data)
        return True

    def _take_in(self, data: bytes) -> None:
        """Bytes before a request line, where an empty line does not count (RFC 9112 §2.2)."""
        self._incoming.feed(data)
        self._incoming.skip_empty_line()

    def received(self) -> bytearray:
        """What has been received of the next request; to be looked at only. See `forget_received`."""
        return self._incoming.peek()

    def forget_received(self) -> None:
        """All that has been received was one request, and it has been served."""
        self._incoming.forget()

    def head_now(self, max_bytes: int, max_fields: int) -> RequestHead | None:
        """The next request's head if it is there whole, else None: then await `receive_head`, same limits. Raises
        `ClientError`s; after one of them nothing more can be read."""
        self._incoming.max_head_bytes = max_bytes
        self._max_fields = max_fields
        self._body = None
        self.response_begun = self.reusable = False
        self.response_bytes = 0
        return self._take_head()

    async def receive_head(self) -> RequestHead:
        """Waits for the rest of the head that `head_now` found incomplete. Raises as it does."""
        while (head := self._take_head()) is None:
            data = await self.stream.receive(RECEIVE_BYTES)
            if not data:
                raise ClientGone("the client closed the connection amid its request head")
            self._incoming.feed(data)
        return head

    def _take_head(self) -> RequestHead | None:
        self._incoming.skip_empty_line()  # its two bytes may have come in two reads
        raw = self._incoming.take_head()
        if raw is None:
            if not self._incoming.overflows:
                return None
            raw = self._incoming.take_all()
        if len(raw) > self._incoming.max_head_bytes:
            raise request_head.too_large(raw, self._incoming.max_head_bytes)
        return self._admit(raw, self._max_fields)

    def _admit(self, raw: bytes, max_fields: int) -> RequestHead:
        self._head = head = request_head.parse(raw, max_fields=max_fields)
        self._raw_head = raw if len(raw) <= MAX_RAW_HEAD_BYTES else b""
        plain = head.framing is not Framing.CHUNKED and head.upgrade is None and not head.expect_continue
        body = express.counted(head.content_length or 0) if plain else _read_by_h11(raw, head)
        self._body = body
        if not body.ended and len(self._incoming):
            body.feed(self._incoming.take_all())
        return head

    def take_raw_head(self) -> bytes:
        """The bytes of the head that was received last, once; b"" for a large one."""
        raw, self._raw_head = self._raw_head, b""
        return raw

    def body_here(self) -> bytes | None:
        """The whole body of a request with plain framing, b"" for none, if it has been received; it stays."""
        return self._body.whole() if isinstance(self._body, express.CountedBody) else None

    def body_now(self) -> bytes | None:
        """The next piece of the request's body if it is there already, b"" at its end, None if it must be awaited."""
        assert self._body is not None
        body = self._body
        if body.ended:
            return b""
        try:
            piece = body.piece()
            while piece is None and (data := self.stream.receive_now(RECEIVE_BYTES)) is not None:
                body.feed(data)
                piece = body.piece()
        except BodyFault as error:
            if self.stream.ended:
                raise ClientGone("the client closed the connection amid its request body") from error
            raise BadRequest(f"the request body is refused: {error}") from error
        if self.request_complete:
            self._keep_rest()
        return piece

    async def receive_body(self) -> bytes:
        """The next piece of the request's body, b"" at its end; `trailers` are final then."""
        while (piece := self.body_now()) is None:
            await self.stream.wait_readable()
        assert self._body is not None
        if self._body.crowded:
            await trio.lowlevel.checkpoint()
        return piece

    def _keep_rest(self) -> None:
        """What came after the body is the next request's."""
        assert self._body is not None
        if rest := self._body.rest():
            self._incoming.feed(rest)

    @property
    def request_complete(self) -> bool:
        return self._body is not None and self._body.ended

    @property
    def request_bytes(self) -> int:
        return self._body.size if self._body is not None else 0

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        return self._body.trailers if self._body is not None else []

    # ------------------------------------------------------------------------------------------------ the response

    async def send_interim(self, status: int, fields: Fields, reason: bytes = b"") -> None:
        """A 1xx response; 101 ends HTTP on this connection, see `take_rest`."""
        await self.stream.send(write_response_head(status, reason, fields))

    def begin_response(self, status: int, reason: bytes, fields: Fields, framing: Framing, *, close: bool) -> None:
        """Queues the final head; it leaves with the first body bytes or with `flush`.

        `fields` say how the body is framed, and `framing` is the same for us. close: they say `Connection: close`.
        """
        assert self._head is not None
        self.response_begun = True
        self._framing = framing
        self.reusable = not close and self._head.keep_alive and framing is not Framing.UNTIL_CLOSE
        self._outgoing.append(write_response_head(status, reason, fields))

    def begin_written_response(self, head: bytes, framing: Framing) -> None:
        """The same with a head that is written already, for a request that somebody else may have read: whether
        another one may follow is theirs to know."""
        self.response_begun = True
        self.response_bytes = 0
        self._framing = framing
        self._outgoing.append(head)

    async def send_body(self, data: bytes) -> None:
        self.response_bytes += len(data)
        if self._framing is Framing.CHUNKED:
            data = chunk(data)
        if self._outgoing:
            self._outgoing.append(data)
            await self.flush()
        else:
            await self.stream.send(data)

    def queue_body(self, data: bytes) -> None:
        """The same without sending: for a last piece, which leaves with the end of the response."""
        self.response_bytes += len(data)
        self._outgoing.append(chunk(data) if self._framing is Framing.CHUNKED else data)

    def sent_past(self, count: int) -> None:
        """`count` bytes of the body went to `stream` directly; only with a Content-Length, and nothing queued."""
        self.response_bytes += count

    async def finish(self, trailers: Fields = ()) -> None:
        """Ends the response. Trailers need chunked framing and are dropped without it (RFC 9110 §6.5)."""
        if self._framing is Framing.CHUNKED:
            self._outgoing.append(last_chunk(trailers) if trailers else LAST_CHUNK)
        await self.flush()
        self.reusable = self.reusable and self.request_complete

    async def flush(self) -> None:
        if self._outgoing:
            data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
            self._outgoing.clear()
            await self.stream.send(data)

    async def send_raw(self, reply: bytes) -> None:
        """A whole response in one piece: a reply of our own."""
        self.response_begun = True
        self._outgoing.clear()
        await self.stream.send(reply)

    def take_rest(self) -> bytes:
        """After a 101: what the client has sent already in the new protocol."""
        return self._incoming.take_all()


def _read_by_h11(raw: bytes, head: RequestHead) -> Body:
    """The reader of a request that is not plain. Raises BadRequest when h11 does not read the head as we did."""
    http = h11.Connection(h11.SERVER, max_incomplete_event_size=max(RECEIVE_BYTES, 2 * len(raw)))
    try:
        http.receive_data(raw)
        event = http.next_event()
    except h11.RemoteProtocolError as error:
        raise BadRequest(f"the head is refused: {error}") from error
    if not isinstance(event, h11.Request) or event.method != head.method.encode():
        raise BadRequest("the head can be read in two ways")
    body = IncomingBody(http, chunked=head.framing is Framing.CHUNKED)
    if head.framing is Framing.NONE:
        body.piece()  # its end, at once
    return body
