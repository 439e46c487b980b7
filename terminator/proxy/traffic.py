"""All of one worker's traffic: its accept loops, its connections, the generation in force, and its end.

Two nurseries, one inside the other: connections outside, accept loops inside. To drain, the accept loops are cancelled
and the connections get a deadline. Listeners come and go through a channel, so that only `run` starts tasks.
"""

from __future__ import annotations

import math
import os
import socket
import time
import traceback
from collections import Counter
from collections.abc import Callable, Sequence
from email.utils import formatdate

import trio

from terminator.backend.fleet import Fleet
from terminator.errors import HeadTimeout
from terminator.proxy import arrival, plain
from terminator.proxy.acceptor import Listening, accept, take_waiting
from terminator.proxy.admission import Admission
from terminator.proxy.deadline import Deadline
from terminator.proxy.departures import Departures
from terminator.proxy.generation import Generation
from terminator.proxy.meters import Meters
from terminator.telemetry.board import Writer
from terminator.telemetry.events import Event, ServerCrash
from terminator.telemetry.examples import FailureExamples
from terminator.tls.openssl import Capabilities
from terminator.transport.alarms import Alarms

SWEEP_SECONDS = 1.0
"""How often backends are looked through for what time alone has changed."""


class Traffic:
    """Constructed once per worker; `run` serves until `drain` has been called and all is finished.

    worker:  number of the worker, part of every `conn.id`
    workers: how many share `limits.connections`
    emit:    takes events; must not block
    fleet:   what this worker has learnt about backend servers; outlives generations
    board:   this worker's row of the metrics
    capabilities: what this OpenSSL was proved to do
    """

    def __init__(
        self,
        *,
        worker: int,
        workers: int,
        generation: Generation,
        fleet: Fleet,
        emit: Callable[[Event], None],
        board: Writer,
        capabilities: Capabilities,
    ) -> None:
        self.generation = generation
        self.emit = emit
        self.meters = Meters(board)
        self.fleet = fleet
        fleet.emit = emit
        fleet.adopt(generation.backends)
        self.draining = False
        self.has_express_lane = True
        """Whether plain exchanges may be served by `express`; without it all the same happens, at its own cost."""
        self.open_connections = 0
        self.handshakes = 0
        """Of those connections, how many have one in progress."""
        self.admission = Admission()
        self.alarms = Alarms()
        self.departures = Departures(self.alarms)
        self.idle: set[Deadline] = set()
        """Of connections that wait between requests: a drain ends them at once."""
        self.failure_examples = FailureExamples()
        self.logs_requests = generation.config.log.requests != "off"
        self.logs_handshakes = generation.config.log.handshakes != "off"
        self.capabilities = capabilities
        self._workers = workers
        self._by_generation: Counter[int] = Counter()
        self._arrivals_in, self._arrivals = trio.open_memory_channel[Listening](math.inf)
        self._listeners: dict[str, trio.CancelScope] = {}
        self._freed = trio.lowlevel.ParkingLot()
        self._cut_at = math.inf
        self._cutting: trio.CancelScope | None = None
        """The scope of all connections, once the accept loops have ended."""
        self._cut = 0
        self._connection_prefix = f"{worker:x}{os.urandom(3).hex()}"
        self._connection_count = 0
        self._date = (0, b"")

    # --------------------------------------------------------------------------------------------- from the worker

    async def run(self, listeners: Sequence[Listening]) -> int:
        """Serves until `drain`; returns how many connections had to be cut at its deadline."""
        for listening in listeners:
            self.add_listener(listening)
        async with trio.open_nursery() as chores:
            chores.start_soon(self.departures.run)
            chores.start_soon(self.alarms.run)
            chores.start_soon(self._sweep)
            async with trio.open_nursery() as connections:
                async with trio.open_nursery() as acceptors:
                    async for listening in self._arrivals:  # ends when `drain` closes the channel
                        acceptors.start_soon(self._listen, listening, connections)
                    acceptors.cancel_scope.cancel()
                self._cutting = connections.cancel_scope
                self._cutting.deadline = self._cut_at
            chores.cancel_scope.cancel()
        self.fleet.close()
        return self._cut

    def adopt(self, generation: Generation) -> None:
        """Puts `generation` in force for new connections and for the next request on open ones."""
        self.generation = generation
        self.fleet.adopt(generation.backends)
        self.meters.forget_servers()
        self._freed.unpark_all()  # `limits.connections` may have been raised
        self.logs_requests = generation.config.log.requests != "off"
        self.logs_handshakes = generation.config.log.handshakes != "off"

    def add_listener(self, listening: Listening) -> None:
        """Accepts on one more socket, replacing a listener of the same name; takes the socket over."""
        if self.draining:
            listening.sock.close()  # too late: the end has begun, perhaps before `run` did
            return
        self.remove_listener(listening.name)
        self._arrivals_in.send_nowait(listening)

    def remove_listener(self, name: str) -> None:
        """Stops accepting there; connections that came in stay."""
        if (scope := self._listeners.pop(name, None)) is not None:
            scope.cancel()

    def drain(self, seconds: float) -> None:
        """Stops accepting, ends idle connections, gives the others `seconds`; `run` then returns. A second call may
        only shorten the time."""
        self._cut_at = min(self._cut_at, trio.current_time() + seconds)
        if self._cutting is not None:
            self._cutting.deadline = self._cut_at
        if not self.draining:
            self.draining = True
            self._arrivals_in.close()
            for deadline in list(self.idle):
                deadline.fail(HeadTimeout("the service drains"))

    def by_generation(self) -> dict[int, int]:
        """Open connections by the generation that accepted them; their sum is `open_connections` at every moment."""
        return dict(self._by_generation)

    def note_gauges(self) -> None:
        """Writes to the board how connections and servers are at this moment; call about once a second."""
        self.meters.connections(self.open_connections, self.handshakes, len(self.idle))
        now = trio.current_time()
        for group in self.generation.backends.values():
            self.meters.queued(group.name, group.queued)
            for member in group.members:
                self.meters.server(group.name, member.key, member.server.health.available(now), member.in_flight)

    def backend_status(self) -> list[dict[str, object]]:
        return [row for group in self.generation.backends.values() for row in group.status(trio.current_time())]

    # -------------------------------------------------------------------------------------------------- accepting

    async def _listen(self, listening: Listening, connections: trio.Nursery) -> None:
        accepted = self.meters.accepted(listening.config.name)

        def handle(listening: Listening, sock: socket.socket, peer: object, accepted_at: float) -> None:
            generation = self.generation.number
            self.open_connections += 1
            self._by_generation[generation] += 1
            accepted.inc()
            connections.start_soon(self._serve, listening, sock, peer, accepted_at, generation)

        with trio.CancelScope() as scope:
            self._listeners[listening.name] = scope
            try:
                await accept(listening, self, handle, self.emit)
            except trio.Cancelled:
                take_waiting(listening, self, handle)
                raise
            finally:
                if self._listeners.get(listening.name) is scope:
                    del self._listeners[listening.name]
                trio.lowlevel.notify_closing(listening.sock)
                listening.sock.close()

    def has_room(self) -> bool:
        """Whether this worker's share of `limits.connections` leaves room for one more."""
        return self.open_connections < -(-self.generation.config.limits.connections // self._workers)

    async def wait_for_room(self, seconds: float) -> None:
        with trio.move_on_after(seconds):
            await self._freed.park()

    async def _serve(
        self, listening: Listening, sock: socket.socket, peer: object, accepted_at: float, generation: int
    ) -> None:
        """The task of one connection, and the one place that catches everything: a defect costs one connection."""
        connection_id = self._new_connection_id()
        serve = arrival.serve if listening.config.tls else plain.serve
        try:
            await serve(self, listening, sock, peer, accepted_at, connection_id)
        except Exception as error:
            self.emit(
                ServerCrash(
                    conn_id=connection_id,
                    error_type=type(error).__name__,
                    message=str(error),
                    stack="".join(traceback.format_exception(error)[-6:]),
                    generation=generation,
                )
            )
        except BaseException:  # Cancelled, or a group of it where a nursery was open: an upload, a tunnel
            self._cut += 1
            raise
        finally:
            if sock.fileno() >= 0:
                trio.lowlevel.notify_closing(sock)
                sock.close()
            self.open_connections -= 1
            self._by_generation[generation] -= 1
            if not self._by_generation[generation]:
                del self._by_generation[generation]
            if self._freed:
                self._freed.unpark()

    async def _sweep(self) -> None:
        while True:
            await trio.sleep(SWEEP_SECONDS)
            self.fleet.sweep(trio.current_time())

    # ------------------------------------------------------------------------------------------------------ records

    def turned_away(self, reason: str) -> None:
        """Counts a connection that was closed before its handshake."""
        self.meters.counter("terminator_connections_refused_total", reason=reason).inc()

    # ---------------------------------------------------------------------------------------- shared by exchanges

    def http_date(self) -> bytes:
        """Value of a Date field (RFC 9110 §6.6.1); rendered once a second."""
        now = int(time.time())
        if self._date[0] != now:
            self._date = (now, formatdate(now, usegmt=True).encode())
        return self._date[1]

    def _new_connection_id(self) -> str:
        self._connection_count += 1
        return f"{self._connection_prefix}-{self._connection_count:x}"
