"""What is attacked: the listeners and hosts of a configuration, as a stranger on this machine reaches them."""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import zip_longest

from terminator.config.model import Config, Host, Listener, TlsPolicy
from terminator.config.values import Address, SystemdSocket, TcpAddress, UnixAddress, parse_bind_address
from terminator.proxy.facts import IpNetwork, parsed_networks
from terminator.routing.hostnames import HostTable
from terminator.tls.openssl import Capabilities
from terminator.tls.policy import ResolvedPolicy, resolve

LABEL = "terminator-selftest"
STRANGER = f"{LABEL}.invalid"
"""A name that nobody serves (RFC 2606 §2)."""
MAX_OPEN, MAX_CLOSED = 3, 1
"""How many other hosts each host is tried against, without and with a wall of certificates: what is missing between two
is missing between any two."""


@dataclass(frozen=True, slots=True)
class Door:
    """A TLS listener. trusted: the peers that must begin with a PROXY header."""

    name: str
    address: Address
    trusted: tuple[IpNetwork, ...] = ()
    speaks_proxy: bool = False

    def trusts(self, peer: str) -> bool:
        """Whether connections from this address must begin with a PROXY header."""
        return any(ipaddress.ip_address(peer) in network for network in self.trusted)


@dataclass(frozen=True, slots=True, eq=False)
class Subject:
    """A host under attack.

    sni: a name that leads to it, None when it has only addresses, which no SNI can name
    wildcard: a name that leads to it by a wildcard alone, if it has one
    """

    name: str
    names: tuple[str, ...]
    sni: str | None
    wildcard: str | None
    policy: TlsPolicy
    resolved: ResolvedPolicy

    @property
    def requires_certificate(self) -> bool:
        return self.policy.client_auth.mode == "require"

    @property
    def versions(self) -> tuple[str, ...]:
        """The versions that it speaks, the highest first."""
        known = ("1.3", "1.2", "1.1", "1.0")
        return known[: known.index(self.resolved.min_version) + 1]


@dataclass(frozen=True)
class Realm:
    """All that one run needs to know of the configuration. fallback: the host that answers an unknown SNI."""

    doors: tuple[Door, ...]
    subjects: tuple[Subject, ...]
    fallback: Subject | None
    handshakes_per_second: int
    """What one address may begin in a second; 0 = any number."""
    groups: tuple[str, ...]
    """All that this OpenSSL can offer."""

    def others(self, subject: Subject) -> list[Subject]:
        """Some other hosts to try it against: of those that let anybody in, and of the rest, its nearest neighbours."""
        place = self.subjects.index(subject)
        after, before = self.subjects[place + 1 :], self.subjects[:place][::-1]
        around = (other for pair in zip_longest(after, before) for other in pair if other is not None and other.sni)
        found: list[Subject] = []
        closed: list[Subject] = []
        for other in around:
            (closed if other.requires_certificate else found).append(other)
            if len(found) >= MAX_OPEN and len(closed) >= min(MAX_CLOSED, self.closed):
                break
        return found[:MAX_OPEN] + closed[:MAX_CLOSED]

    @cached_property
    def closed(self) -> int:
        """How many hosts let nobody in without a certificate."""
        return sum(one.requires_certificate for one in self.subjects)


def realm_of(config: Config, addresses: Mapping[str, str], capabilities: Capabilities) -> Realm:
    """addresses: where each listener really listens, by its name, as the daemon tells it; may be empty, then what the
    configuration says holds. Raises ConfigError for a policy that this OpenSSL cannot do."""
    table: HostTable[Host] = HostTable((name, host) for host in config.hosts for name in host.names)
    subjects = tuple(_subject(config, host, table, capabilities) for host in config.hosts)
    fallback = next((one for one in subjects if one.name == config.tls.unknown_sni), None)
    doors = [
        door
        for listener in config.listeners
        if listener.tls and (door := _door(listener, addresses.get(listener.name))) is not None
    ]
    return Realm(tuple(doors), subjects, fallback, config.limits.handshakes_per_ip, capabilities.groups)


def _subject(config: Config, host: Host, table: HostTable[Host], capabilities: Capabilities) -> Subject:
    wanted = config.policy(host)
    exact = [name for name in host.names if not name.startswith("*.") and not _is_address(name)]
    by_wildcard = [f"{LABEL}{name[1:]}" for name in host.names if name.startswith("*.")]
    wildcard = next((name for name in by_wildcard if table.lookup(name) is host), None)
    return Subject(
        name=host.names[0],
        names=tuple(host.names),
        sni=exact[0] if exact else wildcard,
        wildcard=wildcard,
        policy=wanted,
        resolved=resolve(wanted, capabilities),
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.strip("[]"))
    except ValueError:
        return False
    return True


def _door(listener: Listener, told: str | None) -> Door | None:
    """None for an inherited socket of which nobody has told the address."""
    settings = listener.proxy_protocol
    trusted: Sequence[str] = settings.trusted if settings is not None else ()
    bound = parse_bind_address(told) if told is not None else listener.bind
    if isinstance(bound, SystemdSocket):
        return None
    return Door(listener.name, _reachable(bound), parsed_networks(tuple(trusted)), settings is not None)


def _reachable(address: Address) -> Address:
    """Every address of the machine is reached by its loopback."""
    if isinstance(address, UnixAddress):
        return address
    if address.host in ("", "*", "0.0.0.0"):
        return TcpAddress("127.0.0.1", address.port)
    return TcpAddress("::1", address.port) if address.host == "::" else address
