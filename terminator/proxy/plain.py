"""A plain HTTP listener: redirects to https, and serves the files of ACME's HTTP-01 challenge (RFC 8555 §8.3).

Nothing is ever forwarded from here, so nothing secret can be asked for in the clear by mistake.
"""

from __future__ import annotations

import os
import re
import socket
import stat
from typing import TYPE_CHECKING

import trio

from terminator.errors import ClientError, ClientGone, HeadTimeout, TerminatorError
from terminator.proxy.acceptor import Listening
from terminator.proxy.client import next_request, refuse
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.telemetry.events import HttpRequest
from terminator.transport.stream import Stream
from terminator.wire import replies
from terminator.wire.request_head import RequestHead

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic

_CHALLENGE = "/.well-known/acme-challenge/"
_TOKEN = re.compile(r"[A-Za-z0-9_-]{1,256}")
MAX_CHALLENGE_BYTES = 65536


async def serve(
    traffic: Traffic, listening: Listening, sock: socket.socket, peer: object, accepted_at: float, connection_id: str
) -> None:
    """The connection handler of a plain listener; the caller closes the socket."""
    half = ClientHalf(Stream(sock, ClientGone))
    address, port = (peer[0], peer[1]) if isinstance(peer, tuple) else ("", 0)
    if not traffic.admission.enter(address, traffic.generation.config.limits.connections_per_ip):
        return
    deadline = Deadline(traffic.alarms)
    try:
        began_at, first = accepted_at, True
        while await next_request(traffic, half, deadline, first=first):
            first = False
            idle_since, began_at = began_at, trio.current_time()
            record = _Record(connection_id, listening.name, address, port, idle_since, began_at)
            if not await _answer_one(traffic, listening, half, record):
                return
    finally:
        deadline.end()
        traffic.admission.leave(address)


class _Record:
    """What the record of a request on a plain listener needs."""

    def __init__(
        self, connection_id: str, listener: str, address: str, port: int, idle_since: float, began_at: float
    ) -> None:
        self.connection_id = connection_id
        self.listener = listener
        self.address = address
        self.port = port
        self.idle_since = idle_since
        self.began_at = began_at

    def event(
        self, head: RequestHead | None, status: int | None, sent_bytes: int, error: TerminatorError | None
    ) -> HttpRequest:
        now = trio.current_time()
        return HttpRequest(
            conn_id=self.connection_id,
            listener=self.listener,
            client_address=self.address,
            client_port=self.port,
            method=head.method if head is not None else None,
            authority=head.authority if head is not None else None,
            path=head.path if head is not None else None,
            query=head.query if head is not None else None,
            version=head.version if head is not None else None,
            status=status,
            response_bytes=sent_bytes,
            idle_ms=round((self.began_at - self.idle_since) * 1000, 3),
            total_ms=round((now - self.began_at) * 1000, 3),
            error_type=error.reason if error is not None else None,
            error_message=str(error) if error is not None else None,
        )


async def _answer_one(traffic: Traffic, listening: Listening, half: ClientHalf, record: _Record) -> bool:
    """Reads one request and answers it; whether another may follow."""
    timeouts = traffic.generation.config.timeouts
    head: RequestHead | None = None
    error: TerminatorError | None = None
    status: int | None = None
    keep = False
    try:
        head = await _receive_head(traffic, half, record.began_at)
        keep = head.keep_alive and half.request_complete and not traffic.draining
        status, reply = await _reply(traffic, listening, head, keep)
    except ClientError as caught:
        error, status = caught, caught.status
        if status is None:
            half.stream.give_up()
            reply = b""
        else:
            reply = replies.reply(status, close=True, head_only=False, date=traffic.http_date())
    if reply:
        with trio.move_on_after(timeouts.body_idle) as scope:
            if keep and error is None:
                try:
                    await half.send_raw(reply)
                except ClientGone as gone:
                    error, keep = gone, False
            else:
                await refuse(half, reply)
        if scope.cancelled_caught:
            half.stream.give_up()
            keep = False
    if traffic.logs_requests:
        traffic.emit(record.event(head, status, max(0, len(reply)), error))
    return keep and error is None


async def _receive_head(traffic: Traffic, half: ClientHalf, began_at: float) -> RequestHead:
    limits, timeouts = traffic.generation.config.limits, traffic.generation.config.timeouts
    head = half.head_now(limits.request_head, limits.headers)
    if head is None:
        with trio.CancelScope(deadline=began_at + timeouts.request_head):
            head = await half.receive_head()
    if head is None:
        raise HeadTimeout(f"no whole request head within {timeouts.request_head:g} s")
    return head


async def _reply(traffic: Traffic, listening: Listening, head: RequestHead, keep: bool) -> tuple[int, bytes]:
    webroot = listening.config.acme_webroot
    head_only = head.method == "HEAD"
    date = traffic.http_date()
    if head.path.startswith(_CHALLENGE) and webroot is not None:
        token = head.path[len(_CHALLENGE) :]
        content = None
        if head.method in ("GET", "HEAD") and _TOKEN.fullmatch(token):
            content = await trio.to_thread.run_sync(_read_challenge, webroot, token)
        if content is None:
            return 404, replies.reply(404, close=not keep, head_only=head_only, date=date)
        return 200, replies.reply(200, close=not keep, head_only=head_only, date=date, body=content)
    if traffic.generation.host_for_sni(head.hostname)[0] is None:
        return 404, replies.reply(404, close=not keep, head_only=head_only, date=date)
    location = replies.https_location(head, listening.config.redirect_port)
    return 308, replies.reply(308, close=not keep, head_only=head_only, date=date, fields=[(b"location", location)])


def _read_challenge(webroot: str, token: str) -> bytes | None:
    """The file of a challenge; None if there is none. Only a regular file, and never through a link out of the folder:
    whoever may write there should not be able to publish the rest of the disk."""
    path = os.path.join(webroot, ".well-known", "acme-challenge", token)
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return None
    with os.fdopen(descriptor, "rb") as file:
        return file.read(MAX_CHALLENGE_BYTES) if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
