"""One request and its response: which host, which route, which answer; then the record of it.

Order of decisions: host (421) → path (400) → route (404) → size of the body (413) → redirect or fixed answer, or the
backend, tried again only where nothing can have happened twice. Whatever ends badly before the response has begun is
answered by a small reply of our own; after that the connection is cut, so that the client sees the truncation.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from terminator.errors import (
    BackendError,
    BodyTooLarge,
    ClientError,
    ClientGone,
    ClientStalled,
    DrainTimeout,
    Misdirected,
    NoRoute,
    TerminatorError,
)
from terminator.proxy.facts import Client
from terminator.proxy.forward import Forward
from terminator.proxy.generation import Generation, HostEntry
from terminator.proxy.recording import http_request
from terminator.proxy.relay import Begun
from terminator.proxy.treatment import LocalAnswer, Treatment, local_answer
from terminator.proxy.wording import Wording
from terminator.routing.routes import Route
from terminator.wire import replies
from terminator.wire.request_head import RequestHead

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic

Fields = list[tuple[bytes, bytes]]
Found = tuple[HostEntry, Route[Treatment]]
"""The host of a request and its route there."""

RETRY_AFTER_SECONDS = 5
"""What a 503 asks for (RFC 9110 §10.2.3): about the time a health check or a queue takes to change its mind."""


class Exchange:
    """Serves one request whose head has been read. `run` never raises for what client or backend do wrong."""

    def __init__(
        self,
        traffic: Traffic,
        client: Client,
        head: RequestHead,
        began_at: float,
        head_at: float,
        generation: Generation | None = None,
        found: Found | None = None,
    ) -> None:
        """generation: the one that it has begun under, default the one in force. found: what `find_route` has found."""
        self._traffic = traffic
        self._client = client
        self._head = head
        self._generation = generation or traffic.generation
        self._found = found
        self._began_at = began_at
        self._head_at = head_at
        self._entry: HostEntry | None = None
        self._route: Route[Treatment] | None = None
        self._wording: Wording | None = None
        self._forward: Forward | None = None
        self._status: int | None = None
        self.reusable = False
        """Afterwards: whether the connection may serve another request."""

    async def run(self, begun: Begun | None = None) -> None:
        """begun: what the express lane has done of it."""
        error: TerminatorError | None = None
        try:
            await self._serve(begun)
        except (ClientError, BackendError) as caught:
            error = caught
            await self._answer_error(caught)
        except BaseException as ended:
            if isinstance(ended, Exception):
                error = TerminatorError("a defect, which server.crash tells of")
            elif not self._has_upgraded:  # the event of a tunnel tells who ended it
                error = DrainTimeout("the time to finish requests before the end was over")
            raise
        finally:
            self._record(error)
            error = None  # its traceback knows this very frame

    async def _serve(self, begun: Begun | None) -> None:
        found = self._found or self._find()
        self._entry, self._route = entry, route = found
        treatment, limit = route.action, route.action.max_body_bytes
        if limit and (self._head.content_length or 0) > limit:
            raise BodyTooLarge(f"Content-Length {self._head.content_length} passes {limit} bytes")
        wording = begun.wording if begun is not None else None
        self._wording = wording = wording or Wording(self._generation, self._client, self._head, entry, treatment)
        if treatment.route.backend is None:
            await self._answer_local(local_answer(treatment, entry.hsts, wording.variable))
            return
        self._forward = Forward(
            self._traffic,
            self._generation,
            self._client,
            self._head,
            host=entry.name,
            treatment=treatment,
            group=self._generation.backends[treatment.route.backend],
            wording=wording,
        )
        await self._forward.run(begun)
        self.reusable = self._client.half.reusable

    def _find(self) -> Found:
        self._entry = entry = admit_host(self._generation, self._client, self._head)
        return entry, find_route(entry, self._head)

    # --------------------------------------------------------------------------------------------------- own answers

    async def _answer_local(self, answer: LocalAnswer) -> None:
        """A redirect or a fixed answer. A body that has not come yet is not waited for: the connection then closes."""
        half = self._client.half
        keep = self._head.keep_alive and half.request_complete and not self._traffic.draining
        self._status = answer.status
        reply = replies.reply(
            answer.status,
            close=not keep,
            head_only=self._head.method == "HEAD",
            date=self._traffic.http_date(),
            fields=answer.fields,
            body=answer.body,
            content_type=answer.content_type,
        )
        with trio.move_on_after(self._generation.config.timeouts.body_idle) as scope:
            await half.send_raw(reply)
        if scope.cancelled_caught:
            raise ClientStalled("the client did not read the answer")
        self.reusable, half.ended_by_us = keep, not keep

    async def _answer_error(self, error: TerminatorError) -> None:
        half = self._client.half
        if error.status is None or half.response_begun or half.stream.broken:
            half.stream.give_up()
            return
        keep = (
            self._head.keep_alive
            and half.request_complete
            and not self._traffic.draining
            and not isinstance(error, Misdirected)
        )
        self._status = error.status
        reply = replies.reply(
            error.status,
            close=not keep,
            head_only=self._head.method == "HEAD",
            date=self._traffic.http_date(),
            fields=[(b"retry-after", b"%d" % RETRY_AFTER_SECONDS)] if error.status == 503 else [],
        )
        try:
            with trio.move_on_after(self._generation.config.timeouts.body_idle) as scope:
                await half.send_raw(reply)
        except ClientGone:
            return  # the record carries the first error; that nobody was left to hear of it adds nothing
        if scope.cancelled_caught:
            half.stream.give_up()
        self.reusable, half.ended_by_us = keep and not half.stream.broken, not keep

    # ------------------------------------------------------------------------------------------------------ record

    @property
    def _has_upgraded(self) -> bool:
        relay = self._forward.relay if self._forward is not None else None
        return relay is not None and relay.upgraded is not None

    def _route_name(self) -> str | None:
        return self._route.action.name if self._route is not None else None

    def _record(self, error: TerminatorError | None) -> None:
        traffic, half, forward = self._traffic, self._client.half, self._forward
        now = trio.current_time()
        status = self._status if forward is None or self._status is not None else forward.status
        host = self._entry.name if self._entry is not None else None
        reason = error.reason if error is not None else None
        traffic.meters.request(host, self._route_name(), self._head.method, status, reason, now - self._began_at)
        traffic.meters.bytes_moved(half.request_bytes, half.response_bytes)
        if forward is not None and forward.retries:
            traffic.meters.retried(forward.backend, forward.retries)
        if not traffic.logs_requests:
            return
        relay = forward.relay if forward is not None else None
        traffic.emit(
            http_request(
                self._client,
                self._head,
                generation=self._generation.number,
                request_id=self._wording.request_id if self._wording is not None else None,
                host=host,
                treatment=self._route.action if self._route is not None else None,
                server=forward.server if forward is not None else None,
                lease=forward.lease if forward is not None else None,
                retries=forward.retries if forward is not None else 0,
                status=status,
                request_bytes=half.request_bytes,
                response_bytes=half.response_bytes,
                began_at=self._began_at,
                head_at=self._head_at,
                sent_at=relay.sent_at if relay is not None else 0.0,
                answered_at=relay.answered_at if relay is not None else 0.0,
                now=now,
                error=error,
            )
        )


def admit_host(generation: Generation, client: Client, head: RequestHead) -> HostEntry:
    """The host asked for, if this very connection may speak to it (RFC 9110 §15.5.20). Raises Misdirected."""
    served, by_default = generation.host_for_sni(client.server_name)
    if served is None:
        raise Misdirected("the host of this connection's SNI is no longer served")
    wanted = generation.hosts.lookup(head.hostname) if head.hostname else served
    if wanted is None and by_default:
        wanted = served
    if wanted is not served:
        raise Misdirected(f"the Host {head.hostname!r} is not served under the SNI {client.server_name!r}")
    if served.material.authentication != client.authentication:
        raise Misdirected("the host's rule for client certificates has changed since this connection was made")
    return served


def find_route(entry: HostEntry, head: RequestHead) -> Route[Treatment]:
    """The host's route for a request. Raises NoRoute, or BadRequest for a path that can be read in two ways."""
    path = "/" if head.path == "*" else head.path  # OPTIONS * asks whoever serves the root
    route = entry.routes.match(head.method, path, head.query, head.fields)
    if route is None:
        raise NoRoute(f"no route of {entry.name} matches {head.method} {head.path}")
    return route
