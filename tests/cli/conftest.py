"""An admin socket that answers as the test wants and remembers what it was asked."""

from __future__ import annotations

import http.server
import json
import shutil
import socketserver
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest


class AnsweringAdmin:
    """`answer` is what every question gets: HTTP status and JSON value. `asked` has "METHOD target" of each."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self.answer: tuple[int, Any] = (200, {})
        self.asked: list[str] = []
        outer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                outer.asked.append(f"{self.command} {self.path}")
                status, value = outer.answer
                body = value if isinstance(value, bytes) else json.dumps(value).encode()
                self.send_response(status)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_GET

            def log_message(self, format: str, *arguments: Any) -> None:
                pass

            def address_string(self) -> str:
                return "unix"

        self._server = socketserver.UnixStreamServer(self.path, Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()


@pytest.fixture
def admin() -> Iterator[AnsweringAdmin]:
    folder = Path(tempfile.mkdtemp(prefix="terminator-"))
    answering = AnsweringAdmin(folder / "admin.sock")
    yield answering
    answering.close()
    shutil.rmtree(folder)
