"""What this worker counts: asked of the board once per label set, then one addition each."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import TypeVar

from terminator.telemetry.board import Counter, Gauge, Histogram, Writer
from terminator.telemetry.events import TlsHandshake
from terminator.telemetry.series import NONE, method_label, status_label

T = TypeVar("T")


class Meters:
    """Label values are configured names or closed lists, never what a client sent; so the table of handles is bounded
    by the configuration."""

    def __init__(self, writer: Writer) -> None:
        self._writer = writer
        self._handles: dict[Hashable, object] = {}

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

    def accepted(self, listener: str) -> None:
        self.counter("terminator_connections_accepted_total", listener=listener).inc()

    def connections(self, open_connections: int, idle: int) -> None:
        """How many are in which state. Idle: between requests; active is what remains, tunnels included."""
        handshake = self.in_progress().value
        active = max(0.0, open_connections - idle - handshake)
        for state, count in (("handshake", handshake), ("idle", idle), ("active", active)):
            self.gauge("terminator_connections", state=state).set(count)

    def bytes_moved(self, received: int, sent: int) -> None:
        if received:
            self.counter("terminator_client_bytes_total", direction="received").inc(received)
        if sent:
            self.counter("terminator_client_bytes_total", direction="sent").inc(sent)

    # -------------------------------------------------------------------------------------------------- handshakes

    def in_progress(self) -> Gauge:
        return self.gauge("terminator_tls_handshakes_in_progress")

    def handshake(self, event: TlsHandshake) -> None:
        outcome = "established" if event.established else "failed"
        self.counter(
            "terminator_tls_handshakes_total",
            host=event.host or NONE,
            version=event.protocol_version or NONE,
            resumed=NONE if event.resumed is None else ("yes" if event.resumed else "no"),
            outcome=outcome,
        ).inc()
        if not event.established:
            reason = event.error_type or NONE
            self.counter("terminator_tls_handshake_failures_total", listener=event.listener, reason=reason).inc()
            return
        if event.group is not None:
            self.counter("terminator_tls_group_total", group=event.group).inc()
        for phase, milliseconds in (
            ("first_byte", event.first_byte_ms),
            ("hello", event.hello_ms),
            ("select", event.select_ms),
            ("flight", event.flight_ms),
            ("client", event.client_ms),
            ("total", event.handshake_ms),
        ):
            if milliseconds is not None:
                name = "terminator_tls_handshake_duration_seconds"
                self.histogram(name, listener=event.listener, phase=phase).observe(milliseconds / 1000)

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
        labels = {"host": host or NONE, "route": route or NONE}
        self.counter(
            "terminator_http_requests_total",
            **labels,
            method=method_label(method) if method is not None else NONE,
            status=status_label(status) if status is not None else NONE,
        ).inc()
        self.histogram("terminator_http_request_duration_seconds", **labels).observe(seconds)
        if error is not None:
            self.counter("terminator_http_request_errors_total", reason=error).inc()

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
        self.counter("terminator_backend_requests_total", backend=backend, server=server).inc()
        if error is not None:
            self.counter("terminator_backend_errors_total", backend=backend, server=server, reason=error).inc()
        if connect_seconds is not None:
            self.histogram("terminator_backend_connect_duration_seconds", backend=backend).observe(connect_seconds)
        if response_seconds is not None:
            self.histogram("terminator_backend_response_duration_seconds", backend=backend).observe(response_seconds)

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

    def retried(self, backend: str) -> None:
        self.counter("terminator_backend_retries_total", backend=backend).inc()
