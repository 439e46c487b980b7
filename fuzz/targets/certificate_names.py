"""Names of a certificate: any bytes have some or none, and where `cryptography` reads a certificate we read it too."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from terminator.wire.certificate_names import first_certificate, read_names

warnings.simplefilter("ignore")


def seeds() -> Iterator[bytes]:
    key = ec.generate_private_key(ec.SECP256R1())
    for names in ([], [(NameOID.COMMON_NAME, "alice")], [(NameOID.COUNTRY_NAME, "DE"), (NameOID.EMAIL_ADDRESS, "a@b")]):
        name = x509.Name([x509.NameAttribute(oid, value) for oid, value in names])
        yield (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(0xABCDEF)
            .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
            .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
            .sign(key, hashes.SHA256())
            .public_bytes(serialization.Encoding.DER)
        )


def check(data: bytes) -> None:
    for tls13 in (True, False):
        first_certificate(data, tls13=tls13)
    found = read_names(data)
    try:
        certificate = x509.load_der_x509_certificate(data)
        serial, subject, issuer = certificate.serial_number, certificate.subject, certificate.issuer
    except (ValueError, TypeError, x509.InvalidVersion):
        return
    assert found is not None, "a certificate without names"
    assert len(found.subject) == len(subject.rdns)
    assert len(found.issuer) == len(issuer.rdns)
    assert serial < 0 or int(found.serial, 16) == serial
