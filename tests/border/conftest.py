"""One running daemon for each table of the border, and a backend that keeps every byte that reaches it."""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import ssl
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

# The harness is a package of the end-to-end tests, which pytest imports without touching sys.path.
sys.path.insert(0, str(Path(__file__).parents[1] / "e2e"))

from harness.certificates import Certificates
from harness.conversation import Conversation
from harness.daemon import Daemon


class KeepingBackend:
    """Answers each request by `answer`, bytes as they are, and keeps each request as it came: `next_request`."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.address = "{}:{}".format(*self._listener.getsockname())
        self._requests: queue.Queue[bytes] = queue.Queue()
        self.answer: Callable[[bytes, Conversation], bytes] = lambda head, _: PLAIN_ANSWER
        self.connections = 0
        threading.Thread(target=self._accept, daemon=True).start()

    def next_request(self) -> bytes:
        return self._requests.get(timeout=15)

    def nothing_came(self) -> bool:
        return self._requests.empty()

    def forget(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._requests.get_nowait()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        with contextlib.suppress(AssertionError, OSError), Conversation(sock, seconds=120) as conversation:
            while True:
                head = conversation.receive_until(b"\r\n\r\n")
                body = b""
                lowered = head.lower()
                if b"\r\ntransfer-encoding: chunked\r\n" in lowered:
                    while not body.endswith(b"0\r\n\r\n"):  # no body of these tests holds that itself
                        if not (more := conversation.receive()):
                            return  # the proxy gave the request up amid its body
                        body += more
                elif b"\r\ncontent-length: " in lowered:
                    length = int(lowered.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
                    if length < 10_000:
                        body = conversation.receive_exactly(length)
                self._requests.put(head + body)
                if answer := self.answer(head, conversation):
                    conversation.send(answer)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


PLAIN_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"


class Border:
    """The daemon, with shop.example for whoever sends no SNI, and its backend."""

    def __init__(self, daemon: Daemon, backend: KeepingBackend, context: ssl.SSLContext) -> None:
        self.daemon = daemon
        self.backend = backend
        self._context = context

    def connect(self) -> Conversation:
        plain = socket.create_connection(("127.0.0.1", self.daemon.ports["https"]), 10)
        return Conversation(self.daemon.secure(plain, None, context=self._context))


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as sock:
        port: int = sock.getsockname()[1]
        return port


@pytest.fixture(scope="module")
def border() -> Iterator[Border]:
    folder = Path(tempfile.mkdtemp(prefix="terminator-"))
    certificates = Certificates(folder)
    backend = KeepingBackend()
    config = {
        "version": 1,
        "workers": 1,
        "listeners": [{"name": "https", "bind": f"127.0.0.1:{free_port()}"}],
        "tls": {"unknown_sni": "shop.example"},
        "hosts": [
            {
                "names": ["shop.example"],
                "certificates": [certificates.pair("shop.example").as_config()],
                "routes": [{"path": "/", "backend": "b"}],
            }
        ],
        "backends": {
            "b": {"servers": [backend.address], "passive_check": {"fail_count": 0}, "retries": {"attempts": 0}}
        },
        "timeouts": {"drain": "2s", "backend_response": "2s"},
        "admin": {"socket": str(folder / "admin.sock")},
    }
    context = certificates.client_context()
    context.check_hostname = False
    daemon = Daemon(config, folder, context).start()
    try:
        yield Border(daemon, backend, context)
        daemon.stop()
    finally:
        backend.close()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["ordinary", "express"])
def warm(request: pytest.FixtureRequest, border: Border) -> Callable[[Conversation, bytes], None]:
    """Before a case: nothing; or an exchange with the same field lines, so that the case itself comes on the express
    lane, which takes it or hands it over. Takes the client, and the head of the case with its body."""

    def ask(client: Conversation, case: bytes) -> None:
        if request.param == "express":
            answer, border.backend.answer = border.backend.answer, lambda head, _: PLAIN_ANSWER
            _, _, fields = case.lstrip(b"\r\n").partition(b"\r\n")
            client.send(b"GET /before HTTP/1.1\r\n" + fields)
            client.receive_response()
            border.backend.next_request()
            border.backend.answer = answer

    return ask
