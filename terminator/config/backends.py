"""A backend: servers that do the same work, and how they are chosen, watched and retried. One paragraph per key, as in
`model`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from terminator.config.section import BackendAddress, Duration, Section


def _server(value: object) -> object:
    if isinstance(value, (int, float, list)) or value is None:
        raise ValueError("expected an address as text, for example 127.0.0.1:8000, or a mapping with `address`")
    return {"address": value} if isinstance(value, str) else value


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
