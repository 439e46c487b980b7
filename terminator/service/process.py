"""A running child as the master sees it: its process id and its channel, watched by the master's selector."""

from __future__ import annotations

import os
import selectors
import signal
from collections.abc import Callable
from typing import Any

from terminator.service.channel import ChannelBroken, MasterEnd

Message = dict[str, Any]
Wake = Callable[[], None]
"""What the master calls when a file object of its selector is ready."""


class Process:
    """`hear` gets each message. When the channel breaks the process is on its way out, or will be found stuck."""

    def __init__(
        self, pid: int, end: MasterEnd, selector: selectors.BaseSelector, hear: Callable[[Message], None]
    ) -> None:
        self.pid = pid
        self._end = end
        self._selector = selector
        self._hear = hear
        self._open = True
        self._to_close: list[int] = []
        selector.register(end.sock, selectors.EVENT_READ, self._wake)

    def send(self, message: object) -> None:
        self._attempt(lambda: self._end.send(message))

    def send_frame(self, frame: bytes, fds: list[int] | None = None) -> None:
        """A message pickled beforehand; takes copies of `fds`."""
        copies = [os.dup(fd) for fd in fds or ()]
        self._to_close += copies
        self._attempt(lambda: self._end.send_frame(frame, copies))

    def signal(self, number: signal.Signals) -> None:
        try:
            os.kill(self.pid, number)
        except ProcessLookupError:  # it ended by itself; the wait status says how
            return

    def close(self) -> None:
        """Takes the last messages and lets go of the channel. Harmless when repeated."""
        if self._open:
            self._receive()
        self._shut()

    def _wake(self) -> None:
        self._receive()
        if self._open and self._end.wants_to_send:
            self._attempt(self._end.flush)

    def _receive(self) -> None:
        try:
            messages = self._end.receive()
        except ChannelBroken:
            self._shut()
            return
        for message in messages:
            self._hear(message)

    def _attempt(self, send: Callable[[], None]) -> None:
        if not self._open:
            return
        try:
            send()
        except ChannelBroken:
            self._shut()
            return
        unsent = self._end.wants_to_send
        if not unsent:
            while self._to_close:
                os.close(self._to_close.pop())
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if unsent else 0)
        self._selector.modify(self._end.sock, events, self._wake)

    def _shut(self) -> None:
        if self._open:
            self._open = False
            self._selector.unregister(self._end.sock)
            self._end.close()
            while self._to_close:
                os.close(self._to_close.pop())
