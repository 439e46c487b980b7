"""A worker: one process, one trio loop, one generation in force; it does what the master says.

It ends when the master tells it to drain, when somebody sends it SIGTERM, or when the master is gone: a worker without
a master can neither reload nor be watched, so it stops accepting at once and cuts what is left seconds later.
Three see to it that a stuck loop does not live on: the master, by the heartbeats; the kernel, which tells an orphan
(`children`); and a timer of CPU time that each heartbeat puts off, for an orphan that is stuck where it hears nothing.
"""

from __future__ import annotations

import faulthandler
import gc
import signal
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import trio

from terminator.backend.fleet import Fleet
from terminator.backend.load import SharedLoad
from terminator.backend.probe import Prober
from terminator.config.model import Listener
from terminator.errors import CertificateError, TerminatorError
from terminator.proxy.acceptor import Listening
from terminator.proxy.generation import Generation, Plan, build
from terminator.proxy.traffic import Traffic
from terminator.service import messages
from terminator.service.channel import ChannelBroken, ChildEnd
from terminator.telemetry import journal
from terminator.telemetry.board import Board, worker_row
from terminator.telemetry.drops import DropMeter
from terminator.telemetry.events import ServerNotice
from terminator.telemetry.writer import write_behind
from terminator.tls import contexts

ORPHAN_DRAIN_SECONDS = 3.0
GC_THRESHOLDS = (20_000, 20, 100)
BUSY_SECONDS = 30.0
"""CPU time without a heartbeat: well beyond the master's patience (`supervision.STUCK_SECONDS`), which leaves a better
trace. Not time by the clock, which goes on while the machine stands still."""


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker inherits by the fork."""

    number: int
    workers: int
    plan: Plan
    contexts: contexts.ContextStore
    listeners: Sequence[tuple[Listener, Sequence[socket.socket]]]
    journal: journal.Journal
    board: Board


def main(job: Job, channel: socket.socket) -> int:
    """Serves until drained; the exit code."""
    # An exchange leaves few cycles behind; looking for them every 700 objects costs more than what they hold meanwhile.
    gc.set_threshold(*GC_THRESHOLDS)
    for number in (signal.SIGALRM, signal.SIGPROF):
        # The loop's own stack alone: reading those of other threads while they run may end in SIGSEGV.
        faulthandler.register(number, all_threads=False, chain=True)
    trio.run(_Worker(job).run, channel)
    return 0


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A generation built aside, with all that its commit needs."""

    plan: Plan
    contexts: contexts.Prepared
    generation: Generation
    journal: journal.Prepared
    added: tuple[Listening, ...]
    removed: tuple[str, ...]


class _Worker:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._plan = job.plan
        self._contexts = job.contexts
        self._journal = job.journal.in_child(worker=job.number, generation=lambda: self._plan.number)
        self._prepared: _Prepared | None = None
        self._sockets: dict[str, list[str]] = {}

    async def run(self, channel: socket.socket) -> None:
        self._channel = ChildEnd(channel)
        row = worker_row(self._job.number)
        self._board = self._job.board.writer(row)
        alone = self._job.workers == 1
        self._fleet = Fleet(shared=None if alone else SharedLoad(self._job.board, row, self._board))
        trio.socket.set_custom_hostname_resolver(self._fleet.resolver)
        self._prober = Prober(self._fleet)
        self._board.on_overflow = lambda text: self._journal.emit(ServerNotice(topic="metrics_full", message=text))
        self._drops = DropMeter(self._journal, self._board)
        try:
            self._contexts.log_keys()
        except CertificateError as error:
            self._journal.emit(ServerNotice(topic="key_log", message=str(error)))
        self._traffic = Traffic(
            worker=self._job.number,
            workers=self._job.workers,
            generation=build(self._plan, self._contexts.contexts, self._fleet),
            fleet=self._fleet,
            emit=self._journal.emit,
            board=self._board,
            capabilities=self._contexts.capabilities,
        )
        self._prober.adopt(self._traffic.generation.backends)
        listeners = [each for config, sockets in self._job.listeners for each in self._listening(config, sockets)]
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(write_behind, self._journal)
                nursery.start_soon(self._obey)
                nursery.start_soon(self._end_on_sigterm)
                nursery.start_soon(self._beat)
                nursery.start_soon(self._prober.run, self._tell_verdict)
                cut = await self._traffic.run(listeners)
                with trio.move_on_after(1):
                    await self._say({"kind": "drained", "cut": cut})
                nursery.cancel_scope.cancel()
        finally:
            signal.setitimer(signal.ITIMER_PROF, 0)
            self._journal.close()

    # ------------------------------------------------------------------------------------------------ the master

    async def _obey(self) -> None:
        """Carries out what the master says; ends the traffic when it says no more."""
        try:
            while (message := await self._channel.receive()) is not None:
                await self._carry_out(message)
        except ChannelBroken:
            pass  # as good as gone: what it says next could not be trusted
        self._traffic.drain(ORPHAN_DRAIN_SECONDS)

    async def _carry_out(self, message: object) -> None:
        match message:
            case messages.Prepare():
                self._forget_prepared()
                error = await self._prepare(message)
                await self._say({"kind": "prepared", "number": message.number, "error": error})
            case messages.Commit(number):
                if self._prepared is not None and self._prepared.plan.number == number:
                    self._commit(self._prepared)
                    self._prepared = None
                await self._say({"kind": "committed", "number": number})
            case messages.Abort():
                self._forget_prepared()
            case messages.TicketKeys():
                self._contexts.rotate(message.tickets)
            case messages.Drain(seconds):
                self._traffic.drain(seconds)
            case messages.ReopenLogs():
                self._journal.reopen()
            case messages.Probe():
                self._prober.begin()
            case messages.Verdict(backend, server, ok, reason):
                self._fleet.hear(backend, server, ok, reason)
            case messages.Maintenance(backend, server, command):
                self._fleet.obey(backend, server, command)
            case messages.Report(ask):
                await self._say_beat()  # first, so that one answer tells of one moment
                backends, failures = self._traffic.backend_status(), self._traffic.failure_examples.rows()
                await self._say({"kind": "report", "ask": ask, "backends": backends, "failures": failures})
            case _:
                raise ChannelBroken(f"the master said {type(message).__name__}, which a worker does not know")

    async def _tell_verdict(self, backend: str, server: str, ok: bool, reason: str) -> None:
        await self._say({"kind": "verdict", "backend": backend, "server": server, "ok": ok, "reason": reason})

    async def _beat(self) -> None:
        """Tells the master, the kernel and the metrics that this loop turns, and how late."""
        await self._say({"kind": "ready"})
        due = trio.current_time()
        while True:
            signal.setitimer(signal.ITIMER_PROF, BUSY_SECONDS)
            self._note_gauges(max(0.0, trio.current_time() - due))
            await self._say_beat()
            due = trio.current_time() + messages.BEAT_SECONDS
            await trio.sleep_until(due)

    async def _say_beat(self) -> None:
        generations = {str(number): count for number, count in self._traffic.by_generation().items()}
        await self._say({"kind": "beat", "connections": self._traffic.open_connections, "generations": generations})

    def _note_gauges(self, lag_seconds: float) -> None:
        self._board.gauge("terminator_event_loop_lag_seconds", worker=str(self._job.number)).set(lag_seconds)
        self._traffic.note_gauges()
        self._drops.note()

    async def _say(self, message: dict[str, object]) -> None:
        try:
            await self._channel.send(message)
        except trio.BrokenResourceError:
            return  # `_obey` sees the end of the channel and acts

    async def _end_on_sigterm(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                self._traffic.drain(self._plan.config.timeouts.drain)

    # -------------------------------------------------------------------------------------------- a new generation

    async def _prepare(self, message: messages.Prepare) -> str | None:
        """Builds everything aside; None, or why it cannot be."""
        sockets = [socket.socket(fileno=fd) for fd in self._channel.take_fds(sum(new.sockets for new in message.added))]
        try:
            materials = {host: message.changed.get(host) or self._plan.materials[host] for host in message.hosts}
            config = message.config if message.config is not None else self._plan.config
            plan = Plan(message.number, config, materials)
            # In a thread, so that the loop serves on: 5,000 hosts take a quarter of a second, new contexts more.
            made, generation = await trio.to_thread.run_sync(self._build, plan)
            outlets = self._journal.prepare(config.log)
        except (TerminatorError, KeyError, ValueError, OSError) as error:
            for sock in sockets:
                sock.close()
            return f"{type(error).__name__}: {error}"
        remaining = iter(sockets)
        added = [
            each
            for new in message.added
            for each in self._listening(new.config, [next(remaining) for _ in range(new.sockets)])
        ]
        self._prepared = _Prepared(plan, made, generation, outlets, tuple(added), message.removed)
        return None

    def _build(self, plan: Plan) -> tuple[contexts.Prepared, Generation]:
        """Runs beside the loop: it reads what is in force and changes nothing of it."""
        made = self._contexts.prepare(plan.materials)
        return made, build(plan, made.contexts, self._fleet)

    def _commit(self, prepared: _Prepared) -> None:
        self._contexts.commit(prepared.contexts)
        self._plan = prepared.plan
        self._traffic.adopt(prepared.generation)
        self._prober.adopt(prepared.generation.backends)
        self._journal.commit(prepared.journal)
        for name in prepared.removed:
            for each in self._sockets.pop(name):
                self._traffic.remove_listener(each)
        for listening in prepared.added:
            self._traffic.add_listener(listening)

    def _forget_prepared(self) -> None:
        if self._prepared is not None:
            self._journal.abandon(self._prepared.journal)
            for listening in self._prepared.added:
                listening.sock.close()
            self._prepared = None

    def _listening(self, config: Listener, sockets: Sequence[socket.socket]) -> list[Listening]:
        """A listener with several sockets (a host name with several addresses) is several to the traffic."""
        names = [config.name, *(f"{config.name}#{number}" for number in range(2, len(sockets) + 1))]
        self._sockets[config.name] = names
        return [Listening(name, sock, config) for name, sock in zip(names, sockets, strict=True)]
