"""One HTTP/1.1 connection to a backend server: a request out, its response in, and whether it may serve again.

h11 writes the request from parsed values and frames the response; `wire.response_head` is the gate before it: both
must read the same head, else the response is refused. A fresh h11 machine serves each exchange, so that bytes which
arrive outside of one are seen here and make the connection unusable, never the beginning of somebody else's response.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable

import h11
import trio

from terminator.errors import BackendClosed, BackendInvalid, BackendTruncated
from terminator.transport.stream import Stream
from terminator.wire import response_head
from terminator.wire.head_buffer import HeadBuffer
from terminator.wire.incoming_body import IncomingBody
from terminator.wire.response_head import ResponseHead

MAX_HEAD_BYTES = 65536
"""Bytes of a response head. nginx takes 4 or 8 KiB, HAProxy 16 KiB, Go 1 MiB; cookies of some frameworks need 32."""

MAX_FIELDS = 500
MAX_INTERIM_RESPONSES = 100
"""1xx responses before the final one. Go allows 5 and grew from there; a flood of them would never time out."""

RECEIVE_BYTES = 262144
"""One read from a backend: with 256 KiB bulk responses cost the fewest calls per byte (docs/performance.md)."""

Fields = Iterable[tuple[bytes, bytes]]


class BackendConnection:
    """Belongs to one exchange at a time. Every method raises `BackendError`s; whoever gets one calls `close`."""

    __slots__ = (
        "_body",
        "_finished",
        "_head",
        "_http",
        "_incoming",
        "_interim",
        "_method",
        "_outgoing",
        "exchanges",
        "idle_since",
        "response_begun",
        "stream",
    )

    def __init__(self, sock: socket.socket) -> None:
        self.stream = Stream(sock, BackendClosed)
        self.exchanges = 0
        """Exchanges begun on this connection; more than one means that it was reused."""
        self.idle_since = 0.0
        """When the pool took it back, by the loop's clock in seconds."""
        self._incoming = HeadBuffer(MAX_HEAD_BYTES)
        self._outgoing: list[bytes] = []
        self._reset("")

    def _reset(self, method: str) -> None:
        self._http = h11.Connection(h11.CLIENT, max_incomplete_event_size=2 * MAX_HEAD_BYTES)
        self._method = method
        self._head: ResponseHead | None = None
        self._interim = 0
        self._finished = False
        self._body = IncomingBody(self._http)
        self.response_begun = False
        """The first byte of the response has been received: the request has been processed, at least begun."""

    # ------------------------------------------------------------------------------------------------- the request

    def begin(self, method: str, target: str, fields: Fields) -> None:
        """Queues the request's head; it leaves with the first body bytes or with `flush`."""
        self.exchanges += 1
        self._reset(method)
        request = h11.Request(method=method, target=target, headers=list(fields))
        self._outgoing.append(self._http.send(request))

    async def send_body(self, data: bytes) -> None:
        """Sends what is queued and a piece of the body, framed as the head announced."""
        self._outgoing.append(self._http.send(h11.Data(data=data)))
        await self.flush()

    async def finish(self, trailers: Fields = ()) -> None:
        """Ends the request and sends all that is queued."""
        self._outgoing.append(self._http.send(h11.EndOfMessage(headers=list(trailers))))
        self._finished = True
        await self.flush()

    async def flush(self) -> None:
        if self._outgoing:
            data = b"".join(self._outgoing)
            self._outgoing.clear()
            if data:
                await self.stream.send(data)

    @property
    def request_finished(self) -> bool:
        return self._finished

    # ------------------------------------------------------------------------------------------------ the response

    async def receive_head(self) -> ResponseHead:
        """The next response head: interim ones (1xx) first, then the final one, or a 101 that ends HTTP here."""
        while (raw := self._incoming.take_head()) is None:
            if self._incoming.overflows:
                raise BackendInvalid(f"the response head passes {MAX_HEAD_BYTES} bytes")
            data = await self.stream.receive(RECEIVE_BYTES)
            if not data:
                where = "amid its response head" if self.response_begun else "before it answered"
                raise BackendClosed(f"the backend closed the connection {where}")
            self.response_begun = True
            self._incoming.feed(data)
        self.response_begun = True
        return self._admit(raw)

    def _admit(self, raw: bytes) -> ResponseHead:
        if len(raw) > MAX_HEAD_BYTES:
            raise BackendInvalid(f"the response head passes {MAX_HEAD_BYTES} bytes")
        head = response_head.parse(raw, request_method=self._method, max_fields=MAX_FIELDS)
        try:
            self._http.receive_data(raw)
            event = self._http.next_event()
        except h11.RemoteProtocolError as error:
            raise BackendInvalid(f"the response head is refused: {error}") from error
        if not isinstance(event, (h11.Response, h11.InformationalResponse)) or event.status_code != head.status:
            raise BackendInvalid("the response head can be read in two ways")
        if head.status < 200:
            self._interim += 1
            if self._interim > MAX_INTERIM_RESPONSES:
                raise BackendInvalid(f"more than {MAX_INTERIM_RESPONSES} interim responses")
        else:
            self._head = head
            if len(self._incoming):
                self._body.feed(self._incoming.take_all())
        return head

    def body_now(self) -> bytes | None:
        """The next piece of the body if it has been received already, b"" at its end, None if more must come."""
        try:
            return self._body.piece()
        except h11.RemoteProtocolError as error:
            if self.stream.ended:
                raise BackendTruncated("the backend closed the connection amid its response") from error
            raise BackendInvalid(f"the response body is refused: {error}") from error

    async def receive_body(self) -> bytes:
        """The next piece of the body, b"" at its end; `trailers` are final then."""
        while (piece := self.body_now()) is None:
            try:
                data = await self.stream.receive(RECEIVE_BYTES)
            except BackendClosed as error:
                raise BackendTruncated(f"the backend reset the connection amid its response: {error}") from error
            self._body.feed(data)
        if self._body.crowded:
            await trio.lowlevel.checkpoint()
        return piece

    @property
    def trailers(self) -> list[tuple[bytes, bytes]]:
        return self._body.trailers

    def take_rest(self) -> bytes:
        """After a 101: what the backend has sent already in the new protocol."""
        return bytes(self._http.trailing_data[0]) + self._incoming.take_all()

    # ------------------------------------------------------------------------------------------------- afterwards

    @property
    def reusable(self) -> bool:
        """Whether another exchange may follow: both messages complete, nobody said close, no byte out of place."""
        return (
            self._finished
            and self._head is not None
            and self._head.keep_alive
            and self._body.ended
            and not self.stream.ended
            and not self.stream.broken
            and not self._http.trailing_data[0]
            and not self._outgoing
        )

    def still_silent(self) -> bool:
        """Whether an idle connection is alive and has said nothing: bytes between exchanges are nobody's response
        (RFC 9112 §9.2), and an end means that the next request would be lost."""
        try:
            self.stream.sock.recv(1, socket.MSG_PEEK)
        except BlockingIOError:
            return True
        except OSError:
            return False
        return False

    def close(self) -> None:
        self.stream.close()
