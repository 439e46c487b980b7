"""The catalogue of log lines: each event is a frozen dataclass, each field carries its name in the log and its unit.

A field that is None is absent from the line. `sink` names the destination of `log:` in the configuration, `level` is a
syslog word. Names are part of the public surface (docs/logs.md is generated from here): add, never rename.
"""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from typing import Any, ClassVar, Literal, TypeVar, dataclass_transform

T = TypeVar("T")

Sink = Literal["handshakes", "requests", "lifecycle"]
Level = Literal["error", "warning", "notice", "info"]


def logged(name: str, doc: str, default: Any = None) -> Any:
    """A dataclass field that stands as `name` in the log; `doc` gives meaning and unit for docs/logs.md."""
    return field(default=default, metadata={"log": name, "doc": doc})


@dataclass_transform(frozen_default=True, kw_only_default=True)
def event_type(kind: type[T]) -> type[T]:
    """A frozen dataclass, as the type checker sees to it. At run time nothing forbids a change: the way Python does it
    costs each field a call when the event is made, two microseconds a line."""
    return dataclass(slots=True, kw_only=True)(kind)


@event_type
class Event:
    """Base: `event` is the value of the `event` key. The journal adds `time`, `level`, `worker` and `generation`."""

    event: ClassVar[str]
    sink: ClassVar[Sink] = "lifecycle"
    level: ClassVar[Level] = "info"

    generation: int | None = logged("generation", "number of the configuration in force")

    def severity(self) -> Level:
        """The level of this very line; some events are worse when they carry an error."""
        return self.level


def log_names(kind: type[Event]) -> tuple[tuple[str, str, str], ...]:
    """(attribute, name in the log, meaning) of each field of an event type, in the order they are written."""
    own = [f for f in fields(kind) if f.name != "generation"]
    last = [f for f in fields(kind) if f.name == "generation"]
    return tuple((f.name, f.metadata["log"], f.metadata["doc"]) for f in (*own, *last))


# ------------------------------------------------------------------------------------------------ per connection


@event_type
class TlsHandshake(Event):
    """One TLS handshake, succeeded or failed; both carry the same record."""

    event: ClassVar[str] = "tls.handshake"
    sink: ClassVar[Sink] = "handshakes"

    conn_id: str = logged("conn.id", "joins a handshake with its requests")
    listener: str = logged("listener", "name of the listener")
    established: bool = logged("tls.established", "whether the handshake succeeded")
    protocol_version: str | None = logged("tls.protocol.version", "negotiated version: 1.2 or 1.3")
    cipher: str | None = logged("tls.cipher", "negotiated cipher suite, OpenSSL name")
    group: str | None = logged("tls.group", "negotiated key exchange group")
    resumed: bool | None = logged("tls.resumed", "whether a session was resumed")
    alpn: str | None = logged("tls.alpn", "negotiated application protocol")
    server_name: str | None = logged("server.name", "SNI as sent by the client, lower case")
    host: str | None = logged("host", "configured host that answered")
    certificate_serial: str | None = logged("certificate.serial", "serial number of the certificate, hex")
    certificate_key: str | None = logged("certificate.key", "key type of the certificate served: ecdsa or rsa")
    client_address: str | None = logged("client.address", "address of the client (from the PROXY header if trusted)")
    client_port: int | None = logged("client.port", "port of the client")
    proxy_address: str | None = logged("proxy.address", "address of the peer that sent the PROXY header")
    proxy_authority: str | None = logged("proxy.authority", "host name that the PROXY header told (TLV 0x02)")
    proxy_unique_id: str | None = logged(
        "proxy.unique_id", "the proxy's own name of the connection (TLV 0x05), in hex where it is not printable ASCII"
    )
    ja4: str | None = logged("tls.client.ja4", "JA4 fingerprint of the ClientHello")
    offered_versions: str | None = logged("tls.client.offered_versions", "versions the client offered, comma-joined")
    offered_groups: str | None = logged("tls.client.offered_groups", "groups the client offered, comma-joined")
    offered_ciphers: str | None = logged("tls.client.offered_ciphers", "cipher suites offered, hex, without separators")
    offered_alpn: str | None = logged("tls.client.offered_alpn", "protocols the client offered, comma-joined")
    offered_pq: bool | None = logged("tls.client.offered_pq", "whether a post-quantum hybrid group was offered")
    client_subject: str | None = logged(
        "tls.client.subject", "subject of the client's certificate; of a refused one, what it claims"
    )
    client_issuer: str | None = logged("tls.client.issuer", "issuer of the client's certificate")
    client_serial: str | None = logged("tls.client.serial", "serial number of the client's certificate, hex")
    first_byte_ms: float | None = logged("timing.first_byte_ms", "accept to first byte")
    hello_ms: float | None = logged("timing.hello_ms", "first byte to whole ClientHello")
    select_ms: float | None = logged("timing.select_ms", "ClientHello to context")
    flight_ms: float | None = logged("timing.flight_ms", "our CPU up to our flight being sent")
    client_ms: float | None = logged("timing.client_ms", "waiting for the client")
    handshake_ms: float | None = logged("timing.handshake_ms", "sum of the phases")
    rtt_ms: float | None = logged("timing.rtt_ms", "smoothed round-trip time by the kernel (TCP_INFO)")
    error_type: str | None = logged("error.type", "class of the failure; docs/handshake-failures.md")
    error_phase: str | None = logged("error.phase", "phase in which it failed: first_byte, hello, select, handshake")
    error_openssl: str | None = logged("error.openssl", "OpenSSL's own reason")
    error_message: str | None = logged("error.message", "one sentence for a person")
    alert_sent: str | None = logged("tls.alert.sent", "alert sent to the client")
    alert_received: str | None = logged("tls.alert.received", "alert received from the client")

    def severity(self) -> Level:
        return "info" if self.established else "notice"


@event_type
class HttpRequest(Event):
    """One request and what became of it."""

    event: ClassVar[str] = "http.request"
    sink: ClassVar[Sink] = "requests"

    conn_id: str = logged("conn.id", "joins a request with its handshake")
    request_id: str | None = logged("http.request.id", "request id, when `request_id` is configured")
    listener: str = logged("listener", "name of the listener")
    client_address: str | None = logged("client.address", "address of the client")
    client_port: int | None = logged("client.port", "port of the client")
    server_name: str | None = logged("server.name", "SNI of the connection")
    host: str | None = logged("host", "configured host that answered")
    method: str | None = logged("http.request.method", "request method")
    authority: str | None = logged("http.request.host", "Host as sent by the client")
    path: str | None = logged("url.path", "path of the target, as sent")
    query: str | None = logged("url.query", "query of the target, as sent")
    version: str | None = logged("network.protocol.version", "HTTP version of the request")
    user_agent: str | None = logged("user_agent.original", "User-Agent as sent")
    status: int | None = logged("http.response.status_code", "status sent to the client")
    route: str | None = logged("route", "path of the route that matched")
    backend: str | None = logged("backend", "name of the backend")
    server: str | None = logged("backend.server", "address of the server that answered")
    backend_reused: bool | None = logged("backend.reused", "whether a kept connection was used")
    retries: int | None = logged("backend.retries", "further tries that were made; absent when none")
    request_bytes: int | None = logged("http.request.body.size", "bytes of the request body")
    response_bytes: int | None = logged("http.response.body.size", "bytes of the response body sent")
    idle_ms: float | None = logged("timing.idle_ms", "waiting for the first byte of the request on this connection")
    head_ms: float | None = logged("timing.head_ms", "first byte to whole request head")
    queue_ms: float | None = logged("timing.queue_ms", "waiting for a server below its max_connections")
    connect_ms: float | None = logged("timing.connect_ms", "connecting to the backend; 0 when reused")
    response_ms: float | None = logged("timing.response_ms", "request sent to response head")
    transfer_ms: float | None = logged("timing.transfer_ms", "response head to end of response")
    total_ms: float | None = logged("timing.total_ms", "first byte of the request to end of the response")
    error_type: str | None = logged("error.type", "token of the error, when it did not end well")
    error_message: str | None = logged("error.message", "one sentence for a person")

    def severity(self) -> Level:
        return "info" if self.error_type is None else "notice"


@event_type
class TunnelClosed(Event):
    """An upgraded connection (WebSocket) came to its end."""

    event: ClassVar[str] = "tunnel.closed"
    sink: ClassVar[Sink] = "requests"

    conn_id: str = logged("conn.id", "joins a tunnel with its handshake")
    host: str | None = logged("host", "configured host")
    route: str | None = logged("route", "path of the route")
    backend: str | None = logged("backend", "name of the backend")
    server: str | None = logged("backend.server", "address of the server")
    client_bytes: int = logged("tunnel.client.bytes", "bytes received from the client", 0)
    backend_bytes: int = logged("tunnel.backend.bytes", "bytes received from the backend", 0)
    duration_ms: float = logged("timing.tunnel_ms", "from the 101 to the end", 0.0)
    closed_by: str | None = logged(
        "tunnel.closed_by", "client, backend, idle_timeout, drain, client_error, backend_error"
    )


# ------------------------------------------------------------------------------------------------ configuration


@event_type
class ConfigReload(Event):
    """One attempt at a reload, with its outcome."""

    event: ClassVar[str] = "config.reload"

    outcome: str = logged("reload.outcome", "ok, unchanged, refused or failed")
    trigger: str | None = logged("reload.trigger", "signal, command or watch")
    errors: list[str] | None = logged("reload.errors", "one text per fault: place, what is wrong, remedy")
    warnings: list[str] | None = logged("reload.warnings", "one text per thing to know")
    changes: list[str] | None = logged("reload.changes", "the difference to what was running")
    needs_restart: list[str] | None = logged("reload.needs_restart", "keys whose change waits for a restart")
    duration_ms: float | None = logged("timing.reload_ms", "from the call to the last worker's answer")
    error_type: str | None = logged("error.type", "token of the error")

    def severity(self) -> Level:
        return "info" if self.outcome in ("ok", "unchanged") else "error"


@event_type
class CertificateExpiring(Event):
    """A served certificate comes to its end; said once at 21, 7 and 1 days, and when it has expired."""

    event: ClassVar[str] = "certificate.expiring"
    level: ClassVar[Level] = "warning"

    host: str = logged("host", "configured host")
    file: str = logged("certificate.file", "file of the chain")
    serial: str = logged("certificate.serial", "serial number, hex")
    not_after: str = logged("certificate.not_after", "RFC 3339 time of expiry")
    days_left: float = logged("certificate.days_left", "days until expiry; negative when past")


@event_type
class CertificateWarning(Event):
    """A certificate serves although something is wrong with it."""

    event: ClassVar[str] = "certificate.warning"
    level: ClassVar[Level] = "warning"

    host: str | None = logged("host", "configured host")
    file: str = logged("certificate.file", "file in question")
    message: str = logged("error.message", "what is wrong and the remedy")


# ------------------------------------------------------------------------------------------------------- server


@event_type
class ServerStart(Event):
    event: ClassVar[str] = "server.start"

    version: str = logged("service.version", "version of terminator")
    pid: int = logged("process.pid", "process id of the master")
    python: str = logged("process.runtime.version", "Python version")
    openssl: str = logged("tls.openssl", "OpenSSL version")
    config: str = logged("config.file", "configuration file")


@event_type
class ServerReady(Event):
    event: ClassVar[str] = "server.ready"

    listeners: list[str] = logged("server.listeners", "name=address of each listener")
    hosts: int = logged("server.hosts", "number of hosts")
    workers: int = logged("server.workers", "number of workers")
    duration_ms: float = logged("timing.start_ms", "from start to ready")


@event_type
class ServerDrain(Event):
    event: ClassVar[str] = "server.drain"

    reason: str = logged("server.reason", "what asked for the stop")
    connections: int | None = logged("server.connections", "open connections")
    deadline_s: float | None = logged("server.drain_s", "seconds until what is left is cut")


@event_type
class ServerStop(Event):
    event: ClassVar[str] = "server.stop"

    exit_code: int = logged("process.exit_code", "exit code of the master")
    connections_cut: int | None = logged("server.connections_cut", "connections that the drain had to cut")


@event_type
class WorkerStarted(Event):
    event: ClassVar[str] = "server.worker_started"

    worker: int = logged("worker", "number of the worker")
    pid: int = logged("process.pid", "its process id")


@event_type
class WorkerExited(Event):
    event: ClassVar[str] = "server.worker_exited"
    level: ClassVar[Level] = "error"

    worker: int = logged("worker", "number of the worker")
    pid: int = logged("process.pid", "its process id")
    reason: str = logged("error.message", "how it ended: exit code or signal")
    expected: bool = logged("server.expected", "whether it was asked to end")
    restart_in_s: float | None = logged("server.restart_s", "seconds until a new one starts")

    def severity(self) -> Level:
        return "info" if self.expected else "error"


@event_type
class ServerCrash(Event):
    """A defect of terminator itself: one connection was lost, the rest goes on. Please report it."""

    event: ClassVar[str] = "server.crash"
    level: ClassVar[Level] = "error"

    conn_id: str | None = logged("conn.id", "connection on which it happened")
    error_type: str = logged("error.type", "type of the exception", "internal")
    message: str = logged("error.message", "text of the exception")
    stack: str | None = logged("error.stack", "where it happened")


@event_type
class ServerNotice(Event):
    """Something an operator should know once."""

    event: ClassVar[str] = "server.notice"
    level: ClassVar[Level] = "notice"

    topic: str = logged("server.topic", "stable token of what it is about")
    message: str = logged("message", "one sentence")

    def severity(self) -> Level:
        return "warning" if self.topic == "config_warning" else "notice"


@event_type
class ServerSaturated(Event):
    """Accepting waits: all connections are taken, or the process has no file descriptors left."""

    event: ClassVar[str] = "server.saturated"
    level: ClassVar[Level] = "warning"

    listener: str = logged("listener", "name of the listener")
    reason: str = logged("server.reason", "connections or file_descriptors")
    connections: int = logged("server.connections", "open connections of this worker")


@event_type
class LogDropped(Event):
    """Lines that the bounded log buffer could not take because its reader was too slow, or is gone; then the lifecycle
    log or stderr says so, once a minute."""

    event: ClassVar[str] = "server.log_dropped"
    level: ClassVar[Level] = "warning"

    destination: str = logged("log.destination", "where the lines should have gone")
    lines: int = logged("log.dropped", "number of lines lost since the last such line")


@event_type
class LogUnwritable(Event):
    """A log destination cannot be written or reopened; said once a minute at most. What is lost by it is counted in
    `server.log_dropped`."""

    event: ClassVar[str] = "server.log_unwritable"
    level: ClassVar[Level] = "error"

    destination: str = logged("log.destination", "where the lines should have gone")
    message: str = logged("error.message", "the system's reason")


# ------------------------------------------------------------------------------------------------------ backends


@event_type
class BackendState(Event):
    """A server of a backend changed its state."""

    event: ClassVar[str] = "backend.state"
    level: ClassVar[Level] = "notice"

    backend: str = logged("backend", "name of the backend")
    server: str = logged("backend.server", "address of the server")
    state: str = logged("backend.state", "up, down, drain or maintenance")
    previous: str | None = logged("backend.previous_state", "state before")
    reason: str = logged("backend.reason", "why: the failed check, the errors counted, a command")


@event_type
class BackendUnavailable(Event):
    """Every server of a backend is down; said once until one is up again."""

    event: ClassVar[str] = "backend.unavailable"
    level: ClassVar[Level] = "error"

    backend: str = logged("backend", "name of the backend")
    consequence: str = logged("backend.consequence", "answers 503, or fail_open tries them all the same")
