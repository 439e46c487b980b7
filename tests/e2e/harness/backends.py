"""Backends to put behind the daemon: one that a test plays by hand, one that answers by itself, and real servers."""

from __future__ import annotations

import contextlib
import queue
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.conversation import DEADLINE_SECONDS, Conversation, Message
from websockets.sync.server import ServerConnection, serve
from websockets.typing import Subprotocol

HERE = Path(__file__).parent


class PlayedBackend:
    """A listening socket whose connections the test accepts and plays by hand."""

    def __init__(self, path: Path | None = None, *, backlog: int = 64) -> None:
        self._listener = listening_socket(path, backlog)
        self.address = address_of(self._listener)
        self._conversations: list[Conversation] = []

    def accept(self, seconds: float = DEADLINE_SECONDS) -> Conversation:
        self._listener.settimeout(seconds)
        sock, _ = self._listener.accept()
        conversation = Conversation(sock)
        self._conversations.append(conversation)
        return conversation

    def has_waiting(self) -> bool:
        """Whether a connection waits to be accepted; it stays there."""
        self._listener.setblocking(False)
        try:
            sock, _ = self._listener.accept()
        except BlockingIOError:
            return False
        sock.close()
        return True

    def close(self) -> None:
        self._listener.close()
        for conversation in self._conversations:
            conversation.close()


Answer = Callable[[Message], bytes]


class AnsweringBackend:
    """Answers each request by `answer`, keeps connections alive, and remembers requests and connections.

    A response that says `Connection: close` ends the connection, as does an empty answer (without a byte)."""

    def __init__(self, answer: Answer | bytes, path: Path | None = None) -> None:
        self._answer: Answer = answer if callable(answer) else lambda _: answer
        self._listener = listening_socket(path, 128)
        self.address = address_of(self._listener)
        self.requests: list[Message] = []
        self.connections = 0
        self._open: set[socket.socket] = set()
        self._arrived = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def wait_for_requests(self, count: int) -> list[Message]:
        with self._arrived:
            assert self._arrived.wait_for(lambda: len(self.requests) >= count, DEADLINE_SECONDS), self.requests
            return list(self.requests)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                sock, _ = self._listener.accept()
                self.connections += 1
                self._open.add(sock)
                threading.Thread(target=self._serve, args=(sock,), daemon=True).start()

    def _serve(self, sock: socket.socket) -> None:
        conversation = Conversation(sock, seconds=120)
        try:
            while True:
                request = conversation.receive_request()
                with self._arrived:
                    self.requests.append(request)
                    self._arrived.notify_all()
                answer = self._answer(request)
                if answer:
                    conversation.send(answer)
                if not answer or b"connection: close" in answer.split(b"\r\n\r\n", 1)[0].lower():
                    break
        except (AssertionError, OSError):
            pass  # the proxy closed an idle connection, or the test ended
        finally:
            self._open.discard(sock)
            conversation.close()

    def close(self) -> None:
        # shutdown wakes the thread that sits in accept(); close alone would not
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for sock in list(self._open):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)


def ok(body: bytes = b"ok\n", **fields: str) -> bytes:
    """A plain 200 response with Content-Length; `X_Name="v"` in the call becomes `X-Name: v`."""
    lines = ["HTTP/1.1 200 OK", f"Content-Length: {len(body)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode() + body


def listening_socket(path: Path | None, backlog: int) -> socket.socket:
    if path is None:
        return socket.create_server(("127.0.0.1", 0), backlog=backlog)
    sock = socket.socket(socket.AF_UNIX)
    sock.bind(str(path))
    sock.listen(backlog)
    return sock


def address_of(sock: socket.socket) -> str:
    """As it stands in the configuration."""
    name = sock.getsockname()
    return f"unix:{name}" if isinstance(name, str) else f"{name[0]}:{name[1]}"


# ------------------------------------------------------------------------------------------------ real servers


@contextlib.contextmanager
def process(command: list[str], address: str, folder: Path) -> Iterator[str]:
    """Runs a server until the block ends; yields its address once it accepts connections."""
    log = folder / f"{Path(command[0]).name}.log"
    with open(log, "wb") as output:
        server = subprocess.Popen(command, stdout=output, stderr=output, stdin=subprocess.DEVNULL, cwd=folder)
    try:
        wait_until_accepting(address, lambda: server.poll() is None, log)
        yield address
    finally:
        server.terminate()
        try:
            server.wait(10)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def wait_until_accepting(address: str, alive: Callable[[], bool], log: Path) -> None:
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        assert alive(), f"the server ended: {log.read_text()}"
        with contextlib.suppress(OSError):
            if address.startswith("unix:"):
                with socket.socket(socket.AF_UNIX) as sock:
                    sock.connect(address[5:])
                    return
            host, _, port = address.rpartition(":")
            socket.create_connection((host.strip("[]"), int(port)), 1).close()
            return
        time.sleep(0.02)
    raise AssertionError(f"{address} accepts no connection: {log.read_text()}")


def gunicorn(address: str, folder: Path, *, worker: str) -> contextlib.AbstractContextManager[str]:
    """The WSGI application of harness/wsgi_app.py under gunicorn, with one worker of the class `worker`."""
    command = [sys.executable, "-m", "gunicorn", "--bind", address, "--worker-class", worker, "--no-control-socket"]
    command += ["--threads", "4" if worker == "gthread" else "1", "--keep-alive", "5", "--chdir", str(HERE)]
    return process([*command, "wsgi_app:application"], address, folder)


def http_server(port: int, folder: Path, *options: str) -> contextlib.AbstractContextManager[str]:
    """`python -m http.server` over `folder`: HTTP/1.0 unless an option says otherwise."""
    command = [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder)]
    return process([*command, *options, str(port)], f"127.0.0.1:{port}", folder)


def nginx(port: int, folder: Path) -> contextlib.AbstractContextManager[str]:
    """nginx serving the files of `folder`, gzip on, as a backend people really have."""
    temp = "".join(f"{kind}_temp_path {folder}/{kind}; " for kind in ("proxy", "fastcgi", "uwsgi", "scgi"))
    (folder / "nginx.conf").write_text(
        f"""daemon off; worker_processes 1; pid {folder}/nginx.pid; error_log stderr;
        {"user root;" if Path(folder).owner() == "root" else ""}
        events {{ worker_connections 256; }}
        http {{ access_log off; client_body_temp_path {folder}/body; {temp}
          server {{ listen 127.0.0.1:{port}; root {folder}; default_type text/plain; etag on;
            gzip on; gzip_proxied any; gzip_min_length 1; gzip_types text/plain; }} }}"""
    )
    command = [shutil.which("nginx") or "nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]
    return process(command, f"127.0.0.1:{port}", folder)


class WebSocketEcho:
    """A `websockets` server that echoes messages and repeats the path and subprotocol it was asked for."""

    def __init__(self) -> None:
        self.closed: queue.Queue[tuple[int | None, str | None]] = queue.Queue()

        def echo(connection: ServerConnection) -> None:
            assert connection.request is not None
            connection.send(f"path {connection.request.path}")
            for message in connection:
                connection.send(message)
            self.closed.put((connection.close_code, connection.close_reason))

        def choose(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
            return offered[0] if offered else None

        self._server = serve(echo, "127.0.0.1", 0, select_subprotocol=choose, max_size=None)
        self.address = address_of(self._server.socket)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._server.shutdown()
        self._thread.join(10)
