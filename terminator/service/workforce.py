"""All workers: carries out what `supervision` decides, and knows what each of them last said."""

from __future__ import annotations

import selectors
import signal
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from terminator.service import messages, supervision
from terminator.service.channel import MasterEnd
from terminator.service.children import describe_exit
from terminator.service.process import Message, Process
from terminator.telemetry.events import Event, ServerNotice, WorkerExited, WorkerStarted

Fork = Callable[[int], tuple[int, MasterEnd]]


@dataclass(slots=True)
class Worker:
    """What is known of a live worker."""

    number: int
    process: Process
    since: datetime
    connections: int = 0
    generations: dict[str, int] = field(default_factory=dict)
    drained: bool = False


class Workforce:
    """`fork` starts worker n. `hear` gets the messages that are not the supervision's own, with the worker's number;
    `gone` is told of each worker that ended, `came` of each that was started."""

    def __init__(
        self,
        count: int,
        *,
        fork: Fork,
        selector: selectors.BaseSelector,
        emit: Callable[[Event], None],
        hear: Callable[[int, Message], None],
        came: Callable[[int], None],
        gone: Callable[[int], None],
    ) -> None:
        self.count = count
        self.table = supervision.new_table(range(count), time.monotonic())
        self.live: dict[int, Worker] = {}
        self.cut = 0
        """Connections that were cut by drains and kills so far."""
        self.gave_up: str | None = None
        """Why the service cannot be kept up, once it cannot."""
        self._fork = fork
        self._selector = selector
        self._emit = emit
        self._hear = hear
        self._came = came
        self._gone = gone

    # -------------------------------------------------------------------------------------------- the master's loop

    def wake_at(self) -> float | None:
        return self.table.wake_at()

    def tick(self, now: float) -> None:
        self._decided(supervision.tick(self.table, now))

    def excuse(self, seconds: float) -> None:
        """Nobody could be heard for so long."""
        self.table = supervision.excuse(self.table, seconds)

    def exited(self, pid: int, status: int, now: float) -> bool:
        """Whether this process was a worker; its place is then given to another, or not, as supervision decides."""
        slot = self.table.slot_of(pid)
        if slot is None:
            return False
        worker = self.live[slot.number]
        worker.process.close()
        if not worker.drained:
            self.cut += worker.connections
        del self.live[slot.number]
        self._gone(slot.number)
        self._decided(supervision.exited(self.table, pid, now, clean=status == 0), status)
        return True

    # ---------------------------------------------------------------------------------------------------- commands

    def drain(self, seconds: float) -> None:
        self.table = supervision.stop(self.table, time.monotonic(), seconds)
        self.send_all(messages.Drain(seconds))

    def kill(self) -> None:
        """Ends all at once."""
        for worker in self.live.values():
            worker.process.signal(signal.SIGKILL)

    def send(self, number: int, message: object) -> None:
        """To one worker, if it lives."""
        if (worker := self.live.get(number)) is not None:
            worker.process.send(message)

    def send_all(self, message: object) -> None:
        for worker in self.live.values():
            worker.process.send(message)

    @property
    def heard(self) -> bool:
        """Whether the event loop of some worker turned lately; true as well while the service starts or stops."""
        return not self.table.was_ready or self.table.stopping or self.table.any_serving

    @property
    def connections(self) -> int:
        return sum(worker.connections for worker in self.live.values())

    # ----------------------------------------------------------------------------------------------------- helpers

    def _decided(self, decision: supervision.Decision, status: int = 0) -> None:
        self.table, actions = decision
        for action in actions:
            match action:
                case supervision.Start(number):
                    self._start(number)
                case supervision.Kill(number, _, sign, reason):
                    text = f"worker {number} gets {sign.name}: {reason}"
                    self._emit(ServerNotice(topic="worker_killed", message=text))
                    self.live[number].process.signal(sign)
                case supervision.Died(number, pid, expected, pause):
                    self._emit(
                        WorkerExited(
                            worker=number,
                            pid=pid,
                            reason=describe_exit(status),
                            expected=expected,
                            restart_in_s=pause,
                        )
                    )
                case supervision.GiveUp(reason):
                    self.gave_up = reason

    def _start(self, number: int) -> None:
        pid, end = self._fork(number)
        process = Process(pid, end, self._selector, lambda message: self._message(number, pid, message))
        self.live[number] = Worker(number, process, datetime.now(UTC))
        self.table = supervision.started(self.table, number, pid, time.monotonic())
        self._emit(WorkerStarted(worker=number, pid=pid))
        self._came(number)

    def _message(self, number: int, pid: int, message: Message) -> None:
        worker = self.live.get(number)
        if worker is None or worker.process.pid != pid:
            return
        match message:
            case {"kind": "ready"}:
                self.table = supervision.beat(self.table, number, pid, time.monotonic())
            case {"kind": "beat", "connections": int(connections), "generations": dict(generations)}:
                worker.connections, worker.generations = connections, _counts(generations)
                self.table = supervision.beat(self.table, number, pid, time.monotonic())
            case {"kind": "drained", "cut": int(cut)}:
                worker.drained = True
                self.cut += cut
            case _:
                self._hear(number, message)


def _counts(generations: dict[Any, Any]) -> dict[str, int]:
    items: Iterable[tuple[Any, Any]] = generations.items()
    return {str(number): count for number, count in items if isinstance(count, int)}
