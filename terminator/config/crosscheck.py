"""What no single key shows: names that must exist, or stand once, and keys that mean something only beside others."""

from __future__ import annotations

import ipaddress
import re

from terminator.config.findings import Findings
from terminator.config.model import Backend, ClientAuth, Config, Listener, TlsPolicy
from terminator.config.places import KeyPath
from terminator.config.routecheck import check_request_fields, check_routes
from terminator.config.sentences import near
from terminator.config.values import Address, SystemdSocket, TcpAddress, UnixAddress
from terminator.routing.hostnames import normalise, parse_pattern

_ALLOW = re.compile(r"(?:CN|O|OU)=.+|(?:DNS|URI|email|IP):.+", re.DOTALL | re.IGNORECASE)
_TLS13_ALONE = "TLS 1.3 alone, whose suites are always on (profile or min_version)"
_KEY_LOG = (
    "DEBUGGING ONLY: the secrets of every connection are written there, and whoever reads the file reads the traffic "
    "of all hosts, passwords included. Remove the key, restart, and delete the file"
)
_EVERY_ADDRESS = ("", "::", "0.0.0.0")


def crosscheck(config: Config, findings: Findings) -> None:
    """Adds every fault and warning to `findings`."""
    _check_listeners(config, findings)
    _check_tls(config.tls, ("tls",), findings)
    if "ciphers" in config.tls.model_fields_set and _speaks_tls13_alone(config.tls):
        findings.warn(("tls", "ciphers"), f"has no effect on hosts that speak {_TLS13_ALONE}")
    if config.tls.key_log_file is not None:
        findings.warn(("tls", "key_log_file"), _KEY_LOG)
    names = _check_hosts(config, findings)
    _check_unknown_sni(config, names, findings)
    _check_addresses(config, findings)
    check_routes(config, findings)
    check_request_fields(config, findings)
    for name, backend in config.backends.items():
        _check_backend(backend, ("backends", name), findings)
    if config.request_id is not None:
        _check_networks(config.request_id.trusted, ("request_id", "trusted"), findings)
    if config.group is not None and config.user is None:
        findings.warn(("group",), "has no effect without `user`")


# ---------------------------------------------------------------------------------------------------- listeners


def _check_listeners(config: Config, findings: Findings) -> None:
    names: dict[str, KeyPath] = {}
    binds: list[tuple[Address | SystemdSocket, KeyPath]] = []
    for number, listener in enumerate(config.listeners):
        path: KeyPath = ("listeners", number)
        first = names.setdefault(listener.name, (*path, "name"))
        if first != (*path, "name"):
            findings.error((*path, "name"), f"this name already stands at {findings.place(first)}")
        _check_bind(listener.bind, (*path, "bind"), binds, findings)
        _check_listener_keys(listener, path, findings)
    if not any(listener.tls for listener in config.listeners):
        findings.warn(("listeners",), "no listener speaks TLS")

    admin = config.admin
    if admin.bind is not None:
        if isinstance(admin.bind, TcpAddress):
            _check_bind(admin.bind, ("admin", "bind"), binds, findings)
        else:
            findings.error(("admin", "bind"), "takes host:port; for a unix socket there is `admin.socket`")
    if admin.socket is not None:
        _check_bind(UnixAddress(admin.socket), ("admin", "socket"), binds, findings)


def _check_bind(
    bind: Address | SystemdSocket, path: KeyPath, binds: list[tuple[Address | SystemdSocket, KeyPath]], found: Findings
) -> None:
    for other, where in binds:
        if _collide(bind, other):
            found.error(path, f"this address is already taken at {found.place(where)}")
            break
    else:
        binds.append((bind, path))


def _collide(one: Address | SystemdSocket, other: Address | SystemdSocket) -> bool:
    """The same address, or `[::]` beside `0.0.0.0`: the former serves IPv4 too."""
    if isinstance(one, TcpAddress) and isinstance(other, TcpAddress):
        both_every = one.host in _EVERY_ADDRESS and other.host in _EVERY_ADDRESS
        return one.port == other.port and (one.host == other.host or both_every)
    return one == other


def _check_listener_keys(listener: Listener, path: KeyPath, findings: Findings) -> None:
    for key in ("acme_webroot", "redirect_port"):
        if listener.tls and key in listener.model_fields_set:
            findings.error((*path, key), "only a plain listener (`tls: false`) has it")
    if listener.proxy_protocol is not None:
        _check_networks(listener.proxy_protocol.trusted, (*path, "proxy_protocol", "trusted"), findings)


def _check_networks(networks: list[str], path: KeyPath, findings: Findings) -> None:
    for number, text in enumerate(networks):
        try:
            ipaddress.ip_network(text)
        except ValueError:
            findings.error((*path, number), _network_fault(text, findings.is_written((*path, number))))


def _network_fault(text: str, may_show: bool) -> str:
    try:
        network = ipaddress.ip_network(text, strict=False)
    except ValueError:
        return "not a network; write for example 10.0.0.0/8, 2001:db8::/32 or a single address"
    return "the address has bits beyond the prefix" + (f"; did you mean {network}?" if may_show else "")


# ---------------------------------------------------------------------------------------------- TLS and hosts


def _check_hosts(config: Config, findings: Findings) -> dict[str, int]:
    """Checks hosts but for their routes; returns every valid name, normalised, with the number of its host."""
    seen: dict[str, KeyPath] = {}
    owners: dict[str, int] = {}
    for number, host in enumerate(config.hosts):
        for position, text in enumerate(host.names):
            path: KeyPath = ("hosts", number, "names", position)
            try:
                name = str(parse_pattern(text))
            except ValueError as error:
                findings.error(path, findings.said(path, error))
                continue
            if name in seen:
                findings.error(path, f"this name already stands at {findings.place(seen[name])}")
                continue
            seen[name], owners[name] = path, number
        tls: KeyPath = ("hosts", number, "tls")
        _check_tls(host.tls, tls, findings)
        if "ciphers" in host.tls.model_fields_set and _speaks_tls13_alone(config.policy(host)):
            findings.error((*tls, "ciphers"), f"has no effect: this host speaks {_TLS13_ALONE}")
        if host.hsts == 0:
            findings.warn(("hosts", number, "hsts"), "0 makes clients forget Strict-Transport-Security")
    return owners


def _check_unknown_sni(config: Config, names: dict[str, int], findings: Findings) -> None:
    text, path = config.tls.unknown_sni, ("tls", "unknown_sni")
    if text == "reject":
        return
    try:
        name = str(parse_pattern(text))
    except ValueError:
        name = text
    called = [host.names[0] for host in config.hosts]
    if name not in names:
        hint = (
            near(text, ["reject", *called]) if findings.is_written(path) else ""
        ) or "; a host is meant by the first of its names"
        findings.error(path, f"expected `reject` or the name of a host, found {findings.shown(path)}{hint}")
    elif _canonical(called[names[name]]) != name:
        findings.error(path, f"a host is meant by the first of its names: write `{called[names[name]]}`")


def _check_addresses(config: Config, findings: Findings) -> None:
    """A client that connects to an address sends no server name (RFC 6066 §3)."""
    if not any(listener.tls for listener in config.listeners):
        return
    for number, host in enumerate(config.hosts):
        if host.names[0] == config.tls.unknown_sni:
            continue
        for position, name in enumerate(host.names):
            if _is_address(name):
                findings.warn(
                    ("hosts", number, "names", position),
                    "clients send no server name for an address: over TLS this host is reached by it only when it is "
                    "the one that `tls.unknown_sni` names",
                )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True


def _canonical(name: str) -> str:
    return f"*.{normalise(name[2:])}" if name.startswith("*.") else normalise(name)


def _check_tls(policy: TlsPolicy, path: KeyPath, findings: Findings) -> None:
    for key in ("alpn", "ciphers", "groups"):
        values = getattr(policy, key)
        if values is not None and not values:
            findings.error((*path, key), "needs at least one entry; remove the key for the default")
    if "client_auth" in policy.model_fields_set:
        _check_client_auth(policy.client_auth, (*path, "client_auth"), findings)


def _speaks_tls13_alone(policy: TlsPolicy) -> bool:
    return (policy.min_version or ("1.3" if policy.profile == "modern" else None)) == "1.3"


def _check_client_auth(auth: ClientAuth, path: KeyPath, findings: Findings) -> None:
    if auth.mode == "none":
        if auth.ca is not None and "mode" not in auth.model_fields_set:
            findings.error(path, "names `ca` and no `mode`, so nobody would be asked for a certificate; add `mode`")
        for key in ("crl", "depth", "allow"):
            if key in auth.model_fields_set:
                findings.error((*path, key), "has no effect without a `mode` of request or require")
        return
    if auth.ca is None:
        inherits = " (a host's client_auth inherits nothing)" if path[0] == "hosts" else ""
        findings.error(path, f"`mode: {auth.mode}` needs `ca`{inherits}")
    for number, pattern in enumerate(auth.allow):
        if not _ALLOW.fullmatch(pattern):
            findings.error(
                (*path, "allow", number), "not a pattern; write for example CN=alice, O=ops* or DNS:*.example"
            )


# ----------------------------------------------------------------------------------------------------- backends


def _check_backend(backend: Backend, path: KeyPath, findings: Findings) -> None:
    seen: dict[Address, int] = {}
    for number, server in enumerate(backend.servers):
        first = seen.setdefault(server.address, number)
        if first != number:
            where = findings.place((*path, "servers", first))
            findings.error((*path, "servers", number), f"this server already stands at {where}; give it a `weight`")
    if all(server.backup for server in backend.servers):
        findings.warn((*path, "servers"), "every server is a `backup`, so none is")
    if backend.hash_key != Backend.model_fields["hash_key"].default and backend.balance != "consistent_hash":
        findings.warn((*path, "hash_key"), "has no effect without `balance: consistent_hash`")
    check = backend.health_check
    if check is not None:
        here: KeyPath = (*path, "health_check")
        low, _, high = check.status.partition("-")
        if high and int(high) < int(low):
            findings.error((*here, "status"), "the range ends before it begins")
        if not re.fullmatch(r"/[!-~]*", check.path):
            findings.error((*here, "path"), "begins with `/` and holds visible ASCII only; encode the rest as %XX")
        if check.host is not None and not re.fullmatch(r"[!-~]+", check.host):
            findings.error((*here, "host"), "not a value for the Host field")
        if check.timeout > check.interval:
            findings.warn((*here, "timeout"), "longer than `interval`; checks will follow one another less often")
