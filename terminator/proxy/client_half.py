"""The client's half of HTTP/1.1 on one connection: requests in, responses out.

`wire.request_head` is the gate; h11 then reads the same head and frames the body, and the two must agree. A fresh h11
machine serves each request, so that pipelined bytes wait here, unread, until their turn.
"""

from __future__ import annotations

from collections.abc import Iterable

import h11
import trio

from terminator.errors import BadRequest, ClientGone, HeadTooLarge
from terminator.transport.stream import Stream
from terminator.wire import request_head
from terminator.wire.head_buffer import HeadBuffer
from terminator.wire.incoming_body import IncomingBody
from terminator.wire.request_head import Framing, RequestHead

RECEIVE_BYTES = 65536

Fields = Iterable[tuple[bytes, bytes]]


class ClientHalf:
    """Belongs to the task of one client connection."""

    __slots__ = (
        "_body",
        "_head",
        "_http",
        "_incoming",
        "_max_fields",
        "_outgoing",
        "_trailers_fit",
        "response_begun",
        "response_bytes",
        "stream",
    )

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self._incoming = HeadBuffer(0)
        self._outgoing: list[bytes] = []
        self._http: h11.Connection | None = None
        self._body: IncomingBody | None = None
        self._head: RequestHead | None = None
        self._trailers_fit = False
        self._max_fields = 0
        self.response_begun = False
        """The final response has been begun: no other one can be sent for this request."""
        self.response_bytes = 0
        """Content of the response sent so far, without framing."""

    # ------------------------------------------------------------------------------------------------- the request

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
            data = await self.stream.receive(RECEIVE_BYTES)
            if not data:
                return False
            self._take_in(data)
        return True

    def _take_in(self, data: bytes) -> None:
        """Bytes before a request line, where an empty line does not count (RFC 9112 §2.2)."""
        self._incoming.feed(data)
        self._incoming.skip_empty_line()

    def head_now(self, max_bytes: int, max_fields: int) -> RequestHead | None:
        """The next request's head if it is there whole, else None: then await `receive_head`, same limits. Raises
        `ClientError`s; after one of them nothing more can be read."""
        self._incoming.max_head_bytes = max_bytes
        self._max_fields = max_fields
        self._http = self._body = None
        self.response_begun = False
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
            if self._incoming.overflows:
                raise HeadTooLarge(f"the request head passes {self._incoming.max_head_bytes} bytes")
            return None
        if len(raw) > self._incoming.max_head_bytes:
            raise HeadTooLarge(f"the request head passes {self._incoming.max_head_bytes} bytes")
        return self._admit(raw, self._max_fields)

    def _admit(self, raw: bytes, max_fields: int) -> RequestHead:
        head = request_head.parse(raw, max_fields=max_fields)
        http = h11.Connection(h11.SERVER, max_incomplete_event_size=max(RECEIVE_BYTES, 2 * len(raw)))
        try:
            http.receive_data(raw)
            event = http.next_event()
        except h11.RemoteProtocolError as error:
            raise BadRequest(f"the head is refused: {error}") from error
        if not isinstance(event, h11.Request) or event.method != head.method.encode():
            raise BadRequest("the head can be read in two ways")
        self._http = http
        self._head = head
        self._body = IncomingBody(http)
        if head.framing is Framing.NONE:
            self.body_now()
        elif len(self._incoming):
            self._body.feed(self._incoming.take_all())
        return head

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
        except h11.RemoteProtocolError as error:
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
        assert self._http is not None
        rest, _ = self._http.trailing_data
        if rest:
            self._incoming.feed(bytes(rest))

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
        assert self._http is not None
        event = h11.InformationalResponse(status_code=status, headers=list(fields), reason=reason)
        await self.stream.send(self._http.send(event))

    def begin_response(self, status: int, fields: Fields, reason: bytes = b"") -> None:
        """Queues the final head; it leaves with the first body bytes or with `flush`. The framing is chosen by h11:
        the Content-Length among `fields`, else chunked, else (HTTP/1.0) the connection's end."""
        assert self._http is not None and self._head is not None
        self.response_begun = True
        response = h11.Response(status_code=status, headers=list(fields), reason=reason)
        self._outgoing.append(self._http.send(response))
        self._trailers_fit = (
            self._head.version == "1.1"
            and self._head.method != "HEAD"
            and status not in (204, 304)
            and not any(name == b"content-length" for name, _ in response.headers)
        )

    async def send_body(self, data: bytes) -> None:
        assert self._http is not None
        self.response_bytes += len(data)
        framed = self._http.send_with_data_passthrough(h11.Data(data=data)) or []
        if self._outgoing or len(framed) > 1:
            framed = [b"".join([*self._outgoing, *framed])]
            self._outgoing.clear()
        for part in framed:
            await self.stream.send(part)

    async def finish(self, trailers: Fields = ()) -> None:
        """Ends the response. Trailers need chunked framing and are dropped without it (RFC 9110 §6.5)."""
        assert self._http is not None
        self._outgoing.append(self._http.send(h11.EndOfMessage(headers=list(trailers) if self._trailers_fit else [])))
        await self.flush()

    async def flush(self) -> None:
        if self._outgoing:
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            if data:
                await self.stream.send(data)

    async def send_raw(self, reply: bytes) -> None:
        """A whole response made without h11, for a request that is refused."""
        self.response_begun = True
        self._outgoing.clear()
        await self.stream.send(reply)

    @property
    def reusable(self) -> bool:
        """Whether h11 agrees that another request may follow: both messages complete, nobody said close."""
        http = self._http
        return http is not None and http.our_state is h11.DONE and http.their_state is h11.DONE

    def take_rest(self) -> bytes:
        """After a 101: what the client has sent already in the new protocol."""
        return self._incoming.take_all()
