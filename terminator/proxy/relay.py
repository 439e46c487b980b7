"""One attempt at an exchange: the request to a backend connection, its response back, both streamed as they come.

Theory of operation. A request without a body, or whose body is there already, is sent whole and then only the response
is relayed: no second task. Otherwise an upload task runs beside the response, since a backend may answer early. Neither
direction reads ahead of what the other side has taken (one piece in hand each), so memory per exchange is constant.

Whose fault an end is: what the client does wrong ends the attempt through the deadline's `fail`; a backend that stops
reading only ends the upload, for it may have answered already; whatever it says, or that it says nothing, decides.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import trio

from terminator.backend.connection import BackendConnection
from terminator.backend.group import Lease
from terminator.backend.server import Server
from terminator.errors import (
    BackendError,
    BackendInvalid,
    BackendTimeout,
    BodyTimeout,
    BodyTooLarge,
    ClientError,
    TerminatorError,
)
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.proxy.pour import pour
from terminator.proxy.treatment import Patience
from terminator.wire import forwarding
from terminator.wire.framing import Framing
from terminator.wire.request_head import RequestHead
from terminator.wire.response_head import ResponseHead

if TYPE_CHECKING:
    from terminator.proxy.wording import Wording

SMALL_BODY_BYTES = 65536
BULK_PIECE_BYTES = 65536
"""A backend that fills so much at once has more: the rest of its response is poured."""

Answer = tuple[list[tuple[bytes, bytes]], Framing, bool]
"""Fields of a final response, its framing, and whether the fields say `Connection: close`."""


@dataclass(slots=True, kw_only=True)
class Begun:
    """An attempt as the express lane leaves it where it cannot go on by itself."""

    found: Lease | Server | None = None
    """What `BackendGroup.lease_now` gave."""
    tried: set[str] = field(default_factory=set)
    wording: Wording | None = None
    """Of this request, if its fields have been worded."""
    sent_at: float = 0.0
    """When the whole request was sent, by the loop's clock; 0 when nothing of it was."""
    received: bytes = b""
    """Of the response so far, when its head is still to be read."""
    answered_at: float = 0.0
    """When the final head was there, if the response has begun on the client's side."""
    status: int | None = None
    response_bytes: int = 0
    failure: BaseException | None = None
    """What ended it."""


class Relay:
    """Moves one request and its response; `run` returns the final head, a 101 included."""

    __slots__ = (
        "_answer",
        "_backend",
        "_client",
        "_deadline",
        "_head",
        "_max_body_bytes",
        "_patience",
        "answered_at",
        "sent_at",
        "status",
        "upgraded",
    )

    def __init__(
        self,
        client: ClientHalf,
        backend: BackendConnection,
        head: RequestHead,
        deadline: Deadline,
        patience: Patience,
        max_body_bytes: int,
        answer: Callable[[ResponseHead], Answer],
    ) -> None:
        self._client = client
        self._backend = backend
        self._head = head
        self._deadline = deadline
        self._patience = patience
        self._max_body_bytes = max_body_bytes
        self._answer = answer
        self.sent_at = 0.0
        """When the whole request had been sent, by the loop's clock; 0 when it never was."""
        self.answered_at = 0.0
        """When the final response head was there."""
        self.status: int | None = None
        """Of the final response, once its head is there."""
        self.upgraded: ResponseHead | None = None
        """The backend's 101: the connection is a tunnel from here on, and the 101 is still to be sent."""

    async def run(self) -> ResponseHead:
        """Raises `BackendError`s, or `ClientError`s when the response can no longer reach the client."""
        self._client.stream.stall_seconds = self._backend.stream.stall_seconds = self._patience.body_idle
        if self._client.request_complete or await self._send_small_body():
            await self._backend.finish(self._trailers())
            self._request_sent()
            return await self._download()
        return await self._both_ways()

    async def take_over(self, begun: Begun) -> ResponseHead:
        """The same where the request is with the backend already. Raises what has ended it meanwhile."""
        self._client.stream.stall_seconds = self._backend.stream.stall_seconds = self._patience.body_idle
        self.sent_at = begun.sent_at
        self.answered_at, self.status = begun.answered_at, begun.status
        if begun.failure is not None:
            try:
                raise begun.failure
            finally:
                begun.failure = None  # its traceback knows this very frame
        return await self._download()

    def _trailers(self) -> Sequence[tuple[bytes, bytes]]:
        trailers = self._client.trailers
        return forwarding.trailers(trailers) if trailers else ()

    def _request_sent(self) -> None:
        self.sent_at = trio.current_time()
        if self.status is None:
            self._deadline.expect(BackendTimeout, self._patience.backend_response, "no response head in time")
        elif not self._deadline.resting:  # it was the upload's
            self._deadline.expect(BackendTimeout, self._patience.body_idle, "the response body stood still")

    async def _send_small_body(self) -> bool:
        """Whether the body was there already, and small: then it has been queued whole."""
        if self._head.content_length is None or self._head.content_length > SMALL_BODY_BYTES:
            return False
        while piece := self._client.body_now():
            self._backend.queue_body(piece)
        return self._client.request_complete

    # ------------------------------------------------------------------------------------------------- with a body

    async def _both_ways(self) -> ResponseHead:
        failure: TerminatorError | None = None
        answer: ResponseHead | None = None
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._upload)
            try:
                answer = await self._download()
            except (ClientError, BackendError) as error:
                failure = error
            nursery.cancel_scope.cancel()  # an early response ends the upload; the client's connection then closes
        if failure is not None:
            raise failure
        assert answer is not None
        return answer

    async def _upload(self) -> None:
        try:
            await self._backend.flush()  # the head does not wait for the body: the backend may say 100, or refuse
            self._expect_body_of_client()
            while piece := await self._client.receive_body():
                if 0 < self._max_body_bytes < self._client.request_bytes:
                    raise BodyTooLarge(f"the request body passes {self._max_body_bytes} bytes")
                if self.status is None:
                    self._deadline.rest()  # while the backend takes it: the client is not to blame for that time
                await self._backend.send_body(piece)
                self._expect_more_of_client()
            await self._backend.finish(self._trailers())
            self._request_sent()
        except ClientError as error:
            self._deadline.fail(error)
        except BackendError:
            # The backend reads no more. What it has said, if anything, is read by `_download`, which decides.
            self._request_sent()

    def _expect_body_of_client(self) -> None:
        if self._head.expect_continue and self.status is None:
            self._deadline.expect(BackendTimeout, self._patience.backend_response, "no 100 Continue nor response")
        else:
            self._expect_more_of_client()

    def _expect_more_of_client(self) -> None:
        """Not while the client takes its time with a response that has begun: that is watched by its stream, and nobody
        would end this limit."""
        if self.status is None or not self._deadline.resting:
            self._deadline.expect(BodyTimeout, self._patience.body_idle, "the request body stood still")

    # ------------------------------------------------------------------------------------------------ the response

    async def _download(self) -> ResponseHead:
        head = await self._final_head()
        self.answered_at = trio.current_time()
        self.status = head.status
        if head.status == 101:
            self.upgraded = head
            return head
        fields, framing, close = self._answer(head)
        self._deadline.rest()
        self._client.begin_response(head.status, head.reason, fields, framing, close=close)
        await relay_body(self._client, self._backend, self._deadline, self._patience.body_idle)
        return head

    async def _final_head(self) -> ResponseHead:
        while True:
            head = await self._backend.receive_head()
            if head.status >= 200 or head.status == 101:
                return head
            if self._head.version == "1.1":  # HTTP/1.0 knows no interim responses (RFC 9110 §15.2)
                await self._client.send_interim(head.status, forwarding.interim_fields(head), head.reason)
            if head.status == 100 and not self._backend.request_finished:
                self._deadline.expect(BodyTimeout, self._patience.body_idle, "the request body stood still")


async def relay_body(client: ClientHalf, backend: BackendConnection, deadline: Deadline, idle_seconds: float) -> None:
    """Moves the content of a response to its end, once its head has been begun at the client's half. `deadline` rests,
    then and afterwards; a backend that says nothing for `idle_seconds` is a BackendTimeout. Raises as `Relay.run`."""
    while True:
        piece = backend.body_now()
        if piece is None:
            await client.flush()
            deadline.expect(BackendTimeout, idle_seconds, "the response body stood still")
            piece = await backend.receive_body()
            deadline.rest()
        if not piece:
            break
        if backend.response_complete:
            client.queue_body(piece)
            break
        await client.send_body(piece)
        if len(piece) >= BULK_PIECE_BYTES and (left := backend.body_in_bulk()):
            await _pour(client, backend, deadline, idle_seconds, left)
            break
    await client.finish(forwarding.trailers(backend.trailers, BackendInvalid) if backend.trailers else ())


async def _pour(
    client: ClientHalf, backend: BackendConnection, deadline: Deadline, idle_seconds: float, left: int
) -> None:
    def before_wait() -> None:
        deadline.expect(BackendTimeout, idle_seconds, "the response body stood still")

    await pour(
        backend.stream,
        client.stream,
        left,
        before_wait=before_wait,
        after_wait=deadline.rest,
        moved=client.sent_past,
    )
