"""The express lane of exchanges: a request like the one before on its connection, and a response as plain as most.

It does what `exchange`, `forward` and `relay` do, for the one case that is most of all traffic: the field lines are,
byte for byte, those of the last request of this connection, so that host, framing and what is said to the backend
stand already; the route is the same; a kept connection is there; and the whole response comes in one piece that can be
sent on as it is. Where anything is otherwise the lane hands over, also amid the exchange: `exchange` then reads the
same bytes anew and goes on from where things stand. It decides nothing by itself and could be deleted without loss of
function (`client.serve_requests` asks it in one place); tests/proxy/test_express.py holds both ways against each other.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from terminator.backend.group import BackendGroup, Lease
from terminator.errors import BackendTimeout, BadRequest, NoServer
from terminator.proxy.exchange import Exchange
from terminator.proxy.facts import Client
from terminator.proxy.generation import Generation, HostEntry
from terminator.proxy.meters import PlainExchange
from terminator.proxy.recording import http_request
from terminator.proxy.relay import Begun
from terminator.proxy.treatment import Treatment
from terminator.wire.framing import Framing
from terminator.wire.plain_heads import field_lines_of, plain_answer, same_fields
from terminator.wire.request_head import RequestHead

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic

MAX_HEAD_BYTES = 4096
"""Of a request that is learnt from: each idle connection keeps its field lines."""

RECEIVE_BYTES = 65536
"""What a whole response may have, with its head."""

LONGEST_PAUSE = 64
"""Exchanges that go the ordinary way, at most, before the lane is tried again after responses that were not plain."""


@dataclass(frozen=True, slots=True)
class Lesson:
    """What an exchange tells of the next one, should that have the same field lines and route."""

    generation: Generation
    entry: HostEntry
    treatment: Treatment
    group: BackendGroup
    head: RequestHead
    fields: bytes
    """The client's field lines with their empty line."""
    forwarded: bytes
    """The head for the backend from behind its target."""
    hsts: bytes
    """The response's line of Strict-Transport-Security, b"" for none."""


class Express:
    """The lane of one client connection."""

    __slots__ = ("_client", "_counted", "_lesson", "_meters", "_next_pause", "_now", "_pause", "_traffic")

    def __init__(self, traffic: Traffic, client: Client) -> None:
        self._traffic = traffic
        self._client = client
        self._lesson: Lesson | None = None
        self._pause = 0
        self._next_pause = 2
        self._counted: tuple[bytes, int, str] | None = None
        self._meters: PlainExchange | None = None
        self._now: Callable[[], float] = trio.lowlevel.current_clock().current_time

    def learn(self, exchange: Exchange) -> None:
        """From an exchange that has ended well, on a connection that stays."""
        raw = self._client.half.take_raw_head()
        if self._pause:
            self._pause -= 1
            return
        self._lesson = _lesson(exchange, raw) if len(raw) <= MAX_HEAD_BYTES else None

    async def serve(self, began_at: float) -> bool | None:
        """Serves the request whose first bytes have been received: whether another may follow on the connection. None
        when it is not for this lane: then nothing has been done."""
        lesson, client, traffic = self._lesson, self._client, self._traffic
        if lesson is None or self._pause or traffic.generation is not lesson.generation or traffic.draining:
            return None
        received = client.half.received()
        same = same_fields(received, lesson.fields)
        if same is None or client.gone:
            return None
        method, target, path, query, head_bytes = same
        content_bytes = lesson.head.content_length or 0
        if len(received) != head_bytes + content_bytes or head_bytes > lesson.generation.config.limits.request_head:
            return None
        try:
            route = lesson.entry.routes.match(
                method.decode("ascii"),
                path.decode("ascii"),
                None if query is None else query.decode("ascii"),
                lesson.head.fields,
            )
        except BadRequest:
            return None
        if route is None or route.action is not lesson.treatment:
            return None
        request = b"%b %b%b" % (method, target, lesson.forwarded)
        if content_bytes:
            request += received[head_bytes:]
        tried: set[str] = set()
        try:
            found = lesson.group.lease_now(tried=tried, hash_key=b"", fresh=False)
        except NoServer:
            return None
        lesson.group.budget.request(began_at)
        begun = Begun(found, tried)
        if not isinstance(found, Lease):
            return await self._hand_over(lesson, began_at, begun)
        return await self._relay(lesson, began_at, begun, found, same, request)

    async def _relay(
        self,
        lesson: Lesson,
        began_at: float,
        begun: Begun,
        lease: Lease,
        same: tuple[bytes, bytes, bytes, bytes | None, int],
        request: bytes,
    ) -> bool:
        client, traffic = self._client, self._traffic
        deadline, patience = client.deadline, lesson.treatment.patience
        front, back = client.half.stream, lease.connection.stream
        front.stall_seconds = back.stall_seconds = patience.body_idle
        deadline.begin(back, front)
        try:
            begun.sent_at = self._now()
            await back.send(request)
            begun.sent_at = sent_at = self._now()
            deadline.expect(BackendTimeout, patience.backend_response, "no response head in time", sent_at)
            begun.received = answer = await back.receive_later(RECEIVE_BYTES)
            plain = plain_answer(answer, traffic.http_date, lesson.hsts)
            if plain is not None and not traffic.draining:
                deadline.rest()
                begun.status, begun.response_bytes, response = plain
                begun.answered_at = answered_at = self._now()
                await front.send(response)
        except BaseException as error:
            begun.failure = error
            return await self._hand_over(lesson, began_at, begun)
        if begun.status is None:
            self._pause, self._next_pause = self._next_pause, min(2 * self._next_pause, LONGEST_PAUSE)
            return await self._hand_over(lesson, began_at, begun)
        deadline.done()
        now = self._now()
        lease.give_back(now, None, begun.status, reusable=True)
        client.half.forget_received()
        self._next_pause = 2
        content_bytes = lesson.head.content_length or 0
        meters = self._meters_for(lesson, same[0], begun.status, lease.server.key)
        meters.count(now - began_at, answered_at - sent_at, content_bytes, begun.response_bytes)
        if traffic.logs_requests:
            self._record(lesson, began_at, begun, lease, same, now)
        return not front.broken

    async def _hand_over(self, lesson: Lesson, began_at: float, begun: Begun) -> bool:
        """The ordinary way takes this exchange from where it stands. It reads the same bytes, and finds the same."""
        client, limits = self._client, lesson.generation.config.limits
        half = client.half
        head = half.head_now(limits.request_head, limits.headers)
        assert head is not None
        if begun.sent_at:
            while half.body_now():
                continue  # it has been sent
        if begun.status is not None:
            half.response_begun = True
            half.response_bytes = begun.response_bytes
        exchange = Exchange(self._traffic, client, head, began_at, began_at, lesson.generation)
        await exchange.run(begun)
        if not exchange.reusable or half.stream.broken:
            return False
        self.learn(exchange)
        return True

    def _meters_for(self, lesson: Lesson, method: bytes, status: int, server: str) -> PlainExchange:
        wanted = (method, status, server)
        if self._meters is None or self._counted != wanted:
            self._counted = wanted
            self._meters = self._traffic.meters.plain_exchange(
                lesson.entry.name, lesson.treatment.name, method.decode("ascii"), status, lesson.group.name, server
            )
        return self._meters

    def _record(
        self,
        lesson: Lesson,
        began_at: float,
        begun: Begun,
        lease: Lease,
        same: tuple[bytes, bytes, bytes, bytes | None, int],
        now: float,
    ) -> None:
        method, target, path, query, _ = same
        before = lesson.head
        head = RequestHead(
            method.decode("ascii"),
            target.decode("ascii"),
            path.decode("ascii"),
            None if query is None else query.decode("ascii"),
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
        self._traffic.emit(
            http_request(
                self._client,
                head,
                generation=lesson.generation.number,
                request_id=None,
                host=lesson.entry.name,
                treatment=lesson.treatment,
                server=lease.server.key,
                lease=lease,
                retries=0,
                status=begun.status,
                request_bytes=before.content_length or 0,
                response_bytes=begun.response_bytes,
                began_at=began_at,
                head_at=began_at,
                sent_at=begun.sent_at,
                answered_at=begun.answered_at,
                now=now,
                error=None,
            )
        )


def _lesson(exchange: Exchange, raw: bytes) -> Lesson | None:
    """None where a request with the same field lines would have to be thought about anew."""
    head, entry, route, forward = exchange.head, exchange.entry, exchange.route, exchange.forward
    if entry is None or route is None or forward is None or not forward.request_head:
        return None
    if head.version != "1.1" or head.framing is Framing.CHUNKED or head.upgrade is not None or head.expect_continue:
        return None
    generation, treatment = exchange.generation, route.action
    group = generation.backends[forward.backend]
    if generation.config.request_id is not None or not treatment.constant or not group.chooses_alike:
        return None
    fields = field_lines_of(raw)
    if fields is None:
        return None
    at = forward.request_head.index(b" HTTP/1.1\r\n")
    hsts = b"" if entry.hsts is None else b"Strict-Transport-Security: %b\r\n" % entry.hsts
    return Lesson(generation, entry, treatment, group, head, fields, forward.request_head[at:], hsts)
