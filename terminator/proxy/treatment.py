"""What a route does with its requests, worked out once per generation: templates parsed, timeouts settled."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from terminator.config import model
from terminator.config.routes import routes
from terminator.routing.paths import readings, without_prefix
from terminator.routing.routes import RouteTable
from terminator.wire import replies
from terminator.wire.header_rules import Rules
from terminator.wire.request_head import RequestHead
from terminator.wire.variables import Template


@dataclass(frozen=True, slots=True)
class Patience:
    """Timeouts in seconds."""

    backend_response: float
    body_idle: float
    tunnel_idle: float


@dataclass(frozen=True, slots=True, eq=False)
class Treatment:
    """A route as the exchange carries it out; a None means that there is nothing of the kind to do."""

    route: model.Route
    name: str
    """Its path; stands in logs and metrics."""
    prefix: str
    """Path prefix to take off before forwarding, "" for none."""
    rewrite: Template | None
    request_rules: Rules | None
    response_rules: Rules | None
    location: Template | None
    """Target of a redirect."""
    max_body_bytes: int
    """Largest request body; 0 = no limit."""
    patience: Patience

    @property
    def constant(self) -> bool:
        """Requests are sent on with their target as it is, and their fields and those of responses are changed in ways
        that do not depend on the request."""
        return (
            self.route.backend is not None
            and not self.prefix
            and self.rewrite is None
            and (self.request_rules is None or self.request_rules.constant)
            and self.response_rules is None
        )


Variable = Callable[[str], str]


@dataclass(frozen=True, slots=True)
class LocalAnswer:
    """A response that needs no backend."""

    status: int
    fields: list[tuple[bytes, bytes]]
    body: bytes = b""
    content_type: bytes = replies.TEXT


def forwarded_target(treatment: Treatment, head: RequestHead, variable: Variable) -> tuple[str, str]:
    """The target for the backend, and the prefix that was taken off its path. The query is kept as it is. Raises
    BadRequest when what the client put into a variable would become a dot segment of the path."""
    path, prefix = head.path, treatment.prefix
    if prefix:
        path = without_prefix(path, prefix)
    if treatment.rewrite is not None:
        stripped = path
        path = treatment.rewrite.expand_path(lambda name: stripped if name == "path" else variable(name))
        readings(path)
    if path == head.path:
        return head.target, prefix
    return (path if head.query is None else f"{path}?{head.query}"), prefix


def local_answer(treatment: Treatment, hsts: bytes | None, variable: Variable) -> LocalAnswer:
    """The redirect or fixed response of a route that has no backend."""
    fields = [] if hsts is None else [(b"strict-transport-security", hsts)]
    redirect, respond = treatment.route.redirect, treatment.route.respond
    if redirect is not None and treatment.location is not None:
        fields.append((b"location", treatment.location.expand_location(variable)))
        answer = LocalAnswer(redirect.status, fields)
    else:
        assert respond is not None
        answer = LocalAnswer(respond.status, fields, respond.body.encode(), respond.content_type.encode())
    if treatment.response_rules is not None:
        fields[:] = treatment.response_rules.apply(fields, variable)
    return answer


def host_variable(hostname: str) -> str:
    """The value of `{host}`: an IPv6 address in brackets, as a URL has it (RFC 3986 §3.2.2)."""
    return f"[{hostname}]" if ":" in hostname else hostname


def treatments(config: model.Config, host: model.Host) -> RouteTable[Treatment]:
    """The host's routes, ready to be carried out. Raises ValueError for a text that is no template, which a
    configuration that was loaded does not hold."""
    return RouteTable(
        one.carried_out_by(_treatment(config, one.action, one.path, exact=one.exact)) for one in routes(host)
    )


def _treatment(config: model.Config, route: model.Route, path: str, *, exact: bool) -> Treatment:
    timeouts, own = config.timeouts, route.timeouts
    return Treatment(
        route=route,
        name=path or "/",
        prefix=path if route.strip_prefix and not exact else "",
        rewrite=Template.parse_path(route.rewrite) if route.rewrite is not None else None,
        request_rules=_rules(route.headers),
        response_rules=_rules(route.response_headers),
        location=Template.parse(route.redirect.to) if route.redirect is not None else None,
        max_body_bytes=config.limits.request_body if route.request_body is None else route.request_body,
        patience=Patience(
            backend_response=_first(own.backend_response, timeouts.backend_response),
            body_idle=_first(own.body_idle, timeouts.body_idle),
            tunnel_idle=_first(own.tunnel_idle, timeouts.tunnel_idle),
        ),
    )


def _rules(configured: model.HeaderRules) -> Rules | None:
    if not (configured.set or configured.add or configured.remove):
        return None
    return Rules.parse(set=configured.set, add=configured.add, remove=configured.remove)


def _first(own: float | None, shared: float) -> float:
    return shared if own is None else own
