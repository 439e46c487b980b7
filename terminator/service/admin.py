"""The admin process: HTTP for operators and monitoring on a unix socket, and read-only on an optional TCP address.

It knows nothing itself: counters it reads from the board in shared memory, everything else it asks the master.
A client that is slow, silent or hostile costs this process something, the master and the workers nothing.
"""

from __future__ import annotations

import json
import signal
import socket
import time
import traceback
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, urlsplit

import h11
import trio

from terminator.service import messages, status_page, web_pages
from terminator.service.channel import ChannelBroken, ChildEnd
from terminator.service.history import STEP_SECONDS, History
from terminator.telemetry.board import Board
from terminator.telemetry.exposition import render
from terminator.telemetry.totals import totals

IDLE_SECONDS = 30.0
ANSWER_SECONDS = 600.0
"""A reload of thousands of certificates takes its time; the master always answers."""
MAX_CONNECTIONS = 64
MAX_BODY_BYTES = 65536
BUSY_SECONDS = 30.0
"""CPU time without a heartbeat: a loop that stands still (see `worker`)."""
CERTIFICATE_DRIFT = "terminator_certificate_drift"


@dataclass(frozen=True, slots=True)
class Job:
    """What the process inherits by the fork."""

    full: Sequence[socket.socket]
    read_only: Sequence[socket.socket]
    board: Board
    names: frozenset[str] = frozenset()
    """By which a browser may ask, beside addresses: see `web_pages`."""


@dataclass(frozen=True, slots=True)
class Reply:
    status: int
    body: bytes
    content_type: str = "application/json"
    allow: str | None = None
    headers: tuple[tuple[str, str], ...] = ()


def main(job: Job, channel: socket.socket) -> int:
    trio.run(_Admin(job).run, channel)
    return 0


class _Admin:
    def __init__(self, job: Job) -> None:
        self._job = job
        self._answers: dict[int, tuple[trio.Event, list[messages.Answer]]] = {}
        self._asked = 0
        self._room = trio.CapacityLimiter(MAX_CONNECTIONS)
        self._ended = trio.Event()
        self._drain_seconds = 0.0
        self._idle: set[trio.CancelScope] = set()
        self._history = History()

    async def run(self, channel: socket.socket) -> None:
        self._channel = ChildEnd(channel)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._listen_to_master)
                nursery.start_soon(self._beat)
                nursery.start_soon(self._remember)
                nursery.start_soon(self._end_on_sigterm)
                await self._serve()
                nursery.cancel_scope.cancel()
        finally:
            signal.alarm(0)

    async def _serve(self) -> None:
        async with trio.open_nursery() as connections:
            async with trio.open_nursery() as acceptors:
                for sock in self._job.full:
                    acceptors.start_soon(self._accept, sock, connections, True)
                for sock in self._job.read_only:
                    acceptors.start_soon(self._accept, sock, connections, False)
                await self._ended.wait()
                acceptors.cancel_scope.cancel()
            for scope in self._idle:
                scope.cancel()
            connections.cancel_scope.deadline = trio.current_time() + self._drain_seconds

    # ---------------------------------------------------------------------------------------------------- the master

    async def _listen_to_master(self) -> None:
        try:
            while (message := await self._channel.receive()) is not None:
                match message:
                    case messages.Answer(ask):
                        event, place = self._answers.pop(ask)
                        place.append(message)
                        event.set()
                    case messages.Drain(seconds):
                        self._end(seconds)
        except ChannelBroken:
            pass  # as good as gone
        self._end(0.0)

    def _end(self, seconds: float) -> None:
        self._drain_seconds = seconds
        self._ended.set()

    async def _beat(self) -> None:
        while True:
            signal.setitimer(signal.ITIMER_PROF, BUSY_SECONDS)
            try:
                await self._channel.send({"kind": "beat"})
            except trio.BrokenResourceError:
                return
            await trio.sleep(messages.BEAT_SECONDS)

    async def _end_on_sigterm(self) -> None:
        with trio.open_signal_receiver(signal.SIGTERM) as signals:
            async for _ in signals:
                self._end(1.0)

    async def _ask(self, what: str, **details: object) -> Reply:
        self._asked += 1
        event: trio.Event = trio.Event()
        place: list[messages.Answer] = []
        self._answers[self._asked] = (event, place)
        try:
            await self._channel.send({"kind": "ask", "ask": self._asked, "what": what, **details})
            with trio.fail_after(ANSWER_SECONDS):
                await event.wait()
        except (trio.BrokenResourceError, trio.TooSlowError):
            return _error(503, "the master does not answer")
        return Reply(place[0].status, json.dumps(place[0].body, indent=2).encode() + b"\n")

    # -------------------------------------------------------------------------------------------------------- HTTP

    async def _accept(self, sock: socket.socket, connections: trio.Nursery, full: bool) -> None:
        listening = trio.socket.from_stdlib_socket(sock)
        while True:
            await self._room.acquire_on_behalf_of(token := object())
            try:
                accepted, _ = await listening.accept()
            except OSError:
                self._room.release_on_behalf_of(token)
                await trio.sleep(0.1)
                continue
            except BaseException:
                self._room.release_on_behalf_of(token)
                raise
            connections.start_soon(self._converse, accepted, full, token)

    async def _converse(self, sock: trio.socket.SocketType, full: bool, token: object) -> None:
        stream = trio.SocketStream(sock)
        connection = h11.Connection(h11.SERVER, max_incomplete_event_size=16384)
        try:
            while connection.our_state is not h11.MUST_CLOSE:
                request, body_bytes = await self._request(stream, connection)
                if request is None:
                    return
                reply = await self._answer(request, body_bytes, full)
                await self._send(stream, connection, reply, head_only=request.method == b"HEAD")
                if connection.our_state is not h11.DONE or connection.their_state is not h11.DONE:
                    return
                if self._ended.is_set():
                    return
                connection.start_next_cycle()
        except h11.RemoteProtocolError as error:
            if connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
                with trio.move_on_after(1):
                    await self._try_send(stream, connection, _error(error.error_status_hint, "not valid HTTP"))
        except (trio.BrokenResourceError, trio.ClosedResourceError, trio.TooSlowError):
            return  # the client is gone, or does not read what it asked for
        except Exception:
            # A defect, which shall cost this connection and not the process with all others and the last hour.
            with suppress(OSError):
                traceback.print_exc()
        finally:
            self._room.release_on_behalf_of(token)
            with trio.CancelScope(shield=True, deadline=trio.current_time() + 1):
                await stream.aclose()

    async def _request(self, stream: trio.SocketStream, connection: h11.Connection) -> tuple[h11.Request | None, int]:
        """The next request with its body read and thrown away; None when the client has no more."""
        request: h11.Request | None = None
        size = 0
        with trio.move_on_after(IDLE_SECONDS) as scope:
            self._idle.add(scope)
            try:
                while True:
                    event = connection.next_event()
                    if event is h11.NEED_DATA:
                        if connection.they_are_waiting_for_100_continue:
                            await stream.send_all(
                                _sent(connection, h11.InformationalResponse(status_code=100, headers=[]))
                            )
                        connection.receive_data(await stream.receive_some(65536))
                    elif isinstance(event, h11.Request):
                        request = event
                        self._idle.discard(scope)
                    elif isinstance(event, h11.Data):
                        size += len(event.data)
                        if size > MAX_BODY_BYTES:
                            return request, size
                    elif isinstance(event, h11.EndOfMessage):
                        return request, size
                    else:
                        return None, 0
            finally:
                self._idle.discard(scope)
        return None, 0

    async def _answer(self, request: h11.Request, body_bytes: int, full: bool) -> Reply:
        if body_bytes > MAX_BODY_BYTES:
            return _error(413, "no request here needs a body")
        try:
            target = urlsplit(request.target.decode("ascii", "replace"))
        except ValueError:
            return _error(400, "not a valid target")
        refusal = web_pages.refusal(request.method.decode("ascii", "replace"), request.headers, self._job.names)
        if refusal is not None:
            return _error(403, refusal)
        accept = b", ".join(value for name, value in request.headers if name == b"accept").decode("latin-1")
        method = "GET" if request.method == b"HEAD" else request.method.decode("ascii", "replace")
        queries: dict[str, Callable[[], Awaitable[Reply]]] = {
            "/": self._page,
            "/healthz": self._healthz,
            "/readyz": lambda: self._ask("ready"),
            "/status": lambda: self._ask("status"),
            "/certs": lambda: self._ask("certs"),
            "/metrics": lambda: self._metrics(accept),
            "/totals": self._totals,
        }
        if target.path == "/reload":
            if method != "POST":
                return Reply(405, b'{"error": "reload by POST"}\n', allow="POST")
            if not full:
                return _error(403, "this address is read only; use the admin socket")
            flags = parse_qs(target.query)
            return await self._ask("reload", dry_run=_flag(flags, "dry_run"), accept_worse=_flag(flags, "accept_worse"))
        if target.path == "/backend":
            if method != "POST":
                return Reply(405, b'{"error": "command by POST"}\n', allow="POST")
            if not full:
                return _error(403, "this address is read only; use the admin socket")
            asked = {name: values[-1] for name, values in parse_qs(target.query).items()}
            wanted = {name: asked.get(name, "") for name in ("backend", "server", "command")}
            return await self._ask("backend", **wanted)
        if target.path == "/explain":
            if not full:
                return _error(403, "this address does not tell of the configuration; use the admin socket")
            return await self._ask("explain", question=parse_qs(target.query, keep_blank_values=True))
        if target.path not in queries:
            return _error(404, "there are " + " ".join((*queries, "/reload", "/backend", "/explain")))
        if method != "GET":
            return Reply(405, b'{"error": "GET only"}\n', allow="GET, HEAD")
        return await queries[target.path]()

    async def _healthz(self) -> Reply:
        """The admin process lives; whether the service serves is /readyz."""
        return Reply(200, b"ok\n", "text/plain; charset=utf-8")

    async def _metrics(self, accept: str) -> Reply:
        body, content_type = await trio.to_thread.run_sync(render, self._job.board, accept)
        return Reply(200, body, content_type)

    async def _totals(self) -> Reply:
        """For `terminator top`: few sums, where /metrics has every series."""
        found = await trio.to_thread.run_sync(totals, self._job.board, time.monotonic())
        return Reply(200, json.dumps(found.as_json()).encode() + b"\n")

    async def _page(self) -> Reply:
        answer = await self._ask("status")
        board = self._job.board
        found = await trio.to_thread.run_sync(totals, board, time.monotonic())
        drift = board.snapshot({CERTIFICATE_DRIFT}).get(CERTIFICATE_DRIFT, {})
        view = status_page.View(
            status=json.loads(answer.body) if answer.status == 200 else None,
            totals=found,
            history=self._history,
            drifting=frozenset(status_page.drifting_hosts(drift.items())),
            now=datetime.now(UTC),
        )
        body = status_page.render(view).encode()
        return Reply(200, body, "text/html; charset=utf-8", headers=status_page.HEADERS)

    async def _remember(self) -> None:
        """Fills the history that the page shows."""
        while True:
            found = await trio.to_thread.run_sync(totals, self._job.board, time.monotonic())
            self._history.add(found, time.time())
            await trio.sleep(STEP_SECONDS)

    async def _try_send(self, stream: trio.SocketStream, connection: h11.Connection, reply: Reply) -> None:
        try:
            await self._send(stream, connection, reply, head_only=False)
        except (trio.BrokenResourceError, trio.TooSlowError, h11.LocalProtocolError):
            return  # it cannot be answered any more

    async def _send(
        self, stream: trio.SocketStream, connection: h11.Connection, reply: Reply, *, head_only: bool
    ) -> None:
        headers = [
            ("Content-Type", reply.content_type),
            ("Content-Length", str(len(reply.body))),
            ("Cache-Control", "no-store"),
            ("X-Content-Type-Options", "nosniff"),
        ]
        headers += reply.headers
        if reply.allow is not None:
            headers.append(("Allow", reply.allow))
        if self._ended.is_set():
            headers.append(("Connection", "close"))
        data = _sent(connection, h11.Response(status_code=reply.status, headers=headers))
        if not head_only:
            data += _sent(connection, h11.Data(data=reply.body))
        with trio.fail_after(IDLE_SECONDS):
            await stream.send_all(data + _sent(connection, h11.EndOfMessage()))


def _sent(connection: h11.Connection, event: Any) -> bytes:
    return connection.send(event) or b""


def _flag(query: dict[str, list[str]], name: str) -> bool:
    return query.get(name, ["0"])[-1].lower() in ("1", "true", "yes")


def _error(status: int, text: str) -> Reply:
    return Reply(status, json.dumps({"error": text}).encode() + b"\n")
