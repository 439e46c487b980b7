"""One side of a byte conversation, client or backend: a test reads as a playbook of what is sent and what arrives.

Every wait has one deadline, so that a broken promise fails the test with what had arrived instead of hanging it.
"""

from __future__ import annotations

import contextlib
import fcntl
import socket
import ssl
import struct
import sys
import termios
from dataclasses import dataclass
from pathlib import Path

DEADLINE_SECONDS = 15.0


@dataclass(frozen=True)
class Head:
    """A start line and its fields as they stood on the wire; names lower-case."""

    start_line: str
    fields: tuple[tuple[str, str], ...]

    def __getitem__(self, name: str) -> str:
        """The one value of a field; a KeyError tells when it is absent or stands there twice."""
        values = self.all(name)
        if len(values) != 1:
            raise KeyError(f"{name}: {values} in {self}")
        return values[0]

    def __contains__(self, name: str) -> bool:
        return bool(self.all(name))

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.fields if key == name.lower()]

    @property
    def status(self) -> int:
        return int(self.start_line.split()[1])

    @property
    def target(self) -> str:
        return self.start_line.split()[1]

    @property
    def method(self) -> str:
        return self.start_line.split()[0]


@dataclass(frozen=True)
class Message:
    """A head with its whole body and the trailer fields of a chunked one."""

    head: Head
    body: bytes
    trailers: tuple[tuple[str, str], ...] = ()

    @property
    def status(self) -> int:
        return self.head.status


class Truncated(Exception):
    """A TLS peer ended its connection without saying so (RFC 8446 §6.1)."""


class Conversation:
    """Sends and receives on a connected socket, plain or TLS; `received` keeps every byte for exact comparison."""

    def __init__(self, sock: socket.socket, seconds: float = DEADLINE_SECONDS) -> None:
        self.sock = sock
        self.received = bytearray()
        self._unread = bytearray()
        sock.settimeout(seconds)
        if sock.family != socket.AF_UNIX:
            # Else the kernel may hold a piece back until the one before is acknowledged, and a reset throws it away.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def __enter__(self) -> Conversation:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # ------------------------------------------------------------------------------------------- sending

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def request(self, target: str = "/", *, method: str = "GET", host: str = "a.test", **fields: str) -> None:
        """Sends a request without a body; `X_Name="v"` in the call becomes `X-Name: v` on the wire."""
        lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in fields.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def under_way(self) -> int:
        """Bytes we have sent that have not reached the other side's kernel yet."""
        if self.sock.fileno() < 0:
            return 0
        return int.from_bytes(fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(4)), sys.byteorder)

    def unread(self) -> int:
        """Bytes we have sent that the other side's process has not read yet; over IPv4 on this machine."""
        under_way = self.under_way()
        ours, theirs = (f":{address[1]:04X}" for address in (self.sock.getsockname(), self.sock.getpeername()))
        for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
            _, local, remote, _, queues, *_ = line.split()
            if local.endswith(theirs) and remote.endswith(ours):
                return under_way + int(queues.partition(":")[2], 16)
        return under_way

    # ----------------------------------------------------------------------------------------- receiving

    def receive(self) -> bytes:
        """Whatever comes next; b"" at a clean end. Raises Truncated at one without close_notify."""
        if self._unread:
            data, self._unread = bytes(self._unread), bytearray()
            return data
        try:
            data = self.sock.recv(65536)
        except ssl.SSLZeroReturnError:
            return b""  # what `ssl` makes of a close_notify when ours is out already
        except ssl.SSLError as error:
            if isinstance(error, ssl.SSLEOFError) or error.reason == "UNEXPECTED_EOF_WHILE_READING":
                raise Truncated("ended without close_notify") from error
            raise
        self.received += data
        return data

    def receive_until(self, mark: bytes) -> bytes:
        data = bytearray()
        while mark not in data:
            more = self.receive()
            if not more:
                raise AssertionError(f"the other side ended before {mark!r}; until then it sent {bytes(data)!r}")
            data += more
        end = data.index(mark) + len(mark)
        self._unread[:0] = data[end:]
        return bytes(data[:end])

    def receive_exactly(self, count: int) -> bytes:
        data = bytearray()
        while len(data) < count:
            more = self.receive()
            if not more:
                raise AssertionError(f"the other side ended after {len(data)} of {count} bytes: {bytes(data[-200:])!r}")
            data += more
        self._unread[:0] = data[count:]
        return bytes(data[:count])

    def receive_rest(self) -> bytes:
        """Everything up to the end, whether that is clean or not."""
        data = bytearray()
        try:
            while more := self.receive():
                data += more
        except (Truncated, ConnectionResetError):
            return bytes(data)
        return bytes(data)

    def receive_head(self) -> Head:
        start_line, *lines = self.receive_until(b"\r\n\r\n").decode("latin-1")[:-4].split("\r\n")
        return Head(start_line, tuple((n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines)))

    def receive_chunked(self) -> tuple[bytes, tuple[tuple[str, str], ...]]:
        """A chunked body and its trailer fields."""
        body = bytearray()
        while size := int(self.receive_until(b"\r\n").split(b";")[0], 16):
            body += self.receive_exactly(size)
            assert self.receive_exactly(2) == b"\r\n"
        trailers = []
        while (line := self.receive_until(b"\r\n")[:-2]) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            trailers.append((name.lower(), value.strip()))
        return bytes(body), tuple(trailers)

    def receive_request(self) -> Message:
        """A request with its body, framed as RFC 9112 §6.3 says for requests."""
        head = self.receive_head()
        if "transfer-encoding" in head:
            return Message(head, *self.receive_chunked())
        length = int(head["content-length"]) if "content-length" in head else 0
        return Message(head, self.receive_exactly(length))

    def receive_response(self, method: str = "GET") -> Message:
        """A final response with its body, framed as RFC 9112 §6.3 says; an interim one is returned by itself."""
        head = self.receive_head()
        if method == "HEAD" or head.status < 200 or head.status in (204, 304):
            return Message(head, b"")
        if "transfer-encoding" in head:
            return Message(head, *self.receive_chunked())
        if "content-length" in head:
            return Message(head, self.receive_exactly(int(head["content-length"])))
        return Message(head, self.receive_rest())

    def ending(self) -> str:
        """How the other side ends, nothing more being sent: `clean`, `truncated` (TLS without close_notify), `reset`.

        On a plain socket an end of input is always `clean`."""
        try:
            data = self.receive()
        except Truncated:
            return "truncated"
        except ConnectionResetError:
            return "reset"
        assert data == b"", f"the other side went on: {data[:500]!r}"
        return "clean"

    def is_open(self) -> bool:
        """Whether the other side has neither sent anything nor ended, looked at without waiting."""
        self.sock.setblocking(False)
        try:
            return self.sock.recv(1) is None
        except (BlockingIOError, ssl.SSLWantReadError):
            return True
        except OSError:
            return False
        finally:
            self.sock.settimeout(DEADLINE_SECONDS)

    # -------------------------------------------------------------------------------------------- ending

    def end_output(self) -> None:
        """Half-closes: the other side sees the end of input and may go on sending."""
        if isinstance(self.sock, ssl.SSLSocket):
            with contextlib.suppress(ssl.SSLError, TimeoutError):
                self.sock.settimeout(0.0)
                self.sock.unwrap()  # sends close_notify; the answer may come much later
            self.sock.settimeout(DEADLINE_SECONDS)
        else:
            self.sock.shutdown(socket.SHUT_WR)

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Ends with a TCP reset, as a killed process does."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
