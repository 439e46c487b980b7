"""Asking the daemon: its answer, or what to look at when there is none; and where its socket is."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from terminator.errors import ConfigError
from terminator.service.admin_client import NotReachable, ask, socket_of

Answering = Callable[[bytes], tuple[str, list[bytes]]]


@pytest.fixture
def answering(folder: Path) -> Iterator[Answering]:
    """A socket that answers the next question with these bytes, and a list that the question comes to."""
    with ExitStack() as stack:

        def make(answer: bytes) -> tuple[str, list[bytes]]:
            path, asked = str(folder / "admin.sock"), []
            server = stack.enter_context(socket.socket(socket.AF_UNIX))
            server.bind(path)
            server.listen()

            def serve() -> None:
                connection, _ = server.accept()
                with connection:
                    asked.append(connection.recv(65536))
                    connection.sendall(answer)

            thread = threading.Thread(target=serve)
            thread.start()
            stack.callback(thread.join, 10)
            return path, asked

        yield make


def response(status: int, value: object) -> bytes:
    body = json.dumps(value).encode()
    return b"HTTP/1.1 %d X\r\nContent-Length: %d\r\n\r\n%s" % (status, len(body), body)


def test_status_and_value_come_back_whatever_the_status(answering: Answering) -> None:
    path, asked = answering(response(409, {"outcome": "refused"}))
    assert ask("POST", "/reload?dry_run=1", path) == (409, {"outcome": "refused"})
    assert asked[0].startswith(b"POST /reload?dry_run=1 HTTP/1.1\r\n")
    assert b"Connection: close\r\n" in asked[0]


@pytest.mark.parametrize("answer", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nnot", b"\x15\x03\x01\0\2\2\n"])
def test_what_is_no_answer_is_told_with_the_socket(answering: Answering, answer: bytes) -> None:
    path, _ = answering(answer)
    with pytest.raises(NotReachable, match=f"{path}: the daemon did not answer: ."):
        ask("GET", "/status", path, 10)


def test_no_socket_and_a_deserted_one_are_told_apart(folder: Path) -> None:
    path = folder / "admin.sock"
    with pytest.raises(NotReachable, match="no such socket"):
        ask("GET", "/status", str(path))
    with socket.socket(socket.AF_UNIX) as deserted:
        deserted.bind(str(path))
    with pytest.raises(NotReachable, match="nobody listens here"):
        ask("GET", "/status", str(path))


def test_a_daemon_that_does_not_answer_in_time_is_told(folder: Path) -> None:
    path = folder / "admin.sock"
    with socket.socket(socket.AF_UNIX) as silent:
        silent.bind(str(path))
        silent.listen()
        with pytest.raises(NotReachable, match="timed out"):
            ask("GET", "/status", str(path), 0.05)


def test_the_socket_is_found_in_a_configuration_that_is_invalid_elsewhere(folder: Path) -> None:
    file = folder / "t.yaml"
    file.write_text("workres: 3\nadmin: {socket: /run/t/admin.sock}\n")
    assert socket_of(str(file)) == "/run/t/admin.sock"


@pytest.mark.parametrize("text", ["workres: 3\n", "admin: 5\n", "admin: {socket: [a]}\n"])
def test_without_a_socket_in_it_the_fault_itself_is_told(folder: Path, text: str) -> None:
    file = folder / "t.yaml"
    file.write_text(text)
    with pytest.raises(ConfigError):
        socket_of(str(file))
