"""What comes before OpenSSL takes over: the first bytes of a connection, looked at without consuming them.

The kernel keeps the bytes (MSG_PEEK), so that OpenSSL, or whoever the connection is passed on to, reads them again.
While a message is incomplete SO_RCVLOWAT holds the wake-up back until the rest is there: one wake-up, however many
segments. An end of input wakes the waiter too, and shows no more bytes than before; waiting again would spin.
"""

from __future__ import annotations

import functools
import select
import socket
from collections.abc import Awaitable, Callable
from typing import TypeVar

import trio

from terminator.errors import HandshakeError
from terminator.tls.failures import classify
from terminator.tls.handshake_facts import HandshakeFacts, HandshakeFailed
from terminator.wire import proxy_header
from terminator.wire.client_hello import NeedMore
from terminator.wire.proxy_header import ProxyHeader, ProxyHeaderError

T = TypeVar("T")

USUAL_BYTES = 4096
"""The first look; nearly every hello is whole within it."""
STALL_SECONDS = 0.002
MAX_STALL_SECONDS = 0.1


class EndOfInput(Exception):
    """The peer has closed its side before the message was whole."""


async def look(
    sock: socket.socket,
    parse: Callable[[bytes], T | NeedMore],
    arrived: Callable[[], None],
    wait_readable: Callable[[], Awaitable[None]],
) -> T:
    """What `parse` makes of the connection's first bytes, which stay where they are.

    `arrived` is called once, when the first byte is there. Raises what `parse` raises, EndOfInput, or OSError. The
    caller bounds the time, by what `wait_readable` raises or by a scope; `parse` bounds the size, by refusing to need
    more.
    """
    seen, size, stalls, low_water = 0, USUAL_BYTES, 0, 1
    try:
        while True:
            try:
                data = sock.recv(size, socket.MSG_PEEK)
            except BlockingIOError:
                await wait_readable()
                continue
            if not data:
                raise EndOfInput
            if not seen:
                arrived()
            if len(data) > seen:
                answer = parse(data)
                if not isinstance(answer, NeedMore):
                    return answer
                stalls = 0
                seen = len(data)
                size = max(size, seen + answer.missing_bytes)
                if sock.family != socket.AF_UNIX:  # whose poll does not heed it
                    low_water = seen + answer.missing_bytes
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, low_water)
            elif _has_hung_up(sock):
                raise EndOfInput
            else:
                # Awake without news: a unix socket, or a receive buffer that is full of tiny segments.
                await trio.sleep(min(STALL_SECONDS * 2**stalls, MAX_STALL_SECONDS))
                stalls += 1
            await wait_readable()
    finally:
        if low_water > 1:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVLOWAT, 1)


def _has_hung_up(sock: socket.socket) -> bool:
    poll = select.poll()
    poll.register(sock, select.POLLRDHUP)
    return bool(poll.poll(0))


async def read_proxy_header(sock: socket.socket, *, accepted_at: float, deadline_seconds: float) -> ProxyHeader:
    """Consumes exactly the PROXY header that a trusted peer must begin with; nothing behind it.

    accepted_at is by trio's clock, and deadline_seconds count from it. Raises HandshakeFailed, phase `first_byte`:
    proxy_header_missing, proxy_header_invalid, client_closed, timeout. The socket is closed on every exception.
    """
    facts = HandshakeFacts(accepted_at)
    try:
        with trio.CancelScope(deadline=accepted_at + deadline_seconds):
            readable = functools.partial(trio.lowlevel.wait_readable, sock)
            header = await look(sock, proxy_header.parse, lambda: None, readable)
            left = header.length
            while left:
                left -= len(sock.recv(left))
            return header
        error = HandshakeError("timeout", "first_byte", f"no whole PROXY header within {deadline_seconds:g} s")
    except EndOfInput:
        error = HandshakeError("client_closed", "first_byte", "the peer closed before its PROXY header was whole")
    except ProxyHeaderError as refusal:
        kind = "proxy_header_invalid" if _begins_one(sock) else "proxy_header_missing"
        error = HandshakeError(kind, "first_byte", str(refusal))
    except OSError as broken:
        error = classify(broken, "first_byte")
    except BaseException:
        sock.close()
        raise
    facts.finish()
    facts.ask_kernel(sock)
    sock.close()
    raise HandshakeFailed(error, facts)


def _begins_one(sock: socket.socket) -> bool:
    try:
        return proxy_header.could_be(sock.recv(16, socket.MSG_PEEK))
    except OSError:
        return False
