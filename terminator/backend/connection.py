"""One HTTP/1.1 connection to a backend server: a request out, its response in, and whether it may serve again.

`wire.writing` makes every request anew and `wire.response_head` is the gate of responses. A plain response is read by
the express lane; any other (interim ones, switched protocols, ends by closing) is read by h11 as well, and the two
readings of a head must agree. Bytes that arrive outside of an exchange make the connection unusable: they are nobody's
response.
"""

from __future__ import annotations

import select
import socket
from collections.abc import Iterable

import h11
import trio

from terminator.errors import BackendClosed, BackendInvalid, BackendTimeout, BackendTruncated
from terminator.transport.stream import Stream
from terminator.wire import express, response_head
from terminator.wire.framing import Framing
from terminator.wire.head_buffer import HeadBuffer
from terminator.wire.incoming_body import Body, BodyFault, IncomingBody
from terminator.wire.response_head import ResponseHead
from terminator.wire.writing import LAST_CHUNK, chunk, last_chunk, write_request_head

MAX_HEAD_BYTES = 65536
"""Bytes of a response head. nginx takes 4 or 8 KiB, HAProxy 16 KiB, Go 1 MiB; cookies of some frameworks need 32."""

MAX_FIELDS = 500
MAX_INTERIM_RESPONSES = 100
"""1xx responses before the final one. Go allows 5 and grew from there; a flood of them would never time out."""

HEAD_RECEIVE_BYTES = 65536
"""The first read of a response."""

RECEIVE_BYTES = 262144
"""One read from a backend: with 256 KiB bulk responses cost the fewest calls per byte (docs/performance.md)."""

Fields = Iterable[tuple[bytes, bytes]]


class BackendConnection:
    """Belongs to one exchange at a time. Every method raises `BackendError`s; whoever gets one calls `close`."""

    __slots__ = (
        "_body",
        "_chunked",
        "_ears",
        "_h11",
        "_incoming",
        "_interim",
        "_lasting",
        "_method",
        "_outgoing",
        "_upgrading",
        "idle_since",
        "request_finished",
        "response_begun",
        "stream",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.stream = Stream(sock, BackendClosed, BackendTimeout)
        self.idle_since = 0.0
        """When the pool took it back, by the loop's clock in seconds."""
        self.request_finished = False
        """The whole request has been sent."""
        self.response_begun = False
        """The first byte of the response has been received: the request has been processed, at least begun."""
        self._incoming = HeadBuffer(MAX_HEAD_BYTES)
        self._outgoing: list[bytes] = []
        self._method = ""
        self._chunked = self._upgrading = self._lasting = False
        self._interim = 0
        self._ears = select.poll()
        self._ears.register(sock, select.POLLIN | select.POLLRDHUP)
        self._h11: h11.Connection | None = None
        self._body: Body | None = None

    # ------------------------------------------------------------------------------------------------- the request

    def announce(self, preamble: bytes) -> None:
        """Queues what goes before the first request: a PROXY header. It leaves with the request's head."""
        self._outgoing.append(preamble)

    def begin(self, method: str, target: str, fields: Fields, framing: Framing, *, upgrading: bool) -> None:
        """Queues the request's head; it leaves with the first body bytes or with `flush`.

        `fields` say how the body is framed, and `framing` is the same for us. upgrading: a 101 may be the answer.
        """
        self._begin(method, framing, upgrading)
        self._outgoing.append(write_request_head(method, target, fields))

    def take_over(self, method: str, received: bytes) -> None:
        """The same where somebody else has sent a whole request over `stream`, and received the beginning of its
        response, if anything."""
        self._begin(method, Framing.NONE, upgrading=False)
        self.request_finished = True
        self.response_begun = bool(received)
        self._incoming.feed(received)

    def take_over_body(self, length: int | None, received: bytes) -> None:
        """The same where the head of the response has been read too: a final one on HTTP/1.1 after which another
        exchange may follow, of `length` bytes or in chunks (None), of which `received` has come, if anything."""
        self._begin("", Framing.NONE, upgrading=False)
        self.request_finished = self.response_begun = self._lasting = True
        self._body = express.chunked() if length is None else express.counted(length)
        if received:
            self._body.feed(received)

    def _begin(self, method: str, framing: Framing, upgrading: bool) -> None:
        self._method = method
        self._chunked = framing is Framing.CHUNKED
        self._upgrading = upgrading
        self._interim = 0
        self._h11 = self._body = None
        self.request_finished = self.response_begun = False

    def queue_body(self, data: bytes) -> None:
        """A piece of the body, framed as the head announced; it leaves with what is sent next."""
        self._outgoing.append(chunk(data) if self._chunked else data)

    async def send_body(self, data: bytes) -> None:
        """Sends what is queued and a piece of the body."""
        self.queue_body(data)
        await self.flush()

    async def finish(self, trailers: Fields = ()) -> None:
        """Ends the request and sends all that is queued."""
        if self._chunked:
            self._outgoing.append(last_chunk(trailers) if trailers else LAST_CHUNK)
        self.request_finished = True
        await self.flush()

    async def flush(self) -> None:
        if self._outgoing:
            data = self._outgoing[0] if len(self._outgoing) == 1 else b"".join(self._outgoing)
            self._outgoing.clear()
            await self.stream.send(data)

    # ------------------------------------------------------------------------------------------------ the response

    async def receive_head(self) -> ResponseHead:
        """The next response head: interim ones (1xx) first, then the final one, or a 101 that ends HTTP here."""
        while (raw := self._incoming.take_head()) is None:
            if self._incoming.overflows:
                raise BackendInvalid(f"the response head passes {MAX_HEAD_BYTES} bytes")
            try:
                data = await self.stream.receive_later(HEAD_RECEIVE_BYTES)
            except BackendClosed as error:
                if self.response_begun:
                    raise BackendTruncated(
                        f"the backend reset the connection amid its response head: {error}"
                    ) from error
                raise
            if not data:
                if self.response_begun:
                    raise BackendTruncated("the backend closed the connection amid its response head")
                raise BackendClosed("the backend closed the connection before it answered")
            self.response_begun = True
            self._incoming.feed(data)
        self.response_begun = True
        return self._admit(raw)

    def _admit(self, raw: bytes) -> ResponseHead:
        if len(raw) > MAX_HEAD_BYTES:
            raise BackendInvalid(f"the response head passes {MAX_HEAD_BYTES} bytes")
        head = response_head.parse(raw, request_method=self._method, max_fields=MAX_FIELDS)
        if head.status == 101 and not self._upgrading:
            raise BackendInvalid("101 Switching Protocols was not asked for")
        if head.status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise BackendInvalid(f"more than {MAX_INTERIM_RESPONSES} interim responses")
            self._read_by_h11(raw, head)
            return head
        self._lasting = head.keep_alive
        if head.framing is Framing.UNTIL_CLOSE:
            self._body = IncomingBody(self._read_by_h11(raw, head))
        elif head.framing is Framing.CHUNKED:
            self._body = express.chunked()
        else:
            self._body = express.counted((head.content_length or 0) if head.framing is Framing.LENGTH else 0)
        if len(self._incoming):
            self._body.feed(self._incoming.take_all())
        return head

    def _read_by_h11(self, raw: bytes, head: ResponseHead) -> h11.Connection:
        """h11's state after this head. Raises BackendInvalid when it does not read the head as we did."""
        try:
            if self._h11 is None:
                self._h11 = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEAD_BYTES)
                fields = [(b"Host", b"a")]  # of our request only the method and an upgrade bear on its response
                if self._upgrading:
                    fields += [(b"Connection", b"upgrade"), (b"Upgrade", b"any")]
                self._h11.send(h11.Request(method=self._method, target="/", headers=fields))
                self._h11.send(h11.EndOfMessage())
            self._h11.receive_data(raw)
            event = self._h11.next_event()
        except h11.ProtocolError as error:
            raise BackendInvalid(f"the response head is refused: {error}") from error
        if not isinstance(event, (h11.Response, h11.InformationalResponse)) or event.status_code != head.status:
            raise BackendInvalid("the response head can be read in two ways")
        return self._h11

    @property
    def response_complete(self) -> bool:
        """The body has been received to its end; what `body_now` has not given out yet included."""
        return self._body is not None and self._body.ended

    def body_now(self) -> bytes | None:
        """The next piece of the body if it has been received already, b"" at its end, None if more must come."""
        assert self._body is not None
        try:
            return self._body.piece()
        except BodyFault as error:
            if self.stream.ended:
                raise BackendTruncated("the backend closed the connection amid its response") from error
            raise BackendInvalid(f"the response body is refused: {error}") from error

    async def receive_body(self) -> bytes:
        """The next piece of the body, b"" at its end; `trailers` are final then."""
        assert self._body is not None
        while (piece := self.body_now()) is None:
            try:
                data = await self.stream.receive(RECEIVE_BYTES)
            except BackendClosed as error:
                raise BackendTruncated(f"the backend reset the connection amid its response: {error}") from error
            self._body.feed(data)
        if self._body.crowded:
            await trio.lowlevel.checkpoint()
        return piece

    def body_in_bulk(self) -> int:
        """Bytes of the body that have not been received, if it is of known length and all before has been given out;
        else 0. The caller then reads exactly so many from `stream` itself: for this connection the body has ended."""
        body = self._body
        return body.hand_out() if isinstance(body, express.CountedBody) else 0

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        return self._body.trailers if self._body is not None else []

    def take_rest(self) -> bytes:
        """After a 101: what the backend has sent already in the new protocol."""
        return self._incoming.take_all()

    # ------------------------------------------------------------------------------------------------- afterwards

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: both messages complete, nobody said close, no byte out of place."""
        return (
            self.request_finished
            and self._lasting
            and self._body is not None
            and self._body.ended
            and not self.stream.ended
            and not self.stream.broken
            and not self._body.rest()
            and not self._outgoing
        )

    def still_silent(self) -> bool:
        """Whether an idle connection is alive and has said nothing: bytes between exchanges are nobody's response
        (RFC 9112 §9.2), and an end means that the next request would be lost."""
        return not self._ears.poll(0)

    def close(self) -> None:
        self.stream.close()
