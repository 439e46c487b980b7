"""The admin socket of a real daemon: who may ask what, over good, odd and bad HTTP."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import signal
import socket
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
import yaml
from harness.daemon import Daemon, eventually

from terminator.service import admin
from terminator.telemetry.board import Board

Make = Callable[..., Daemon]


class Unix(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=20)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(self._path)


def connection(running: Daemon) -> http.client.HTTPConnection:
    return Unix(running.config["admin"]["socket"])


def fetch(client: http.client.HTTPConnection, target: str, method: str = "GET", **options: Any) -> tuple[int, bytes]:
    client.request(method, target, **options)
    response = client.getresponse()
    return response.status, response.read()


def asked(running: Daemon, target: str, method: str = "GET") -> tuple[int, Any]:
    client = connection(running)
    try:
        status, body = fetch(client, target, method)
    finally:
        client.close()
    return status, json.loads(body)


@pytest.fixture
def running(daemon: Make) -> Daemon:
    return daemon().start()


def test_status_tells_who_serves_what(running: Daemon, pair: Any) -> None:
    status, body = asked(running, "/status")
    assert status == 200
    assert (body["state"], body["generation"], body["pid"]) == ("serving", 1, running.pid)
    assert {worker["pid"] for worker in body["workers"]} == set(running.workers())
    assert {worker["state"] for worker in body["workers"]} == {"serving"}
    assert [each["name"] for each in body["listeners"]] == ["https"]
    (certificate,) = body["certificates"]
    assert (certificate["host"], certificate["file"]) == ("a.test", str(pair.chain))
    assert (body["reloads"]["attempts"], body["reloads"]["last"]) == (0, None)


def test_connections_are_counted_per_worker_and_generation(running: Daemon) -> None:
    with running.connect() as client:
        client.request()
        client.receive_response()
        body = asked(running, "/status")[1]  # as it is now, not as of the last heartbeat
        assert (body["connections"], body["connections_by_generation"]) == (1, {"1": 1})
        assert sorted(worker["connections"] for worker in body["workers"]) == [0, 1]
    eventually(lambda: asked(running, "/status")[1]["connections"] == 0)


def test_certs_compares_what_is_served_with_the_disk(running: Daemon, certificates: Any, pair: Any) -> None:
    def disk() -> dict[str, str]:
        found: dict[str, str] = asked(running, "/certs")[1]["hosts"][0]["certificates"][0]["disk"]
        return found

    assert disk() == {"state": "same"}
    certificates.issue(pair.chain.parent, "a.test")
    assert disk()["state"] == "differs"
    assert asked(running, "/reload", "POST")[0] == 200
    assert disk() == {"state": "same"}
    pair.key.write_text("half a renewal")
    assert disk()["state"] == "unusable"
    assert "private key" in disk()["error"]


def test_a_reload_answers_with_its_outcome(running: Daemon) -> None:
    status, body = asked(running, "/reload", "POST")
    assert (status, body["outcome"], body["dry_run"]) == (200, "unchanged", False)
    running.config_file.write_text(running.config_file.read_text().replace("drain: 5s", "drain: 6s"))
    status, body = asked(running, "/reload?dry_run=1", "POST")
    assert (status, body["outcome"], body["dry_run"], body["generation"]) == (200, "ok", True, 1)
    status, body = asked(running, "/reload", "POST")
    assert (status, body["outcome"], body["generation"]) == (200, "ok", 2)
    assert [change["text"] for change in body["changes"]] == ["timeouts.drain: 5 → 6"]
    running.config_file.write_text("nonsense: [")
    status, body = asked(running, "/reload", "POST")
    assert (status, body["outcome"], body["generation"]) == (409, "refused", 2)
    assert asked(running, "/status")[1]["reloads"]["last"] == body
    assert running.wait_for("config.reload", {"reload.outcome": "refused"})["reload.errors"] == body["errors"]


def test_metrics_readiness_and_health(running: Daemon) -> None:
    client = connection(running)
    status, body = fetch(client, "/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert status == 200
    assert body.rstrip().endswith(b"# EOF")
    assert b"terminator_config_generation 1" in fetch(client, "/metrics")[1]
    assert fetch(client, "/healthz") == (200, b"ok\n")
    assert fetch(client, "/readyz")[0] == 200
    client.close()


@pytest.mark.parametrize(
    ("method", "target", "status"),
    [
        ("GET", "/", None),
        ("GET", "/nothing", 404),
        ("GET", "/reload", 405),
        ("POST", "/status", 405),
        ("DELETE", "/metrics", 405),
        ("HEAD", "/status", 200),
    ],
)
def test_other_questions(running: Daemon, method: str, target: str, status: int | None) -> None:
    client = connection(running)
    found, body = fetch(client, target, method)
    assert found == status or status is None
    if method == "HEAD":
        assert body == b""
    assert fetch(client, "/healthz")[0] == 200, "on the same connection"
    client.close()


def test_the_socket_is_for_its_group_and_the_tcp_address_only_reads(daemon: Make, port: Callable[[], int]) -> None:
    number = port()
    own = daemon()
    own.config["admin"]["bind"] = f"127.0.0.1:{number}"
    own.config_file.write_text(yaml.safe_dump(own.config))
    own.start()
    assert stat.S_IMODE(os.stat(own.config["admin"]["socket"]).st_mode) == 0o660
    client = http.client.HTTPConnection("127.0.0.1", number, timeout=20)
    assert fetch(client, "/status")[0] == 200
    status, body = fetch(client, "/reload", "POST")
    assert status == 403
    assert b"read only" in body
    client.close()
    assert own.all("config.reload") == []


BROWSER = {"User-Agent": "Mozilla/5.0", "Accept-Language": "en", "Origin": "http://evil.example:9145"}


def test_a_web_page_reads_nothing_under_a_name_of_its_own(daemon: Make, port: Callable[[], int]) -> None:
    number = port()
    own = daemon()
    own.config["admin"]["bind"] = f"localhost:{number}"
    own.config_file.write_text(yaml.safe_dump(own.config))
    own.start()
    client = http.client.HTTPConnection("127.0.0.1", number, timeout=20)
    rebound = {"Host": f"evil.example:{number}"}
    for target in ("/", "/status", "/metrics", "/nothing"):
        status, body = fetch(client, target, headers=BROWSER | rebound)
        assert status == 403
        assert b"evil.example" in body
    assert fetch(client, "/status", headers=BROWSER)[0] == 200, "by address"
    assert fetch(client, "/metrics", headers=rebound)[0] == 200, "monitoring, by a name of which we do not know"
    client.close()


def test_a_web_page_gives_no_command_to_a_socket_that_is_forwarded_to_its_visitor(running: Daemon) -> None:
    for target in ("/reload", "/backend?backend=b&server=s&command=down"):
        client = connection(running)
        status, body = fetch(client, target, "POST", headers=BROWSER)
        assert status == 403
        assert b"no command is taken from a browser" in body
        client.close()
    assert running.all("config.reload") == []


@pytest.mark.parametrize(
    "data",
    [b"\x16\x03\x01\x02\x00\x01", b"GET /status\r\n\r\n", b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 9000, b"\r\n" * 9],
)
def test_what_is_not_http_harms_nobody(running: Daemon, data: bytes) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(20)
        client.connect(running.config["admin"]["socket"])
        try:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            while client.recv(65536):
                pass
        except (BrokenPipeError, ConnectionResetError):
            pass
    assert asked(running, "/readyz")[0] == 200


@pytest.mark.parametrize(
    ("target", "accept", "status"),
    [
        ("//[", "*/*", 400),
        ("x://[::1", "*/*", 400),
        ("/metrics", "application/openmetrics-text; version=abc", 200),
        ("/?a=%ff&&&=", "*/*", 200),
    ],
)
def test_an_odd_question_costs_nobody_else_the_answer(running: Daemon, target: str, accept: str, status: int) -> None:
    before = asked(running, "/status")[1]
    kept = connection(running)
    assert fetch(kept, "/healthz")[0] == 200
    client = connection(running)
    assert fetch(client, target, headers={"Accept": accept})[0] == status
    client.close()
    assert fetch(kept, "/healthz")[0] == 200, "the process and its connections live on"
    kept.close()
    assert asked(running, "/status")[1]["pid"] == before["pid"]


async def test_a_client_that_does_not_read_costs_its_connection_alone(autojump_clock: trio.testing.MockClock) -> None:
    process = admin._Admin(admin.Job((), (), Board(2)))
    ours, theirs = trio.socket.socketpair()
    with theirs:
        async with trio.open_nursery() as nursery:

            async def ask() -> None:
                stream = trio.SocketStream(theirs)
                with contextlib.suppress(trio.BrokenResourceError):
                    await stream.send_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n" * 100_000)

            nursery.start_soon(ask)
            token = object()
            await process._room.acquire_on_behalf_of(token)
            begun = trio.current_time()
            await process._converse(ours, False, token)
            assert trio.current_time() - begun >= admin.IDLE_SECONDS
    assert process._room.borrowed_tokens == 0


async def test_a_defect_costs_its_connection_alone_and_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    process = admin._Admin(admin.Job((), (), Board(2)))
    process._healthz = None  # type: ignore[assignment,method-assign]
    ours, theirs = trio.socket.socketpair()
    token = object()
    await process._room.acquire_on_behalf_of(token)
    with theirs:
        await theirs.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        await process._converse(ours, False, token)
        assert await theirs.recv(100) == b""
    assert process._room.borrowed_tokens == 0
    assert "Traceback" in capsys.readouterr().err


def test_a_body_too_large_is_refused(running: Daemon) -> None:
    client = connection(running)
    try:
        assert fetch(client, "/reload", "POST", body=b"x" * 100_000)[0] == 413
    except BrokenPipeError:
        pass  # the refusal came before all was sent
    finally:
        client.close()
    assert running.all("config.reload") == []


def test_silent_clients_do_not_keep_others_out(running: Daemon) -> None:
    silent = []
    for _ in range(30):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(running.config["admin"]["socket"])
        silent.append(sock)
    assert asked(running, "/readyz")[0] == 200
    for sock in silent:
        sock.close()


def test_a_killed_admin_process_is_replaced(running: Daemon) -> None:
    (admin,) = set(running.processes()[1:]) - set(running.workers())
    os.kill(admin, signal.SIGKILL)
    assert "SIGKILL" in running.wait_for("server.notice", {"server.topic": "admin_exited"})["message"]
    assert asked(running, "/readyz")[0] == 200


def test_the_admin_section_can_be_reloaded_through_itself(
    running: Daemon, folder: Path, port: Callable[[], int]
) -> None:
    old, new, number = running.config["admin"]["socket"], str(folder / "new.sock"), port()
    text = running.config_file.read_text()
    running.config_file.write_text(text.replace(f"socket: {old}", f"socket: {new}\n  bind: 127.0.0.1:{number}"))
    status, body = asked(running, "/reload", "POST")
    assert (status, body["outcome"]) == (200, "ok")
    running.config["admin"]["socket"] = new
    assert asked(running, "/status")[1]["generation"] == 2
    assert not Path(old).exists()
    client = http.client.HTTPConnection("127.0.0.1", number, timeout=20)
    assert fetch(client, "/healthz")[0] == 200
    client.close()
    running.config_file.write_text(running.config_file.read_text().replace(f"bind: 127.0.0.1:{number}", ""))
    assert asked(running, "/reload", "POST")[1]["outcome"] == "ok"
    with pytest.raises(ConnectionRefusedError):
        eventually(lambda: socket.create_connection(("127.0.0.1", number), 5).close())


def test_while_it_drains_it_is_not_ready(daemon: Make) -> None:
    running = daemon(timeouts={"drain": "20s", "handshake": "20s"}).start()
    with running.connect_plain() as slow:
        slow.send(b"\x16\x03\x01")
        eventually(lambda: asked(running, "/status")[1]["connections"] == 1)
        running.signal(signal.SIGTERM)
        running.wait_for("server.drain")
        status, body = asked(running, "/readyz")
        assert (status, body["state"]) == (503, "draining")
        assert asked(running, "/reload", "POST")[1]["errors"] == ["the service is being stopped"]
    assert running.wait() == 0
