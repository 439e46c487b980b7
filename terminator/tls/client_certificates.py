"""Who a client is by its certificate, and whether the host lets it in: the last word after OpenSSL's own verification.

OpenSSL has verified chain, validity and revocation in a full handshake. A resumed session brings its old verdict with
it, up to hours old, so what time changes is looked at again here for every connection: the end of the certificate and
of the revocation lists. A changed list or authority needs no look: it changes the ticket key.
"""

from __future__ import annotations

import _ssl
import hashlib
import re
import ssl
from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

from terminator.errors import HandshakeError
from terminator.tls.material import HostMaterial
from terminator.wire.client_side import ClientCertificate

Allow = Callable[["Names"], bool]
Names = dict[str, tuple[str, ...]]
"""Attribute values of the subject and subjectAltNames by kind, as patterns name them: `CN=`, `DNS:` …"""

_ATTRIBUTES = {
    "commonName": "CN",
    "organizationName": "O",
    "organizationalUnitName": "OU",
    "countryName": "C",
    "stateOrProvinceName": "ST",
    "localityName": "L",
    "streetAddress": "STREET",
    "domainComponent": "DC",
    "userId": "UID",
}
_KINDS = {"CN=": "CN=", "O=": "O=", "OU=": "OU=", "DNS:": "DNS:", "URI:": "URI:", "EMAIL:": "email:", "IP:": "IP:"}
_ALTERNATIVES = {"DNS": "DNS:", "URI": "URI:", "email": "email:", "IP Address": "IP:"}


def examiner(material: HostMaterial) -> Callable[[ssl.SSLSocket], ClientCertificate | None] | None:
    """What looks at each connection of a host, by the clock of that moment; None where no certificate is asked for."""
    if material.policy.client_auth.mode == "none":
        return None
    return lambda connection: examine(connection, material, datetime.now(UTC))


def examine(
    connection: ssl.SSLSocket | ssl.SSLObject, material: HostMaterial, now: datetime
) -> ClientCertificate | None:
    """The client's verified certificate after a handshake, full or resumed; None when it sent none and may.

    Raises HandshakeError (phase `handshake`) when the client may not come in after all:
    client_cert_missing, client_cert_expired, client_cert_not_allowed, client_crl_expired, client_chain_too_long. The
    handshake is over by then, so there is no alert to send: close the connection.
    """
    auth = material.policy.client_auth
    if auth.mode == "none":
        return None
    decoded: dict[str, Any] | None = connection.getpeercert()
    der = connection.getpeercert(binary_form=True)
    if not decoded or der is None:
        if auth.mode == "require":
            raise _refusal("missing", "the host requires a client certificate and the session has none")
        return None
    chain = _verified_chain(connection)
    certificate = ClientCertificate(
        der=der,
        chain_der=tuple(chain[1:-1]),
        subject=distinguished_name(decoded.get("subject", ())),
        issuer=distinguished_name(decoded.get("issuer", ())),
        serial=str(decoded.get("serialNumber", "")),
        sha256=hashlib.sha256(der).hexdigest(),
    )
    who = f"{certificate.subject} (serial {certificate.serial})"
    if now.timestamp() > ssl.cert_time_to_seconds(decoded["notAfter"]):
        raise _refusal("expired", f"the certificate of {who} expired on {decoded['notAfter']}")
    end = material.authorities.crl_next_update if material.authorities is not None else None
    if end is not None and end < now:
        raise HandshakeError(
            "client_crl_expired", "handshake", f"the revocation list expired on {end:%Y-%m-%d %H:%M} UTC; sent by {who}"
        )
    if len(chain) - 2 > auth.depth:  # OpenSSL saw to it where `Capabilities.verify_depth` is given
        raise HandshakeError(
            "client_chain_too_long", "handshake", f"{len(chain) - 2} intermediates in the chain of {who}"
        )
    if auth.allow and not allows(auth.allow, names(decoded)):
        raise _refusal("not_allowed", f"no pattern of `allow` matches {who}")
    return certificate


def _refusal(what: str, detail: str) -> HandshakeError:
    return HandshakeError(f"client_cert_{what}", "handshake", detail)


# --------------------------------------------------------------------------------------------------------- allow


def allows(patterns: Iterable[str], own: Names) -> bool:
    """Does one of the patterns match one of the certificate's names?"""
    for pattern in patterns:
        kind, expression = _pattern(pattern)
        if any(expression.fullmatch(value) for value in own.get(kind, ())):
            return True
    return False


def pattern_problems(patterns: Iterable[str]) -> list[str]:
    """What is wrong with patterns of `allow`, one text each."""
    problems = []
    for pattern in patterns:
        try:
            _pattern(pattern)
        except ValueError as error:
            problems.append(f"client_auth.allow: {error}")
    return problems


def names(decoded: dict[str, Any]) -> Names:
    """The names in what `getpeercert()` returns."""
    found: dict[str, list[str]] = {}
    for relative in decoded.get("subject", ()):
        for attribute, value in relative:
            kind = _ATTRIBUTES.get(attribute)
            if kind is not None:
                found.setdefault(f"{kind}=", []).append(value)
    for kind, value in decoded.get("subjectAltName", ()):
        if kind in _ALTERNATIVES:
            found.setdefault(_ALTERNATIVES[kind], []).append(value)
    return {kind: tuple(values) for kind, values in found.items()}


_compiled: dict[str, tuple[str, re.Pattern[str]]] = {}


def _pattern(text: str) -> tuple[str, re.Pattern[str]]:
    """Kind and expression. `*` stands for any text, in DNS names for one label or a part of one.

    DNS names, e-mail addresses and kinds are compared without regard to case, all else as written.
    """
    known = _compiled.get(text)
    if known is None:
        match = re.match(r"[A-Za-z]+[=:]", text)
        kind = _KINDS.get(match[0].upper()) if match else None
        if match is None or kind is None:
            raise ValueError(f"{text!r} does not begin with one of {', '.join(_KINDS.values())}")
        value = text[match.end() :]
        if not value:
            raise ValueError(f"{text!r} names nothing; `{kind}*` matches every certificate that has one")
        anything = "[^.]*" if kind == "DNS:" else ".*"
        flags = re.DOTALL | (re.IGNORECASE if kind in ("DNS:", "email:") else 0)
        expression = re.compile(anything.join(map(re.escape, value.split("*"))), flags)
        # Bounded by what configurations have ever held; a process sees few generations of few patterns.
        known = _compiled[text] = (kind, expression)
    return known


# --------------------------------------------------------------------------------------------------------- names


def distinguished_name(relatives: Iterable[Iterable[tuple[str, str]]]) -> str:
    """RFC 4514 text of a name as `getpeercert()` gives it, the most specific part first."""
    parts = ["+".join(f"{_ATTRIBUTES.get(key, key)}={_escape(value)}" for key, value in rdn) for rdn in relatives]
    return ",".join(reversed(parts))


def _escape(value: str) -> str:
    """RFC 4514 §2.4."""
    text = re.sub(r'([,+"\\<>;])', r"\\\1", value).replace("\0", "\\00")
    if text.startswith((" ", "#")):
        text = "\\" + text
    if text.endswith(" ") and len(value) > 1:
        text = text[:-1] + "\\ "
    return text


def _verified_chain(connection: ssl.SSLSocket | ssl.SSLObject) -> list[bytes]:
    """DER from the client's certificate up to its anchor; empty in a resumed session, which does not carry it.

    Public since Python 3.13; before, the same call on the inner object.
    """
    inner: Any = connection._sslobj  # type: ignore[union-attr]
    chain = inner.get_verified_chain()
    return [certificate.public_bytes(_ssl.ENCODING_DER) for certificate in chain or ()]
