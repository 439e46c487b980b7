"""One request and its response: which host, which route, which answer; then the record of it.

Order of decisions: host (421) → path (400) → route (404) → size of the body (413) → redirect or fixed answer, or the
backend, tried again only where nothing can have happened twice. Whatever ends badly before the response has begun is
answered by a small reply of our own; after that the connection is cut, so that the client sees the truncation.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import trio

from terminator.backend.group import BackendGroup, Lease
from terminator.errors import (
    BackendClosed,
    BackendError,
    BodyTooLarge,
    ClientError,
    ClientGone,
    ClientStalled,
    Misdirected,
    NoRoute,
    NoServer,
    TerminatorError,
)
from terminator.proxy.deadline import Deadline
from terminator.proxy.facts import Client
from terminator.proxy.generation import Generation, HostEntry
from terminator.proxy.relay import Answer, Relay
from terminator.proxy.treatment import Treatment, forwarded_target, host_variable, local_answer
from terminator.proxy.tunnel import Tunnel
from terminator.routing import retries
from terminator.routing.routes import Route
from terminator.telemetry.events import HttpRequest, TunnelClosed
from terminator.wire import forwarding, replies
from terminator.wire.framing import Framing
from terminator.wire.request_head import RequestHead
from terminator.wire.response_head import ResponseHead

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic

Fields = list[tuple[bytes, bytes]]
RETRY_AFTER_SECONDS = 5
"""What a 503 asks for (RFC 9110 §10.2.3): about the time a health check or a queue takes to change its mind."""

LINGER_SECONDS = 2.0
"""How long an unread request is drained after our last word, so that the reply is not lost to a reset."""


class Exchange:
    """Serves one request whose head has been read. `run` never raises for what client or backend do wrong."""

    def __init__(self, traffic: Traffic, client: Client, head: RequestHead, began_at: float, head_at: float) -> None:
        self._traffic = traffic
        self._client = client
        self._head = head
        self._generation: Generation = traffic.generation
        self._began_at = began_at
        self._head_at = head_at
        self._entry: HostEntry | None = None
        self._route: Route[Treatment] | None = None
        self._request_id: str | None = None
        self._status: int | None = None
        self._retries = 0
        self._lease: Lease | None = None
        self._relay: Relay | None = None
        self.reusable = False
        """Afterwards: whether the connection may serve another request."""

    async def run(self) -> None:
        error: TerminatorError | None = None
        try:
            await self._serve()
        except (ClientError, BackendError) as caught:
            error = caught
            await self._answer_error(caught)
        finally:
            self._record(error)

    async def _serve(self) -> None:
        self._entry = entry = self._admit_host()
        path = "/" if self._head.path == "*" else self._head.path  # OPTIONS * asks whoever serves the root
        route = entry.routes.match(self._head.method, path, self._head.query, self._head.fields)
        if route is None:
            raise NoRoute(f"no route of {entry.name} matches {self._head.method} {self._head.path}")
        self._route = route
        treatment, limit = route.action, route.action.max_body_bytes
        if limit and (self._head.content_length or 0) > limit:
            raise BodyTooLarge(f"Content-Length {self._head.content_length} passes {limit} bytes")
        if treatment.route.backend is None:
            await self._answer_local(treatment)
        else:
            await self._forward(treatment, self._generation.backends[treatment.route.backend])
            self.reusable = self._client.half.reusable

    # --------------------------------------------------------------------------------------------------- admission

    def _admit_host(self) -> HostEntry:
        """The host asked for, if this very connection may speak to it (RFC 9110 §15.5.20)."""
        generation, client = self._generation, self._client
        served, by_default = generation.host_for_sni(client.server_name)
        if served is None:
            raise Misdirected("the host of this connection's SNI is no longer served")
        wanted = generation.hosts.lookup(self._head.hostname) if self._head.hostname else served
        if wanted is None and by_default:
            wanted = served
        if wanted is not served:
            raise Misdirected(f"the Host {self._head.hostname!r} is not served under the SNI {client.server_name!r}")
        if served.material.authentication != client.authentication:
            raise Misdirected("the host's rule for client certificates has changed since this connection was made")
        return served

    # ------------------------------------------------------------------------------------------------- forwarding

    async def _forward(self, treatment: Treatment, group: BackendGroup) -> None:
        target, prefix = forwarded_target(treatment, self._head, self._variable)
        fields = self._request_fields(treatment, prefix)
        tried: set[str] = set()
        fresh = False
        first: BackendError | None = None
        group.budget.request(trio.current_time())
        while True:
            try:
                return await self._attempt(group, treatment, target, fields, tried, fresh)
            except BackendError as error:
                if first is not None and isinstance(error, NoServer):
                    raise first from error  # no other server was left; the answer tells of the one that was tried
                first = error
                if self._client.half.response_begun or not self._may_retry(error, group):
                    raise
                fresh = self._lease is not None and self._lease.reused and isinstance(error, BackendClosed)
                if fresh and self._lease is not None:
                    tried.discard(self._lease.server.key)  # a kept connection was dead; that says nothing of its server
                self._retries += 1
                self._traffic.meters.retried(group.name)

    def _may_retry(self, error: BackendError, group: BackendGroup) -> bool:
        return retries.may_retry(
            method=self._head.method,
            error=error,
            request_body_sent=self._client.half.request_bytes > 0,
            reused=self._lease is not None and self._lease.reused,
            attempts_left=group.backend.retries.attempts - self._retries,
            budget=group.budget,
            now=trio.current_time(),
        )

    async def _attempt(
        self, group: BackendGroup, treatment: Treatment, target: str, fields: Fields, tried: set[str], fresh: bool
    ) -> None:
        """One try on one server. Raises what ended it; the lease is given back in every case."""
        deadline, client = Deadline(), self._client
        client.deadline = deadline
        lease: Lease | None = None
        relay: Relay | None = None
        failure: TerminatorError | None = None
        before = frozenset(tried)
        self._lease = None
        try:
            with deadline.scope:
                if client.gone:
                    raise ClientGone("the client closed the connection before its request was forwarded")
                self._lease = lease = await group.lease(
                    tried=tried,
                    hash_key=self._hash_key(group.backend.hash_key),
                    connect_seconds=self._generation.config.timeouts.backend_connect,
                    fresh=fresh,
                    private=client.private_connections() if group.announces_clients else None,
                )
                self._relay = relay = Relay(
                    client.half,
                    lease.connection,
                    self._head,
                    deadline,
                    treatment.patience,
                    treatment.max_body_bytes,
                    self._answer,
                )
                lease.connection.begin(
                    self._head.method,
                    target,
                    fields,
                    self._head.framing,
                    upgrading=self._head.upgrade is not None,
                )
                answer = await relay.run()
                self._status = answer.status
            if deadline.scope.cancelled_caught:
                raise deadline.failure
            if relay is not None and relay.upgraded is not None and lease is not None:
                await self._tunnel(lease, relay.upgraded)
        except (ClientError, BackendError) as error:
            failure = error
            raise
        finally:
            client.deadline = None
            if lease is not None:
                lease.release(failure, status=self._status)
                self._count_attempt(lease, relay, failure)
            elif failure is not None:
                for key in tried - before:  # there was no connection to it
                    self._traffic.meters.attempt(group.name, key, failure.reason, None, None)

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

    def _hash_key(self, source: str) -> bytes:
        """What `consistent_hash` hashes for this request."""
        kind, _, name = source.partition(":")
        if kind == "client_address":
            return self._client.origin.address.encode()
        wanted = name.lower().encode()
        for field, value in self._head.fields:
            if kind == "header" and field == wanted:
                return value
            if kind == "cookie" and field == b"cookie":
                for pair in value.split(b";"):
                    key, _, content = pair.strip().partition(b"=")
                    if key == name.encode():
                        return content
        return b""

    async def _tunnel(self, lease: Lease, answer: ResponseHead) -> None:
        half, traffic = self._client.half, self._traffic
        assert self._route is not None
        tunnel = Tunnel(half.stream, lease.connection.stream, self._route.action.patience.tunnel_idle)
        began_at = trio.current_time()
        try:
            await half.send_interim(101, forwarding.interim_fields(answer), answer.reason)
            half.response_begun = True
            await tunnel.run(half.take_rest(), lease.connection.take_rest())
        finally:
            traffic.emit(
                TunnelClosed(
                    conn_id=self._client.id,
                    host=self._entry.name if self._entry is not None else None,
                    route=self._route_name(),
                    backend=lease.server.backend,
                    server=lease.server.key,
                    client_bytes=tunnel.client_bytes,
                    backend_bytes=tunnel.backend_bytes,
                    duration_ms=_ms(trio.current_time() - began_at),
                    closed_by=tunnel.closed_by or "drain",
                    generation=self._generation.number,
                )
            )

    # ----------------------------------------------------------------------------------------------------- fields

    def _request_fields(self, treatment: Treatment, prefix: str) -> Fields:
        request_id = self._name_request()
        assert self._entry is not None
        fields = forwarding.request_fields(
            self._head,
            self._client.side,
            own=(request_id,) if request_id is not None else (),
            prefix=prefix,
            authority=self._head.authority or self._client.server_name or self._entry.name,
        )
        if treatment.request_rules is not None:
            fields = treatment.request_rules.apply(fields, self._variable)
        return fields

    def _answer(self, answer: ResponseHead) -> Answer:
        assert self._entry is not None
        assert self._route is not None
        self._status = answer.status
        # Refused while it is still coming in, a request will be cut when the answer is complete. An answer of success
        # may be a conversation with the body that follows.
        cut = answer.status >= 400 and not self._client.half.request_complete
        close = cut or self._traffic.draining or not self._head.keep_alive
        fields = forwarding.response_fields(
            answer, self._head, close=close, date=self._traffic.http_date(), hsts=self._entry.hsts
        )
        if (rules := self._route.action.response_rules) is not None:
            fields = rules.apply(fields, self._variable)
        framing = answer.framing
        if framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE):  # of unknown length: framed as the client understands
            framing = Framing.CHUNKED if self._head.version == "1.1" else Framing.UNTIL_CLOSE
        return fields, framing, close

    def _name_request(self) -> tuple[bytes, bytes] | None:
        """The request id, as a field: the client's own if it is trusted to give one, else a new one."""
        settings = self._generation.config.request_id
        if settings is None:
            return None
        name = settings.header.encode()
        own = next((value for field, value in self._head.fields if field == name.lower()), b"")
        trusted = self._traffic.networks(tuple(settings.trusted))
        if own and len(own) <= 128 and trusted and self._client.origin.within(trusted):
            self._request_id = own.decode("latin-1")
        else:
            self._request_id = self._traffic.new_request_id()
        return name, self._request_id.encode("latin-1")

    def _variable(self, name: str) -> str:
        client, head = self._client, self._head
        values: dict[str, Callable[[], Any]] = {
            "client.address": lambda: client.origin.address,
            "client.port": lambda: client.origin.port,
            "host": lambda: host_variable(head.hostname),
            "path": lambda: head.path,
            "query": lambda: head.query or "",
            "uri": lambda: head.target,
            "method": lambda: head.method,
            "scheme": lambda: "https",
            "request.id": lambda: self._request_id or "",
            "tls.version": lambda: client.tls_version,
            "tls.cipher": lambda: client.tls_cipher,
            "tls.sni": lambda: client.server_name or "",
            "tls.ja4": lambda: client.facts.ja4 or "",
            "route": lambda: self._route_name() or "",
            "backend": lambda: (self._route.action.route.backend if self._route is not None else None) or "",
        }
        return str(values[name]())

    # --------------------------------------------------------------------------------------------------- own answers

    async def _answer_local(self, treatment: Treatment) -> None:
        """A redirect or a fixed answer. A body that has not come yet is not waited for: the connection then closes."""
        half = self._client.half
        keep = self._head.keep_alive and half.request_complete and not self._traffic.draining
        reply = self._local_reply(treatment, keep)
        with trio.move_on_after(self._generation.config.timeouts.body_idle) as scope:
            await half.send_raw(reply)
            if not keep:
                await half.stream.end()
                await half.stream.linger(LINGER_SECONDS)
        if scope.cancelled_caught:
            raise ClientStalled("the client did not read the answer")
        self.reusable = keep

    def _local_reply(self, treatment: Treatment, keep: bool) -> bytes:
        assert self._entry is not None
        answer = local_answer(treatment, self._entry.hsts, self._variable)
        self._status = answer.status
        return replies.reply(
            answer.status,
            close=not keep,
            head_only=self._head.method == "HEAD",
            date=self._traffic.http_date(),
            fields=answer.fields,
            body=answer.body,
            content_type=answer.content_type,
        )

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
        with trio.move_on_after(self._generation.config.timeouts.body_idle) as scope:
            await self._send_reply(reply, keep)
        if scope.cancelled_caught:
            half.stream.give_up()
        self.reusable = keep and not half.stream.broken

    async def _send_reply(self, reply: bytes, keep: bool) -> None:
        half = self._client.half
        try:
            await half.send_raw(reply)
        except ClientGone:
            return  # the record carries the first error; that nobody was left to hear of it adds nothing
        if not keep:
            await half.stream.end()
            await half.stream.linger(LINGER_SECONDS)

    # ------------------------------------------------------------------------------------------------------ record

    def _route_name(self) -> str | None:
        return self._route.action.name if self._route is not None else None

    def _record(self, error: TerminatorError | None) -> None:
        traffic, client, head, half = self._traffic, self._client, self._head, self._client.half
        now = trio.current_time()
        host = self._entry.name if self._entry is not None else None
        reason = error.reason if error is not None else None
        traffic.meters.request(host, self._route_name(), head.method, self._status, reason, now - self._began_at)
        traffic.meters.bytes_moved(half.request_bytes, half.response_bytes)
        if not traffic.logs_requests:
            return
        lease, relay, route = self._lease, self._relay, self._route
        sent_at = relay.sent_at if relay is not None else 0.0
        answered_at = relay.answered_at if relay is not None else 0.0
        traffic.emit(
            HttpRequest(
                conn_id=client.id,
                request_id=self._request_id,
                listener=client.listener.name,
                client_address=client.origin.address or None,
                client_port=client.origin.port or None,
                server_name=client.server_name,
                host=host,
                method=head.method,
                authority=head.authority or None,
                path=head.path,
                query=head.query,
                version=head.version,
                user_agent=_field(head, b"user-agent"),
                status=self._status,
                route=self._route_name(),
                backend=route.action.route.backend if route is not None else None,
                server=lease.server.key if lease is not None else None,
                backend_reused=lease.reused if lease is not None else None,
                retries=self._retries or None,
                request_bytes=half.request_bytes,
                response_bytes=half.response_bytes,
                idle_ms=_ms(self._began_at - client.idle_since),
                head_ms=_ms(self._head_at - self._began_at),
                queue_ms=_ms(lease.queue_seconds) if lease is not None else None,
                connect_ms=_ms(lease.connect_seconds) if lease is not None else None,
                response_ms=_ms(answered_at - sent_at) if answered_at and sent_at else None,
                transfer_ms=_ms(now - answered_at) if answered_at else None,
                total_ms=_ms(now - self._began_at),
                error_type=reason,
                error_message=str(error) if error is not None else None,
                generation=self._generation.number,
            )
        )


def _ms(seconds: float) -> float:
    return round(max(0.0, seconds) * 1000, 3)


def _field(head: RequestHead, name: bytes) -> str | None:
    for field, value in head.fields:
        if field == name:
            return value.decode("latin-1")
    return None
