"""What is wrong with routes beyond their schema: conditions, actions, ties, the fields and variables they name."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Literal

from terminator.config.findings import Findings
from terminator.config.model import Config, HeaderRules, Host, RequestId, Route
from terminator.config.places import KeyPath
from terminator.config.sentences import near
from terminator.routing import routes as routing
from terminator.routing.paths import route_path
from terminator.wire.header_rules import Rules
from terminator.wire.variables import KNOWN_VARIABLES, Template, UnknownVariable, variable_names

_ACTIONS = ("backend", "redirect", "respond")
_FORWARDING_KEYS = ("strip_prefix", "rewrite", "headers", "timeouts", "request_body")
_REFUSED_METHODS = {"CONNECT", "TRACE"}
_NO_CONTENT = (204, 205, 304)


def check_routes(config: Config, findings: Findings) -> None:
    used: set[str] = set()
    for number, host in enumerate(config.hosts):
        comparable: list[routing.Route[KeyPath]] = []
        for position, route in enumerate(host.routes):
            path: KeyPath = ("hosts", number, "routes", position)
            _check_action(route, path, config, findings)
            _check_fields(route, path, config, findings)
            compared = _comparable(route, path, position, findings)
            if compared is not None:
                _check_reachable(route, path, findings)
                comparable.append(compared)
            if route.backend is not None:
                used.add(route.backend)
        _check_ties(host, comparable, findings)
    for name in config.backends:
        if name not in used:
            findings.warn(("backends", name), "no route uses this backend")


def check_request_fields(config: Config, findings: Findings) -> None:
    """The fields that requests get beside those of the routes."""
    named: dict[str, KeyPath] = {}
    request_id: RequestId | None = config.request_id
    for name, path in (
        (request_id.header if request_id is not None else None, ("request_id", "header")),
        (config.ja4_header, ("ja4_header",)),
    ):
        if name is None:
            continue
        if (fault := _field_fault("add", name)) is not None:
            findings.error(path, fault)
        elif name.lower() in named:
            findings.error(path, f"this field is already in use at {findings.place(named[name.lower()])}")
        named[name.lower()] = path


# --------------------------------------------------------------------------------------------------- conditions


def _comparable(route: Route, path: KeyPath, position: int, findings: Findings) -> routing.Route[KeyPath] | None:
    """The route as it will be compared with requests, or None after telling why it cannot be."""
    if route.path is None and route.exact is None:
        findings.error(path, "needs `path` or `exact`")
        return None
    if route.path is not None and route.exact is not None:
        findings.error((*path, "exact"), "a route has `path` or `exact`, not both")
        return None
    key, text = ("path", route.path) if route.path is not None else ("exact", route.exact)
    try:
        route_path(text or "")
    except ValueError as error:
        findings.error((*path, key), findings.said((*path, key), error))
        return None
    try:
        return routing.route(
            position,
            path=route.path,
            exact=route.exact,
            methods=route.methods,
            headers=route.match_headers,
            query=route.match_query,
            action=path,
        )
    except ValueError as error:
        findings.error((*path, "match_headers"), findings.said((*path, "match_headers"), error))
        return None


def _check_ties(host: Host, comparable: list[routing.Route[KeyPath]], findings: Findings) -> None:
    told: set[int] = set()
    for first, second in routing.ties(comparable):
        if second.index not in told:
            told.add(second.index)
            where = findings.place((*first.action, "exact" if first.exact else "path"))
            key = "exact" if second.exact else "path"
            findings.error(
                (*second.action, key),
                f"as specific as the route at {where}: some requests match both and none goes first; "
                "give one of them a longer path or a further condition",
            )


def _check_reachable(route: Route, path: KeyPath, findings: Findings) -> None:
    """Warns of conditions that no request can satisfy."""
    if route.methods and set(route.methods) <= _REFUSED_METHODS:
        findings.warn((*path, "methods"), "no request reaches this route: CONNECT and TRACE are always refused")
    for name, value in route.match_headers.items():
        if value != value.strip(" \t"):
            findings.warn(
                (*path, "match_headers", name),
                "no request reaches this route: values are compared without outer blanks",
            )
    for name, value in route.match_query.items():
        if "&" in name + value or "#" in name + value or "=" in name:
            findings.warn(
                (*path, "match_query", name), "no request reaches this route: write `&`, `#` and `=` percent-encoded"
            )


# ------------------------------------------------------------------------------------------------------ actions


def _check_action(route: Route, path: KeyPath, config: Config, findings: Findings) -> None:
    actions = [name for name in _ACTIONS if getattr(route, name) is not None]
    if not actions:
        findings.error(path, "needs one of `backend`, `redirect` and `respond`")
    for name in actions[1:]:
        findings.error(
            (*path, name), f"a route has one of `backend`, `redirect` and `respond`, and here is `{actions[0]}`"
        )
    if route.backend is not None and route.backend not in config.backends:
        here = (*path, "backend")
        hint = near(route.backend, config.backends) if findings.is_written(here) else ""
        findings.error(here, f"there is no backend {findings.shown(here)}{hint}")
    if route.backend is None:
        for key in _FORWARDING_KEYS:
            if key in route.model_fields_set:
                findings.warn((*path, key), "has no effect on a route without `backend`")
    if route.strip_prefix and route.path is None:
        findings.error((*path, "strip_prefix"), "needs `path`: an exact path has no rest to forward")
    if route.rewrite is not None:
        if route.strip_prefix:
            findings.error((*path, "rewrite"), "a route has `strip_prefix` or `rewrite`, not both")
        try:
            Template.parse_path(route.rewrite)
        except UnknownVariable:
            pass  # told with the other templates
        except ValueError as error:
            findings.error((*path, "rewrite"), findings.said((*path, "rewrite"), error))
    if route.redirect is not None and not re.match(r"/|\{|[A-Za-z][A-Za-z0-9+.-]*:", route.redirect.to):
        findings.error((*path, "redirect", "to"), "begins with `/`, `https://` or a variable such as {uri}")
    if route.respond is not None and route.respond.body and route.respond.status in _NO_CONTENT:
        findings.error((*path, "respond", "body"), f"a response with status {route.respond.status} has no content")


def _check_fields(route: Route, path: KeyPath, config: Config, findings: Findings) -> None:
    _check_rules(route.headers, (*path, "headers"), config, findings)
    _check_rules(route.response_headers, (*path, "response_headers"), config, findings)
    if route.redirect is not None:
        _check_variables(route.redirect.to, (*path, "redirect", "to"), config, findings)
    if route.rewrite is not None:
        _check_variables(route.rewrite, (*path, "rewrite"), config, findings)


def _check_rules(rules: HeaderRules, path: KeyPath, config: Config, findings: Findings) -> None:
    for name, template in rules.set.items():
        _check_variables(template, (*path, "set", name), config, findings)
    for name, template in rules.add.items():
        _check_variables(template, (*path, "add", name), config, findings)
    _check_names("set", rules.set, (*path, "set"), findings)
    _check_names("add", rules.add, (*path, "add"), findings)
    for position, name in enumerate(rules.remove):
        if (fault := _field_fault("remove", name)) is not None:
            findings.error((*path, "remove", position), fault)


def _field_fault(rule: Literal["set", "add", "remove"], name: str) -> str | None:
    """Why a rule may not touch the field, or None."""
    try:
        Rules.parse(remove=[name]) if rule == "remove" else Rules.parse(**{rule: {name: ""}})
    except ValueError as error:
        return str(error)
    return None


def _check_names(rule: Literal["set", "add"], names: Iterable[str], path: KeyPath, findings: Findings) -> None:
    seen: set[str] = set()
    for name in names:
        if (fault := _field_fault(rule, name)) is not None:
            findings.error((*path, name), fault)
        elif name.lower() in seen:
            findings.error((*path, name), "this field already stands here; names are compared without regard to case")
        seen.add(name.lower())


def _check_variables(template: str, path: KeyPath, config: Config, findings: Findings) -> None:
    for name in variable_names(template):
        if name not in KNOWN_VARIABLES:
            if not findings.is_written(path):
                findings.error(path, f"{findings.shown(path)} became a text with an unknown variable in braces")
                continue
            there_are = f"; there are {', '.join(KNOWN_VARIABLES)}; for plain text write {{{{{name}}}}}"
            findings.error(path, f"unknown variable {{{name}}}{near(name, KNOWN_VARIABLES) or there_are}")
        elif name == "request.id" and config.request_id is None:
            findings.warn(path, "{request.id} is empty without `request_id`")
