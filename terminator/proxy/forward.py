"""A request to its backend: one attempt after the other, each on one server, until one answers or none is left.

Nothing may happen twice: `routing.retries` says which failure allows another attempt, and once the response has begun
there is none.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from terminator.backend.group import BackendGroup, Lease
from terminator.errors import BackendClosed, BackendError, ClientError, ClientGone, NoServer, TerminatorError
from terminator.proxy.facts import Client
from terminator.proxy.generation import Generation
from terminator.proxy.relay import Begun, Relay
from terminator.proxy.treatment import Treatment, forwarded_target
from terminator.proxy.tunnel import Tunnel
from terminator.proxy.wording import Fields, Wording
from terminator.routing import retries
from terminator.telemetry.events import TunnelClosed
from terminator.wire import forwarding
from terminator.wire.request_head import RequestHead
from terminator.wire.response_head import ResponseHead

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic


class Forward:
    """Forwards one request; what was tried can be read from it afterwards, however it ended."""

    def __init__(
        self,
        traffic: Traffic,
        generation: Generation,
        client: Client,
        head: RequestHead,
        *,
        host: str,
        treatment: Treatment,
        group: BackendGroup,
        wording: Wording,
    ) -> None:
        self._traffic = traffic
        self._client = client
        self._head = head
        self._host = host
        self._treatment = treatment
        self._group = group
        self._wording = wording
        self._connect_seconds = generation.config.timeouts.backend_connect
        self._generation_number = generation.number
        self.backend = group.name
        self.lease: Lease | None = None
        """Of the last attempt, None when it got no connection."""
        self.server: str | None = None
        """The server of the last attempt, connected or not."""
        self.relay: Relay | None = None
        """Of the last attempt that got a connection."""
        self.retries = 0
        self.status: int | None = None
        """Of the final response, once it has begun."""

    async def run(self, begun: Begun | None = None) -> None:
        """Returns when the response has been relayed, or the tunnel that it opened has ended. Raises `BackendError`s
        and `ClientError`s; whether a response has begun by then, the client's half knows.

        begun: the first attempt, where the express lane has made its beginning
        """
        group = self._group
        target, prefix = forwarded_target(self._treatment, self._head, self._wording.variable)
        fields = self._wording.request_fields(prefix)
        tried: set[str] = set() if begun is None else begun.tried
        fresh = False
        first: BackendError | None = None
        if begun is None:
            group.budget.request(trio.current_time())
        try:
            while True:
                try:
                    return await self._attempt(target, fields, tried, fresh, begun)
                except BackendError as error:
                    if first is not None and isinstance(error, NoServer):
                        self.retries -= 1
                        raise first from error  # no other server was left; the answer tells of the one that was tried
                    first = error
                    if self._client.half.response_begun or not self._may_retry(error):
                        raise
                    fresh = self.lease is not None and self.lease.reused and isinstance(error, BackendClosed)
                    if fresh and self.lease is not None:
                        # A kept connection was dead; that says nothing of its server.
                        tried.discard(self.lease.server.key)
                    self.retries += 1
                    begun = None
        finally:
            first = None  # its traceback knows this very frame

    def _may_retry(self, error: BackendError) -> bool:
        return retries.may_retry(
            method=self._head.method,
            error=error,
            request_body_sent=self._client.half.request_bytes > 0,
            reused=self.lease is not None and self.lease.reused,
            attempts_left=self._group.backend.retries.attempts - self.retries,
            budget=self._group.budget,
            now=trio.current_time(),
        )

    async def _attempt(
        self, target: str, fields: Fields, tried: set[str], fresh: bool, begun: Begun | None = None
    ) -> None:
        """One try on one server. Raises what ended it; the lease is given back in every case."""
        client, group, treatment = self._client, self._group, self._treatment
        traffic, wording = self._traffic, self._wording
        deadline = client.deadline
        lease: Lease | None = None
        relay: Relay | None = None
        failure: TerminatorError | None = None
        before = frozenset(tried) if begun is None else frozenset()
        self.lease = None
        try:
            if begun is None and client.gone:
                raise ClientGone("the client closed the connection before its request was forwarded")
            self.lease = lease = await self._lease(tried, fresh, begun)
            deadline.begin(lease.connection.stream, client.half.stream)
            self.relay = relay = Relay(
                client.half,
                lease.connection,
                self._head,
                deadline,
                treatment.patience,
                treatment.max_body_bytes,
                # No method of ours: a cycle per request would keep it, and its connection, until a collection.
                lambda answer: wording.answer(answer, traffic.http_date(), draining=traffic.draining),
            )
            if begun is None or not begun.sent_at:
                lease.connection.begin(
                    self._head.method,
                    target,
                    fields,
                    self._head.framing,
                    upgrading=self._head.upgrade is not None,
                )
                await relay.run()
            else:
                lease.connection.take_over(self._head.method, begun.received)
                begun.received = b""  # a long response shall not keep its beginning
                await relay.take_over(begun)
            if relay.upgraded is not None:
                deadline.done()
                await self._tunnel(lease, relay.upgraded)
        except (ClientError, BackendError) as error:
            failure = error
            raise
        finally:
            deadline.done()
            if relay is not None:
                self.status = relay.status
            if lease is not None:
                self.server = lease.server.key
                lease.release(failure, status=self.status)
                self._count_attempt(lease, relay, failure)
            elif failure is not None:
                for key in tried - before:  # there was no connection to it
                    self.server = key
                    self._traffic.meters.attempt(group.name, key, failure.reason, None, None)
            failure = None  # its traceback knows this very frame

    async def _lease(self, tried: set[str], fresh: bool, begun: Begun | None) -> Lease:
        group = self._group
        private = self._client.private_connections() if group.announces_clients else None
        hash_key = self._wording.hash_key(group.hash_source)
        found = (
            group.lease_now(tried=tried, hash_key=hash_key, fresh=fresh, private=private)
            if begun is None
            else begun.found
        )
        if isinstance(found, Lease):
            return found
        with self._client.deadline.scope():
            return await group.lease_later(
                found,
                tried=tried,
                hash_key=hash_key,
                connect_seconds=self._connect_seconds,
                fresh=fresh,
                private=private,
            )

    def _count_attempt(self, lease: Lease, relay: Relay | None, failure: TerminatorError | None) -> None:
        response_seconds = None
        if relay is not None and relay.answered_at and relay.sent_at:
            response_seconds = max(0.0, relay.answered_at - relay.sent_at)
        self._traffic.meters.attempt(
            lease.server.backend,
            lease.server.key,
            failure.reason if isinstance(failure, BackendError) else None,
            None if lease.reused else lease.connect_seconds,
            response_seconds,
        )

    async def _tunnel(self, lease: Lease, answer: ResponseHead) -> None:
        half, traffic = self._client.half, self._traffic
        tunnel = Tunnel(half.stream, lease.connection.stream, self._treatment.patience.tunnel_idle)
        began_at = trio.current_time()
        try:
            await half.send_interim(101, forwarding.interim_fields(answer), answer.reason)
            half.response_begun = True
            await tunnel.run(half.take_rest(), lease.connection.take_rest())
        finally:
            traffic.emit(
                TunnelClosed(
                    conn_id=self._client.id,
                    host=self._host,
                    route=self._treatment.name,
                    backend=lease.server.backend,
                    server=lease.server.key,
                    client_bytes=tunnel.client_bytes,
                    backend_bytes=tunnel.backend_bytes,
                    duration_ms=(trio.current_time() - began_at) * 1000,
                    closed_by=tunnel.closed_by or "drain",
                    generation=self._generation_number,
                )
            )
