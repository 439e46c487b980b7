"""A byte stream on a non-blocking socket, without a scheduler pass per call.

trio's own socket calls are checkpoints each time, which costs a pass through the scheduler (some 15 µs) even when the
bytes are there already. Here a call that can be served at once is served at once; to stay fair, a stream that never
had to wait gives way after `TURN_BYTES`. Law: whoever is cancelled inside `send` may not send on this stream again,
since nobody knows how much of it is through; `broken` says so and `close` then cuts instead of ending politely.
"""

from __future__ import annotations

import fcntl
import math
import socket
import struct
import termios
from typing import ClassVar

import trio

from terminator.errors import TerminatorError

TURN_BYTES = 1 << 20
"""What a stream may move without waiting before others get their turn: at 1 GB/s about a millisecond."""

CALL_BYTES = 512
"""What a call counts as, however few its bytes."""

PIECE_BYTES = 65536
"""The most handed to one call of the socket: a TLS send keeps its whole piece until all of it is through."""

PORTION_BYTES = 262144
"""The most that is sent without a look at whose turn it is."""

Bytes = bytes | bytearray | memoryview

_INT = struct.Struct("=i")


class Stream:
    """A plain stream. Whoever constructs it hands the socket over; it must be non-blocking.

    gone:    the error to raise when the peer has reset the connection or cannot be written to
    stalled: the error to raise when the peer takes nothing for `stall_seconds`; default `gone`
    """

    wants_read: ClassVar[tuple[type[OSError], ...]] = (BlockingIOError,)
    wants_write: ClassVar[tuple[type[OSError], ...]] = (BlockingIOError,)
    __slots__ = ("_turn", "broken", "clean_end", "ended", "gone", "interruption", "sock", "stall_seconds", "stalled")

    def __init__(
        self, sock: socket.socket, gone: type[TerminatorError], stalled: type[TerminatorError] | None = None
    ) -> None:
        self.sock = sock
        self.gone = gone
        self.stalled = stalled or gone
        self.stall_seconds = math.inf
        """How long a send may wait while the peer takes nothing; whoever sends sets it."""
        self.ended = False
        """The peer will send no more."""
        self.clean_end = False
        """The end was announced as the protocol asks; a body that ends by it is complete."""
        self.broken = False
        """Nothing more may be sent: the connection is reset, or a piece is half through."""
        self.interruption: TerminatorError | None = None
        """Why nobody may wait here, see `interrupt`."""
        self._turn = TURN_BYTES

    def receive_now(self, max_bytes: int = PIECE_BYTES) -> bytes | None:
        """What is there already, b"" at the end, or None when it would have to wait. Raises `gone` on a reset."""
        if self.ended:
            return b""
        try:
            data = self.sock.recv(max_bytes)
        except self.wants_read:
            return None
        except self.wants_write:
            return None  # TLS owes the peer an answer (a key update); it goes out with the next piece or read
        except OSError as error:
            self.ended = True
            clean = self.is_end(error)
            if clean is not None:
                self.clean_end = clean
                return b""
            self.broken = True
            raise self.gone(f"receiving failed: {error.strerror or error}") from error
        if not data:
            self.ended = self.clean_end = True
        return data

    async def receive(self, max_bytes: int = PIECE_BYTES) -> bytes:
        """At least one byte, or b"" at the end of the stream. Raises `gone` on a reset."""
        while (data := self.receive_now(max_bytes)) is None:
            await self.wait_readable()
            self._turn = TURN_BYTES
        self._turn -= len(data) + CALL_BYTES
        if self._turn < 0:
            await self._rest()
        return data

    async def receive_later(self, max_bytes: int = PIECE_BYTES) -> bytes:
        """The same where nothing can be there yet: it waits first, which saves a vain look."""
        data = None
        while data is None:
            if not self.ended:
                await self.wait_readable()
            data = self.receive_now(max_bytes)
        self._turn = TURN_BYTES - len(data) - CALL_BYTES
        return data

    def send_now(self, data: Bytes) -> int:
        """Sends what can be sent of `data` without waiting; how many bytes that was. After less than all of it `send`
        must follow with the rest, and nothing else (a TLS record may be half through)."""
        if self.broken:
            raise self.gone("the connection is broken")
        try:
            return self.sock.send(data)
        except self.wants_write:
            return 0
        except OSError as error:
            self.broken = True
            raise self.gone(f"sending failed: {error.strerror or error}") from error

    async def send(self, data: Bytes) -> None:
        """Sends all of `data`. Raises `gone` when the peer cannot be reached any more."""
        if len(data) <= PORTION_BYTES:
            if (sent := self.send_now(data)) < len(data):
                await self._send_rest(data, sent)
            self._turn -= len(data) + CALL_BYTES
            if self._turn < 0:
                await self._rest()
            return
        with memoryview(data) as view:
            for start in range(0, len(view), PORTION_BYTES):
                await self.send(view[start : start + PORTION_BYTES])

    async def _send_rest(self, data: Bytes, sent: int) -> None:
        with memoryview(data) as view:
            while sent < len(view):
                self.broken = True  # until the rest is through; see the law above
                await self._wait_writable()
                self.broken = False
                self._turn = TURN_BYTES
                sent += self.send_now(view[sent:])

    async def _wait_writable(self) -> None:
        """The kernel calls a socket writable only when a good part of its buffer, up to megabytes, is free. So a reader
        that is slow is told from one that is dead by whether the bytes that it has not acknowledged become fewer."""
        while True:
            unread = self._unread_by_peer()
            if self.interruption is not None:
                raise self.interruption
            with trio.move_on_after(self.stall_seconds):
                try:
                    await trio.lowlevel.wait_writable(self.sock)
                except trio.ClosedResourceError as closed:
                    raise self.interruption or closed from None
                return
            if self._unread_by_peer() >= unread:
                raise self.stalled(f"the peer took nothing for {self.stall_seconds:g} s")

    def _unread_by_peer(self) -> int:
        """Bytes in the kernel that the peer has not acknowledged (TIOCOUTQ, tcp(7) and unix(7))."""
        count: int = _INT.unpack(fcntl.ioctl(self.sock, termios.TIOCOUTQ, bytes(_INT.size)))[0]
        return count

    def is_end(self, error: OSError) -> bool | None:
        """Whether a failed `recv` is the peer's end: True with the farewell that its protocol asks for, False without
        one, None when it means something else."""
        return None

    async def give_way(self, moved: int) -> None:
        """Lets other tasks run when this stream has moved much without waiting; `moved` bytes are added to that."""
        self._turn -= moved + CALL_BYTES
        if self._turn < 0:
            await self._rest()

    async def _rest(self) -> None:
        self._turn = TURN_BYTES
        # Shielded: a cancellation here would lose bytes that have been received already.
        await trio.lowlevel.cancel_shielded_checkpoint()

    async def wait_readable(self) -> None:
        """Returns when `receive_now` may have something to say."""
        if self.interruption is not None:
            raise self.interruption
        try:
            await trio.lowlevel.wait_readable(self.sock)
        except trio.ClosedResourceError as closed:
            raise self.interruption or closed from None

    def interrupt(self, error: TerminatorError) -> None:
        """Whoever waits here, to receive or to send, gets `error`, and so does whoever is about to, until `resume`.
        What needs no waiting goes on. The socket stays as it is; after an interrupted send the stream is broken."""
        self.interruption = error
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)

    def resume(self) -> None:
        self.interruption = None

    def last_words(self) -> None:
        """What is sent from now on may leave together with the end of the stream: `end` or `close` must follow it
        without a wait."""

    async def end(self) -> None:
        """Tells the peer that nothing more will be sent; receiving goes on. Never raises for a peer that is gone."""
        if not self.broken:
            self.broken = True
            try:
                self.sock.shutdown(socket.SHUT_WR)
            except OSError:
                self.ended = True  # gone already: there is nobody to tell

    async def linger(self, seconds: float, quiet_seconds: float = math.inf, *, max_bytes: float = math.inf) -> None:
        """Drops what the peer still sends, so that closing does not reset the connection and destroy our last answer on
        its way (RFC 9112 §9.6): for `seconds`, until it is silent for `quiet_seconds`, or has sent `max_bytes`. Reads
        beneath TLS: what arrives now is of no interest. After `end`."""
        with trio.move_on_after(seconds):
            while max_bytes > 0:
                try:
                    dropped = socket.socket.recv(self.sock, PIECE_BYTES)
                except BlockingIOError:
                    with trio.move_on_after(quiet_seconds) as quiet:
                        await trio.lowlevel.wait_readable(self.sock)
                    if quiet.cancelled_caught:
                        return
                    continue
                except OSError:
                    return  # reset: the peer is gone, and so is the reason to linger
                if not dropped:
                    return
                max_bytes -= len(dropped)
                await self.give_way(len(dropped))

    def close(self) -> None:
        """Closes the socket at once, with whatever the protocol can still say without waiting."""
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)
            self.sock.close()

    def give_up(self) -> None:
        """Nothing more may be sent, not even a farewell: when the owner closes, the peer sees that what it got is
        incomplete (its TLS library can tell, RFC 8446 §6.1)."""
        self.broken = True
