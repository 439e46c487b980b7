"""Which clients of a log another TLS policy would turn away, from what they offered.

The judgement follows OpenSSL's server: the highest common version is taken and never reconsidered; in TLS 1.3 a suite
and a group must be common, in TLS 1.2 and lower a suite that fits a certificate of the host, and for ECDHE an elliptic
group, unless the client names no groups at all (RFC 8422 §4). What a log does not tell is not judged: signature
algorithms, and certificate types that no handshake of the log was served.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from pydantic import ValidationError

from terminator.config.model import TlsPolicy
from terminator.errors import ConfigError
from terminator.report.tally import Tally
from terminator.tls.openssl import Capabilities
from terminator.tls.policy import TLS13_SUITES, ResolvedPolicy, resolve
from terminator.tls.suites import Suite, known_suites
from terminator.wire.offer import GROUP_NAMES

_KEYS = {"profile": False, "min_version": False, "ciphers": True, "groups": True}
"""Key → whether it takes a list."""
_VERSIONS = ("1.0", "1.1", "1.2", "1.3")
_IANA_GROUPS = {"P-256": "secp256r1", "P-384": "secp384r1", "P-521": "secp521r1"}
_DEFAULT_GROUPS = ("X25519MLKEM768", "x25519", "secp256r1", "x448", "secp521r1", "secp384r1")
"""OpenSSL's own, where `groups` cannot be set."""
_ELLIPTIC = frozenset({"x25519", "x448", *(name for name in GROUP_NAMES.values() if name.startswith("secp"))})


def parse_policy(texts: Iterable[str], base: TlsPolicy | None = None) -> TlsPolicy:
    """`profile=modern`, `min_version=1.2 groups=X25519,P-256`, `ciphers=A:B`: changes to `base`, or to the defaults.

    Raises ConfigError. As in a configuration, another profile brings its own versions, ciphers and groups.
    """
    changes: dict[str, object] = {}
    for word in (word for text in texts for word in text.replace(";", " ").split()):
        key, equals, value = word.partition("=")
        if not equals or key not in _KEYS or not value:
            keys = ", ".join(_KEYS)
            raise ConfigError([f"--preview {word}: not understood; write KEY=VALUE, with KEY of {keys}"])
        changes[key] = [item for item in value.replace(":", ",").split(",") if item] if _KEYS[key] else value
    if not changes:
        raise ConfigError(["--preview: nothing is to be changed; write for example profile=modern"])
    known: dict[str, object] = {}
    if base is not None:
        known = {key: getattr(base, key) for key in _KEYS}
        if "profile" in changes:
            known |= {"min_version": None, "ciphers": None, "groups": None}
    try:
        return TlsPolicy.model_validate(known | changes)
    except ValidationError as error:
        raise ConfigError(
            [f"--preview {'.'.join(map(str, fault['loc']))}: {fault['msg']}" for fault in error.errors()]
        ) from None


@dataclass(frozen=True, slots=True)
class Offered:
    """What a client offered, as the log has it."""

    versions: frozenset[str]
    groups: frozenset[str] | None
    """None: the client sent no list of groups."""
    ciphers: frozenset[int]


def offered(versions: str | None, groups: str | None, ciphers: str | None) -> Offered:
    """From `tls.client.offered_*`. ValueError when the ciphers are not hex."""
    numbers = ciphers or ""
    return Offered(
        frozenset((versions or "").split(",")),
        None if groups is None else frozenset(name.lower() for name in groups.split(",")),
        frozenset(int(numbers[at : at + 4], 16) for at in range(0, len(numbers), 4)),
    )


def judge(offer: Offered, policy: ResolvedPolicy, key_types: frozenset[str]) -> str | None:
    """The class of the failure that this offer would meet; None when it would be served."""
    allowed = _VERSIONS[_VERSIONS.index(policy.min_version) : _VERSIONS.index(policy.max_version) + 1]
    version = next((version for version in reversed(allowed) if version in offer.versions), None)
    if version is None:
        return "unsupported_version"
    names = policy.groups or _DEFAULT_GROUPS
    groups = frozenset(_IANA_GROUPS.get(name, name).lower() for name in names)
    suites = known_suites()
    if version == "1.3":
        if not any(number in suites and suites[number].name in TLS13_SUITES for number in offer.ciphers):
            return "no_shared_cipher"
        return "no_shared_group" if offer.groups is not None and groups.isdisjoint(offer.groups) else None
    elliptic = offer.groups is None or not (groups & offer.groups).isdisjoint(_ELLIPTIC)
    usable = frozenset(policy.ciphers)
    for number in offer.ciphers:
        suite = suites.get(number)
        if suite is not None and suite.name in usable and _fits(suite, version, key_types, elliptic):
            return None
    return "no_shared_cipher"


def _fits(suite: Suite, version: str, key_types: frozenset[str], elliptic: bool) -> bool:
    if suite.needs_tls12 and version != "1.2":
        return False
    if suite.authentication not in key_types:
        return False
    return elliptic or suite.exchange != "ecdhe"


@dataclass(slots=True)
class Lost:
    """Clients that would fail: handshakes by class."""

    count: float = 0.0
    classes: Counter[str] = field(default_factory=Counter)


@dataclass(slots=True)
class Preview:
    """What a policy would do to the handshakes of a log that were served. Counts are handshakes."""

    policies: dict[str, ResolvedPolicy]
    """By host; `*` is that of hosts that are not named."""
    served: float = 0.0
    lost: Lost = field(default_factory=Lost)
    by_host: dict[str, Lost] = field(default_factory=dict)
    served_by_host: Counter[str] = field(default_factory=Counter)
    by_client: dict[str, Lost] = field(default_factory=dict)
    """By JA4."""
    without_offer: float = 0.0
    """Lines that do not tell what was offered."""
    unknown_hosts: float = 0.0
    """Handshakes with hosts that no policy is given for."""
    undercount: float = 0.0


def preview(tally: Tally, policies: Mapping[str, TlsPolicy], capabilities: Capabilities) -> Preview:
    """policies: by host name, `*` for all others. `tally` must have gathered offers. Raises ConfigError."""
    assert tally.offers is not None
    resolved = {host: resolve(policy, capabilities) for host, policy in policies.items()}
    found = Preview(resolved, undercount=tally.offers.undercount)
    both = frozenset({"ecdsa", "rsa"})
    for (host, ja4, versions, groups, ciphers), offer in tally.offers.items():
        if not offer.established:
            continue
        name = str(host)
        policy = resolved.get(name) or resolved.get("*")
        if policy is None:
            found.unknown_hosts += offer.established
            continue
        try:
            made = offered(versions, groups, ciphers) if versions is not None and ciphers is not None else None
        except ValueError:
            made = None
        if made is None:
            found.without_offer += offer.established
            continue
        key_types = frozenset(tally.key_types.get(name, ())) or both
        failure = judge(made, policy, key_types)
        found.served += offer.established
        found.served_by_host[name] += int(offer.established)
        if failure is not None:
            lost = (found.lost, found.by_host.setdefault(name, Lost()), found.by_client.setdefault(str(ja4), Lost()))
            for each in lost:
                each.count += offer.established
                each.classes[failure] += int(offer.established)
    return found
