"""PEM as operators have it: which blocks stand in a file, and what to say when none does (RFC 7468)."""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass, field

from terminator.errors import CertificateError

CERTIFICATE = ("CERTIFICATE", "X509 CERTIFICATE")
PRIVATE_KEY = ("PRIVATE KEY", "RSA PRIVATE KEY", "EC PRIVATE KEY", "DSA PRIVATE KEY", "ENCRYPTED PRIVATE KEY")
CRL = ("X509 CRL",)

_BLOCK = re.compile(rb"-----BEGIN ([A-Z0-9 #]+)-----[ \t]*\n(.*?)-----END \1-----", re.DOTALL)
_BEGIN = re.compile(rb"-----BEGIN ([A-Z0-9 #]+)-----")


@dataclass(frozen=True, slots=True)
class Block:
    """One PEM block. `text` is the whole of it with plain line ends; `headers` tells of RFC 1421 header lines."""

    label: str
    text: bytes = field(repr=False)
    headers: bool

    def der(self, path: str) -> bytes:
        """The bytes inside; CertificateError if they are no Base64."""
        body = self.text.split(b"\n", 1)[1].rsplit(b"-----END", 1)[0]
        try:
            return base64.b64decode(b"".join(body.split()), validate=True)
        except binascii.Error as error:
            raise CertificateError(f"{path}: the Base64 of a {self.label} block is damaged: {error}") from error


def blocks(data: bytes, path: str, what: str) -> list[Block]:
    """All PEM blocks of a file; text around them, CRLF and a byte order mark do not matter. CertificateError if none.

    A block that begins and does not end is refused: the file is half-written.
    """
    raw = data
    data = raw.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    found = [
        Block(match[1].decode("ascii"), match[0] + b"\n", b"\nProc-Type:" in match[0])
        for match in _BLOCK.finditer(data)
    ]
    if len(found) != len(_BEGIN.findall(data)):
        raise CertificateError(f"{path}: {what} has a PEM block that does not end; the file is cut off or half-written")
    if not found:
        raise CertificateError(f"{path}: {what} {_not_pem(raw, path)}")
    return found


def armour(label: str, der: bytes) -> bytes:
    """The PEM block of these bytes."""
    text = base64.b64encode(der)
    lines = b"\n".join(text[at : at + 64] for at in range(0, len(text), 64))
    name = label.encode("ascii")
    return b"-----BEGIN " + name + b"-----\n" + lines + b"\n-----END " + name + b"-----\n"


def _not_pem(data: bytes, path: str) -> str:
    if data[:1] == b"\x30" and len(data) > 1 and data[1] & 0x80:
        if b"\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01" in data[:64]:
            return f"is PKCS #12, not PEM; convert it: openssl pkcs12 -in {path} -nodes -out {path}.pem"
        return f"is DER, not PEM; convert it: openssl x509 -inform DER -in {path} -out {path}.pem (a key: openssl pkey)"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "is UTF-16 text; save it as plain ASCII"
    return "holds no PEM block (-----BEGIN ...-----)"
