"""The express lane of exchanges: a request without surprises, and a response as plain as most.

It does what `exchange`, `forward` and `relay` do, for the one case that is most of all traffic: a request that is here
with its body, if any; a kept connection to the backend; and a response whose head can be sent on as it is. One that is
here whole goes on in one piece; the body of any other is moved as the ordinary way moves it. A request whose field
lines are, byte for byte, those of the one before on its connection costs least: host, framing and what is said to the
backend stand already. Where anything is otherwise the lane hands over, also amid the exchange: `exchange` goes on from
where things stand. It decides nothing by itself and could be deleted without loss of function (`client.serve_requests`
asks it); tests/proxy/test_express.py holds both ways against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from terminator.backend.connection import BackendConnection
from terminator.backend.group import BackendGroup, Lease
from terminator.errors import BackendTimeout, BadRequest, ClientError, NoServer
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.exchange import Exchange, Found, admit_host, find_route
from terminator.proxy.facts import Client
from terminator.proxy.generation import Generation, HostEntry
from terminator.proxy.recording import http_request
from terminator.proxy.relay import Begun, relay_body
from terminator.proxy.treatment import Treatment, forwarded_target
from terminator.proxy.wording import Wording
from terminator.routing.routes import Route
from terminator.telemetry.alike import RequestAlike, RequestsAlike
from terminator.wire.framing import Framing
from terminator.wire.plain_heads import SameFields, field_lines_of, plain_answer, same_fields, sole_chunk
from terminator.wire.request_head import RequestHead
from terminator.wire.writing import write_request_head

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic

RECEIVE_BYTES = 65536
"""What a response that goes on in one piece may have, with its head."""


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


@dataclass(slots=True)
class Passage(Begun):
    """One request on the lane, and how far it has come."""

    generation: Generation
    plan: Plan
    began_at: float
    head_at: float
    """When its head was here, by the loop's clock."""
    method: str
    same: SameFields | None
    """Where `plan.head` is the head of another request; else it is this one's, and `wording` has its words."""


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
        return await self._forward(Passage(generation, plan, began_at, began_at, method, same), request)

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
        passage = Passage(generation, plan, began_at, head_at, head.method, None, wording=wording)
        return await self._forward(passage, request)

    async def _forward(self, passage: Passage, request: bytes) -> bool | None:
        """request: all of it, as it is to be sent."""
        client, traffic, plan = self._client, self._traffic, passage.plan
        if traffic.draining or client.gone:
            return None
        group = plan.group
        try:
            passage.found = lease = group.lease_now(
                tried=passage.tried, hash_key=plan.hash_key, fresh=False, now=passage.head_at
            )
        except NoServer:
            return None
        group.budget.request(passage.head_at)
        if not isinstance(lease, Lease):
            return await self._hand_over(passage)
        deadline, patience, lasting = client.deadline, plan.route.action.patience, plan.head.keep_alive
        connection, front = lease.connection, client.half.stream
        back = connection.stream
        front.stall_seconds = back.stall_seconds = patience.body_idle
        deadline.begin(back, front)
        reusable = True
        try:
            passage.sent_at = passage.head_at  # from here on it may have been sent
            await back.send(request)
            passage.sent_at = sent_at = self._now()
            deadline.expect(BackendTimeout, patience.backend_response, "no response head in time", sent_at)
            received = await back.receive_later(RECEIVE_BYTES)
            plain = plain_answer(received, traffic.http_date, plan.hsts, closing=not lasting)
            if plain is None or traffic.draining:
                passage.received = received
                del received, plain  # the ordinary way forgets it once it has read it
            else:
                deadline.rest()
                passage.status, length, head, content = plain
                passage.answered_at = self._now()
                whole = sole_chunk(content) if length is None else length if length == len(content) else None
                if whole is not None:
                    passage.response_bytes = whole
                    if not lasting:
                        front.last_words()
                    await front.send(head + content)
                else:
                    connection.take_over_body(length, content)
                    del received, content, plain  # a long response shall not keep its beginning
                    await self._relay_body(passage, connection, head, length)
                    reusable = connection.reusable
        except BaseException as error:
            passage.failure = error
            return await self._hand_over(passage)
        if passage.status is None:
            if passage.received:
                group.pace.other()
            self._plan = None
            return await self._hand_over(passage)
        group.pace.plain()
        deadline.done()
        now = self._now()
        lease.give_back(now, None, passage.status, reusable=reusable)
        if passage.same is not None:
            client.half.forget_received()
        elif plan.head.content_length:
            _skip_body(client.half)
        meters = traffic.meters.plain_exchange(
            plan.entry.name, plan.route.action.name, passage.method, passage.status, group.name, lease.server.key
        )
        content_bytes = plan.head.content_length or 0
        meters.count(now - passage.began_at, passage.answered_at - sent_at, content_bytes, passage.response_bytes)
        if traffic.logs_requests:
            self._record(passage, lease, now)
        return lasting and not front.broken

    async def _relay_body(
        self, passage: Passage, connection: BackendConnection, head: bytes, length: int | None
    ) -> None:
        half = self._client.half
        half.begin_written_response(head, Framing.CHUNKED if length is None else Framing.LENGTH)
        try:
            await relay_body(half, connection, self._client.deadline, passage.plan.route.action.patience.body_idle)
        finally:
            passage.response_bytes = half.response_bytes

    async def _hand_over(self, passage: Passage) -> bool:
        """The ordinary way takes this exchange from where it stands. What it has to read of it, it reads alike."""
        client, half, plan, generation = self._client, self._client.half, passage.plan, passage.generation
        if passage.same is None:
            head = plan.head
        else:
            limits = generation.config.limits
            read = half.head_now(limits.request_head, limits.headers)
            assert read is not None
            head = read
            half.take_raw_head()
        if passage.sent_at:
            _skip_body(half)
        if passage.status is not None:
            half.response_begun = True
            half.response_bytes = passage.response_bytes
        found = plan.entry, plan.route
        exchange = Exchange(self._traffic, client, head, passage.began_at, passage.head_at, generation, found)
        await exchange.run(passage)
        return exchange.reusable and not half.stream.broken

    def _record(self, passage: Passage, lease: Lease, now: float) -> None:
        plan, same, status = passage.plan, passage.same, passage.status
        if same is not None and plan.told is not None and status is not None:
            alike = RequestAlike(
                plan.told,
                same[1:4],
                status,
                lease.server.key,
                passage.response_bytes,
                passage.began_at - self._client.idle_since,
                passage.answered_at - passage.sent_at,
                now - passage.answered_at,
                now - passage.began_at,
            )
            self._traffic.emit(alike)
            return
        event = http_request(
            self._client,
            plan.head if same is None else _head(plan.head, same),
            generation=plan.generation,
            request_id=passage.wording.request_id if passage.wording is not None else None,
            host=plan.entry.name,
            treatment=plan.route.action,
            server=lease.server.key,
            lease=lease,
            retries=0,
            status=status,
            request_bytes=plan.head.content_length or 0,
            response_bytes=passage.response_bytes,
            began_at=passage.began_at,
            head_at=passage.head_at,
            sent_at=passage.sent_at,
            answered_at=passage.answered_at,
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
