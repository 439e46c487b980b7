"""Certificate files to values: each file read once, chain and key matched. Only the master and the commands come here.

Workers and the admin process never import this module, nor `chains` and `throwaway`: they alone import `cryptography`,
which costs 14 MiB. A pair that is returned from here loads into OpenSSL: what it would refuse is refused here, with
file and remedy.
"""

from __future__ import annotations

import hashlib
import warnings as python_warnings
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization

from terminator.errors import CertificateError
from terminator.tls import pem
from terminator.tls.chains import describe
from terminator.tls.files import FileBytes, read_file
from terminator.tls.material import (
    ClientAuthorities,
    Materials,
    Pair,
    known_authorities,
    known_pairs,
    renamed,
)

MAX_CHAIN = 20
"""Certificates in one chain; public ones have two or three, and clients stop at ten."""


def load_pair(chain: str, key: str) -> Pair:
    """Reads a chain and its key and proves that they belong together; CertificateError names file and remedy."""
    return Shelf().pair(chain, key)


class Shelf:
    """Reads each file once and parses nothing twice: neither within one load nor what is unchanged since the last."""

    def __init__(self, previous: Materials | None = None) -> None:
        self._files: dict[str, FileBytes] = {}
        self._pairs: Mapping[tuple[str, str], Pair] = known_pairs(previous)
        self._authorities: dict[str, ClientAuthorities] = dict(known_authorities(previous))
        self._by_digest: dict[str, Pair] = {}

    def pair(self, chain: str, key: str) -> Pair:
        """As `load_pair`."""
        chain_file = self._read(chain, "the certificate chain")
        key_file = self._read(key, "the private key")
        digest = _digest(chain_file.data, key_file.data)
        known = self._pairs.get((chain, key))
        if known is None or known.digest != digest:
            known = self._by_digest.get(digest)
        if known is None:
            known = _parse_pair(chain_file, key_file, digest)
        elif (known.chain_file, known.key_file, known.key_mode) != (chain, key, key_file.mode):
            known = renamed(known, chain, key, key_file.mode)
        self._by_digest[digest] = known
        return known

    def authorities(self, ca: str | None, crl: str | None) -> ClientAuthorities:
        """The client authorities and revocation lists of a host; CertificateError names file and remedy."""
        if ca is None:
            raise CertificateError("client_auth needs `ca`: the PEM file of the authorities that are accepted")
        ca_file = self._read(ca, "the list of client authorities")
        crl_file = self._read(crl, "the revocation list") if crl is not None else None
        digest = _digest(ca_file.data, crl_file.data if crl_file is not None else None)
        found = self._authorities.get(digest)
        if found is None:
            found = self._authorities[digest] = _parse_authorities(ca_file, crl_file, digest)
        return found

    def _read(self, path: str, what: str) -> FileBytes:
        file = self._files.get(path)
        if file is None:
            file = self._files[path] = read_file(path, what)
        return file


def _digest(*parts: bytes | None) -> str:
    """SHA-256 over parts of any length without a way to move bytes from one to the next."""
    total = hashlib.sha256()
    for part in parts:
        total.update(b"-" if part is None else len(part).to_bytes(8, "big") + hashlib.sha256(part).digest())
    return total.hexdigest()


# ------------------------------------------------------------------------------------------------ chain and key


def _parse_pair(chain_file: FileBytes, key_file: FileBytes, digest: str) -> Pair:
    ders = _certificates(chain_file, "the certificate chain")
    if len(ders) > MAX_CHAIN:
        raise CertificateError(
            f"{chain_file.path}: the certificate chain has {len(ders)} certificates, more than {MAX_CHAIN}; name the "
            "host's certificate and its intermediates, not a bundle of authorities"
        )
    chain = [_load_certificate(der, chain_file.path) for der in ders]
    key_pem, key = _load_key(key_file)
    _match(chain, key, chain_file.path, key_file.path)
    return Pair(
        chain_file=chain_file.path,
        key_file=key_file.path,
        key_mode=key_file.mode,
        chain_pem=b"".join(pem.armour("CERTIFICATE", der) for der in ders),
        key_pem=key_pem,
        info=describe(chain, key, chain_file.path),
        digest=digest,
    )


def _certificates(file: FileBytes, what: str) -> list[bytes]:
    """DER of each certificate in the file; other blocks (a key in the same file) are passed over."""
    found = pem.blocks(file.data, file.path, what)
    labels = {block.label for block in found}
    if "TRUSTED CERTIFICATE" in labels:
        raise CertificateError(
            f"{file.path}: holds an OpenSSL TRUSTED CERTIFICATE; convert it: openssl x509 -in {file.path} -out new.pem"
        )
    ders = [block.der(file.path) for block in found if block.label in pem.CERTIFICATE]
    if ders:
        return ders
    if labels & {"PKCS7", "CMS"}:
        hint = f"it holds PKCS #7; convert it: openssl pkcs7 -print_certs -in {file.path} -out new.pem"
    elif labels & {"CERTIFICATE REQUEST", "NEW CERTIFICATE REQUEST"}:
        hint = "it holds a signing request, not the certificate that the authority returned"
    elif labels & set(pem.PRIVATE_KEY):
        hint = "it holds a private key; are `chain` and `key` exchanged?"
    else:
        hint = f"it holds {', '.join(sorted(labels))}"
    raise CertificateError(f"{file.path}: {what} has no CERTIFICATE block; {hint}")


def _load_certificate(der: bytes, path: str) -> x509.Certificate:
    try:
        with python_warnings.catch_warnings():
            # cryptography warns of serial numbers and encodings that clients accept all the same
            python_warnings.simplefilter("ignore")
            certificate = x509.load_der_x509_certificate(der)
            certificate.public_key()
            list(certificate.extensions)
    except (ValueError, TypeError, UnsupportedAlgorithm, x509.DuplicateExtension) as error:
        raise CertificateError(f"{path}: a certificate in it cannot be parsed: {error}") from error
    return certificate


def _load_key(file: FileBytes) -> tuple[bytes, Any]:
    found = [b for b in pem.blocks(file.data, file.path, "the private key") if b.label in pem.PRIVATE_KEY]
    if not found:
        raise CertificateError(
            f"{file.path}: the private key has no PRIVATE KEY block; are `chain` and `key` exchanged?"
        )
    if len(found) > 1:
        raise CertificateError(f"{file.path}: holds {len(found)} private keys; leave the one of this certificate")
    block = found[0]
    if block.label.startswith("ENCRYPTED") or block.headers:
        raise CertificateError(
            f"{file.path}: the private key is encrypted, and nobody is there to type its password; decrypt it: "
            f"openssl pkey -in {file.path} -out new.pem"
        )
    try:
        key: Any = serialization.load_pem_private_key(block.text, None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise CertificateError(f"{file.path}: the private key cannot be parsed; is the file damaged?") from error
    return block.text, key


def _match(chain: list[x509.Certificate], key: Any, chain_path: str, key_path: str) -> None:
    own = _spki(key.public_key())
    if _spki(chain[0].public_key()) == own:
        return
    for place, certificate in enumerate(chain[1:], 2):
        if _spki(certificate.public_key()) == own:
            raise CertificateError(
                f"{chain_path}: the chain is out of order: the certificate of the key {key_path} is number {place} in "
                "it; put it first"
            )
    raise CertificateError(
        f"{chain_path}: the certificate does not belong to the key {key_path}; a renewal may be half-written, or the "
        "files are of different hosts"
    )


def _spki(key: Any) -> bytes:
    encoded: bytes = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return encoded


# ------------------------------------------------------------------------------------------- client authorities


def _parse_authorities(ca_file: FileBytes, crl_file: FileBytes | None, digest: str) -> ClientAuthorities:
    ders = list(dict.fromkeys(_certificates(ca_file, "the list of client authorities")))
    ends = []
    for der in ders:
        certificate = _load_certificate(der, ca_file.path)
        ends.append(certificate.not_valid_after_utc)
    crl_pem, next_update = (None, None) if crl_file is None else _parse_crls(crl_file)
    return ClientAuthorities(
        ca_pem=b"".join(pem.armour("CERTIFICATE", der) for der in ders),
        ca_not_after=max(ends),
        crl_pem=crl_pem,
        crl_next_update=next_update,
        digest=digest,
    )


def _parse_crls(file: FileBytes) -> tuple[bytes, datetime | None]:
    found = [block for block in pem.blocks(file.data, file.path, "the revocation list") if block.label in pem.CRL]
    if not found:
        raise CertificateError(
            f"{file.path}: the revocation list has no X509 CRL block; convert DER: openssl crl -inform DER -in "
            f"{file.path} -out new.pem"
        )
    ends = []
    for block in found:
        try:
            crl = x509.load_der_x509_crl(block.der(file.path))
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise CertificateError(f"{file.path}: a revocation list in it cannot be parsed: {error}") from error
        if crl.next_update_utc is not None:
            ends.append(crl.next_update_utc)
    return b"".join(block.text for block in found), min(ends, default=None)
