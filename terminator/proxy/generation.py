"""The immutable value in force: one configuration with its hosts, contexts, routes and backends, under one number.

A reload builds a whole new generation aside and swaps one reference; whoever has begun with the old one finishes with
it. What was learnt about a backend's servers is not in here, see `backend.group`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from terminator.backend.fleet import Fleet
from terminator.backend.group import BackendGroup
from terminator.config import model
from terminator.proxy.treatment import Treatment, treatments
from terminator.routing.hostnames import HostTable
from terminator.routing.routes import RouteTable
from terminator.tls.client_certificates import examiner
from terminator.tls.contexts import Context
from terminator.tls.handshake import Choice
from terminator.tls.material import HostMaterial


@dataclass(frozen=True, slots=True)
class Plan:
    """All that a generation is built from, read and proved by the master; picklable.

    materials: by host name, the certificates, keys and resolved policy of each host
    """

    number: int
    config: model.Config
    materials: Mapping[str, HostMaterial]


@dataclass(frozen=True, slots=True, eq=False)
class HostEntry:
    """One configured host as a connection sees it."""

    name: str
    """First of its names; stands in logs and metrics."""
    material: HostMaterial
    choice: Choice
    """How its handshakes are done."""
    routes: RouteTable[Treatment]
    hsts: bytes | None
    """Value of Strict-Transport-Security."""


@dataclass(frozen=True, slots=True, eq=False)
class Generation:
    number: int
    config: model.Config
    hosts: HostTable[HostEntry]
    by_name: Mapping[str, HostEntry]
    default: HostEntry | None
    """The host that answers an unknown SNI, or None: such connections are refused."""
    backends: Mapping[str, BackendGroup]

    def host_for_sni(self, server_name: str | None) -> tuple[HostEntry | None, bool]:
        """The host that serves this SNI, and whether it does so only as the default."""
        entry = self.hosts.lookup(server_name) if server_name else None
        return (entry, False) if entry is not None else (self.default, True)


def build(plan: Plan, contexts: Mapping[str, Context], fleet: Fleet) -> Generation:
    """The generation of `plan`. contexts: by host name. fleet: what this process has learnt about backend servers."""
    config = plan.config
    entries = {}
    for host in config.hosts:
        name = host.names[0]
        material = plan.materials[name]
        entries[name] = HostEntry(
            name=name,
            material=material,
            choice=Choice(
                context=contexts[name],
                host=name,
                alpn=tuple(name.encode("ascii") for name in config.policy(host).alpn),
                certificates={pair.info.key_type: pair.info.serial for pair in material.pairs},
                admit=examiner(material),
                # One signature with such a key takes several ms.
                in_thread=any(pair.info.key_type == "rsa" and pair.info.key_bits > 2048 for pair in material.pairs),
            ),
            routes=treatments(config, host),
            hsts=None if host.hsts is None else b"max-age=%d" % int(host.hsts),
        )
    hosts: HostTable[HostEntry] = HostTable(
        (pattern, entries[host.names[0]]) for host in config.hosts for pattern in host.names
    )
    fallback = config.tls.unknown_sni
    return Generation(
        number=plan.number,
        config=config,
        hosts=hosts,
        by_name=entries,
        default=None if fallback == "reject" else entries[fallback],
        backends={name: fleet.group(name, backend) for name, backend in config.backends.items()},
    )
