"""The express lane of exchanges: a request without surprises, and a response as plain as most.

It does what `exchange`, `forward` and `relay` do, for the one case that is most of all traffic: a request that is here
with its body, if any; a kept connection to the backend; and a response that comes whole, in one piece, and can be sent
on as it is. A request whose field lines are, byte for byte, those of the one before on its connection costs least:
host, framing and what is said to the backend stand already. Where anything is otherwise the lane hands over, also amid
the exchange: `exchange` goes on from where things stand. It decides nothing by itself and could be deleted without loss
of function (`client.serve_requests` asks it); tests/proxy/test_express.py holds both ways against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from terminator.backend.group import BackendGroup, Lease
from terminator.errors import BackendTimeout, BadRequest, ClientError, NoServer
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.exchange import Exchange, Found, admit_host, find_route
from terminator.proxy.facts import Client
from terminator.proxy.generation import Generation, HostEntry
from terminator.proxy.recording import http_request
from terminator.proxy.relay import Begun
from terminator.proxy.treatment import Treatment, forwarded_target
from terminator.proxy.wording import Wording
from terminator.routing.routes import Route
from terminator.telemetry.alike import RequestAlike, RequestsAlike
from terminator.wire.framing import Framing
from terminator.wire.plain_heads import SameFields, field_lines_of, plain_answer, same_fields
from terminator.wire.request_head import RequestHead
from terminator.wire.writing import write_request_head

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic

RECEIVE_BYTES = 65536
"""What a whole response may have, with its head."""


@dataclass(slots=True)
class Plan:
    """What was decided about a request, and holds for the next one with the same field lines and the same route."""

    generation: int
    """Its number alone: a connection that waits for its next request shall not keep an old generation."""
    entry: HostEntry
    route: Route[Treatment]
    group: BackendGroup
    head: RequestHead
    hsts: bytes
    """The response's line of Strict-Transport-Security, b"" for none."""
    hash_key: bytes
    fields: bytes = b""
    """The client's field lines with their empty line, where the plan may hold for the next request."""
    behind_target: bytes = b""
    """The rest of the head for the backend then."""
    told: RequestsAlike | None = None
    """What the records of such requests have in common, once one has been told."""


class Express:
    """The lane of one client connection."""

    __slots__ = ("_client", "_now", "_plan", "_traffic", "found")

    def __init__(self, traffic: Traffic, client: Client) -> None:
        self._traffic = traffic
        self._client = client
        self._plan: Plan | None = None
        self.found: Found | None = None
        """Host and route of the request that `serve` has left to the ordinary way, if it got so far."""
        self._now: Callable[[], float] = trio.lowlevel.current_clock().current_time

    async def serve_alike(self, began_at: float) -> bool | None:
        """Serves the request whose first bytes have been received if its field lines are those of the one before:
        whether another may follow on the connection. None when it is not for this lane: then nothing has been done."""
        plan, generation = self._plan, self._traffic.generation
        if plan is None or plan.generation != generation.number:
            return None
        received = self._client.half.received()
        same = same_fields(received, plan.fields)
        if same is None:
            return None
        beginning, method, path, query, head_bytes = same
        content_bytes = plan.head.content_length or 0
        if len(received) != head_bytes + content_bytes or head_bytes > generation.config.limits.request_head:
            return None
        try:
            route = plan.entry.routes.match(method, path, query, plan.head.fields)
        except BadRequest:
            return None
        if route is not plan.route:
            return None
        request = beginning + plan.behind_target
        if content_bytes:
            request += received[head_bytes:]
        return await self._forward(generation, plan, began_at, began_at, request, method, same)

    async def serve(self, head: RequestHead, began_at: float, head_at: float) -> bool | None:
        """The same for a request whose head has been read, at `head_at`."""
        half, generation = self._client.half, self._traffic.generation
        raw, body = half.take_raw_head(), half.body_here()
        self._plan = self.found = None
        if body is None or not _is_common(head):
            return None
        try:
            entry = admit_host(generation, self._client, head)
            self.found = entry, find_route(entry, head)
            planned = _plan(generation, self._client, head, self.found)
        except ClientError:
            return None  # the ordinary way tells what it is refused for
        if planned is None:
            return None
        plan, wording, request = planned
        lasting = head.keep_alive and plan.route.action.constant and wording.request_id is None
        if lasting and (fields := field_lines_of(raw)) is not None:
            plan.fields = fields
            plan.behind_target = request[request.index(b" HTTP/1.1\r\n") :]
            self._plan = plan
        if body:
            request += body
        return await self._forward(generation, plan, began_at, head_at, request, head.method, None, wording)

    async def _forward(
        self,
        generation: Generation,
        plan: Plan,
        began_at: float,
        head_at: float,
        request: bytes,
        method: str,
        same: SameFields | None,
        wording: Wording | None = None,
    ) -> bool | None:
        """request: all of it, as it is to be sent. same: where `plan.head` is the head of another request; else this
        one's `wording`."""
        client, traffic, group = self._client, self._traffic, plan.group
        if traffic.draining or client.gone:
            return None
        begun = Begun(None, set(), wording)
        try:
            begun.found = lease = group.lease_now(tried=begun.tried, hash_key=plan.hash_key, fresh=False)
        except NoServer:
            return None
        group.budget.request(head_at)
        if not isinstance(lease, Lease):
            return await self._hand_over(generation, plan, began_at, head_at, begun, same)
        deadline, patience = client.deadline, plan.route.action.patience
        front, back = client.half.stream, lease.connection.stream
        front.stall_seconds = back.stall_seconds = patience.body_idle
        deadline.begin(back, front)
        try:
            begun.sent_at = self._now()
            await back.send(request)
            begun.sent_at = sent_at = self._now()
            deadline.expect(BackendTimeout, patience.backend_response, "no response head in time", sent_at)
            begun.received = await back.receive_later(RECEIVE_BYTES)
            plain = plain_answer(begun.received, traffic.http_date, plan.hsts, closing=not plan.head.keep_alive)
            if plain is not None and not traffic.draining:
                deadline.rest()
                begun.status, begun.response_bytes, response = plain
                begun.answered_at = answered_at = self._now()
                if not plan.head.keep_alive:
                    front.last_words()
                await front.send(response)
        except BaseException as error:
            begun.failure = error
            return await self._hand_over(generation, plan, began_at, head_at, begun, same)
        if begun.status is None:
            if begun.received:
                group.pace.other()
            self._plan = None
            return await self._hand_over(generation, plan, began_at, head_at, begun, same)
        group.pace.plain()
        deadline.done()
        now = self._now()
        lease.give_back(now, None, begun.status, reusable=True)
        if same is not None:
            client.half.forget_received()
        elif plan.head.content_length:
            _skip_body(client.half)
        meters = traffic.meters.plain_exchange(
            plan.entry.name, plan.route.action.name, method, begun.status, group.name, lease.server.key
        )
        content_bytes = plan.head.content_length or 0
        meters.count(now - began_at, answered_at - sent_at, content_bytes, begun.response_bytes)
        if traffic.logs_requests:
            self._record(plan, began_at, head_at, begun, lease, same, now)
        return plan.head.keep_alive and not front.broken

    async def _hand_over(
        self, generation: Generation, plan: Plan, began_at: float, head_at: float, begun: Begun, same: SameFields | None
    ) -> bool:
        """The ordinary way takes this exchange from where it stands. What it has to read of it, it reads alike."""
        client, half, limits = self._client, self._client.half, generation.config.limits
        if same is None:
            head = plan.head
        else:
            read = half.head_now(limits.request_head, limits.headers)
            assert read is not None
            head = read
            half.take_raw_head()
        if begun.sent_at:
            _skip_body(half)
        if begun.status is not None:
            half.response_begun = True
            half.response_bytes = begun.response_bytes
        exchange = Exchange(self._traffic, client, head, began_at, head_at, generation, (plan.entry, plan.route))
        await exchange.run(begun)
        return exchange.reusable and not half.stream.broken

    def _record(
        self,
        plan: Plan,
        began_at: float,
        head_at: float,
        begun: Begun,
        lease: Lease,
        same: SameFields | None,
        now: float,
    ) -> None:
        if same is not None and plan.told is not None and begun.status is not None:
            alike = RequestAlike(
                plan.told,
                same[1:4],
                begun.status,
                lease.server.key,
                begun.response_bytes,
                began_at - self._client.idle_since,
                begun.answered_at - begun.sent_at,
                now - begun.answered_at,
                now - began_at,
            )
            self._traffic.emit(alike)
            return
        event = http_request(
            self._client,
            plan.head if same is None else _head(plan.head, same),
            generation=plan.generation,
            request_id=begun.wording.request_id if begun.wording is not None else None,
            host=plan.entry.name,
            treatment=plan.route.action,
            server=lease.server.key,
            lease=lease,
            retries=0,
            status=begun.status,
            request_bytes=plan.head.content_length or 0,
            response_bytes=begun.response_bytes,
            began_at=began_at,
            head_at=head_at,
            sent_at=begun.sent_at,
            answered_at=begun.answered_at,
            now=now,
            error=None,
        )
        if same is not None:
            plan.told = RequestsAlike(event)
        self._traffic.emit(event)


def _skip_body(half: ClientHalf) -> None:
    """It is here, and has been sent."""
    while half.body_now():
        continue


def _is_common(head: RequestHead) -> bool:
    return (
        head.version == "1.1"
        and head.framing is not Framing.CHUNKED
        and head.method != "HEAD"
        and head.path != "*"
        and head.upgrade is None
        and not head.expect_continue
    )


def _plan(
    generation: Generation, client: Client, head: RequestHead, found: Found
) -> tuple[Plan, Wording, bytes] | None:
    """With the head for the backend; None where the lane is not for this route or, for now, its backend. Raises
    ClientErrors."""
    entry, route = found
    treatment, backend = route.action, route.action.route.backend
    if backend is None or treatment.response_rules is not None:
        return None
    if 0 < treatment.max_body_bytes < (head.content_length or 0):
        return None
    group = generation.backends[backend]
    if group.announces_clients or not group.pace.may_try():
        return None
    wording = Wording(generation, client, head, entry, treatment)
    target, prefix = forwarded_target(treatment, head, wording.variable)
    plan = Plan(
        generation.number,
        entry,
        route,
        group,
        head,
        b"" if entry.hsts is None else b"Strict-Transport-Security: %b\r\n" % entry.hsts,
        wording.hash_key(group.hash_source),
    )
    return plan, wording, write_request_head(head.method, target, wording.request_fields(prefix))


def _head(before: RequestHead, same: SameFields) -> RequestHead:
    """The head of a request with the field lines of the one before."""
    beginning, method, path, query, _ = same
    return RequestHead(
        method,
        beginning[len(method) + 1 :].decode("ascii"),
        path,
        query,
        before.authority,
        before.hostname,
        before.version,
        before.fields,
        before.framing,
        before.content_length,
        before.expect_continue,
        before.upgrade,
        before.connection,
        before.keep_alive,
    )
