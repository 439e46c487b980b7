"""What a configuration may contain: one model per mapping, one paragraph per key (unit, default, trap).

These values are the whole truth the daemon runs on: frozen, complete with defaults, durations in seconds as floats,
sizes in bytes, paths absolute. The JSON Schema (`terminator schema`) is generated from here, the texts included.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from terminator.config.values import (
    DURATION,
    SIZE,
    Address,
    SystemdSocket,
    parse_backend_address,
    parse_bind_address,
    parse_duration,
    parse_size,
)


class Section(BaseModel):
    """A mapping of the configuration: unknown keys are errors, values are never coerced, nothing changes later."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
        validate_default=False,
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: pydantic copies every default that holds a list, and thousands of hosts share theirs gladly."""
        return self


def _path(value: object) -> object:
    """A relative path is relative to the file it stands in; the loader's strings know that file's folder."""
    if not isinstance(value, str):
        return value
    if not value:
        raise ValueError("a path may not be empty")
    resolve = getattr(value, "resolve", None)
    return str(resolve()) if resolve is not None else str(value)


def _bind(value: object) -> object:
    return parse_bind_address(_unix(value)) if isinstance(value, str) else value


def _backend_address(value: object) -> object:
    return parse_backend_address(_unix(value)) if isinstance(value, str) else value


def _unix(value: str) -> str:
    resolve = getattr(value, "resolve", None)
    return f"unix:{resolve('unix:')}" if resolve is not None and value.startswith("unix:") and value[5:] else str(value)


def _destination(value: object) -> object:
    return value if value in ("stdout", "stderr", "off") else _path(value)


def _server(value: object) -> object:
    if isinstance(value, (int, float, list)) or value is None:
        raise ValueError("expected an address as text, for example 127.0.0.1:8000, or a mapping with `address`")
    return {"address": value} if isinstance(value, str) else value


_TEXT = PlainSerializer(str, return_type=str, when_used="json")

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": rf"^(0|{DURATION.pattern})$"}, {"const": 0}]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": rf"^(0|{SIZE.pattern})$"}, {"const": 0}]}),
]
Path = Annotated[str, BeforeValidator(_path)]
Bind = Annotated[Address | SystemdSocket, BeforeValidator(_bind), _TEXT, WithJsonSchema({"type": "string"})]
BackendAddress = Annotated[Address, BeforeValidator(_backend_address), _TEXT, WithJsonSchema({"type": "string"})]
Destination = Annotated[str, BeforeValidator(_destination)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
FieldName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
FieldValue = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")]
Cidr = Annotated[str, Field(min_length=2)]


# ---------------------------------------------------------------------------------------------------- listeners


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


# ---------------------------------------------------------------------------------------------------------- TLS


class ClientAuth(Section):
    """Client certificates (mutual TLS)."""

    mode: Literal["none", "request", "require"] = "none"
    """`request` asks and accepts none; a certificate that is sent must still verify. `require` refuses without one."""
    ca: Path | None = None
    """PEM file of the authorities whose certificates are accepted."""
    crl: Path | None = None
    """PEM file of revocation lists. An expired list fails closed: no client certificate is accepted."""
    depth: Annotated[int, Field(ge=0, le=20)] = 4
    """The most intermediate certificates between a client's certificate and its authority."""
    allow: list[str] = []
    """Patterns of which one must match: `CN=alice`, `O=ops*`, `DNS:*.example`, `URI:spiffe://a/*`, `email:*@x`.

    Empty: any verified certificate."""


class TlsPolicy(Section):
    """TLS policy. Under a host, a key that is absent is taken from the top-level `tls:`."""

    profile: Literal["modern", "intermediate", "old"] = "intermediate"
    """Mozilla's server-side TLS guideline 5.7."""
    min_version: Literal["1.0", "1.1", "1.2", "1.3"] | None = None
    """Overrides the profile's lowest protocol version."""
    ciphers: list[str] | None = None
    """Overrides the profile's cipher suites for TLS 1.2 and lower, OpenSSL names, in order of preference."""
    groups: list[str] | None = None
    """Overrides the key exchange groups, in order of preference, for example X25519MLKEM768, X25519, P-256."""
    alpn: list[Literal["http/1.1", "http/1.0"]] = ["http/1.1", "http/1.0"]
    """Protocols accepted by ALPN. A client that offers only others is refused with no_application_protocol."""
    client_auth: ClientAuth = ClientAuth()
    """Client certificates. A host with this key inherits nothing of the top-level one."""
    tickets: bool = True
    """Session tickets: a returning client saves a round trip or a signature."""


class TlsDefaults(TlsPolicy):
    """TLS policy of every host, and what is decided before a host is known."""

    unknown_sni: str = "reject"
    """`reject` answers an unknown or absent SNI with the alert unrecognized_name; else the NAME of a host."""
    ticket_rotation: Annotated[Duration, Field(ge=60)] = 43200.0
    """How long a ticket key issues new tickets; the previous key is then refused harmlessly (full handshake)."""
    ticket_secret_file: Path | None = None
    """At least 32 random bytes shared by several machines, from which all ticket keys are derived. Else random."""
    key_log_file: Path | None = None
    """Debugging only: writes session secrets in NSS key log format. Whoever reads it reads the traffic."""
    acme_tls: BackendAddress | None = None
    """Where connections that offer ALPN `acme-tls/1` are passed through untouched (TLS-ALPN-01)."""


class Certificate(Section):
    """A certificate chain with its key."""

    chain: Path
    """PEM file: the host's certificate first, then its intermediates in order."""
    key: Path
    """PEM file of the private key, unencrypted, not readable by others."""


# -------------------------------------------------------------------------------------------------------- routes


class HeaderRules(Section):
    """Changes to header fields, applied in the order remove, set, add."""

    set: dict[FieldName, FieldValue] = {}
    """Replaces the field. Values may hold variables such as `{client.address}`; see docs/configuration.md."""
    add: dict[FieldName, FieldValue] = {}
    """Adds a field line beside those that are there."""
    remove: list[FieldName] = []
    """Removes every line of these fields."""


class Redirect(Section):
    """Answers with a redirect."""

    to: FieldValue
    """Target; may hold variables such as `{host}`, `{path}`, `{query}`, `{uri}`."""
    status: Literal[301, 302, 303, 307, 308] = 308
    """308 and 307 keep the method and the body, 301 and 302 let clients turn a POST into a GET."""


class Respond(Section):
    """Answers with a fixed response."""

    status: Annotated[int, Field(ge=200, le=599)] = 200
    """Status code of the response."""
    body: str = ""
    """Content of the response, sent as UTF-8."""
    content_type: FieldValue = "text/plain; charset=utf-8"
    """Content-Type of the response."""


class RouteTimeouts(Section):
    """Timeouts of one route; absent ones are the global ones."""

    backend_response: Duration | None = None
    """Instead of `timeouts.backend_response`."""
    body_idle: Duration | None = None
    """Instead of `timeouts.body_idle`."""
    tunnel_idle: Duration | None = None
    """Instead of `timeouts.tunnel_idle`."""


class Route(Section):
    """Sends matching requests somewhere. The longest path wins, then the one with more conditions."""

    path: str | None = None
    """Path prefix, on segment borders: `/api` matches `/api` and `/api/x`, not `/apix`."""
    exact: str | None = None
    """The whole path, instead of `path`."""
    methods: list[Annotated[str, Field(pattern=r"^[A-Z][A-Z-]*$")]] = []
    """Only these methods; empty means any."""
    match_headers: dict[FieldName, str] = {}
    """Only requests whose field has this value; `*` means present."""
    match_query: dict[str, str] = {}
    """Only requests whose query has this parameter with this value, compared as written; `*` means present."""
    backend: str | None = None
    """Name of the backend that gets the request. A route has exactly one of `backend`, `redirect` and `respond`."""
    redirect: Redirect | None = None
    """Answers with a redirect, without a backend."""
    respond: Respond | None = None
    """Answers with a fixed response, without a backend."""
    strip_prefix: bool = False
    """Removes the matched `path` before forwarding; `X-Forwarded-Prefix` then tells the backend."""
    rewrite: str | None = None
    """Replaces the path, for example `/new{path}`; the query is kept."""
    headers: HeaderRules = HeaderRules()
    """Changes to the request before it is forwarded."""
    response_headers: HeaderRules = HeaderRules()
    """Changes to the response before it is sent."""
    timeouts: RouteTimeouts = RouteTimeouts()
    """Timeouts of this route."""
    request_body: Size | None = None
    """Largest request body on this route; absent means `limits.request_body`."""


class Host(Section):
    """Names that share certificates, TLS policy and routes."""

    names: list[str] = Field(min_length=1)
    """Host names: exact, or `*.name` for exactly one label. The first is the host's name in logs and metrics."""
    certificates: list[Certificate] = Field(min_length=1)
    """Several key types may stand side by side; the client's signature algorithms choose."""
    tls: TlsPolicy = TlsPolicy()
    """Overrides of the top-level `tls:`."""
    hsts: Duration | None = None
    """Adds Strict-Transport-Security with this max-age to every response."""
    routes: list[Route] = Field(min_length=1)
    """Where requests for these names go. A request that no route matches is answered 404."""


# ------------------------------------------------------------------------------------------------------ backends


class Server(Section):
    """One server of a backend."""

    address: BackendAddress
    """`host:port`, `[v6]:port` or `unix:/path`. A server that needs nothing else may be written as this text alone."""
    weight: Annotated[int, Field(ge=1, le=256)] = 1
    """Share of the requests, relative to the other servers."""
    backup: bool = False
    """Gets requests only when no other server is available."""
    max_connections: Annotated[int, Field(ge=0)] = 0
    """Requests in flight per worker; more wait in the queue. 0 = no limit."""


class HealthCheck(Section):
    """Active health check, made once for all workers."""

    path: str = "/"
    """Path, with its query if need be, that is asked for."""
    method: Literal["GET", "HEAD", "OPTIONS"] = "GET"
    """Method of the check."""
    host: str | None = None
    """Host field of the check; default the server's address."""
    status: Annotated[str, Field(pattern=r"^[1-5]\d\d(-[1-5]\d\d)?$")] = "200-399"
    """Expected status or range."""
    interval: Annotated[Duration, Field(gt=0)] = 5.0
    """From one check to the next."""
    timeout: Annotated[Duration, Field(gt=0)] = 2.0
    """How long a check may take, connecting included; then it has failed."""
    rise: Annotated[int, Field(ge=1, le=100)] = 2
    """Successes in a row that bring a server up."""
    fall: Annotated[int, Field(ge=1, le=100)] = 3
    """Failures in a row that take a server down."""
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.1
    """Random share of the interval, so that checks do not march in step."""


class PassiveCheck(Section):
    """What the requests themselves tell about a server."""

    fail_count: Annotated[int, Field(ge=0)] = 3
    """Failures within `fail_window` that take a server out for `down_for`. 0 = off."""
    fail_window: Annotated[Duration, Field(gt=0)] = 10.0
    """How long a failure counts."""
    down_for: Annotated[Duration, Field(gt=0)] = 10.0
    """How long a server is left out; then requests try it again."""
    count_5xx: bool = False
    """Also counts responses 500, 502, 503 and 504."""


class Queue(Section):
    """Requests that wait for a server below its `max_connections`."""

    length: Annotated[int, Field(ge=0)] = 128
    """The most that wait, per worker; one more is answered 503."""
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    """How long one waits; then 503."""


class Retries(Section):
    """Repeating a request on another server, only where RFC 9110 §9.2.2 allows or nothing was processed."""

    attempts: Annotated[int, Field(ge=0, le=10)] = 2
    """Further tries after the first."""
    budget: Annotated[float, Field(ge=0, le=1)] = 0.2
    """Retries as a share of recent requests, so that an outage is never multiplied."""


class Keepalive(Section):
    """Idle connections kept to each server."""

    idle_connections: Annotated[int, Field(ge=0)] = 64
    """The most kept per server and worker."""
    idle_timeout: Annotated[Duration, Field(gt=0)] = 60.0
    """How long one is kept. Shorter than the server's own keep-alive time, or requests meet a closing connection."""


class Backend(Section):
    """Servers that do the same work."""

    servers: list[Annotated[Server, BeforeValidator(_server, json_schema_input_type=str | Server)]] = Field(
        min_length=1
    )
    """Each a mapping, or its address alone."""
    balance: Literal["round_robin", "least_connections", "random_two", "consistent_hash"] = "round_robin"
    """How the next server is chosen. `random_two` takes the less busy of two drawn at random."""
    hash_key: Annotated[str, Field(pattern=r"^(client_address|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$")] = (
        "client_address"
    )
    """What `consistent_hash` hashes: `client_address`, `header:NAME` or `cookie:NAME`."""
    health_check: HealthCheck | None = None
    """Active health check; none when absent."""
    passive_check: PassiveCheck = PassiveCheck()
    """What the requests themselves tell about a server."""
    fail_open: bool = False
    """When every server is down: `true` tries them all the same, `false` answers 503."""
    slow_start: Duration = 0.0
    """Time over which a recovered server's share grows to its weight."""
    queue: Queue = Queue()
    """Requests that wait for a server below its `max_connections`."""
    retries: Retries = Retries()
    """Repeating a request on another server."""
    keepalive: Keepalive = Keepalive()
    """Idle connections kept to each server."""
    resolve: Annotated[Duration, Field(ge=1)] = 30.0
    """How often a server's host name is resolved anew."""
    proxy_protocol: Literal["v2"] | None = None
    """Opens each connection with a PROXY v2 header; connections are then not shared between clients."""


# ------------------------------------------------------------------------------------------------- the whole file


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
