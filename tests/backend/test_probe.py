"""One check: what is asked, what counts as well; and the prober: whom it checks over reloads."""

from __future__ import annotations

import socket
from typing import Any

import pytest
import trio

from terminator.backend.probe import Prober, Target, check, targets
from terminator.config import model
from terminator.config.values import TcpAddress, UnixAddress


def target(address: str, proxy_protocol: bool = False, **keys: Any) -> Target:
    host, _, port = address.rpartition(":")
    return Target("b", address, TcpAddress(host, int(port)), model.HealthCheck(**keys), proxy_protocol)


@pytest.mark.parametrize(
    ("answer", "expected", "outcome"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n", "200-399", (True, "check: answered 200")),
        (b"HTTP/1.1 204 No Content\r\n\r\n", "204", (True, "check: answered 204")),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\n", "200", (True, "check: answered 200")),
        (b"HTTP/1.1 404 Not Found\r\n\r\n", "200-399", (False, "check: answered 404, not 200-399")),
        (b"HTTP/1.1 503 No\r\n\r\n", "503", (True, "check: answered 503")),
    ],
)
async def test_the_status_decides(serve: Any, answer: bytes, expected: str, outcome: tuple[bool, str]) -> None:
    assert await check(target(serve(answer).address, status=expected)) == outcome


async def test_what_is_asked(serve: Any) -> None:
    server = serve()
    await check(target(server.address, path="/up?x=1", method="HEAD", host="app.test"))
    lines = server.received[0].decode().lower().split("\r\n")
    assert lines[0] == "head /up?x=1 http/1.1"
    assert {"host: app.test", "connection: close", "user-agent: terminator-health-check"} <= set(lines)


@pytest.mark.parametrize(("answer", "words"), [(b"", "closed"), (b"SSH-2.0\r\n\r\n", "check: ")])
async def test_no_http_is_a_failure(serve: Any, answer: bytes, words: str) -> None:
    outcome = await check(target(serve(answer).address))
    assert outcome is not None
    assert not outcome[0]
    assert words in outcome[1]


async def test_silence_and_refusal_are_failures(serve: Any) -> None:
    assert await check(target(serve(None).address, timeout="50ms")) == (False, "check: no response within 0.05 s")
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port = sock.getsockname()[1]
    assert await check(target(f"127.0.0.1:{port}")) == (False, f"check: 127.0.0.1:{port}: Connection refused")


async def test_a_unix_socket_is_asked_for_localhost(tmp_path: Any) -> None:
    one = Target("b", "unix:x", UnixAddress(str(tmp_path / "none")), model.HealthCheck(), False)
    outcome = await check(one)
    assert outcome is not None
    assert "No such file" in outcome[1]


async def test_only_servers_with_a_check_are_targets(adopt: Any) -> None:
    assert not targets({"b": adopt("127.0.0.1:1")})
    assert {one.server for one in targets({"b": adopt("127.0.0.1:1", "[::1]:2", health_check={})})} == {
        "127.0.0.1:1",
        "[::1]:2",
    }


async def test_the_prober_begins_when_told_and_follows_the_groups(
    adopt: Any, serve: Any, fleet: Any, nursery: trio.Nursery
) -> None:
    told: list[tuple[str, bool]] = []
    changed = trio.Event()

    async def tell(backend: str, server: str, ok: bool, reason: str) -> None:
        told.append((server, ok))
        changed.set()

    one, other = serve(), serve(b"HTTP/1.1 500 No\r\n\r\n")
    prober = Prober(fleet)
    quick = {"interval": "10ms", "timeout": "1s", "rise": 1, "fall": 1}
    prober.adopt({"b": adopt(one.address, health_check=quick)})
    nursery.start_soon(prober.run, tell)
    await trio.testing.wait_all_tasks_blocked()
    assert not one.received
    prober.begin()
    await changed.wait()
    assert told == [(one.address, True)]
    changed = trio.Event()
    prober.adopt({"b": adopt(other.address, health_check=quick)})
    await changed.wait()
    assert told[1:] == [(other.address, False)]
    asked = len(one.received)
    changed = trio.Event()
    other.answer = b"HTTP/1.1 200 OK\r\n\r\n"
    await changed.wait()
    assert told[2:] == [(other.address, True)]
    assert len(one.received) <= asked + 1  # nobody asks it any more
