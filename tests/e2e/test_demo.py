"""`terminator demo`: from nothing to a proxy that explains its handshakes, and back."""

from __future__ import annotations

import re
import shlex
import signal
import socket
import subprocess
import sys
import threading

import pytest


class Demo:
    def __init__(self, port: int, folder) -> None:
        self.lines: list[str] = []
        self._arrived = threading.Condition()
        command = [sys.executable, "-W", "error", "-m", "terminator", "demo", "--port", str(port)]
        self.process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=folder, stdin=subprocess.DEVNULL
        )
        self._reader = threading.Thread(target=self._read)
        self._reader.start()

    def _read(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as stream:
            for line in stream:
                with self._arrived:
                    self.lines.append(line)
                    self._arrived.notify_all()
        with self._arrived:
            self._arrived.notify_all()

    def wait_for_line(self, pattern: str) -> str:
        def found() -> list[str]:
            return [line for line in self.lines if re.search(pattern, line)]

        with self._arrived:
            self._arrived.wait_for(lambda: found() or not self._reader.is_alive(), 60)
        assert found(), "".join(self.lines)
        return found()[0]

    def end(self, number: signal.Signals) -> int:
        self.process.send_signal(number)
        code = self.process.wait(30)
        self._reader.join(30)
        return code


@pytest.fixture
def demo(port, folder):
    demos = []

    def make(number: int) -> Demo:
        demos.append(Demo(number, folder))
        return demos[-1]

    yield make
    for made in demos:
        if made.process.poll() is None:
            made.end(signal.SIGTERM)  # not SIGKILL: it would leave the daemon behind


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_the_printed_curl_line_works_and_its_handshake_is_shown(demo, port, number):
    chosen = port()
    shown = demo(chosen)
    line = shown.wait_for_line(r"curl .*--cacert")
    shown.wait_for_line(r"server\.ready")
    answer = subprocess.run(shlex.split(line), capture_output=True, text=True, timeout=30)
    assert answer.returncode == 0, answer.stderr
    assert "x-forwarded-proto: https" in answer.stdout.lower()
    assert "localhost" in shown.wait_for_line(r"tls\.handshake.*localhost")
    subprocess.run(["curl", "-s", f"https://localhost:{chosen}/"], capture_output=True)  # trusts no such authority
    shown.wait_for_line("client_rejected_cert")
    assert shown.end(number) == 0, "".join(shown.lines)
    assert "Traceback" not in "".join(shown.lines)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", chosen))


def test_a_port_that_is_taken_is_told(demo):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        number = taken.getsockname()[1]
        shown = demo(number)
        assert shown.process.wait(60) == 1
        assert "--port" in shown.wait_for_line(f"{number}.*in use|taken")
