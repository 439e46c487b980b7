"""A TLS profile resolved to what OpenSSL is told: versions, cipher suites, groups, order.

The profiles are those of Mozilla's "Server Side TLS" guideline, version 5.7, as published at
https://ssl-config.mozilla.org/guidelines/5.7.json (text: https://wiki.mozilla.org/Security/Server_Side_TLS), with two
differences, both towards more security: `old` has no suites without forward secrecy (AES128-SHA and its like), and
X25519MLKEM768 stands before the guideline's groups where OpenSSL has it.
"""

from __future__ import annotations

import difflib
import functools
import ssl
from collections.abc import Iterable
from dataclasses import dataclass

from terminator.config.model import TlsPolicy
from terminator.errors import ConfigError
from terminator.tls.openssl import KNOWN_GROUPS, Capabilities

GUIDELINE = "Mozilla Server Side TLS 5.7"

VERSIONS = ("1.0", "1.1", "1.2", "1.3")
MIN_STRENGTH_BITS = 128


@dataclass(frozen=True, slots=True)
class Profile:
    min_version: str
    ciphers: tuple[str, ...]
    server_order: bool


_AEAD = (
    "ECDHE-ECDSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-ECDSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-ECDSA-CHACHA20-POLY1305",
    "ECDHE-RSA-CHACHA20-POLY1305",
    "DHE-RSA-AES128-GCM-SHA256",
    "DHE-RSA-AES256-GCM-SHA384",
    "DHE-RSA-CHACHA20-POLY1305",
)
_CBC = (
    "ECDHE-ECDSA-AES128-SHA256",
    "ECDHE-RSA-AES128-SHA256",
    "ECDHE-ECDSA-AES128-SHA",
    "ECDHE-RSA-AES128-SHA",
    "ECDHE-ECDSA-AES256-SHA384",
    "ECDHE-RSA-AES256-SHA384",
    "ECDHE-ECDSA-AES256-SHA",
    "ECDHE-RSA-AES256-SHA",
    "DHE-RSA-AES128-SHA256",
    "DHE-RSA-AES256-SHA256",
)

PROFILES = {
    "modern": Profile("1.3", (), server_order=False),
    "intermediate": Profile("1.2", _AEAD, server_order=False),
    "old": Profile("1.0", _AEAD + _CBC, server_order=True),
}
_OPENSSL = " ".join(ssl.OPENSSL_VERSION.split()[:2])
TLS13_SUITES = ("TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256")
"""The guideline's, and all that OpenSSL switches on; `ssl` cannot choose among them before Python 3.15."""
GROUPS = ("X25519MLKEM768", "X25519", "P-256", "P-384")

_GROUP_NAMES = {name.lower(): name for name in KNOWN_GROUPS} | {
    "prime256v1": "P-256",
    "secp256r1": "P-256",
    "secp384r1": "P-384",
    "secp521r1": "P-521",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ResolvedPolicy:
    """What a context is set to. ciphers are those of TLS 1.2 and lower; groups empty means OpenSSL's own default.

    security_level is OpenSSL's: 2 demands 112 bits and no SHA-1 signature of every certificate, client certificates
    included; 0 is what TLS 1.0 and 1.1 need.
    """

    profile: str
    min_version: str
    max_version: str
    ciphers: tuple[str, ...]
    groups: tuple[str, ...]
    server_order: bool
    security_level: int

    @property
    def cipher_string(self) -> str:
        """For `SSLContext.set_ciphers`. Where TLS 1.2 is off some suite must still stand there; it is never used."""
        return ":".join((*(self.ciphers or ("ECDHE+AESGCM",)), f"@SECLEVEL={self.security_level}"))

    @property
    def group_string(self) -> str:
        """For `openssl.set_groups`. A `/` behind the post-quantum groups (OpenSSL 3.5): a client that can do them, and
        has sent a key share for another group only, is asked for one more round trip, as OpenSSL's own default does."""
        text = ""
        for group, following in zip(self.groups, (*self.groups[1:], ""), strict=True):
            border = "MLKEM" in group and "MLKEM" not in following
            text += group + ("/" if border and following else ":" if following else "")
        return text

    @property
    def finite_field(self) -> bool:
        """Do some suites need Diffie-Hellman parameters?"""
        return any(name.startswith("DHE-") for name in self.ciphers)


def resolve(policy: TlsPolicy, capabilities: Capabilities) -> ResolvedPolicy:
    """Raises ConfigError with all that this policy asks and this OpenSSL cannot do, or that has no forward secrecy."""
    profile = PROFILES[policy.profile]
    problems: list[str] = []
    min_version = policy.min_version or profile.min_version
    ciphers: tuple[str, ...] = ()
    if min_version != "1.3":
        known = _known_ciphers()
        if policy.ciphers is None:
            # A host may lower the minimum of `modern`; its suites are then those of the next profile.
            ciphers = tuple(name for name in profile.ciphers or _AEAD if name in known)
        else:
            for name in policy.ciphers:
                problems += _cipher_problems(name)
            ciphers = tuple(dict.fromkeys(policy.ciphers))
        if not problems and not ciphers:
            problems.append('ciphers: none is left for TLS 1.2; name some, or set min_version: "1.3"')
        problems += _version_problems(min_version, [known[name] for name in ciphers if name in known])
    groups, group_problems = _groups(policy, capabilities)
    problems += group_problems
    if problems:
        raise ConfigError([f"tls.{problem}" for problem in problems])
    return ResolvedPolicy(
        profile=policy.profile,
        min_version=min_version,
        max_version="1.3",
        ciphers=ciphers,
        groups=groups,
        server_order=profile.server_order or (policy.ciphers is not None and bool(ciphers)),
        security_level=0 if min_version in ("1.0", "1.1") else 2,
    )


def describe(policy: TlsPolicy, resolved: ResolvedPolicy) -> list[tuple[str, str]]:
    """A host's policy as it is in force, for people: (word, meaning), one pair per matter (`explain`, `check -v`)."""
    order = "our order of preference" if resolved.server_order else "the client's order of preference"
    told = [
        ("profile", f"{resolved.profile} ({GUIDELINE})"),
        ("versions", f"TLS {' to '.join(dict.fromkeys((resolved.min_version, resolved.max_version)))}"),
        ("TLS 1.3", " ".join(TLS13_SUITES)),
    ]
    if resolved.ciphers:
        told.append(("TLS 1.2" if resolved.min_version == "1.2" else "TLS 1.2-", " ".join(resolved.ciphers)))
    told += [("order", order), ("groups", _groups_in_words(policy, resolved))]
    if resolved.security_level == 0:
        text = "TLS 1.0 and 1.1 need SHA-1 signatures, so OpenSSL's security level is 0 for this host"
        told.append(("caution", text))
    told += [("ALPN", " ".join(policy.alpn)), ("tickets", "on" if policy.tickets else "off")]
    auth = policy.client_auth
    if auth.mode != "none":
        word = "required" if auth.mode == "require" else "asked for"
        revoked = f", not revoked by {auth.crl}" if auth.crl is not None else ""
        allowed = f", only {', '.join(auth.allow)}" if auth.allow else ""
        depth = f", through at most {auth.depth} intermediates"
        told.append(("clients", f"certificate {word}, by an authority in {auth.ca}{depth}{revoked}{allowed}"))
    return told


def unusable_suites(resolved: ResolvedPolicy, key_types: Iterable[str]) -> str | None:
    """Why no client without TLS 1.3 could be served: no suite fits a key of the host. None where there is no reason."""
    # Ed25519 and Ed448 sign for the suites of ECDSA (RFC 8422 §5.10).
    kinds = {"rsa" if kind == "rsa" else "ecdsa" for kind in key_types}
    if not resolved.ciphers or any(_known_ciphers()[name].signed_by in kinds for name in resolved.ciphers):
        return None
    return f"no suite below TLS 1.3 fits a certificate of the host ({', '.join(sorted(set(key_types)))})"


def _groups_in_words(policy: TlsPolicy, resolved: ResolvedPolicy) -> str:
    if not resolved.groups:
        return "the default of this OpenSSL, which cannot be set here"
    missing = [group for group in GROUPS if group not in resolved.groups] if policy.groups is None else []
    without = f" (without {' '.join(missing)}: not in {_OPENSSL})" if missing else ""
    return " ".join(resolved.groups) + without


def _cipher_problems(name: str) -> list[str]:
    known = _known_ciphers()
    if name in TLS13_SUITES or name.startswith("TLS_"):
        return [
            f"ciphers: {name} belongs to TLS 1.3, whose suites are always on; list those of TLS 1.2 by OpenSSL name"
        ]
    found = known.get(name)
    if found is None:
        near = difflib.get_close_matches(name.upper(), known, 1)
        hint = f"; did you mean {near[0]}?" if near else "; `openssl ciphers` lists what there is"
        return [f"ciphers: this OpenSSL ({ssl.OPENSSL_VERSION}) has no suite {name}{hint}"]
    if not found.forward_secret:
        return [f"ciphers: {name} has no forward secrecy; use an ECDHE- suite"]
    if not found.authenticated:
        return [f"ciphers: {name} does not authenticate the server by its certificate; use an ECDHE- suite"]
    if found.strength_bits < MIN_STRENGTH_BITS:
        return [f"ciphers: {name} has {found.strength_bits} bits of strength; {MIN_STRENGTH_BITS} are the least"]
    return []


def _version_problems(min_version: str, ciphers: list[Cipher]) -> list[str]:
    if min_version not in ("1.0", "1.1"):
        return []
    if not (ssl.HAS_TLSv1 if min_version == "1.0" else ssl.HAS_TLSv1_1):
        return [f"min_version: this OpenSSL ({ssl.OPENSSL_VERSION}) is built without TLS {min_version}"]
    if ciphers and all(cipher.needs_tls12 for cipher in ciphers):
        return [
            f"min_version: no cipher suite of this policy works with TLS {min_version}; use profile: old, or ciphers"
        ]
    return []


def _groups(policy: TlsPolicy, capabilities: Capabilities) -> tuple[tuple[str, ...], list[str]]:
    if policy.groups is None:
        return tuple(group for group in GROUPS if group in capabilities.groups), []
    if not policy.groups:
        return (), ["groups: none is named; leave the key out for the profile's"]
    if not capabilities.groups:
        return (), ["groups: cannot be set on this Python and OpenSSL; leave the key out for OpenSSL's default"]
    names, problems = [], []
    for group in policy.groups:
        name = _GROUP_NAMES.get(group.lower())
        if name is None:
            near = difflib.get_close_matches(group, KNOWN_GROUPS, 1)
            problems.append(f"groups: {group} is unknown" + (f"; did you mean {near[0]}?" if near else ""))
        elif name not in capabilities.groups:
            needs = " (it came with OpenSSL 3.5)" if "MLKEM" in name else ""
            problems.append(f"groups: this OpenSSL ({ssl.OPENSSL_VERSION}) cannot do {name}{needs}")
        else:
            names.append(name)
    return tuple(dict.fromkeys(names)), problems


@dataclass(frozen=True, slots=True)
class Cipher:
    """What OpenSSL says of one of its suites."""

    forward_secret: bool
    authenticated: bool
    signed_by: str
    """Key type of the certificate that it needs: rsa, ecdsa."""
    strength_bits: int
    needs_tls12: bool


@functools.cache
def _known_ciphers() -> dict[str, Cipher]:
    """Every suite of TLS 1.2 and lower that this OpenSSL has, by its OpenSSL name."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return {
        str(found["name"]): Cipher(
            forward_secret=found["kea"] in ("kx-ecdhe", "kx-dhe"),
            authenticated=found["auth"] in ("auth-rsa", "auth-ecdsa"),
            signed_by=str(found["auth"]).removeprefix("auth-"),
            strength_bits=int(found["strength_bits"]),
            needs_tls12=found["protocol"] == "TLSv1.2",
        )
        for found in context.get_ciphers()
        if found["protocol"] != "TLSv1.3"
    }
