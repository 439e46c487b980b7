"""A host: the names that share certificates, a TLS policy and routes. One paragraph per key, as in `model`."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from terminator.config.section import BackendAddress, Duration, FieldName, FieldValue, Path, Section, Size

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


# ------------------------------------------------------------------------------------------------------ the host


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
