"""The benchmarks measure what they name, whatever the figures: the micro ones do the work of one handshake or request,
the others run to their table."""

from __future__ import annotations

import contextlib
import importlib.util
import ssl
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

BENCH = Path(__file__).parents[1] / "bench"


def imported(name: str) -> Any:
    spec = importlib.util.spec_from_file_location(name, BENCH / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


micro = imported("micro")
open_loop = imported("open_loop")

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


def run(tool: str, *arguments: str) -> str:
    """What the tool prints. Skips where it says that it cannot run."""
    ended = subprocess.run([sys.executable, BENCH / tool, *arguments], capture_output=True, text=True, timeout=300)
    if ended.stderr.startswith("cannot measure here: "):
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("tool", ["latency.py", "open_loop.py", "telemetry_cost.py", "workers.py"])
def test_a_tool_tells_its_options(tool: str) -> None:
    assert f"python bench/{tool} " in run(tool, "--help")


def test_latency_is_set_beside_nginx() -> None:
    out = run("latency.py", "--rounds=1", "--seconds=0.2", "--saturation-seconds=1", "--connections=4", "--most=500")
    assert "terminator, half of its own" in out
    assert "terminator's to nginx, same as terminator: p50 " in out


def test_two_workers_are_set_beside_one() -> None:
    out = run("workers.py", "--rounds=1", "--seconds=1", "--scenarios=keepalive", "--connections=20")
    assert "factor" in out
    spread = out.rpartition("by worker: ")[2].split()
    assert sum(map(int, spread)) == 20
    assert len(spread) == 2


def test_logs_are_told_in_percent() -> None:
    out = run("telemetry_cost.py", "--rounds=1", "--seconds=1", "--scenarios=keepalive")
    assert int(out.split()[0].replace(",", "")) > 0, "nothing was logged"
    assert "logs alone" in out


async def test_a_stall_is_felt_by_every_request_that_was_due_in_it() -> None:
    """A load that waited for the answer before it asked again would tell of one slow request."""
    stall_seconds, rate, asked = 0.5, 100, 0
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("localhost").configure_cert(context)

    async def answer(stream: trio.SSLStream[trio.SocketStream]) -> None:
        nonlocal asked
        with contextlib.suppress(trio.BrokenResourceError):  # the load ends its connections as it stands
            async for _ in stream:
                asked += 1
                if asked == 20:
                    time.sleep(stall_seconds)
                await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")

    async with trio.open_nursery() as nursery:
        listeners = await nursery.start(trio.serve_ssl_over_tcp, answer, 0, context)
        port = listeners[0].transport_listener.socket.getsockname()[1]
        load = await trio.to_thread.run_sync(lambda: open_loop.Load(port, "/", rate, seconds=1, connections=4))
        found = await trio.to_thread.run_sync(load.run)
        nursery.cancel_scope.cancel()
    assert (found["requests"], found["unanswered"], asked) == (rate, 0, rate)
    assert sum(each > stall_seconds / 2 for each in load.latency) >= 0.9 * rate * stall_seconds / 2
    assert found["queued"] > 0
