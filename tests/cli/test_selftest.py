"""What the command makes of its arguments and of the daemon's answer. The attacks: tests/e2e/test_selftest.py."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingUnixStreamServer
from threading import Thread
from typing import Any

import pytest

from terminator.cli import main

CONFIG = """
version: 1
listeners: [{name: https, bind: "127.0.0.1:%d"}, {name: inherited, bind: "systemd:web"}]
hosts:
  - names: [a.test, b.test]
    certificates: [{chain: chain.pem, key: key.pem}]
    routes: [{path: /, respond: {status: 200}}]
%s
"""


@pytest.fixture
def closed_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


@pytest.fixture
def file(tmp_path: Path, closed_port: int) -> Callable[..., str]:
    def write(more: str = "") -> str:
        path = tmp_path / "terminator.yaml"
        path.write_text(CONFIG % (closed_port, more))
        return str(path)

    return write


@pytest.fixture
def daemon(tmp_path: Path) -> Iterator[dict[str, Any]]:
    """An admin socket that answers every question with this value."""
    now = datetime.now(UTC)
    body: dict[str, Any] = {
        "state": "serving",
        "generation_since": (now + timedelta(hours=1)).isoformat(),
        "reloads": {"last": None},
        "listeners": [],
        "config": str(tmp_path / "terminator.yaml"),
    }

    class Handler(BaseHTTPRequestHandler):
        def address_string(self) -> str:
            return "unix"

        def log_message(self, *_: object) -> None:
            pass

        def do_GET(self) -> None:
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps(body).encode())

    with ThreadingUnixStreamServer(str(tmp_path / "admin.sock"), Handler) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield body
        server.shutdown()
        thread.join()


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    code = main(["selftest", *arguments])
    told = capsys.readouterr()
    return code, told.out, told.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["nobody.test"], "there is no host nobody.test"),
        (["--listener", "smtp"], "there is no TLS listener smtp"),
        (["--connect", "nowhere"], "--connect: the address has no port"),
        (["--connect", "systemd:web"], "is no address"),
        (["--key", "key.pem", "--connect", "127.0.0.1:9"], "--key needs it"),
        (["--cert", "none.pem", "--connect", "127.0.0.1:9"], "No such file"),
    ],
)
def test_what_does_not_exist(
    file: Callable[..., str], capsys: pytest.CaptureFixture[str], arguments: list[str], said: str
) -> None:
    code, out, err = run(capsys, "--config", file(), *arguments)
    assert (code, out) == (2, "")
    assert said in err


def test_an_invalid_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.yaml").write_text("version: 1\n")
    assert run(capsys, "--config", str(tmp_path / "bad.yaml"))[0] == 2


def test_nobody_answers(file: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "--config", file("admin: {socket: nobody.sock}"))
    assert (code, out) == (3, "")
    assert "is the daemon running" in err
    code, _, err = run(capsys, "--config", file())
    assert code == 3
    assert "no admin.socket" in err
    assert "nobody answers at 127.0.0.1" in err
    assert run(capsys, "--config", file(), "--connect", f"unix:{tmp_path}/none")[0] == 3


def test_doubts_are_told(
    file: Callable[..., str], daemon: dict[str, Any], closed_port: int, capsys: pytest.CaptureFixture[str]
) -> None:
    path = file("admin: {socket: admin.sock}")
    daemon["listeners"] = [{"name": "https", "address": f"127.0.0.1:{closed_port}"}]
    code, _, err = run(capsys, "--config", path)
    assert code == 3  # nobody listens there
    assert "listener inherited is not open in the daemon" in err
    assert "has changed" not in err
    daemon["generation_since"] = (datetime.now(UTC) - timedelta(hours=1)).isoformat()
    assert f"{path} has changed since the daemon read it" in run(capsys, "--config", path)[2]
    daemon["reloads"] = {
        "last": {"outcome": "unchanged", "at": (datetime.now(UTC) + timedelta(hours=1)).isoformat()},
    }
    assert "has changed" not in run(capsys, "--config", path)[2]
    daemon["state"] = "draining"
    assert "draining" in run(capsys, "--socket", str(Path(path).parent / "admin.sock"))[2]


def test_verdicts_decide_the_exit_code(
    file: Callable[..., str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """A listener that answers everything with a page is no TLS listener at all."""

    class Page(BaseHTTPRequestHandler):
        def handle(self) -> None:
            self.connection.recv(65536)
            self.connection.sendall(b"HTTP/1.1 200 OK\r\n\r\n")

    with ThreadingUnixStreamServer(str(tmp_path / "page.sock"), Page) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        try:
            connect = ("--config", file(), "--connect", f"unix:{tmp_path}/page.sock")
            code, out, _ = run(capsys, *connect, "--format", "json")
            body = json.loads(out)
            assert (code, body["passed"]) == (1, 0)
            assert body["failed"] == sum(one["outcome"] == "fail" for one in body["verdicts"])
            code, out, _ = run(capsys, *connect)
            assert code == 1
            assert "host a.test, listener https: " in out
            assert "  skipped  other-host, foreign-ticket-1.2," in out
            assert out.splitlines()[-1].endswith(f"0 passed, {body['failed']} failed, {body['skipped']} skipped")
            quiet = run(capsys, *connect, "--quiet")[1]
            assert "skipped  " not in quiet
            assert "FAIL     serves: " in quiet
        finally:
            server.shutdown()
            thread.join()
