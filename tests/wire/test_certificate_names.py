from __future__ import annotations

from datetime import UTC, datetime

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.name import _ASN1Type
from cryptography.x509.oid import NameOID, ObjectIdentifier
from hypothesis import given
from hypothesis import strategies as st

from terminator.wire.certificate_names import CertificateNames, first_certificate, read_names

KEY = ec.generate_private_key(ec.SECP256R1())


def issue(subject: x509.Name, issuer: x509.Name, serial: int = 0xBEEF) -> bytes:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(KEY.public_key())
        .serial_number(serial)
        .not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
        .not_valid_after(datetime(2027, 1, 1, tzinfo=UTC))
        .sign(KEY, hashes.SHA256())
        .public_bytes(serialization.Encoding.DER)
    )


def attribute(oid: ObjectIdentifier, value: str, kind: _ASN1Type | None = None) -> x509.NameAttribute:
    return x509.NameAttribute(oid, value, kind)


USUAL = issue(x509.Name([attribute(NameOID.COMMON_NAME, "alice")]), x509.Name([attribute(NameOID.COMMON_NAME, "ca")]))


def test_every_kind_of_attribute_and_string() -> None:
    subject = x509.Name(
        [
            x509.RelativeDistinguishedName([attribute(NameOID.COUNTRY_NAME, "DE")]),
            x509.RelativeDistinguishedName([attribute(NameOID.ORGANIZATION_NAME, "Müller, Söhne")]),
            x509.RelativeDistinguishedName(
                [
                    attribute(NameOID.COMMON_NAME, "brief", _ASN1Type.BMPString),
                    attribute(NameOID.SERIAL_NUMBER, "7", _ASN1Type.PrintableString),
                ]
            ),
            x509.RelativeDistinguishedName([attribute(NameOID.EMAIL_ADDRESS, "a@b", _ASN1Type.IA5String)]),
            x509.RelativeDistinguishedName([attribute(NameOID.TITLE, "latin é", _ASN1Type.T61String)]),
            x509.RelativeDistinguishedName([attribute(ObjectIdentifier("1.3.6.1.4.1.99999.1"), "own")]),
            x509.RelativeDistinguishedName([attribute(NameOID.GIVEN_NAME, "😀", _ASN1Type.UniversalString)]),
        ]
    )
    found = read_names(issue(subject, x509.Name([]), serial=0xFF01))
    assert found is not None
    assert (found.issuer, found.serial) == ((), "FF01")
    flat = [sorted(relative) for relative in found.subject]
    assert flat[:4] == [
        [("countryName", "DE")],
        [("organizationName", "Müller, Söhne")],
        [("commonName", "brief"), ("serialNumber", "7")],
        [("emailAddress", "a@b")],
    ]
    assert flat[5:] == [[("1.3.6.1.4.1.99999.1", "own")], [("givenName", "😀")]]


@pytest.mark.parametrize("end", range(0, 240, 3))
def test_a_certificate_that_ends_early_is_none(end: int) -> None:
    assert read_names(USUAL[:end]) is None


@given(st.binary(max_size=300), st.integers(0, len(USUAL) - 1), st.integers(0, 255))
def test_any_bytes_may_come(data: bytes, place: int, byte: int) -> None:
    mutated = USUAL[:place] + bytes([byte]) + USUAL[place + 1 :]
    for der in (data, b"\x30" + data, mutated, USUAL[:place] + data):
        assert isinstance(read_names(der), CertificateNames | None)
    for tls13 in (True, False):
        assert isinstance(first_certificate(data, tls13=tls13), bytes | None)


@pytest.mark.parametrize("tls13", [True, False])
def test_the_first_of_a_message(tls13: bool) -> None:
    def message(*certificates: bytes) -> bytes:
        end = b"\0\0" if tls13 else b""
        body = b"".join(len(each).to_bytes(3, "big") + each + end for each in certificates)
        body = (b"\0" if tls13 else b"") + len(body).to_bytes(3, "big") + body
        return b"\x0b" + len(body).to_bytes(3, "big") + body

    assert first_certificate(message(b"one", b"two"), tls13=tls13) == b"one"
    assert first_certificate(message(), tls13=tls13) is None
    for end in range(len(message(b"one"))):
        found = first_certificate(message(b"one")[:end], tls13=tls13)
        assert found in (None, b"one")
