"""`terminator check`: a configuration and every certificate, key and list it names, judged without serving."""

from __future__ import annotations

import argparse
import grp
import os
import pwd
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson

from terminator.config.load import DEFAULT_PATH, Loaded, examine
from terminator.config.model import Config, Host, Route, TlsPolicy
from terminator.config.places import KeyPath, Problem
from terminator.errors import CertificateError, ConfigError
from terminator.tls import judgement, policy, proofs, tickets
from terminator.tls.files import read_file
from terminator.tls.material import HostMaterial, read_materials

HELP = "Check a configuration, with the certificates and keys it names, without serving anything."

WELL, INVALID, WARNED = 0, 2, 4


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "file", nargs="?", default=DEFAULT_PATH, help="the configuration (default: %(default)s); - is stdin"
    )
    parser.add_argument("--strict", action="store_true", help=f"exit with {WARNED} when there are warnings")
    parser.add_argument("--format", choices=("text", "json"), default="text", help="json: one object on stdout")
    parser.add_argument("-v", "--verbose", action="store_true", help="also show what was read and what it comes to")


def run(args: argparse.Namespace) -> int:
    result = check(args.file, datetime.now(UTC))
    if args.format == "json":
        sys.stdout.buffer.write(orjson.dumps(_as_json(args.file, result), option=orjson.OPT_INDENT_2) + b"\n")
    else:
        _print(args.file, result, verbose=args.verbose)
    if result.errors:
        return INVALID
    return WARNED if args.strict and result.warnings else WELL


@dataclass(slots=True)
class Result:
    """What a check found. `materials` are there when nothing is wrong, `loaded` when the files alone are right."""

    now: datetime
    loaded: Loaded | None = None
    materials: dict[str, HostMaterial] = field(default_factory=dict)
    errors: list[Problem] = field(default_factory=list)
    warnings: list[Problem] = field(default_factory=list)


def check(path: str, now: datetime) -> Result:
    """Reads the configuration and everything it names. Raises nothing for what is wrong with them."""
    loaded, problems = examine(path)
    result = Result(now, loaded, errors=list(problems))
    if loaded is None:
        return result
    result.warnings += loaded.findings
    result.errors += _policy_faults(loaded)
    result.errors += _secret_faults(loaded)
    try:
        result.materials = _materials(loaded, result.errors)
    except ConfigError:
        return result
    result.warnings += _certificate_warnings(loaded, result.materials, now)
    result.warnings += _suite_warnings(loaded, result.materials)
    result.warnings += _machine_warnings(loaded)
    return result


# ------------------------------------------------------------------------------------------------------- faults


def _materials(loaded: Loaded, errors: list[Problem]) -> dict[str, HostMaterial]:
    """The files of all hosts; their faults go to `errors` with their places, then ConfigError is raised."""
    places: list[KeyPath] = []

    def remember(place: KeyPath) -> str:
        places.append(place)
        return str(len(places))  # never empty: the texts then begin with it

    try:
        return dict(read_materials(loaded.config, None, remember))
    except ConfigError as error:
        for place, text in zip(places, error.problems, strict=True):
            errors.append(loaded.problem(place, text.partition(": ")[2]))
        raise


def _policy_faults(loaded: Loaded) -> Iterator[Problem]:
    """What OpenSSL here cannot do of what the hosts ask for; each distinct policy is looked at once."""
    capabilities = proofs.prove()
    seen: set[str] = set()
    for number, host in enumerate(loaded.config.hosts):
        wanted = loaded.config.policy(host)
        if _essence(wanted) in seen:
            continue
        seen.add(_essence(wanted))
        try:
            policy.resolve(wanted, capabilities)
        except ConfigError as error:
            for text in error.problems:
                key, _, message = text.removeprefix("tls.").partition(": ")
                own = key in host.tls.model_fields_set
                yield loaded.problem(("hosts", number, "tls", key) if own else ("tls", key), message or text)


def _essence(wanted: TlsPolicy) -> str:
    return repr((wanted.profile, wanted.min_version, wanted.ciphers, wanted.groups))


def _secret_faults(loaded: Loaded) -> Iterator[Problem]:
    path = loaded.config.tls.ticket_secret_file
    if path is None:
        return
    try:
        secret = tickets.secret_of_file(read_file(path, "the ticket secret").data)
        tickets.TicketSecret(secret, loaded.config.tls.ticket_rotation)
    except (CertificateError, ValueError) as error:
        yield loaded.problem("tls.ticket_secret_file", str(error))


# ----------------------------------------------------------------------------------------------------- warnings


def _certificate_warnings(loaded: Loaded, materials: dict[str, HostMaterial], now: datetime) -> Iterator[Problem]:
    for number, host in enumerate(loaded.config.hosts):
        material = materials[host.names[0]]
        told: set[str] = set()
        for position, pair in enumerate(material.pairs):
            for text in judgement.warnings(pair, material.names, now):
                told.add(text)
                key = "key" if text.startswith(f"{pair.key_file}: ") else "chain"
                yield loaded.problem(("hosts", number, "certificates", position, key), text)
        for text in judgement.host_warnings(material, now):
            if text not in told:
                yield loaded.problem(_place_of_host_warning(host, number, text, material), text)


def _suite_warnings(loaded: Loaded, materials: dict[str, HostMaterial]) -> Iterator[Problem]:
    capabilities = proofs.prove()
    for number, host in enumerate(loaded.config.hosts):
        material = materials[host.names[0]]
        try:
            resolved = policy.resolve(material.policy, capabilities)
        except ConfigError:
            continue  # stands among the errors
        text = policy.unusable_suites(resolved, [pair.info.key_type for pair in material.pairs])
        if text is not None:
            own = "ciphers" in host.tls.model_fields_set
            yield loaded.problem(
                ("hosts", number, "tls", "ciphers") if own else ("hosts", number, "certificates"), text
            )


def _place_of_host_warning(host: Host, number: int, text: str, material: HostMaterial) -> KeyPath:
    auth = material.policy.client_auth
    for key, file in (("ca", auth.ca), ("crl", auth.crl)):
        if file is not None and text.startswith(f"{file}: "):
            own = "client_auth" in host.tls.model_fields_set
            return ("hosts", number, "tls", "client_auth", key) if own else ("tls", "client_auth", key)
    return ("hosts", number, "certificates")


def _machine_warnings(loaded: Loaded) -> Iterator[Problem]:
    """What the configuration takes for granted and this machine does not have."""
    config = loaded.config
    for kind, name, known in (("user", config.user, pwd.getpwnam), ("group", config.group, grp.getgrnam)):
        if name is not None:
            try:
                known(name)
            except KeyError:
                yield loaded.problem(kind, f"this machine has no {kind} of this name")
    for path, folder in _folders(config):
        if not os.path.isdir(folder):
            yield loaded.problem(path, f"there is no folder {folder}")


def _folders(config: Config) -> Iterator[tuple[KeyPath, str]]:
    for number, listener in enumerate(config.listeners):
        if listener.acme_webroot is not None:
            yield ("listeners", number, "acme_webroot"), listener.acme_webroot
    for key in ("handshakes", "requests", "lifecycle"):
        destination = getattr(config.log, key)
        if os.path.isabs(destination):
            yield ("log", key), os.path.dirname(destination)
    if config.tls.key_log_file is not None:
        yield ("tls", "key_log_file"), os.path.dirname(config.tls.key_log_file)


# ------------------------------------------------------------------------------------------------------ telling


def _print(path: str, result: Result, *, verbose: bool) -> None:
    for problem in result.errors:
        print(f"error: {problem}", file=sys.stderr)
    for problem in result.warnings:
        print(f"warning: {problem}", file=sys.stderr)
    if result.loaded is None or result.errors:
        print(f"{path}: invalid, {_counted(result)}", file=sys.stderr)
        return
    if verbose:
        for line in _overview(result):
            print(line)
    print(f"{path}: valid, {_counted(result)}" if result.warnings else f"{path}: valid")


def _counted(result: Result) -> str:
    counts = ((len(result.errors), "error"), (len(result.warnings), "warning"))
    return ", ".join(f"{count} {word}{'s' if count > 1 else ''}" for count, word in counts if count)


def _overview(result: Result) -> Iterator[str]:
    assert result.loaded is not None
    config = result.loaded.config
    for path in result.loaded.files:
        yield f"file      {path}"
    for listener in config.listeners:
        yield f"listener  {listener.name}: {listener.bind}{'' if listener.tls else ', plain'}"
    capabilities = proofs.prove()
    for host in config.hosts:
        material = result.materials[host.names[0]]
        yield f"host      {', '.join(host.names)}"
        for word, meaning in policy.describe(material.policy, policy.resolve(material.policy, capabilities)):
            yield f"            {word:<10} {meaning}"
        for pair in material.pairs:
            info = pair.info
            days = (info.not_after - result.now) / timedelta(days=1)
            key = f"{info.key_type} {info.key_bits}"
            yield f"            {key}, serial {info.serial}, {days:.0f} days left: {pair.chain_file}"
        for route in host.routes:
            yield f"            {route.exact or route.path} -> {_action(route)}"
    for name, backend in config.backends.items():
        yield f"backend   {name}: {', '.join(str(server.address) for server in backend.servers)}"


def _action(route: Route) -> str:
    if route.redirect is not None:
        return f"redirect {route.redirect.to}"
    return f"respond {route.respond.status}" if route.respond is not None else str(route.backend)


def _as_json(path: str, result: Result) -> dict[str, Any]:
    return {
        "file": path,
        "valid": not result.errors,
        "files": list(result.loaded.files) if result.loaded is not None else [],
        "errors": [_problem_as_json(problem) for problem in result.errors],
        "warnings": [_problem_as_json(problem) for problem in result.warnings],
        "hosts": list(_hosts_as_json(result)),
    }


def _hosts_as_json(result: Result) -> Iterator[dict[str, Any]]:
    capabilities = proofs.prove()
    for material in result.materials.values():
        try:
            resolved = policy.resolve(material.policy, capabilities)
        except ConfigError:
            continue  # stands among the errors
        tls = dict(policy.describe(material.policy, resolved))
        yield _host_as_json(material, result.now) | {"tls": tls}


def _problem_as_json(problem: Problem) -> dict[str, Any]:
    place = problem.place
    return {
        "file": place.source.name,
        "line": place.line,
        "column": place.column,
        "key": problem.key,
        "message": problem.message,
    }


def _host_as_json(material: HostMaterial, now: datetime) -> dict[str, Any]:
    return {
        "host": material.host,
        "names": list(material.names),
        "certificates": [
            {
                "chain": pair.chain_file,
                "key": pair.key_file,
                "serial": pair.info.serial,
                "subject": pair.info.subject,
                "issuer": pair.info.issuer,
                "names": list(pair.info.names),
                "key_type": pair.info.key_type,
                "key_bits": pair.info.key_bits,
                "not_before": pair.info.not_before,
                "not_after": pair.info.not_after,
                "days_left": round((pair.info.not_after - now) / timedelta(days=1), 1),
            }
            for pair in material.pairs
        ],
    }
