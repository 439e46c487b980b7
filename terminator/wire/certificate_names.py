"""Whom a certificate names, read from its bytes alone (RFC 5280 §4.1): for certificates that have proved nothing.

OpenSSL gives away no certificate that it has not verified, and what it would make of a hostile one is best not asked.
So this reads the three values that the log tells, in a few lines that any bytes may be given to.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

Relative = tuple[tuple[str, str], ...]
"""The attributes of one relative distinguished name: type, value."""


@dataclass(frozen=True, slots=True)
class CertificateNames:
    """Types of attributes are named as OpenSSL does (commonName, …), others by their number. serial: upper-case hex."""

    subject: tuple[Relative, ...]
    issuer: tuple[Relative, ...]
    serial: str


def first_certificate(message: bytes, *, tls13: bool) -> bytes | None:
    """The client's own certificate in a Certificate message, header included (RFC 5246 §7.4.6, RFC 8446 §4.4.2); None
    when it sent an empty list, or what is no such message."""
    place = 4 + (1 + message[4] if tls13 and len(message) > 4 else 0) + 3
    end = place + 3 + int.from_bytes(message[place : place + 3], "big")
    return message[place + 3 : end] if place + 3 < end <= len(message) else None


def read_names(der: bytes) -> CertificateNames | None:
    """None for what is no certificate."""
    try:
        whole = _enter(der, 0, SEQUENCE)
        inner = _enter(der, whole[0], SEQUENCE)
        tag, start, end = _element(der, inner[0])
        if tag == VERSION:
            tag, start, end = _element(der, end)
        if tag != INTEGER:
            return None
        serial = der[start:end].hex().upper()
        _, _, end = _element(der, end)  # algorithm of the signature
        issuer = _enter(der, end, SEQUENCE)
        _, _, end = _element(der, issuer[1])  # validity
        subject = _enter(der, end, SEQUENCE)
        return CertificateNames(_name(der, *subject), _name(der, *issuer), _plain_hex(serial))
    except (ValueError, IndexError):
        return None


def _name(der: bytes, start: int, end: int) -> tuple[Relative, ...]:
    relatives = []
    while start < end:
        place, stop = _enter(der, start, SET)
        attributes = []
        while place < stop:
            inner, place = _enter(der, place, SEQUENCE)
            type_start, type_end = _enter(der, inner, OBJECT_IDENTIFIER)
            tag, value_start, value_end = _element(der, type_end)
            kind = der[type_start:type_end]
            name = _TYPES.get(kind) or _dotted(kind)
            attributes.append((name, der[value_start:value_end].decode(_ENCODINGS.get(tag, "latin-1"), "replace")))
        relatives.append(tuple(attributes))
        start = stop
    return tuple(relatives)


def _element(der: bytes, place: int) -> tuple[int, int, int]:
    """Tag, start and end of the content of the element at `place`."""
    tag, length, start = der[place], der[place + 1], place + 2
    if length & 0x80:
        count = length & 0x7F
        if not 0 < count <= 3:
            raise ValueError("a length that no certificate has")
        length, start = int.from_bytes(der[start : start + count], "big"), start + count
    if start + length > len(der):
        raise ValueError("an element beyond the end")
    return tag, start, start + length


def _enter(der: bytes, place: int, wanted: int) -> tuple[int, int]:
    tag, start, end = _element(der, place)
    if tag != wanted:
        raise ValueError(f"tag {tag} where {wanted} is due")
    return start, end


def _dotted(kind: bytes) -> str:
    """An object identifier as numbers (X.690 §8.19)."""
    arcs, value = [], 0
    for byte in kind[:32]:
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            arcs.append(value)
            value = 0
    if not arcs:
        raise ValueError("an empty object identifier")
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _plain_hex(serial: str) -> str:
    """Without the byte that only keeps a number positive, as OpenSSL writes it."""
    return serial[2:] if len(serial) > 2 and serial.startswith("00") else serial


INTEGER, OBJECT_IDENTIFIER, SEQUENCE, SET, VERSION = 0x02, 0x06, 0x30, 0x31, 0xA0
_ENCODINGS: Final = {12: "utf-8", 28: "utf-32-be", 30: "utf-16-be"}  # UTF8String, UniversalString, BMPString
_TYPES: Final = {
    bytes.fromhex(encoded): name
    for encoded, name in (
        ("550403", "commonName"),
        ("550404", "surname"),
        ("550405", "serialNumber"),
        ("550406", "countryName"),
        ("550407", "localityName"),
        ("550408", "stateOrProvinceName"),
        ("550409", "streetAddress"),
        ("55040a", "organizationName"),
        ("55040b", "organizationalUnitName"),
        ("55040c", "title"),
        ("55042a", "givenName"),
        ("55042e", "dnQualifier"),
        ("0992268993f22c640101", "userId"),
        ("0992268993f22c640119", "domainComponent"),
        ("2a864886f70d010901", "emailAddress"),
    )
}
