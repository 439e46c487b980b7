"""What this worker counts: asked of the board once per label set, then one addition each."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import NamedTuple, TypeVar

from terminator.errors import HandshakeError
from terminator.telemetry.board import Counter, Gauge, Histogram, Writer
from terminator.telemetry.series import NONE, PHASES, method_label, status_label
from terminator.tls.handshake_facts import HandshakeFacts

T = TypeVar("T")


class _HandshakeMeters(NamedTuple):
    """Of all handshakes of one kind."""

    outcome: Counter
    group: Counter | None
    phases: dict[str, Histogram]


class PlainExchange:
    """What an exchange adds to where nothing went wrong on the way, found once."""

    __slots__ = ("_answered", "_answers", "_attempts", "_durations", "_received", "_sent")

    def __init__(
        self, answers: tuple[Counter, Histogram], attempts: tuple[Counter, Histogram], moved: tuple[Counter, Counter]
    ) -> None:
        self._answers, self._durations = answers
        self._attempts, self._answered = attempts
        self._received, self._sent = moved

    def count(self, seconds: float, response_seconds: float, received: int, sent: int) -> None:
        """seconds: of the whole exchange; response_seconds: from the request sent to the response's head; and the bytes
        of both contents."""
        self._answers.inc()
        self._durations.observe(seconds)
        self._attempts.inc()
        self._answered.observe(response_seconds)
        if received:
            self._received.inc(received)
        if sent:
            self._sent.inc(sent)


class Meters:
    """Label values are configured names or closed lists, never what a client sent; so the table of handles is bounded
    by the configuration."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._handles: dict[Hashable, object] = {}
        self._handshakes: dict[tuple[str, str | None, str | None, bool | None, str | None, bool], _HandshakeMeters] = {}
        self._answers: dict[tuple[str | None, str | None, str, int | None], tuple[Counter, Histogram]] = {}
        self._plain: dict[tuple[str, str, str, int, str, str], PlainExchange] = {}
        self._attempts: dict[tuple[str, str], tuple[Counter, Histogram]] = {}
        self._moved: tuple[Counter, Counter] | None = None

    def _kept(self, key: Hashable, make: Callable[[], T]) -> T:
        found = self._handles.get(key)
        if found is None:
            found = self._handles[key] = make()
        return found  # type: ignore[return-value]

    def counter(self, name: str, **labels: str) -> Counter:
        return self._kept((name, *labels.values()), lambda: self._writer.counter(name, **labels))

    def gauge(self, name: str, **labels: str) -> Gauge:
        return self._kept((name, *labels.values()), lambda: self._writer.gauge(name, **labels))

    def histogram(self, name: str, **labels: str) -> Histogram:
        return self._kept((name, *labels.values()), lambda: self._writer.histogram(name, **labels))

    # ------------------------------------------------------------------------------------------------- connections

    def accepted(self, listener: str) -> Counter:
        """Of the connections accepted there."""
        return self.counter("terminator_connections_accepted_total", listener=listener)

    def connections(self, open_connections: int, handshakes: int, idle: int) -> None:
        """How many are in which state. Idle: between requests; active is what remains, tunnels included."""
        self.gauge("terminator_tls_handshakes_in_progress").set(handshakes)
        active = max(0, open_connections - handshakes - idle)
        for state, count in (("handshake", handshakes), ("idle", idle), ("active", active)):
            self.gauge("terminator_connections", state=state).set(count)

    def bytes_moved(self, received: int, sent: int) -> None:
        moved = self._moved or self._bytes()
        if received:
            moved[0].inc(received)
        if sent:
            moved[1].inc(sent)

    def _bytes(self) -> tuple[Counter, Counter]:
        name = "terminator_client_bytes_total"
        self._moved = self.counter(name, direction="received"), self.counter(name, direction="sent")
        return self._moved

    # -------------------------------------------------------------------------------------------------- handshakes

    def handshake(self, listener: str, facts: HandshakeFacts, error: HandshakeError | None) -> None:
        """One handshake, established or failed."""
        kind = (listener, facts.host, facts.protocol_version, facts.resumed, facts.group, error is None)
        meters = self._handshakes.get(kind)
        if meters is None:
            meters = self._handshakes[kind] = self._handshake_meters(*kind)
        meters.outcome.inc()
        if error is not None:
            name = "terminator_tls_handshake_failures_total"
            self.counter(name, listener=listener, reason=error.error_type).inc()
            return
        if meters.group is not None:
            meters.group.inc()
        phases, spans = meters.phases, facts.spans
        for phase, seconds in spans.items():
            phases[phase].observe(seconds)
        phases["total"].observe(sum(spans.values()))

    def _handshake_meters(
        self,
        listener: str,
        host: str | None,
        version: str | None,
        resumed: bool | None,
        group: str | None,
        established: bool,
    ) -> _HandshakeMeters:
        name = "terminator_tls_group_total"
        return _HandshakeMeters(
            self._outcome(host, version, resumed, established),
            self.counter(name, group=group) if group is not None and established else None,
            {phase: self._phase(listener, phase) for phase in PHASES} if established else {},
        )

    def _outcome(self, host: str | None, version: str | None, resumed: bool | None, established: bool) -> Counter:
        return self.counter(
            "terminator_tls_handshakes_total",
            host=host or NONE,
            version=version or NONE,
            resumed=NONE if resumed is None else ("yes" if resumed else "no"),
            outcome="established" if established else "failed",
        )

    def _phase(self, listener: str, phase: str) -> Histogram:
        return self.histogram("terminator_tls_handshake_duration_seconds", listener=listener, phase=phase)

    # ---------------------------------------------------------------------------------------------------- requests

    def request(
        self,
        host: str | None,
        route: str | None,
        method: str | None,
        status: int | None,
        error: str | None,
        seconds: float,
    ) -> None:
        # The label, not what the client sent: the table must not grow with its imagination.
        answer = (host, route, NONE if method is None else method_label(method), status)
        meters = self._answers.get(answer)
        if meters is None:
            meters = self._answers[answer] = self._answer(*answer)
        counter, histogram = meters
        counter.inc()
        histogram.observe(seconds)
        if error is not None:
            self.counter("terminator_http_request_errors_total", reason=error).inc()

    def plain_exchange(
        self, host: str, route: str, method: str, status: int, backend: str, server: str
    ) -> PlainExchange:
        """Where exchanges of one kind, with a kept connection and without an error, are counted."""
        kind = (host, route, method_label(method), status, backend, server)
        found = self._plain.get(kind)
        if found is None:
            found = self._plain[kind] = PlainExchange(
                self._answer(*kind[:4]), self._attempted(backend, server), self._bytes()
            )
        return found

    def _answer(
        self, host: str | None, route: str | None, method: str, status: int | None
    ) -> tuple[Counter, Histogram]:
        labels = {"host": host or NONE, "route": route or NONE}
        counter = self.counter(
            "terminator_http_requests_total",
            **labels,
            method=method,
            status=status_label(status) if status is not None else NONE,
        )
        return counter, self.histogram("terminator_http_request_duration_seconds", **labels)

    # ---------------------------------------------------------------------------------------------------- backends

    def attempt(
        self,
        backend: str,
        server: str,
        error: str | None,
        connect_seconds: float | None,
        response_seconds: float | None,
    ) -> None:
        """One try on a server: how it ended, and its times where it got that far."""
        counter, answered = self._attempts.get((backend, server)) or self._attempted(backend, server)
        counter.inc()
        if error is not None:
            self.counter("terminator_backend_errors_total", backend=backend, server=server, reason=error).inc()
        if connect_seconds is not None:
            self.histogram("terminator_backend_connect_duration_seconds", backend=backend).observe(connect_seconds)
        if response_seconds is not None:
            answered.observe(response_seconds)

    def _attempted(self, backend: str, server: str) -> tuple[Counter, Histogram]:
        meters = self._attempts[backend, server] = (
            self.counter("terminator_backend_requests_total", backend=backend, server=server),
            self.histogram("terminator_backend_response_duration_seconds", backend=backend),
        )
        return meters

    def server(self, backend: str, server: str, up: bool, in_flight: int) -> None:
        """How a server is at this moment, as this worker sees it."""
        self.gauge("terminator_backend_up", backend=backend, server=server).set(float(up))
        self.gauge("terminator_backend_requests_in_flight", backend=backend, server=server).set(in_flight)

    def queued(self, backend: str, requests: int) -> None:
        self.gauge("terminator_backend_queued", backend=backend).set(requests)

    def forget_servers(self) -> None:
        """Takes what `server` and `queued` told out of the metrics; the next generation tells its own anew."""
        for name in ("terminator_backend_up", "terminator_backend_requests_in_flight", "terminator_backend_queued"):
            self._writer.forget(name)

    def retried(self, backend: str, times: int = 1) -> None:
        self.counter("terminator_backend_retries_total", backend=backend).inc(times)
