"""What a host's TLS is made of: certificates, keys and lists as bytes, read once; workers build contexts from it.

The master reads every file exactly once per load (`read_materials`), so no worker ever sees half a renewal, and only
the master needs the right to read keys. The values are frozen and travel to workers by fork or pickle.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime

from terminator.config.model import Config, TlsPolicy
from terminator.errors import CertificateError, ConfigError

Place = tuple[str | int, ...]
"""Where in the configuration a file is named: ("hosts", 0, "certificates", 1, "chain")."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CertificateInfo:
    """What a person or a judgement wants to know of a chain; everything is about its first certificate but `chain_*`.

    serial is lower-case hex, sha256 the fingerprint of the DER in hex, names the subjectAltNames (DNS in lower case,
    IP addresses as text). chain_not_after is the earliest end among the intermediates.
    """

    serial: str
    subject: str
    issuer: str
    names: tuple[str, ...]
    not_before: datetime
    not_after: datetime
    key_type: str
    key_bits: int
    sha256: str
    chain_length: int
    chain_problems: tuple[str, ...]
    chain_not_after: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A certificate chain with its key, proved to belong together. The PEM is clean: blocks only, leaf first."""

    chain_file: str
    key_file: str
    key_mode: int
    """Permission bits of the key's file when it was read."""
    chain_pem: bytes = field(repr=False)
    key_pem: bytes = field(repr=False)
    info: CertificateInfo
    digest: str
    """SHA-256 over both files as they stood on disk."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientAuthorities:
    """The files of `client_auth`, as clean PEM. crl_next_update is the earliest end among the lists."""

    ca_pem: bytes = field(repr=False)
    ca_not_after: datetime
    crl_pem: bytes | None = field(repr=False)
    crl_next_update: datetime | None
    digest: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostMaterial:
    """Everything that shapes the TLS of one host.

    `digest` covers all that a context depends on: equal digests mean that the context may be kept. `admission` covers
    who is let in and by which protocol: a session ticket dies with a change of it, and outlives a renewed certificate.
    """

    host: str
    names: tuple[str, ...]
    policy: TlsPolicy
    pairs: tuple[Pair, ...]
    authorities: ClientAuthorities | None
    key_log_file: str | None
    digest: str
    admission: str

    @property
    def authentication(self) -> tuple[object, ...]:
        """The rule by which clients prove themselves here: what was proved under another one does not count."""
        auth = self.policy.client_auth
        if self.authorities is None:
            return ("none",)
        return (auth.mode, auth.depth, self.authorities.digest, tuple(auth.allow))

    @property
    def not_after(self) -> datetime:
        """When the first of the host's certificates expires."""
        return min(pair.info.not_after for pair in self.pairs)


Materials = Mapping[str, HostMaterial]
"""The material of all hosts, by the host's first name, in the order of the configuration."""


def read_materials(
    config: Config,
    previous: Materials | None = None,
    locate: Callable[[Place], str] | None = None,
) -> dict[str, HostMaterial]:
    """Reads every file that the hosts of `config` name, each once; what is unchanged since `previous` is not parsed.

    Raises ConfigError with one text per file that cannot be used: place (from `locate`), host, file, fault, remedy.
    Nothing is ever read partially. Whether a sound certificate is a *good* one is `judgement`'s matter.
    """
    # Only here, because workers import this module and do without the 14 MiB of `cryptography`.
    from terminator.tls.certificates import Shelf
    from terminator.tls.client_certificates import pattern_problems

    shelf = Shelf(previous)
    problems: list[str] = []
    hosts: dict[str, HostMaterial] = {}
    for number, host in enumerate(config.hosts):
        name = host.names[0]
        policy = config.policy(host)
        pairs: list[Pair] = []
        authorities = None
        before = len(problems)

        def refuse(place: Place, error: CertificateError, name: str = name) -> None:
            where = locate(place) if locate is not None else ""
            problems.append(f"{where}: host {name}: {error}" if where else f"host {name}: {error}")

        for index, certificate in enumerate(host.certificates):
            try:
                pairs.append(shelf.pair(certificate.chain, certificate.key))
            except CertificateError as error:
                refuse(("hosts", number, "certificates", index), error)
        if policy.client_auth.mode != "none":
            own = "client_auth" in host.tls.model_fields_set
            place: Place = ("hosts", number, "tls", "client_auth") if own else ("tls", "client_auth")
            try:
                authorities = shelf.authorities(policy.client_auth.ca, policy.client_auth.crl)
            except CertificateError as error:
                refuse(place, error)
            for problem in pattern_problems(policy.client_auth.allow):
                refuse((*place, "allow"), CertificateError(problem))
        if len(problems) == before:
            hosts[name] = compose(
                name, tuple(host.names), policy, tuple(pairs), authorities, key_log_file=config.tls.key_log_file
            )
    if problems:
        raise ConfigError(problems)
    return hosts


def compose(
    host: str,
    names: tuple[str, ...],
    policy: TlsPolicy,
    pairs: tuple[Pair, ...],
    authorities: ClientAuthorities | None,
    *,
    key_log_file: str | None = None,
) -> HostMaterial:
    """One host's material with its digests. `authorities` is None exactly when no client certificate is asked for."""
    auth = policy.client_auth
    # A resumed TLS 1.2 session keeps its old cipher suite, a resumed client its old verdict (OpenSSL asks neither the
    # new cipher list nor the new authorities), so both are part of what a ticket is bound to.
    rule = ("none",) if authorities is None else (auth.mode, auth.depth, authorities.digest)
    admission = (rule, policy.profile, policy.min_version, policy.ciphers)
    pair_digests = [pair.digest for pair in pairs]
    shape = (host, admission, policy.groups, policy.alpn, policy.tickets, pair_digests, key_log_file)
    return HostMaterial(
        host=host,
        names=names,
        policy=policy,
        pairs=pairs,
        authorities=authorities,
        key_log_file=key_log_file,
        digest=hashlib.sha256(repr(shape).encode()).hexdigest(),
        admission=hashlib.sha256(repr(admission).encode()).hexdigest(),
    )


def known_pairs(materials: Materials | None) -> Mapping[tuple[str, str], Pair]:
    """Parsed pairs by the files they came from."""
    if materials is None:
        return {}
    return {(pair.chain_file, pair.key_file): pair for material in materials.values() for pair in material.pairs}


def known_authorities(materials: Materials | None) -> Mapping[str, ClientAuthorities]:
    """Parsed client authorities by their digest."""
    if materials is None:
        return {}
    return {found.digest: found for material in materials.values() if (found := material.authorities) is not None}


def renamed(pair: Pair, chain_file: str, key_file: str, key_mode: int) -> Pair:
    """The same pair, found in other files or with another mode."""
    return replace(pair, chain_file=chain_file, key_file=key_file, key_mode=key_mode)
