"""1 GiB goes up and down in constant memory."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path

import pytest

GIB = 1 << 30
ALLOWED_GROWTH_KIB = 24 * 1024

pytestmark = pytest.mark.slow


class MemoryWatch:
    """Samples the memory of the daemon's processes while a block runs."""

    def __init__(self, daemon) -> None:
        self._daemon = daemon
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._sample)
        self.before = self.peak = daemon.resident_kib()

    def _sample(self) -> None:
        while not self._done.wait(0.05):
            self.peak = max(self.peak, self._daemon.resident_kib())

    def __enter__(self) -> MemoryWatch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._done.set()
        self._thread.join()
        assert self.peak - self.before < ALLOWED_GROWTH_KIB, f"grew from {self.before} to {self.peak} KiB"


@pytest.fixture
def zeros(folder) -> Path:
    """A sparse file of 1 GiB: reading it costs neither disk nor memory."""
    path = folder / "zeros"
    with open(path, "wb") as file:
        file.truncate(GIB)
    return path


def curl(daemon, certificates, *options: str) -> str:
    command = ["curl", "--silent", "--show-error", "--fail", "--max-time", "110", "--cacert", str(certificates.ca_file)]
    command += ["--connect-to", f"::127.0.0.1:{daemon.ports['https']}", *options, "https://a.test/"]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@pytest.mark.parametrize("framing", [f"Content-Length: {GIB}", "Connection: close"])
def test_down(start, played, certificates, zeros, framing):
    backend = played()
    daemon = start(backend.address)

    def serve() -> None:
        behind = backend.accept()
        behind.receive_request()
        behind.send(f"HTTP/1.1 200 OK\r\n{framing}\r\n\r\n".encode())
        with open(zeros, "rb") as file:
            behind.sock.sendfile(file)
        behind.close()

    thread = threading.Thread(target=serve)
    thread.start()
    with MemoryWatch(daemon):
        told = curl(daemon, certificates, "--output", "/dev/null", "--write-out", "%{http_code} %{size_download}")
    thread.join()
    assert told == f"200 {GIB}"
    assert daemon.wait_for("http.request")["http.response.body.size"] == GIB


@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
def test_up(start, played, certificates, zeros, chunked):
    backend = played()
    daemon = start(backend.address)
    received = []

    def take() -> None:
        behind = backend.accept()
        head = behind.receive_head()
        assert ("transfer-encoding" in head) == chunked
        if chunked:
            received.append(chunked_length(behind.sock, bytes(behind._unread)))
        else:
            count, buffer = len(behind._unread), bytearray(1 << 20)
            while count < GIB and (got := behind.sock.recv_into(buffer)):
                count += got
            received.append(count)
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nall\n")

    thread = threading.Thread(target=take)
    thread.start()
    options = ["--header", "Expect:", *(["--header", "Transfer-Encoding: chunked"] if chunked else [])]
    with MemoryWatch(daemon):
        assert curl(daemon, certificates, "--upload-file", str(zeros), *options) == "all\n"
    thread.join()
    assert received == [GIB]
    assert daemon.wait_for("http.request")["http.request.body.size"] == GIB


def chunked_length(sock: socket.socket, begun: bytes) -> int:
    """Length of a chunked body of unknown chunk sizes, read without keeping it."""
    with sock.makefile("rb", buffering=1 << 20) as file:
        total, line = 0, begun
        # What had come with the head is at most the beginning of the first chunk.
        while b"\r\n" not in line:
            line += file.readline()
        size_line, _, rest = line.partition(b"\r\n")
        size = int(size_line.split(b";")[0], 16)
        while True:
            while len(rest) > size + 2:  # several small chunks had come with the head
                total += size
                size_line, _, rest = rest[size + 2 :].partition(b"\r\n")
                size = int(size_line.split(b";")[0], 16)
            left = size + 2 - len(rest)
            rest = b""
            while left:
                got = len(file.read(min(left, 1 << 20)))
                assert got, "ended amid a chunk"
                left -= got
            total += size
            if size == 0:
                return total
            size = int(file.readline().split(b";")[0], 16)
