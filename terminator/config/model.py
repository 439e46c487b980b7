"""What a configuration may contain: one model per mapping, one paragraph per key (unit, default, trap).

These values are the whole truth the daemon runs on: frozen, complete with defaults, durations in seconds as floats,
sizes in bytes, paths absolute. The JSON Schema (`terminator schema`) is generated from here, the texts included.

Here is the file as a whole, and what concerns all of it; `hosts` and `backends` describe these, and their names can be
had from here too.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from terminator.config.backends import Backend, HealthCheck, Keepalive, PassiveCheck, Queue, Retries, Server
from terminator.config.hosts import (
    Certificate,
    ClientAuth,
    HeaderRules,
    Host,
    Redirect,
    Respond,
    Route,
    RouteTimeouts,
    TlsDefaults,
    TlsPolicy,
)
from terminator.config.section import Bind, Cidr, Destination, Duration, FieldName, Name, Path, Section, Size

__all__ = [
    "Admin",
    "Backend",
    "Certificate",
    "ClientAuth",
    "Config",
    "FailureLog",
    "HeaderRules",
    "HealthCheck",
    "Host",
    "Keepalive",
    "Limits",
    "Listener",
    "Log",
    "PassiveCheck",
    "ProxyProtocol",
    "Queue",
    "Redirect",
    "Reload",
    "RequestId",
    "Respond",
    "Retries",
    "Route",
    "RouteTimeouts",
    "Server",
    "Timeouts",
    "TlsDefaults",
    "TlsPolicy",
]


class ProxyProtocol(Section):
    """PROXY protocol on a listener."""

    trusted: list[Cidr] = Field(min_length=1)
    """Networks whose connections must open with a PROXY v1 or v2 header. Others may not send one."""


class Listener(Section):
    """A place where clients connect."""

    name: Name
    """Stands in logs and metrics."""
    bind: Bind
    """`host:port`, `[v6]:port`, `unix:/path`, or `systemd:NAME` for an inherited socket. `[::]` serves IPv4 too."""
    tls: bool = True
    """`false` makes a plain HTTP listener: it redirects to https and serves ACME HTTP-01 files, nothing else."""
    acme_webroot: Path | None = None
    """Folder under which `.well-known/acme-challenge/` files are served on a plain listener."""
    redirect_port: Annotated[int, Field(ge=1, le=65535)] = 443
    """The https port that a plain listener redirects to."""
    proxy_protocol: ProxyProtocol | None = None
    """Takes the client's address from a PROXY header; none when absent."""
    backlog: Annotated[int, Field(ge=1, le=65535)] = 4096
    """Connections the kernel queues before they are accepted."""


class Timeouts(Section):
    """How long terminator waits, and for what."""

    handshake: Annotated[Duration, Field(gt=0)] = 10.0
    """From accept to the end of the TLS handshake, the PROXY header included."""
    request_head: Annotated[Duration, Field(gt=0)] = 10.0
    """From a request's first byte to the end of its head; then 408."""
    client_idle: Annotated[Duration, Field(gt=0)] = 75.0
    """Between requests on a kept-alive connection; then it is closed."""
    backend_connect: Annotated[Duration, Field(gt=0)] = 5.0
    """To reach a server of a backend; then another one or 504."""
    backend_response: Annotated[Duration, Field(gt=0)] = 60.0
    """From the request's end to the response's head; then 504."""
    body_idle: Annotated[Duration, Field(gt=0)] = 60.0
    """The longest a body may stand still, in either direction."""
    tunnel_idle: Annotated[Duration, Field(gt=0)] = 3600.0
    """The longest an upgraded connection (WebSocket) may be silent."""
    drain: Annotated[Duration, Field(ge=0)] = 30.0
    """How long a stop waits for what is in flight."""


class Limits(Section):
    """How much a client may take. 0 = no limit, except for `connections`."""

    connections: Annotated[int, Field(ge=1)] = 10000
    """Client connections, all workers together; more wait in the kernel's queue."""
    request_head: Annotated[Size, Field(ge=1024, le=1048576)] = 32768
    """Bytes of the request line and all fields; then 431, or 414 where the line alone has as many."""
    headers: Annotated[int, Field(ge=1, le=10000)] = 100
    """Field lines of a head; then 431."""
    request_body: Annotated[Size, Field(ge=0)] = 0
    """Bytes of a request body; then 413."""
    handshakes_per_ip: Annotated[int, Field(ge=0)] = 0
    """Handshakes begun per second and client address (an IPv6 /64 counts as one), per worker; more are closed."""
    connections_per_ip: Annotated[int, Field(ge=0)] = 0
    """Open connections per client address (an IPv6 /64 counts as one), per worker; more are closed."""


class FailureLog(Section):
    """Which failed handshakes are logged; the metrics count all."""

    sample: Annotated[float, Field(ge=0, le=1)] = 1.0
    """Share of the scanner classes (not_tls, plain_http, malformed_hello, client_closed, timeout) that is logged."""


class Log(Section):
    """Where events go: `stdout`, `stderr`, `off`, or a file's path (SIGUSR1 reopens it)."""

    handshakes: Destination = "stdout"
    """One line for each TLS handshake, succeeded or failed."""
    requests: Destination = "stdout"
    """One line for each request, and for each tunnel that ended."""
    lifecycle: Destination = "stderr"
    """Start, reload, certificates, workers and backends."""
    format: Literal["json", "text"] = "json"
    """`json` is one object per line; `text` is a rendering for people that may change."""
    failures: FailureLog = FailureLog()
    """Which failed handshakes are logged."""


class Admin(Section):
    """Where the daemon answers questions."""

    socket: Path | None = None
    """Unix socket (mode 0660) for the commands: status, certs, metrics, reload."""
    bind: Bind | None = None
    """Optional TCP address, read only: metrics, status page, health."""


class Reload(Section):
    """How a reload judges."""

    refuse_worse: bool = True
    """Refuses a certificate that loads but is expired, not yet valid, weaker, older or lost a name that is routed."""
    watch: bool = False
    """Reloads by itself when certificate files change on disk."""


class RequestId(Section):
    """A name for each request, sent to the backend and logged."""

    header: FieldName = "X-Request-ID"
    """Field that carries it."""
    trusted: list[Cidr] = []
    """Networks whose own value is kept; from others it is replaced."""


class Config(Section):
    """The whole configuration of terminator."""

    version: Literal[1]
    """Version of this format."""
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=512)] = "auto"
    """Worker processes; `auto` = CPUs usable by this process. A change needs a restart."""
    user: str | None = None
    """User the workers run as when started as root. A change needs a restart."""
    group: str | None = None
    """Group the workers run as; default the user's. A change needs a restart."""
    listeners: list[Listener] = Field(min_length=1)
    """Where clients connect."""
    tls: TlsDefaults = TlsDefaults()
    """TLS policy of every host."""
    hosts: list[Host] = Field(min_length=1)
    """Names, with their certificates and routes."""
    backends: dict[Name, Backend] = {}
    """By name: servers that do the same work."""
    timeouts: Timeouts = Timeouts()
    """How long terminator waits, and for what."""
    limits: Limits = Limits()
    """How much a client may take."""
    log: Log = Log()
    """Where events go."""
    admin: Admin = Admin()
    """Where the daemon answers questions."""
    reload: Reload = Reload()
    """How a reload judges."""
    request_id: RequestId | None = None
    """Names each request; none when absent."""
    ja4_header: FieldName | None = None
    """Sends the client's JA4 fingerprint to the backend in this field; the client's own is removed."""
    include: list[str] = []
    """Further files, globs allowed, read in lexical order: lists append, mappings merge, conflicts are errors."""

    def policy(self, host: Host) -> TlsPolicy:
        """The TLS policy in force for `host`: its own keys over the top-level ones."""
        own = {key: getattr(host.tls, key) for key in host.tls.model_fields_set}
        shared: dict[str, Any] = {key: getattr(self.tls, key) for key in TlsPolicy.model_fields}
        if "profile" in own:  # a host that names its profile does not inherit the overrides of another one
            shared |= {"min_version": None, "ciphers": None, "groups": None}
        return TlsPolicy.model_construct(**(shared | own))
