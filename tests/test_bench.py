"""The micro-benchmarks time what they name: each case runs, and does the work of one handshake or request."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

_SPEC = importlib.util.spec_from_file_location("micro", Path(__file__).parents[1] / "bench" / "micro.py")
assert _SPEC is not None
assert _SPEC.loader is not None
micro = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(micro)

CASES: dict[str, Callable[[], Any]] = micro.cases()
EXPECTED: dict[str, Callable[[Any], bool]] = {
    "client_hello.parse": lambda hello: hello.server_name == "shop.example",
    "offer.ja4": lambda text: text.startswith("t13d"),
    "proxy_header.parse": lambda header: header.source == ("192.0.2.1", 40000),
    "hostnames.lookup": lambda found: found == 2,
    "head_buffer": lambda head: head == micro.REQUEST,
    "request_head.parse": lambda head: (head.path, head.query) == ("/shop/cart", "item=42"),
    "routes.match": lambda route: route.action == 2,
    "forwarding.request_fields": lambda fields: (b"x-forwarded-for", b"192.0.2.7") in fields,
    "writing.request_head": lambda head: head.startswith(b"GET /shop/cart?item=42 HTTP/1.1\r\nHost: shop.example\r\n"),
    "balance.pick": lambda server: server.key in {"0", "1", "2", "3"},
    "retries.budget": lambda nothing: nothing is None,
    "response_head.parse": lambda head: (head.status, head.content_length) == (200, 5120),
    "forwarding.response_fields": lambda fields: (b"content-length", b"5120") in fields,
    "writing.response_head": lambda head: head.startswith(b"HTTP/1.1 200 OK\r\n") and head.endswith(b"\r\n\r\n"),
    "express.chunked": lambda size: size == 2048,
    "alarms.set": lambda nothing: nothing is None,
    "board.counter": lambda nothing: nothing is None,
    "board.histogram": lambda nothing: nothing is None,
    "journal.tls_handshake": lambda left: left is False,
    "journal.http_request": lambda left: left is False,
}


@pytest.mark.parametrize("name", CASES)
def test_a_case_does_what_it_names_however_often(name: str) -> None:
    for _ in range(3):
        assert EXPECTED[name](CASES[name]())


def test_every_expectation_has_its_case() -> None:
    assert EXPECTED.keys() == CASES.keys()
