"""Is a sound certificate a good one for its host, and is the new one worse than the one that is served? Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

from terminator.tls.material import CertificateInfo, HostMaterial, Materials, Pair

SOON = timedelta(days=21)
"""When an approaching end is worth a word; every authority renews well before."""


def warnings(pair: Pair, host_names: Iterable[str], now: datetime) -> list[str]:
    """What an operator should know of a pair that loads: one text per fault, with file and remedy."""
    info = pair.info
    found = [f"{pair.chain_file}: {text}" for text in _validity(info, now)]
    if now <= info.not_after < now + SOON:
        days = (info.not_after - now) / timedelta(days=1)
        found.append(f"{pair.chain_file}: the certificate expires in {days:.1f} days, on {_date(info.not_after)}")
    if info.chain_not_after is not None and info.chain_not_after < min(now, info.not_after):
        found.append(
            f"{pair.chain_file}: an intermediate certificate expired on {_date(info.chain_not_after)}; fetch the "
            "authority's current chain"
        )
    found += [f"{pair.chain_file}: {problem}" for problem in info.chain_problems]
    uncovered = [name for name in host_names if not covers(info.names, name)]
    if not info.names:
        found.append(f"{pair.chain_file}: the certificate has no subjectAltName; clients accept it for no name at all")
    elif uncovered:
        found.append(
            f"{pair.chain_file}: the certificate does not cover {', '.join(uncovered)}; it is for {_some(info.names)}"
        )
    if pair.key_mode & 0o077 & ~0o040:  # the group may read: `ssl-cert` and the like are habits of distributions
        found.append(
            f"{pair.key_file}: the private key is readable by others (mode {pair.key_mode:04o}); chmod 0600 "
            f"{pair.key_file}"
        )
    return found


def host_warnings(material: HostMaterial, now: datetime) -> list[str]:
    """`warnings` of all pairs of a host, and of its client authorities."""
    found = [text for pair in material.pairs for text in warnings(pair, material.names, now)]
    kinds = [pair.info.key_type for pair in material.pairs]
    for kind in sorted({kind for kind in kinds if kinds.count(kind) > 1}):
        found.append(f"several {kind} certificates: only the last of them is ever served; remove the others")
    authorities, auth = material.authorities, material.policy.client_auth
    if authorities is not None:
        if authorities.ca_not_after < now:
            found.append(f"{auth.ca}: every client authority in it has expired; no client certificate will be accepted")
        if authorities.crl_next_update is not None and authorities.crl_next_update < now:
            found.append(
                f"{auth.crl}: the revocation list expired on {_date(authorities.crl_next_update)}; no client "
                "certificate of its authority will be accepted until it is renewed"
            )
    return found


def worse(new: Sequence[Pair], old: Sequence[Pair], routed_names: Iterable[str], now: datetime) -> list[str]:
    """Reasons to refuse `new` in the place of `old`, each with its file. What is served already is never a reason.

    `routed_names` are the host's configured names.
    """
    served = {pair.info.sha256 for pair in old}
    names = list(routed_names)
    found: list[str] = []
    for pair in new:
        info = pair.info
        if info.sha256 in served:
            continue
        found += [f"{pair.chain_file}: {text}" for text in _validity(info, now)]
        counterparts = [other for other in old if other.info.key_type == info.key_type] or list(old)
        found += [f"{pair.chain_file}: {text}" for text in _compared(info, [c.info for c in counterparts], names)]
    return found


def worse_host(new: HostMaterial, old: HostMaterial | None, now: datetime) -> list[str]:
    """`worse` for a whole host, its revocation lists included; a host that is new is judged by itself."""
    found = worse(new.pairs, old.pairs if old is not None else (), new.names, now)
    served = old.authorities.digest if old is not None and old.authorities is not None else None
    authorities = new.authorities
    if authorities is not None and authorities.digest != served:
        end = authorities.crl_next_update
        if end is not None and end < now:
            found.append(f"{new.policy.client_auth.crl}: the revocation list expired on {_date(end)}")
        if authorities.ca_not_after < now:
            found.append(f"{new.policy.client_auth.ca}: every client authority in it has expired")
    return [f"host {new.host}: {text}" for text in found]


def worse_materials(new: Materials, old: Materials, now: datetime) -> list[str]:
    """`worse_host` over all hosts, by first name: everything for which a reload is refused."""
    return [text for material in new.values() for text in worse_host(material, old.get(material.host), now)]


def covers(certificate_names: Iterable[str], name: str) -> bool:
    """Does a certificate with these names answer for the host name or one-label wildcard `name`? RFC 9525 §6.3."""
    wanted = name.lower().removesuffix(".").removeprefix("[").removesuffix("]")
    parent = wanted.partition(".")[2]
    return any(own == wanted or (own.startswith("*.") and own[2:] == parent) for own in certificate_names)


def _validity(info: CertificateInfo, now: datetime) -> list[str]:
    if now > info.not_after:
        return [f"the certificate (serial {info.serial}) expired on {_date(info.not_after)}; renew it"]
    if now < info.not_before:
        return [
            f"the certificate (serial {info.serial}) is not valid before {_date(info.not_before)}; is the clock right?"
        ]
    return []


def _compared(info: CertificateInfo, served: list[CertificateInfo], names: list[str]) -> list[str]:
    found = []
    lost = [name for name in names if not covers(info.names, name) and any(covers(o.names, name) for o in served)]
    if lost:
        found.append(f"the certificate (serial {info.serial}) no longer covers {', '.join(lost)}")
    stronger = [other for other in served if _weaker(info, other)]
    if stronger:
        other = stronger[0]
        found.append(
            f"its {info.key_type} key of {info.key_bits} bits is weaker than the {other.key_type} key of "
            f"{other.key_bits} bits that is served"
        )
    if served and all(info.not_before < other.not_before for other in served):
        other = min(served, key=lambda o: o.not_before)
        found.append(
            f"the certificate (serial {info.serial}, issued {_date(info.not_before)}) is older than the one served "
            f"(serial {other.serial}, issued {_date(other.not_before)})"
        )
    return found


def _weaker(new: CertificateInfo, old: CertificateInfo) -> bool:
    if new.key_type == old.key_type:
        return new.key_bits < old.key_bits
    return _strength(new) < _strength(old)


def _strength(info: CertificateInfo) -> int:
    """Bits of security by NIST SP 800-57 part 1, table 2: RSA-3072 equals P-256."""
    if info.key_type == "rsa":
        return next((bits for size, bits in ((15360, 256), (7680, 192), (3072, 128)) if info.key_bits >= size), 112)
    return {256: 128, 384: 192, 521: 256, 456: 224}.get(info.key_bits, info.key_bits // 2)


def _date(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M} UTC"


def _some(names: tuple[str, ...], most: int = 5) -> str:
    shown = ", ".join(names[:most])
    return shown if len(names) <= most else f"{shown} and {len(names) - most} more"
