"""The requests of one client connection, one after the other, until either side wants no more."""

from __future__ import annotations

from typing import TYPE_CHECKING

import trio

from terminator.errors import ClientError, ClientGone, HeadTimeout, TerminatorError
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.proxy.exchange import Exchange
from terminator.proxy.express import Express
from terminator.proxy.facts import Client
from terminator.telemetry.events import HttpRequest
from terminator.wire import replies
from terminator.wire.request_head import RequestHead

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic


LINGER_SECONDS = 30.0
"""How long what a client sends is dropped after our last word, so that this is not lost to a reset. Many send the whole
of a large body before they read that it was refused; nginx gives them as long."""

QUIET_SECONDS = 2.0
"""How long it may be silent meanwhile."""


async def serve_requests(traffic: Traffic, client: Client) -> None:
    """Exchanges one after the other, until either side wants no more. The caller closes the stream."""
    half = client.half
    clock = trio.lowlevel.current_clock()
    express = Express(traffic, client) if traffic.has_express_lane else None
    first = True
    while await next_request(traffic, half, client.deadline, first=first):
        began_at = clock.current_time()
        again = await express.serve_alike(began_at) if express is not None else None
        if again is None:
            head = await _receive_head(traffic, client, began_at)
            if head is None:
                return
            head_at = clock.current_time()
            again = await express.serve(head, began_at, head_at) if express is not None else None
            if again is None:
                found = express.found if express is not None else None
                exchange = Exchange(traffic, client, head, began_at, head_at, found=found)
                await exchange.run()
                again = exchange.reusable and not half.stream.broken
        if not again:
            if (half.request_begun or not half.request_complete or half.ended_by_us) and not half.stream.broken:
                # It sends on behind the end, or amid a body that was answered early, or may do so: closing would reset
                # the connection and take our last words from it, those included that still wait in the kernel.
                await half.stream.end()
                await half.stream.linger(QUIET_SECONDS if traffic.draining else LINGER_SECONDS, QUIET_SECONDS)
            return
        first = False
        client.idle_since = clock.current_time()


async def next_request(traffic: Traffic, half: ClientHalf, deadline: Deadline, *, first: bool) -> bool:
    """Waits between requests; False when the connection is to be closed instead."""
    timeouts = traffic.generation.config.timeouts
    if half.request_begun:
        return True
    if first or traffic.draining:
        # The first request often comes with the end of the handshake. Later ones are hardly ever there already, and a
        # look would be in vain; but in a drain it must be known.
        if half.request_waiting():
            return True
        if traffic.draining and not first:
            return False
    while True:
        draining = traffic.draining
        deadline.begin(half.stream)
        deadline.expect(HeadTimeout, timeouts.request_head if draining else timeouts.client_idle, "no request")
        traffic.idle.add(deadline)
        try:
            return await half.wait_for_request()
        except ClientGone:
            return False  # a reset between requests is a routine goodbye
        except HeadTimeout:
            pass  # the time is up, or a drain has begun
        finally:
            traffic.idle.discard(deadline)
            deadline.done()
        if half.request_waiting():
            return True  # it came at the very moment of the drain
        if draining or not (first and traffic.draining):
            return False
        # A client that has just connected did so to ask something: in a drain it gets the time of a request head.


async def _receive_head(traffic: Traffic, client: Client, began_at: float) -> RequestHead | None:
    """The next head, or None when it was refused: then the refusal has been answered and recorded."""
    limits, timeouts = traffic.generation.config.limits, traffic.generation.config.timeouts
    half = client.half
    error: TerminatorError
    try:
        head = half.head_now(limits.request_head, limits.headers)
        if head is not None:
            return head
        return await _receive_rest_of_head(client, began_at, timeouts.request_head)
    except ClientError as caught:
        error = caught
    status = error.status if not half.stream.broken else None
    if status is not None:
        with trio.move_on_after(timeouts.body_idle):
            await refuse(half, replies.reply(status, close=True, head_only=False, date=traffic.http_date()))
    else:
        half.stream.give_up()
    traffic.meters.request(None, None, None, status, error.reason, trio.current_time() - began_at)
    if traffic.logs_requests:
        now = trio.current_time()
        traffic.emit(
            HttpRequest(
                conn_id=client.id,
                listener=client.listener.name,
                client_address=client.origin.address or None,
                client_port=client.origin.port or None,
                server_name=client.server_name,
                status=status,
                idle_ms=round((began_at - client.idle_since) * 1000, 3),
                head_ms=round((now - began_at) * 1000, 3),
                total_ms=round((now - began_at) * 1000, 3),
                error_type=error.reason,
                error_message=str(error),
                generation=traffic.generation.number,
            )
        )
    return None


async def _receive_rest_of_head(client: Client, began_at: float, seconds: float) -> RequestHead:
    try:
        client.deadline.begin(client.half.stream)
        client.deadline.expect(HeadTimeout, seconds, f"no whole request head within {seconds:g} s", began_at)
        return await client.half.receive_head()
    finally:
        client.deadline.done()


async def refuse(half: ClientHalf, reply: bytes) -> None:
    """Sends a reply that ends the connection, and sees to it that it arrives (RFC 9112 §9.6); for what has no body, or
    none that we could find the end of."""
    try:
        await half.send_raw(reply)
    except ClientGone:
        return  # nobody was left to hear of it; the record carries the refusal
    await half.stream.end()
    await half.stream.linger(QUIET_SECONDS)
