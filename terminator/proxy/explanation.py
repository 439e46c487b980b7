"""What would become of one request, and why: the decisions of a connection told in their order, without making one.

Nothing is decided here. Each step asks the function that the proxy itself asks: the head's parser, `HostTable`,
`RouteTable`, the templates and rules, `request_fields`. Where the answer depends on what only a connection knows (its
TLS version, a random request id), the name of the variable stands in parentheses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from terminator.config import model
from terminator.config.values import TcpAddress
from terminator.errors import BodyTooLarge, CertificateError, ClientError, Misdirected, NoRoute
from terminator.proxy.question import Question
from terminator.proxy.treatment import Treatment, Variable, forwarded_target, host_variable, local_answer, treatments
from terminator.routing.hostnames import HostTable, parse_pattern
from terminator.tls.judgement import warnings
from terminator.tls.material import Pair
from terminator.wire import request_head, response_head
from terminator.wire.client_side import ClientSide
from terminator.wire.forwarding import request_fields, response_fields
from terminator.wire.replies import https_location
from terminator.wire.request_head import RequestHead
from terminator.wire.variables import KNOWN_VARIABLES
from terminator.wire.writing import spelled

Fields = list[tuple[bytes, bytes]]
ReadPair = Callable[[str, str], Pair]

CHALLENGE = "/.well-known/acme-challenge/"


@dataclass(frozen=True, slots=True)
class CertificateNote:
    """One certificate of the host; which of several is served is up to the client's signature algorithms."""

    chain: str
    serial: str | None = None
    key_type: str | None = None
    not_after: datetime | None = None
    days_left: float | None = None
    problems: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class RouteNote:
    """One route of the host, and why it won or lost."""

    index: int
    route: str
    action: str
    won: bool
    why: str


@dataclass(frozen=True, slots=True)
class ServerNote:
    address: str
    weight: int
    backup: bool
    max_connections: int


@dataclass(frozen=True, slots=True)
class BackendNote:
    name: str
    balance: str
    servers: tuple[ServerNote, ...]


@dataclass(slots=True)
class Explanation:
    """Everything that was decided, in order; what comes after the end of the story is empty."""

    listeners: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)
    """What was supposed, and what an operator should know."""
    sni: str | None = None
    host: str | None = None
    pattern: str | None = None
    """The configured name that answered to the SNI; None when the host answers as `tls.unknown_sni`."""
    certificates: tuple[CertificateNote, ...] = ()
    policy: model.TlsPolicy | None = None
    routes: tuple[RouteNote, ...] = ()
    route: int | None = None
    target: str | None = None
    """As forwarded to the backend."""
    backend: BackendNote | None = None
    request_added: tuple[str, ...] = ()
    request_removed: tuple[str, ...] = ()
    response_added: tuple[str, ...] = ()
    response_removed: tuple[str, ...] = ()
    status: int | None = None
    """Of the answer that terminator gives itself; None when a backend answers or nobody does."""
    error: str | None = None
    """The token that stands in the log as `error.type`."""
    outcome: str = ""
    """One sentence."""

    def ends(self, outcome: str, *, status: int | None = None, error: str | None = None) -> Explanation:
        self.outcome, self.status, self.error = outcome, status, error
        return self


def explain(config: model.Config, asked: Question, read_pair: ReadPair, now: datetime) -> Explanation:
    """What the daemon would do with `asked` under `config`. Raises nothing for what is wrong with certificates."""
    story = Explanation(sni=asked.sni)
    if not _find_listener(config, asked, story):
        return story
    if asked.scheme == "http":
        return _plain(config, asked, story)
    host = _find_host(config, asked, story)
    if host is None:
        return story.ends(
            "the handshake is refused with the alert unrecognized_name: "
            + (f"no host answers to {asked.sni}" if asked.sni else "the client sends no SNI"),
            error="unrecognized_name",
        )
    story.policy = config.policy(host)
    story.certificates = tuple(_certificate(one, host, read_pair, now) for one in host.certificates)
    try:
        head = _head(config, asked)
        _admit(config, host, head, story)
        return _answer(config, host, head, asked, story)
    except ClientError as error:
        return story.ends(f"answered {error.status}: {error}", status=error.status, error=error.reason)


# -------------------------------------------------------------------------------------------- listener, host, TLS


def _find_listener(config: model.Config, asked: Question, story: Explanation) -> bool:
    tls = asked.scheme == "https"
    at_port = [one for one in config.listeners if isinstance(one.bind, TcpAddress) and one.bind.port == asked.port]
    fitting = [one for one in at_port if one.tls is tls]
    if at_port and not fitting:
        story.listeners = tuple(map(_listener, at_port))
        if tls:
            story.ends("the handshake fails: this listener speaks plain HTTP", error="not_tls")
        else:
            story.ends("answered 400: this listener speaks TLS only", status=400, error="plain_http")
        return False
    if not fitting:
        fitting = [one for one in config.listeners if one.tls is tls and not isinstance(one.bind, TcpAddress)]
        supposed = "its port is not in the configuration" if fitting else f"no listener has port {asked.port}"
        fitting = fitting or [one for one in config.listeners if one.tls is tls]
        if not fitting:
            story.ends(f"nothing listens for {asked.scheme} on port {asked.port}")
            return False
        story.notes.append(f"supposing that the request comes in at {_listener(fitting[0])}: {supposed}")
    story.listeners = tuple(map(_listener, fitting))
    return True


def _listener(one: model.Listener) -> str:
    return f"{one.name} ({one.bind})"


def _plain(config: model.Config, asked: Question, story: Explanation) -> Explanation:
    listener = next(one for one in config.listeners if _listener(one) == story.listeners[0])
    try:
        head = _head(config, asked)
        if head.path.startswith(CHALLENGE) and listener.acme_webroot is not None:
            return story.ends(f"answered with the file {listener.acme_webroot}{head.path}, or 404 without it")
        location = https_location(head, listener.redirect_port).decode()
    except ClientError as error:
        return story.ends(f"answered {error.status}: {error}", status=error.status, error=error.reason)
    return story.ends(f"redirected with 308 to {location}", status=308)


def _head(config: model.Config, asked: Question) -> RequestHead:
    raw, limits = asked.raw_head, config.limits
    if len(raw) > limits.request_head:
        raise request_head.too_large(raw, limits.request_head)
    return request_head.parse(raw, max_fields=limits.headers)


def _hosts(config: model.Config) -> HostTable[model.Host]:
    return HostTable((name, host) for host in config.hosts for name in host.names)


def _find_host(config: model.Config, asked: Question, story: Explanation) -> model.Host | None:
    found = _hosts(config).find(asked.sni) if asked.sni else None
    if found is not None:
        story.pattern, host = str(found[0]), found[1]
    elif config.tls.unknown_sni == "reject":
        return None
    else:
        default = str(parse_pattern(config.tls.unknown_sni))
        host = next(one for one in config.hosts if str(parse_pattern(one.names[0])) == default)
    story.host = host.names[0]
    return host


def _admit(config: model.Config, served: model.Host, head: RequestHead, story: Explanation) -> None:
    wanted = _hosts(config).lookup(head.hostname) if head.hostname else served
    if wanted is None and story.pattern is None:
        wanted = served
    if wanted is not served:
        raise Misdirected(f"the Host {head.hostname!r} is not served under the SNI {story.sni!r}")


def _certificate(one: model.Certificate, host: model.Host, read_pair: ReadPair, now: datetime) -> CertificateNote:
    try:
        pair = read_pair(one.chain, one.key)
    except CertificateError as error:
        return CertificateNote(one.chain, problems=(str(error),))
    info = pair.info
    return CertificateNote(
        chain=one.chain,
        serial=info.serial,
        key_type=f"{info.key_type} {info.key_bits}",
        not_after=info.not_after,
        days_left=round((info.not_after - now) / timedelta(days=1), 1),
        problems=tuple(warnings(pair, host.names, now)),
    )


# ---------------------------------------------------------------------------------------------- route and answer


def _answer(
    config: model.Config, host: model.Host, head: RequestHead, asked: Question, story: Explanation
) -> Explanation:
    path = "/" if head.path == "*" else head.path  # OPTIONS * asks whoever serves the root
    verdicts = treatments(config, host).explain(head.method, path, head.query, head.fields)
    story.routes = tuple(
        RouteNote(one.route.index, str(one.route), _action(one.route.action.route), one.won, one.why)
        for one in verdicts
    )
    chosen = next((one.route for one in verdicts if one.won), None)
    if chosen is None:
        raise NoRoute(f"no route of {host.names[0]} matches {head.method} {head.path}")
    story.route = chosen.index
    treatment, limit = chosen.action, chosen.action.max_body_bytes
    if limit and (head.content_length or 0) > limit:
        raise BodyTooLarge(f"Content-Length {head.content_length} passes {limit} bytes")
    values = _values(head, asked, treatment)
    hsts = None if host.hsts is None else b"max-age=%d" % int(host.hsts)
    if treatment.route.backend is not None:
        return _forwarded(config, head, asked, treatment, values, hsts, story)
    answer = local_answer(treatment, hsts, values)
    story.response_added, story.response_removed = (
        _changes([], answer.fields)[0],
        _removed(treatment.route.response_headers),
    )
    if treatment.route.redirect is None:
        return story.ends(f"answered {answer.status} with a fixed response", status=answer.status)
    location = next((value for name, value in answer.fields if name == b"location"), b"").decode()
    return story.ends(f"redirected with {answer.status} to {location}", status=answer.status)


def _forwarded(
    config: model.Config,
    head: RequestHead,
    asked: Question,
    treatment: Treatment,
    values: Variable,
    hsts: bytes | None,
    story: Explanation,
) -> Explanation:
    route = treatment.route
    backend = config.backends[str(route.backend)]
    story.target, prefix = forwarded_target(treatment, head, values)
    request_id = config.request_id
    side = ClientSide(
        address=asked.client,
        port=0,
        scheme="https",
        server_port=asked.port,
        ja4="(tls.ja4)" if config.ja4_header is not None else None,
        ja4_header=config.ja4_header,
        claims=(request_id.header,) if request_id is not None else (),
    )
    own = [(request_id.header.encode(), values("request.id").encode())] if request_id is not None else []
    authority = head.authority or asked.sni or story.host or ""
    fields = request_fields(head, side, own=own, prefix=prefix, authority=authority)
    if treatment.request_rules is not None:
        fields = treatment.request_rules.apply(fields, values)
    story.request_added, story.request_removed = _changes(head.fields, fields)
    answer = response_head.parse(b"HTTP/1.1 204 No Content\r\n\r\n", request_method=head.method, max_fields=1)
    said = response_fields(answer, head, hsts=hsts)
    if treatment.response_rules is not None:
        said = treatment.response_rules.apply(said, values)
    story.response_added = _changes([], said)[0]
    story.response_removed = _removed(route.response_headers)
    servers = tuple(
        ServerNote(str(one.address), one.weight, one.backup, one.max_connections) for one in backend.servers
    )
    by = f" by {backend.hash_key}" if backend.balance == "consistent_hash" else ""
    story.backend = BackendNote(str(route.backend), backend.balance + by, servers)
    return story.ends(f"forwarded to backend {route.backend} as {head.method} {story.target}")


def _values(head: RequestHead, asked: Question, treatment: Treatment) -> Variable:
    """The variables of this request; those that only a connection can tell stand as their names in parentheses."""
    known = {
        "host": host_variable(head.hostname),
        "path": head.path,
        "query": head.query or "",
        "uri": head.target,
        "method": head.method,
        "scheme": "https",
        "tls.sni": asked.sni or "",
        "route": treatment.name,
        "backend": treatment.route.backend or "",
    }
    if asked.client:
        known["client.address"] = asked.client
    return {**{name: f"({name})" for name in KNOWN_VARIABLES}, **known}.__getitem__


def _removed(rules: model.HeaderRules) -> tuple[str, ...]:
    return tuple(name.decode() for name, _ in spelled([(name.encode(), b"") for name in rules.remove]))


def _changes(before: Iterable[tuple[bytes, bytes]], after: Fields) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Lines that came and lines that went, each as `Name: value`."""
    old, new = (
        [f"{name.decode()}: {value.decode('latin-1')}" for name, value in spelled(one)] for one in (before, after)
    )
    return tuple(line for line in new if line not in old), tuple(line for line in old if line not in new)


def _action(route: model.Route) -> str:
    if route.redirect is not None:
        return f"redirect {route.redirect.status} to {route.redirect.to}"
    return f"respond {route.respond.status}" if route.respond is not None else f"backend {route.backend}"
