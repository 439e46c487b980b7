"""The channel between the master and a child: one socketpair, frames with a length before them.

The law: the master never unpickles. Children may run unprivileged and read what strangers send, so what they say to
the (possibly root) master is JSON, checked by whoever reads it; the children trust the master, which speaks pickle.
Both directions are bounded. The master's side never blocks: what a child does not read waits in a buffer, and a child
that lets it grow past the bound is lost (`ChannelBroken`), which the supervision treats like any other death.

A frame is a 4-byte big-endian length and the payload. File descriptors travel with the first bytes of the frame that
they belong to, so that they have all arrived when the frame is complete.
"""

from __future__ import annotations

import array
import json
import pickle
import socket
from collections import deque
from collections.abc import Iterator
from typing import Any

import trio

MAX_TO_CHILD_BYTES = 512 * 1024 * 1024
"""5,000 hosts with two certificate chains each are about 100 MB when all of them change at once."""
MAX_TO_MASTER_BYTES = 32 * 1024 * 1024
"""The state of 10,000 servers is 2 MB."""
MAX_FDS = 250
"""With one byte: SCM_MAX_FD of the kernel is 253."""
_CHUNK_BYTES = 256 * 1024
_LARGE_BYTES = 64 * 1024
_MAX_READS = 16
_PREFIX_BYTES = 4


class ChannelBroken(Exception):
    """The other side is gone, or does not keep to the protocol."""


def pair() -> tuple[socket.socket, socket.socket]:
    """(the master's end, the child's end), both non-blocking and closed on exec."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
    ours.setblocking(False)
    theirs.setblocking(False)
    return ours, theirs


class MasterEnd:
    """The master's end: queues frames, sends what fits, yields the messages that arrived."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._unsent: deque[tuple[memoryview, list[int]]] = deque()
        self._unsent_bytes = 0
        self._frames = _Frames(MAX_TO_MASTER_BYTES)

    @property
    def wants_to_send(self) -> bool:
        return bool(self._unsent)

    def send(self, message: object, fds: list[int] | None = None) -> None:
        """Queues a message. `fds` must stay open until `wants_to_send` is false."""
        payload = pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)
        self.send_frame(payload, fds)

    def send_frame(self, payload: bytes, fds: list[int] | None = None) -> None:
        """Queues a message pickled beforehand, so that the same plan is not pickled once per worker."""
        if self._unsent_bytes + len(payload) > MAX_TO_CHILD_BYTES:
            raise ChannelBroken("the child does not read what the master sends")
        frame = len(payload).to_bytes(_PREFIX_BYTES, "big") + payload
        self._unsent.append((memoryview(frame), list(fds or ())))
        self._unsent_bytes += len(frame)
        self.flush()

    def flush(self) -> None:
        """Sends what the kernel takes now."""
        while self._unsent:
            data, fds = self._unsent[0]
            now, later = fds[:MAX_FDS], fds[MAX_FDS:]
            rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", now))] if now else []
            try:
                sent = self.sock.sendmsg([data[: 1 if later else _CHUNK_BYTES]], rights)
            except BlockingIOError:
                return
            except OSError as error:
                raise ChannelBroken(str(error)) from error
            self._unsent_bytes -= sent
            if sent == len(data):
                self._unsent.popleft()
            else:
                self._unsent[0] = (data[sent:], later)

    def receive(self) -> list[dict[str, Any]]:
        """The messages that have arrived, perhaps none; ChannelBroken at their end. A child that talks without a pause
        is heard in turn with the others: the rest is left for the next call."""
        messages: list[dict[str, Any]] = []
        for _ in range(_MAX_READS):
            try:
                data = self.sock.recv(_CHUNK_BYTES)
            except BlockingIOError:
                return messages
            except OSError as error:
                raise ChannelBroken(str(error)) from error
            if not data:
                if messages:  # the last words count; the end is found again by the next call
                    return messages
                raise ChannelBroken("closed")
            for payload in self._frames.feed(data):
                try:
                    message = json.loads(payload)
                except ValueError as error:
                    raise ChannelBroken("a child sent something that is not JSON") from error
                if not isinstance(message, dict):
                    raise ChannelBroken("a child sent something that is not an object")
                messages.append(message)
        return messages

    def close(self) -> None:
        self.sock.close()


class ChildEnd:
    """A child's end, inside its trio loop."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = trio.socket.from_stdlib_socket(sock)
        self._frames = _Frames(MAX_TO_CHILD_BYTES)
        self._arrived: deque[Any] = deque()
        self._fds: deque[int] = deque()
        self._sending = trio.Lock()

    async def send(self, message: dict[str, Any]) -> None:
        """Sends one message whole; trio.BrokenResourceError when the master is gone."""
        payload = json.dumps(message, separators=(",", ":")).encode()
        if len(payload) > MAX_TO_MASTER_BYTES:
            raise ValueError(f"a message of {len(payload)} bytes is too long for the master")
        data = memoryview(len(payload).to_bytes(_PREFIX_BYTES, "big") + payload)
        async with self._sending:
            while data:
                try:
                    sent = await self._sock.send(data)
                except OSError as error:
                    raise trio.BrokenResourceError("the master is gone") from error
                data = data[sent:]

    async def receive(self) -> Any:
        """The next message; None when the master is gone."""
        while not self._arrived:
            try:
                room = socket.CMSG_LEN(MAX_FDS * 4)
                data, ancillary, _, _ = await self._sock.recvmsg(_CHUNK_BYTES, room, socket.MSG_CMSG_CLOEXEC)
            except OSError:
                return None
            for level, kind, packed in ancillary:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    fds = array.array("i")
                    fds.frombytes(packed[: len(packed) - len(packed) % fds.itemsize])
                    self._fds.extend(fds)
            if not data:
                return None
            for payload in self._frames.feed(data):
                # The configuration of 5,000 hosts takes 130 ms to unpickle; the loop serves on meanwhile.
                large = len(payload) > _LARGE_BYTES
                self._arrived.append(
                    await trio.to_thread.run_sync(pickle.loads, payload) if large else pickle.loads(payload)
                )
        return self._arrived.popleft()

    def take_fds(self, count: int) -> list[int]:
        """The file descriptors that came with the message just received, now the caller's to close."""
        return [self._fds.popleft() for _ in range(count)]


class _Frames:
    """Cuts a byte stream into frames; remembers what is incomplete."""

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[bytes]:
        self._buffer += data
        while len(self._buffer) >= _PREFIX_BYTES:
            length = int.from_bytes(self._buffer[:_PREFIX_BYTES], "big")
            if length > self._max_bytes:
                raise ChannelBroken(f"a frame of {length} bytes is too long")
            end = _PREFIX_BYTES + length
            if len(self._buffer) < end:
                return
            payload = bytes(self._buffer[_PREFIX_BYTES:end])
            del self._buffer[:end]
            yield payload
