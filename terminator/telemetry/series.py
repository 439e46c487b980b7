"""The catalogue of metrics: every series as data, with its labels and where their values may come from.

Label values come from the configuration or from closed lists, never from what a client sent: the functions below map
a method, a status code and the like to their label. Names follow Prometheus' rules: base units, `_total`, `_seconds`.
"""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Literal

Type = Literal["counter", "gauge", "histogram", "info"]
Merge = Literal["sum", "max", "min"]

OTHER = "other"
NONE = "none"

HANDSHAKE_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0),
)
"""The finest are for the phases hello and select, which take some tenths of a millisecond."""
REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)
CONNECT_SECONDS = (0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


@dataclass(frozen=True, slots=True)
class Family:
    """One metric. `merge` says how the processes' gauges become one value."""

    name: str
    type: Type
    help: str
    labels: tuple[str, ...] = ()
    buckets: tuple[float, ...] = ()
    merge: Merge = "sum"


FAMILIES: dict[str, Family] = {
    family.name: family
    for family in (
        # ------------------------------------------------------------------------------------------------- handshakes
        Family(
            "terminator_tls_handshakes_total",
            "counter",
            "TLS handshakes by configured host (none: before one was chosen), negotiated version, resumption, outcome.",
            ("host", "version", "resumed", "outcome"),
        ),
        Family(
            "terminator_tls_handshake_failures_total",
            "counter",
            "Failed TLS handshakes by class (docs/handshake-failures.md); counted even where the log is sampled.",
            ("listener", "reason"),
        ),
        Family(
            "terminator_tls_handshake_duration_seconds",
            "histogram",
            "Where established TLS handshakes spent their time, by phase; `total` is the sum of the phases.",
            ("listener", "phase"),
            HANDSHAKE_SECONDS,
        ),
        Family("terminator_tls_handshakes_in_progress", "gauge", "TLS handshakes begun and not finished."),
        Family("terminator_tls_group_total", "counter", "Established handshakes by key exchange group.", ("group",)),
        # ------------------------------------------------------------------------------------------------ connections
        Family(
            "terminator_connections",
            "gauge",
            "Open client connections: in their handshake, idle between requests, or active; looked at once a second.",
            ("state",),
        ),
        Family("terminator_connections_accepted_total", "counter", "Connections accepted.", ("listener",)),
        Family(
            "terminator_connections_refused_total",
            "counter",
            "Connections closed before their handshake, by the limit that was reached.",
            ("reason",),
        ),
        Family(
            "terminator_client_bytes_total",
            "counter",
            "Bytes of bodies and tunnels, received from and sent to clients.",
            ("direction",),
        ),
        # --------------------------------------------------------------------------------------------------- requests
        Family(
            "terminator_http_requests_total",
            "counter",
            "Requests answered, by configured host and route, method and status code.",
            ("host", "route", "method", "status"),
        ),
        Family(
            "terminator_http_request_duration_seconds",
            "histogram",
            "First byte of the request to the end of the response.",
            ("host", "route"),
            REQUEST_SECONDS,
        ),
        Family(
            "terminator_http_request_errors_total",
            "counter",
            "Requests that did not end well, by error.type of the log.",
            ("reason",),
        ),
        # --------------------------------------------------------------------------------------------------- backends
        Family(
            "terminator_backend_up",
            "gauge",
            "1 when requests are sent to the server; 0 when one process or more holds it for down.",
            ("backend", "server"),
            merge="min",
        ),
        Family(
            "terminator_backend_requests_in_flight",
            "gauge",
            "Requests sent and not yet answered to the end.",
            ("backend", "server"),
        ),
        Family("terminator_backend_queued", "gauge", "Requests waiting for a server.", ("backend",)),
        Family("terminator_backend_requests_total", "counter", "Requests sent, tries included.", ("backend", "server")),
        Family(
            "terminator_backend_errors_total",
            "counter",
            "Tries that failed, by error.type.",
            ("backend", "server", "reason"),
        ),
        Family("terminator_backend_retries_total", "counter", "Further tries after a first one failed.", ("backend",)),
        Family(
            "terminator_backend_connect_duration_seconds",
            "histogram",
            "Time to connect; kept connections are not counted.",
            ("backend",),
            CONNECT_SECONDS,
        ),
        Family(
            "terminator_backend_response_duration_seconds",
            "histogram",
            "Request sent to the head of the response.",
            ("backend",),
            REQUEST_SECONDS,
        ),
        # ---------------------------------------------------------------------------------------------- configuration
        Family("terminator_config_reloads_total", "counter", "Reloads by outcome.", ("outcome",)),
        Family("terminator_config_last_reload_successful", "gauge", "1 when the last reload was accepted, else 0."),
        Family(
            "terminator_config_last_reload_success_timestamp_seconds",
            "gauge",
            "When a reload was last accepted, or the start.",
        ),
        Family("terminator_config_generation", "gauge", "Number of the configuration in force."),
        Family(
            "terminator_certificate_not_after_timestamp_seconds",
            "gauge",
            "When a served certificate expires.",
            ("host", "serial"),
        ),
        Family(
            "terminator_certificate_drift",
            "gauge",
            "1 when the certificate files on disk are not those served, else 0.",
            ("host",),
        ),
        # -------------------------------------------------------------------------------------------------- processes
        Family("terminator_workers", "gauge", "Worker processes running."),
        Family("terminator_worker_restarts_total", "counter", "Workers that ended unasked and were replaced."),
        Family(
            "terminator_event_loop_lag_seconds",
            "gauge",
            "How late the worker's event loop was at its last measurement.",
            ("worker",),
            merge="max",
        ),
        Family("terminator_log_lines_dropped_total", "counter", "Log lines lost.", ("destination",)),
        Family("terminator_build_info", "info", "Versions in use; always 1.", ("version", "python", "openssl")),
    )
}

PHASES = ("first_byte", "hello", "select", "flight", "client", "total")
METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS"})
_STATUSES = {int(status): str(int(status)) for status in HTTPStatus}


def method_label(method: str) -> str:
    return method if method in METHODS else OTHER


def status_label(status: int) -> str:
    """The code itself where it is registered, else its class: a backend may invent codes, not series."""
    return _STATUSES.get(status) or (f"{status // 100}xx" if 100 <= status <= 599 else OTHER)
