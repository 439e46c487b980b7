"""The master's side of the admin process: keeps one running and answers what it asks.

The process itself is `admin`: it speaks HTTP with whoever connects, so it is kept out of the master and, like a worker,
has no rights. When the admin section changes, a new process with new sockets replaces the old one.
"""

from __future__ import annotations

import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from terminator.config.model import Admin
from terminator.config.values import Address, SystemdSocket, TcpAddress, UnixAddress
from terminator.errors import StartError
from terminator.service import listeners, messages, supervision
from terminator.service.channel import MasterEnd
from terminator.service.children import describe_exit
from terminator.service.listeners import Inherited
from terminator.service.process import Message, Process
from terminator.telemetry.events import Event, ServerNotice

SOCKET_MODE = 0o660
BACKLOG = 64
DRAIN_SECONDS = 5.0

Ask = Callable[[Message, Callable[[int, object], None]], None]
"""Takes a question and a function that takes its answer: HTTP status and JSON value."""


@dataclass(frozen=True, slots=True)
class AdminSockets:
    """`full` answers everything, `read_only` all but changes."""

    full: tuple[socket.socket, ...] = ()
    read_only: tuple[socket.socket, ...] = ()
    file: tuple[str, int] | None = None

    def all(self) -> tuple[socket.socket, ...]:
        return self.full + self.read_only

    def close(self, keep: AdminSockets | None = None) -> None:
        """Closes what is not part of `keep`."""
        kept = {id(sock) for sock in keep.all()} if keep is not None else set()
        for sock in self.all():
            if id(sock) not in kept:
                sock.close()
        if self.file is not None and (keep is None or self.file != keep.file):
            listeners.remove_socket_file(*self.file)


NOTHING = AdminSockets()


def bind(
    config: Admin, inherited: Inherited, gid: int, before: tuple[Admin, AdminSockets] = (Admin(), NOTHING)
) -> AdminSockets:
    """Binds both; StartError names the address and the remedy. What `before` has under the same address is kept.
    `gid` is the group that may use the socket, or -1."""
    old_config, old = before
    full, file, read_only = old.full, old.file, old.read_only
    if config.socket != old_config.socket:
        full, file = (), None
        if config.socket is not None:
            full = (listeners.bind_unix(config.socket, SOCKET_MODE, BACKLOG, (-1, gid)),)
            file = (config.socket, listeners.inode(config.socket))
    try:
        if config.bind != old_config.bind:
            read_only = _bind_read_only(config.bind, inherited)
    except StartError:
        AdminSockets(full, (), file).close(keep=old)
        raise
    return AdminSockets(full, read_only, file)


def _bind_read_only(where: Address | SystemdSocket | None, inherited: Inherited) -> tuple[socket.socket, ...]:
    if where is None:
        return ()
    if isinstance(where, SystemdSocket):
        return inherited.named(where.name)
    if isinstance(where, UnixAddress):
        raise StartError("admin.bind is for a TCP address; a unix socket belongs to admin.socket")
    return listeners.bind_one(where, BACKLOG)


def names(config: Admin) -> frozenset[str]:
    """The machine's own name and that of the address bound, in lower case."""
    found = {socket.gethostname().lower()}
    if isinstance(config.bind, TcpAddress):
        found.add(config.bind.host.lower())
    return frozenset(found)


class AdminLink:
    """`fork` starts the process with these sockets; nothing runs while there are none."""

    def __init__(
        self,
        *,
        fork: Callable[[AdminSockets], tuple[int, MasterEnd]],
        selector: selectors.BaseSelector,
        emit: Callable[[Event], None],
        ask: Ask,
    ) -> None:
        self._fork = fork
        self._selector = selector
        self._emit = emit
        self._ask = ask
        # Its death is no reason to end the service, at whatever moment.
        self._table = replace(supervision.new_table((), time.monotonic()), was_ready=True)
        self._processes: dict[int, Process] = {}
        self.sockets = NOTHING
        self._number = 0
        self.stopped = False

    def serve(self, sockets: AdminSockets) -> None:
        """Starts a process with these sockets and lets the one before finish; closes its sockets."""
        old, self.sockets = self.sockets, sockets
        self._retire(DRAIN_SECONDS)
        old.close(keep=sockets)
        if sockets.all():
            self._number += 1
            self._table = supervision.add(self._table, self._number, time.monotonic())
            self.tick(time.monotonic())

    def stop(self) -> None:
        """Ends the process and starts none any more."""
        self._retire(1.0)
        self.sockets.close()
        self.sockets = NOTHING
        self._table = replace(self._table, stopping=True)
        self.stopped = True

    def kill(self) -> None:
        for process in self._processes.values():
            process.signal(signal.SIGKILL)

    @property
    def ended(self) -> bool:
        return not self._processes

    def wake_at(self) -> float | None:
        return self._table.wake_at()

    def tick(self, now: float) -> None:
        self._decided(supervision.tick(self._table, now))

    def excuse(self, seconds: float) -> None:
        """The process could not be heard for so long."""
        self._table = supervision.excuse(self._table, seconds)

    def exited(self, pid: int, status: int, now: float) -> bool:
        """Whether this process was ours."""
        slot = self._table.slot_of(pid)
        if slot is None:
            return False
        self._processes.pop(slot.number).close()
        if slot.state is not supervision.State.DRAINING:
            text = f"the admin process ended: {describe_exit(status)}"
            self._emit(ServerNotice(topic="admin_exited", message=text))
        self._decided(supervision.exited(self._table, pid, now, clean=status == 0))
        return True

    def send(self, message: object) -> None:
        for process in self._processes.values():
            process.send(message)

    def _retire(self, seconds: float) -> None:
        for slot in self._table.slots:
            if slot.state in (supervision.State.STARTING, supervision.State.SERVING, supervision.State.WAITING):
                self._table = supervision.retire(self._table, slot.number, time.monotonic(), seconds)
        self.send(messages.Drain(seconds))

    def _decided(self, decision: supervision.Decision) -> None:
        self._table, actions = decision
        for action in actions:
            match action:
                case supervision.Start(number):
                    self._start(number)
                case supervision.Kill(number, _, sign, _):
                    self._processes[number].signal(sign)
                case supervision.GiveUp():
                    text = "the admin process cannot be kept up; the service itself goes on"
                    self._emit(ServerNotice(topic="admin_given_up", message=text))

    def _start(self, number: int) -> None:
        pid, end = self._fork(self.sockets)
        self._processes[number] = Process(pid, end, self._selector, lambda message: self._message(number, pid, message))
        self._table = supervision.started(self._table, number, pid, time.monotonic())

    def _message(self, number: int, pid: int, message: Message) -> None:
        match message:
            case {"kind": "ready" | "beat"}:
                self._table = supervision.beat(self._table, number, pid, time.monotonic())
            case {"kind": "ask", "ask": int(ask)}:

                def answer(status: int, body: object) -> None:
                    process = self._processes.get(number)
                    if process is not None and process.pid == pid:
                        process.send(messages.Answer(ask, status, body))

                self._ask(message, answer)
