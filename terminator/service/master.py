"""The parent of all: owns sockets, configuration and keys, keeps its children running, and never serves a client.

Single-threaded and synchronous, one `select` around signals, channels and timers. It has never run an event loop, so
it can fork at any time. Whatever takes long here (reading thousands of certificates) delays no client.
"""

from __future__ import annotations

import gc
import os
import resource
import selectors
import signal
import socket
import time
from collections.abc import Callable, MutableMapping
from datetime import UTC, datetime

from terminator.service import account, admin, admin_link, announcements, children, listeners, messages, worker
from terminator.service.account import Reloaded
from terminator.service.admin_link import AdminLink, AdminSockets
from terminator.service.announcements import Versions
from terminator.service.attempt import Attempt
from terminator.service.backends import Backends
from terminator.service.candidate import Candidate
from terminator.service.channel import MasterEnd
from terminator.service.chores import Chores
from terminator.service.kept import Kept
from terminator.service.notify import Notify
from terminator.service.process import Message
from terminator.service.questions import Questions
from terminator.service.reload import Reloads, Request
from terminator.service.reports import Reported, Reports
from terminator.service.standing import Rebound, Standing
from terminator.service.timers import Timers
from terminator.service.workforce import Workforce
from terminator.telemetry.board import Board, worker_row
from terminator.telemetry.events import ServerDrain, ServerStop
from terminator.telemetry.journal import Journal
from terminator.tls import proofs
from terminator.tls.contexts import ContextStore

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGCHLD)
LOG_RETRY_SECONDS = 0.1
LATE_SECONDS = 1.0
"""A master that listens later than it meant to by more than this was busy or stood still, and blames nobody for it."""


class Master:
    """`run` serves until stopped and returns the exit code. Raises StartError or ConfigError before it serves."""

    def __init__(
        self,
        config_path: str,
        candidate: Candidate,
        versions: Versions,
        environ: MutableMapping[str, str],
        begun: float,
    ) -> None:
        """begun: when the start began, on the monotonic clock; `candidate` was read after it."""
        config = candidate.config
        self._begun = begun
        self.started = datetime.now(UTC)
        self.versions = versions
        self.config_path = config_path
        self._identity = children.identity(config.user, config.group)
        self.admin_gid = self._identity.gid if self._identity is not None else -1
        owner = (self._identity.uid, self._identity.gid) if self._identity is not None else None
        self.journal = Journal(config.log, generation=lambda: self.standing.number, owner=owner)
        self.notify = Notify(environ)
        self.inherited = listeners.Inherited(environ)
        self.kept = Kept(self.notify, self.inherited)
        workers = len(os.sched_getaffinity(0)) if config.workers == "auto" else config.workers
        self.capabilities = proofs.prove()
        self.board = Board(worker_row(workers))
        self.timers = Timers()
        self.reloaded = Reloaded()
        bound = []
        self._admin_sockets = admin_link.NOTHING
        try:
            for each in config.listeners:
                bound.append(listeners.bind(each, workers, self.inherited))
                bound[-1].listen()
            self.standing = Standing(1, candidate, tuple(bound), datetime.now(UTC))
            self._admin_sockets = admin_link.bind(config.admin, self.inherited, self.admin_gid)
            self._chores = Chores(self)
            self.contexts = ContextStore(self.capabilities, self._chores.tickets())
            self.contexts.commit(self.contexts.prepare(candidate.materials))
        except BaseException:
            for each_bound in bound:
                each_bound.close()
            self._admin_sockets.close()
            raise
        self.inherited.drop_kept()
        self._selector = selectors.DefaultSelector()
        self._reloads = Reloads(self, held=True)
        self.workforce = Workforce(
            workers,
            fork=self._fork_worker,
            selector=self._selector,
            emit=self.journal.emit,
            hear=self._worker_says,
            came=self._worker_came,
            gone=self._worker_gone,
        )
        self.reports = Reports(self.workforce)
        self.backends = Backends(self.workforce.send, lambda: list(self.workforce.live), self.journal.emit)
        self.admin = AdminLink(
            fork=self._fork_admin, selector=self._selector, emit=self.journal.emit, ask=Questions(self).ask
        )
        self._listened = begun
        self._announced = False
        self._stopping: str | None = None
        self._drain_until = 0.0
        self._exit_code = 0

    # ------------------------------------------------------------------------------------------------------ the loop

    def run(self) -> int:
        _raise_file_limit()
        problems = self.capabilities.problems
        for event in announcements.at_start(
            self.versions, self.config_path, self.standing.candidate, problems, datetime.now(UTC)
        ):
            self.journal.emit(event)
        self._watch_signals()
        gc.collect()
        self.admin.serve(self._admin_sockets)
        versions = self.versions
        self._chores.start(version=versions.terminator, python=versions.python, openssl=versions.openssl)
        self._listened = time.monotonic()
        while not self._over():
            self._turn()
        return self._finish()

    def _turn(self) -> None:
        due = [part.wake_at() for part in (self.workforce, self.admin, self._reloads, self.reports, self.timers)]
        now = time.monotonic()
        timeout = max(0.0, min((moment for moment in due if moment is not None), default=now + 60) - now)
        if self.journal.filenos():
            timeout = min(timeout, LOG_RETRY_SECONDS)
        arrived = self._selector.select(timeout)
        # What had arrived by this moment counts. To work off a reload may take long, and meanwhile nobody is heard.
        now = time.monotonic()
        unheard, self._listened = now - self._listened, now
        if unheard > timeout + LATE_SECONDS:
            self.workforce.excuse(unheard)
            self.admin.excuse(unheard)
        for key, _ in arrived:
            key.data()
        for part in (self.workforce, self.admin, self._reloads, self.reports, self.timers):
            part.tick(now)
        if self.workforce.gave_up is not None and self._stopping is None:
            self._exit_code = 1
            self.stop(self.workforce.gave_up)
        if not self._announced and self.workforce.table.was_ready:
            self._say_ready()
        if self._stopping is not None and self.workforce.table.ended and not self.admin.stopped:
            self.admin.stop()
        self.journal.flush()

    def _over(self) -> bool:
        return self._stopping is not None and self.workforce.table.ended and self.admin.stopped and self.admin.ended

    def _finish(self) -> int:
        self.journal.emit(ServerStop(exit_code=self._exit_code, connections_cut=self.workforce.cut))
        self.journal.close()
        self.notify.close()
        self.inherited.close()
        for number in SIGNALS:
            # One that comes too late must not kill the interpreter on its way out: the exit code would lie.
            signal.signal(number, signal.SIG_IGN)
        signal.set_wakeup_fd(-1)
        for sock in self._signal_sockets:
            sock.close()
        self._selector.close()
        return self._exit_code

    # ------------------------------------------------------------------------------------------------------- signals

    def _watch_signals(self) -> None:
        reader, writer = socket.socketpair()
        reader.setblocking(False)
        writer.setblocking(False)
        self._signal_sockets = (reader, writer)
        for number in SIGNALS:
            signal.signal(number, lambda *_: None)
        signal.set_wakeup_fd(writer.fileno(), warn_on_full_buffer=False)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)  # what came while there was no handler comes now

        def wake() -> None:
            actions = {
                signal.SIGTERM: lambda: self.stop("SIGTERM"),
                signal.SIGINT: lambda: self.stop("SIGINT"),
                signal.SIGHUP: self._reload_by_signal,
                signal.SIGUSR1: self._reopen_logs,
                signal.SIGCHLD: self._reap,
            }
            for number in reader.recv(4096):
                actions[signal.Signals(number)]()
            self._reap()  # a full buffer may have swallowed a SIGCHLD

        self._selector.register(reader, selectors.EVENT_READ, wake)

    def stop(self, reason: str) -> None:
        """Drains and ends; a second call ends at once."""
        if self._stopping is not None:
            self.workforce.kill()
            self.admin.kill()
            return
        self._stopping = reason
        self._reloads.stop()
        seconds = self.standing.candidate.config.timeouts.drain
        self.notify.stopping(f"Draining, at most {seconds:g} s ({reason})")

        def tell(reported: Reported) -> None:
            connections = reported.connections
            self.journal.emit(ServerDrain(reason=reason, connections=connections, deadline_s=seconds))
            self.notify.status(f"Draining {connections} connections, at most {seconds:g} s ({reason})")

        self.reports.ask(tell)  # before they drain: how many there are now, not with the last heartbeat
        self._chores.stop(seconds)
        self.workforce.drain(seconds)
        # The workers close their copies; while one is open anywhere the kernel goes on queueing connections.
        for each in self.standing.bound:
            each.close()

    def _reap(self) -> None:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            now = time.monotonic()
            if not self.workforce.exited(pid, status, now):
                self.admin.exited(pid, status, now)

    def _reload_by_signal(self) -> None:
        self.reload(Request("signal", lambda attempt: None))

    def _reopen_logs(self) -> None:
        self.journal.reopen()  # first: a new file is given to the workers' user before they open it
        self.workforce.send_all(messages.ReopenLogs())

    # -------------------------------------------------------------------------------------------------------- reload

    def reload(self, request: Request) -> None:
        """As soon as the service is ready and those before it are done."""
        self._reloads.request(request)

    def reload_begins(self) -> None:
        self.notify.reloading("Reloading")

    def in_force(self, standing: Standing, rebound: Rebound) -> None:
        before, self.standing = self.standing, standing
        for each in rebound.closing():
            each.close()
        if rebound.opened or rebound.removed:
            self.kept.store(standing.bound)
        self._chores.in_force()
        self.backends.in_force(standing.candidate.config.backends)
        if before.candidate.config.admin != standing.candidate.config.admin:
            self.admin.serve(rebound.admin)

    def reload_ended(self, attempt: Attempt) -> None:
        self.reloaded.note(attempt)
        self.journal.emit(attempt.event())
        self.notify.ready(self.sentence())
        self._chores.reload_ended(attempt)
        self.timers.once("collect", 0.0, _forget)  # generations that have ended, when the caller has its answer

    # ------------------------------------------------------------------------------------------------------ children

    def _fork_worker(self, number: int) -> tuple[int, MasterEnd]:
        own = [(each.config, each.sockets_of(number)) for each in self.standing.bound]
        job = worker.Job(
            number=number,
            workers=self.workforce.count,
            plan=self.standing.plan,
            contexts=self.contexts,
            listeners=own,
            journal=self.journal,
            board=self.board,
        )
        keep = [sock.fileno() for _, sockets in own for sock in sockets]
        keep += [destination.fd for destination in self.journal.destinations()]
        return self._fork(lambda channel: worker.main(job, channel), f"terminator-w{number}", keep)

    def _fork_admin(self, sockets: AdminSockets) -> tuple[int, MasterEnd]:
        names = admin_link.names(self.standing.candidate.config.admin)
        job = admin.Job(sockets.full, sockets.read_only, self.board, names)
        keep = [sock.fileno() for sock in sockets.all()]
        return self._fork(lambda channel: admin.main(job, channel), "terminator-adm", keep)

    def _fork(self, run: Callable[[socket.socket], int], title: str, keep: list[int]) -> tuple[int, MasterEnd]:
        self.journal.flush()  # lines that wait are ours: the child starts with an empty buffer
        return children.fork(run, title=title, keep=keep, become=self._identity)

    def _worker_says(self, number: int, message: Message) -> None:
        self._reloads.heard(number, message)
        self.reports.heard(number, message)
        self.backends.heard(number, message)

    def _worker_came(self, number: int) -> None:
        self._reloads.came(number)
        self.backends.came(number)

    def _worker_gone(self, number: int) -> None:
        self.board.retire(worker_row(number))
        if self._stopping is None:
            self._chores.worker_restarted()
        self._reloads.gone(number)
        self.reports.gone(number)
        self.backends.gone(number)

    # ------------------------------------------------------------------------------------------------------- telling

    def state(self) -> str:
        if self._stopping is not None:
            return "draining"
        return "serving" if self._announced else "starting"

    def sentence(self) -> str:
        return account.sentence(self.standing, self.workforce, self.reloaded)

    def _say_ready(self) -> None:
        self._announced = True
        seconds = time.monotonic() - self._begun
        self.journal.emit(announcements.ready(self.standing, self.workforce.count, seconds))
        self.notify.ready(self.sentence())
        self.kept.store(self.standing.bound)
        self._reloads.release()


def _forget() -> None:
    gc.collect()


def _raise_file_limit() -> None:
    """As many descriptors as we may have: a connection takes two."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
