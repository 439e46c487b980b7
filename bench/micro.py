#!/usr/bin/env python3
"""The pure functions on the way of every handshake and request, timed one by one with pyperf.

    python bench/micro.py -o before.json        (needs pyperf: pip install pyperf; options are pyperf's own)
    …change something…
    python bench/micro.py -o after.json && python -m pyperf compare_to before.json after.json

Compare two runs on one machine; the times alone mean little. What they add up to is in docs/performance.md.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Callable
from dataclasses import replace
from random import Random
from typing import Any

from terminator.config.model import Log
from terminator.routing.balance import pick, policy_named
from terminator.routing.hostnames import HostTable
from terminator.routing.retries import Budget
from terminator.routing.routes import RouteTable, route
from terminator.telemetry.board import Board
from terminator.telemetry.events import Event, HttpRequest, TlsHandshake
from terminator.telemetry.journal import Journal
from terminator.transport.alarms import Alarm, Alarms
from terminator.wire import client_hello, forwarding, proxy_header, request_head, response_head, writing
from terminator.wire.client_side import ClientSide
from terminator.wire.express import chunked
from terminator.wire.head_buffer import HeadBuffer

REQUEST = (
    b"GET /shop/cart?item=42 HTTP/1.1\r\nHost: shop.example\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64; rv:140.0) "
    b"Gecko/20100101 Firefox/140.0\r\nAccept: text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8\r\n"
    b"Accept-Language: en-US,en;q=0.5\r\nAccept-Encoding: gzip, deflate, br, zstd\r\nConnection: keep-alive\r\n"
    b"Cookie: session=0123456789abcdef0123456789abcdef\r\nSec-Fetch-Dest: document\r\nPriority: u=0, i\r\n\r\n"
)
RESPONSE = (
    b"HTTP/1.1 200 OK\r\nServer: gunicorn\r\nDate: Sat, 21 Nov 2026 08:00:00 GMT\r\nConnection: keep-alive\r\n"
    b"Content-Type: text/html; charset=utf-8\r\nContent-Length: 5120\r\nVary: Accept-Encoding, Cookie\r\n"
    b"X-Frame-Options: DENY\r\nReferrer-Policy: same-origin\r\n\r\n"
)
CHUNKED = b"400\r\n" + b"x" * 1024 + b"\r\n" + b"400\r\n" + b"x" * 1024 + b"\r\n0\r\n\r\n"


def a_client_hello() -> bytes:
    outgoing = ssl.MemoryBIO()
    context = ssl.create_default_context()
    try:
        context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname="shop.example").do_handshake()
    except ssl.SSLWantReadError:
        return outgoing.read()
    raise AssertionError("a handshake cannot be over before the server has spoken")


class Server:
    """What a balance policy sees of one."""

    def __init__(self, key: str) -> None:
        self.key = key
        self.weight, self.max_connections, self.in_flight, self.load = 1.0, 0, 0, 0
        self.available, self.backup, self.commanded = True, False, False


def cases() -> dict[str, Callable[[], Any]]:
    """Each call does the work of one handshake or one request."""
    hello = a_client_hello()
    proxied = proxy_header.encode_v2(("192.0.2.1", 40000), ("192.0.2.2", 443), authority="shop.example")
    request = request_head.parse(REQUEST, max_fields=100)
    response = response_head.parse(RESPONSE, request_method="GET", max_fields=100)
    parsed_hello = client_hello.parse(hello)
    assert isinstance(parsed_hello, client_hello.ClientHello)
    client = ClientSide(address="192.0.2.7", port=40000, scheme="https", server_port=443)
    to_backend = forwarding.request_fields(request, client)
    to_client = forwarding.response_fields(response, request)
    hosts: HostTable[int] = HostTable([("*.example", 1), ("shop.example", 2), *((f"{n}.test", n) for n in range(1000))])
    routes = RouteTable([route(n, path=path, action=n) for n, path in enumerate(("/", "/api", "/shop", "/static"))])
    round_robin, servers = policy_named("round_robin", Random(1)), [Server(str(n)) for n in range(4)]
    budget, row = Budget(0.2), Board(1).writer(0)
    counter = row.counter("terminator_http_request_errors_total", reason="client_gone")
    histogram = row.histogram("terminator_backend_connect_duration_seconds", backend="b")
    alarm = Alarm(Alarms(), lambda: None)
    journal = Journal(Log(handshakes=os.devnull, requests=os.devnull))
    shaken = TlsHandshake(conn_id="0a-1", listener="https", established=True, server_name="shop.example", ja4="t13d")
    served = HttpRequest(conn_id="0a-1", listener="https", method="GET", path="/shop/cart", status=200, total_ms=1.25)

    def head_buffer() -> bytes | None:
        buffer = HeadBuffer(16384)
        buffer.feed(REQUEST)
        return buffer.take_head()

    def chunked_body() -> int:
        body, size = chunked(), 0
        body.feed(CHUNKED)
        while piece := body.piece():
            size += len(piece)
        return size

    def told(event: Event) -> bool:
        journal.emit(event)
        return journal.flush()

    def times() -> None:
        alarm.set(100.0)
        alarm.off()

    return {
        "client_hello.parse": lambda: client_hello.parse(hello),
        "offer.ja4": lambda: replace(parsed_hello.offer).ja4,
        "proxy_header.parse": lambda: proxy_header.parse(proxied),
        "hostnames.lookup": lambda: hosts.lookup("shop.example"),
        "head_buffer": head_buffer,
        "request_head.parse": lambda: request_head.parse(REQUEST, max_fields=100),
        "routes.match": lambda: routes.match("GET", "/shop/cart", "item=42", request.fields),
        "forwarding.request_fields": lambda: forwarding.request_fields(request, client),
        "writing.request_head": lambda: writing.write_request_head("GET", "/shop/cart?item=42", to_backend),
        "balance.pick": lambda: pick(round_robin, servers, tried=(), fail_open=False, hash_key=b""),
        "retries.budget": lambda: budget.request(1.0),
        "response_head.parse": lambda: response_head.parse(RESPONSE, request_method="GET", max_fields=100),
        "forwarding.response_fields": lambda: forwarding.response_fields(response, request),
        "writing.response_head": lambda: writing.write_response_head(200, b"OK", to_client),
        "express.chunked": chunked_body,
        "alarms.set": times,
        "board.counter": counter.inc,
        "board.histogram": lambda: histogram.observe(0.0123),
        "journal.tls_handshake": lambda: told(shaken),
        "journal.http_request": lambda: told(served),
    }


def main() -> None:
    import pyperf  # type: ignore[import-not-found, unused-ignore]

    runner = pyperf.Runner()
    for name, call in cases().items():
        runner.bench_func(name, call)


if __name__ == "__main__":
    main()
