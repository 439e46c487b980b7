"""What a parsed chain says and what is wrong with it: names, times, kind of key, order, gaps, signatures too weak.

Imports `cryptography`: see `certificates`.
"""

from __future__ import annotations

from itertools import pairwise
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed448, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtensionOID, NameOID

from terminator.errors import CertificateError
from terminator.tls.material import CertificateInfo

MIN_RSA_BITS, MIN_EC_BITS = 2048, 256
"""112 and 128 bits of security: what OpenSSL's security level 2 demands, and the public authorities."""


def describe(chain: list[x509.Certificate], key: Any, path: str) -> CertificateInfo:
    """What is told of a chain and its key. CertificateError for what OpenSSL or clients would refuse; what only some
    clients cannot do with is among `chain_problems`. path: the file, for the message."""
    leaf = chain[0]
    key_type, key_bits = _key_kind(key, path)
    if _must_staple(leaf):
        raise CertificateError(
            f"{path}: the certificate demands OCSP stapling (must-staple, RFC 7633), which terminator cannot do; "
            "clients would refuse it: ask the authority for one without"
        )
    for place, certificate in enumerate(chain, 1):
        _refuse_weak_signature(certificate, place, path)
    return CertificateInfo(
        serial=f"{leaf.serial_number:x}",
        subject=leaf.subject.rfc4514_string(),
        issuer=leaf.issuer.rfc4514_string(),
        names=_names(leaf),
        not_before=leaf.not_valid_before_utc,
        not_after=leaf.not_valid_after_utc,
        key_type=key_type,
        key_bits=key_bits,
        sha256=leaf.fingerprint(hashes.SHA256()).hex(),
        chain_length=len(chain),
        chain_problems=tuple(_chain_problems(chain)),
        chain_not_after=min((c.not_valid_after_utc for c in chain[1:]), default=None),
    )


def _key_kind(key: Any, path: str) -> tuple[str, int]:
    if isinstance(key, rsa.RSAPrivateKey):
        if key.key_size < MIN_RSA_BITS:
            raise CertificateError(
                f"{path}: its RSA key has {key.key_size} bits, OpenSSL and clients demand {MIN_RSA_BITS}; renew with a "
                "P-256 or an RSA-2048 key"
            )
        return "rsa", key.key_size
    if isinstance(key, ec.EllipticCurvePrivateKey):
        if key.curve.key_size < MIN_EC_BITS:
            raise CertificateError(f"{path}: its key is on {key.curve.name}, which is too weak; renew with a P-256 key")
        return "ecdsa", key.curve.key_size
    if isinstance(key, ed25519.Ed25519PrivateKey):
        return "ed25519", 256
    if isinstance(key, ed448.Ed448PrivateKey):
        return "ed448", 456
    kind = "DSA" if isinstance(key, dsa.DSAPrivateKey) else type(key).__name__
    raise CertificateError(f"{path}: a {kind} key cannot serve TLS; renew with a P-256 or an RSA-2048 key")


def _must_staple(certificate: x509.Certificate) -> bool:
    try:
        feature = certificate.extensions.get_extension_for_class(x509.TLSFeature).value
    except x509.ExtensionNotFound:
        return False
    return x509.TLSFeatureType.status_request in feature or x509.TLSFeatureType.status_request_v2 in feature


def _refuse_weak_signature(certificate: x509.Certificate, place: int, path: str) -> None:
    if certificate.issuer == certificate.subject:
        return  # nobody checks the signature of a root
    try:
        algorithm = certificate.signature_hash_algorithm
    except UnsupportedAlgorithm:
        return  # one too new for us to name; OpenSSL decides
    if isinstance(algorithm, (hashes.MD5, hashes.SHA1)):
        raise CertificateError(
            f"{path}: certificate {place} of the chain is signed with {algorithm.name.upper()}, which OpenSSL and "
            "clients refuse; renew it"
        )


def _names(certificate: x509.Certificate) -> tuple[str, ...]:
    """subjectAltNames only: no current client looks at the common name (RFC 9525 §2)."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    dns = [name.lower().removesuffix(".") for name in found.get_values_for_type(x509.DNSName)]
    return (*dns, *(str(address) for address in found.get_values_for_type(x509.IPAddress)))


def _chain_problems(chain: list[x509.Certificate]) -> list[str]:
    problems = []
    for place, (lower, upper) in enumerate(pairwise(chain), 1):
        if lower.issuer == upper.subject:
            try:
                lower.verify_directly_issued_by(upper)
            except (InvalidSignature, ValueError, TypeError):
                problems.append(
                    f"certificate {place + 1} has the issuer's name of certificate {place}, but did not sign it"
                )
            except UnsupportedAlgorithm:
                pass  # cannot be judged here; clients do
        elif lower.issuer == lower.subject:
            problems.append(f"certificate {place} is a root, what follows it is not needed")
        elif any(lower.issuer == other.subject for other in chain):
            problems.append(
                f"out of order: certificate {place + 1} is not the issuer of certificate {place}, a later one is"
            )
        else:
            problems.append(
                f"certificate {place + 1} ({_short(upper.subject)}) is not the issuer of certificate {place}"
            )
    if len(chain) == 1 and _fetches_issuer(chain[0]):
        problems.append(
            f"incomplete: the intermediate certificate {_short(chain[0].issuer)} is missing, many clients will not "
            "trust the host; use the authority's full chain"
        )
    return problems


def _fetches_issuer(certificate: x509.Certificate) -> bool:
    """Public authorities always issue from an intermediate, and say where to fetch it; private roots hardly ever do."""
    if certificate.issuer == certificate.subject:
        return False
    try:
        access = certificate.extensions.get_extension_for_oid(ExtensionOID.AUTHORITY_INFORMATION_ACCESS).value
    except x509.ExtensionNotFound:
        return False
    assert isinstance(access, x509.AuthorityInformationAccess)
    return any(entry.access_method == AuthorityInformationAccessOID.CA_ISSUERS for entry in access)


def _short(name: x509.Name) -> str:
    common = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(common[0].value) if common else name.rfc4514_string()
