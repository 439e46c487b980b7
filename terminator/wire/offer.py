"""What a client offers in its ClientHello beside the name: versions, cipher suites, groups, signature algorithms, ALPN.

Most clients make the same offer again and again, so one that has been read is remembered by its bytes. Nothing secret
is among them, and neither random values nor keys nor the server's name.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import Final

from terminator.wire import ja4

_REMEMBERED = 1024
_MAX_REMEMBERED_BYTES = 512
"""Larger offers are not remembered: strangers choose their size."""


class OfferError(ValueError):
    """Lengths within the offer do not add up."""


@dataclass(frozen=True)
class Offer:
    """RFC 8446 §4.1.2. Numbers are as offered, in the client's order, GREASE (RFC 8701) included; the texts are for log
    lines, in the client's order too, and without GREASE."""

    legacy_version: int
    versions: tuple[int, ...]
    """supported_versions; for a client that knows no such extension, every version up to legacy_version."""
    ciphers: tuple[int, ...]
    groups: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    alpn: tuple[bytes, ...]
    extensions: tuple[int, ...]

    @cached_property
    def versions_text(self) -> str:
        """`1.3,1.2`: highest first, as an operator writes them in `min_version`."""
        known = sorted(set(self.versions) & VERSION_NAMES.keys(), reverse=True)
        return ",".join(VERSION_NAMES[version] for version in known)

    @cached_property
    def groups_text(self) -> str:
        """`X25519MLKEM768,x25519,secp256r1`: names of IANA's registry; others in hex."""
        return ",".join(GROUP_NAMES.get(group) or f"0x{group:04x}" for group in without_grease(self.groups))

    @cached_property
    def ciphers_hex(self) -> str:
        """Four hex digits a suite, without separators."""
        suites = without_grease(self.ciphers)
        return struct.pack(f">{len(suites)}H", *suites).hex()

    @cached_property
    def alpn_text(self) -> str:
        """`h2,http/1.1`; bytes outside printable ASCII as `\\xNN`."""
        return ",".join(printable(name) for name in self.alpn if not _is_grease_name(name))

    @cached_property
    def post_quantum(self) -> bool:
        return not POST_QUANTUM.isdisjoint(self.groups)

    @cached_property
    def ja4(self) -> str:
        """The JA4 fingerprint of this offer over TCP."""
        with_versions = VERSIONS in self.extensions
        return ja4.fingerprint(
            version=max(without_grease(self.versions) if with_versions else [self.legacy_version], default=0),
            has_server_name=SERVER_NAME in self.extensions,
            ciphers=without_grease(self.ciphers),
            extensions=without_grease(self.extensions),
            signature_algorithms=without_grease(self.signature_algorithms),
            alpn=self.alpn[0] if self.alpn else b"",
        )


def read_offer(legacy_version: int, ciphers: bytes, extensions: Mapping[int, bytes]) -> Offer:
    """The offer in the cipher suites and extensions (body by type, in the client's order) of a hello. OfferError."""
    body_of = extensions.get
    parts = (
        tuple(extensions),
        ciphers,
        body_of(VERSIONS, b""),
        body_of(GROUPS, b""),
        body_of(SIGNATURES, b""),
        body_of(ALPN, b""),
    )
    if sum(map(len, parts)) > _MAX_REMEMBERED_BYTES:
        return _read.__wrapped__(legacy_version, *parts)
    return _read(legacy_version, *parts)


@lru_cache(maxsize=_REMEMBERED)
def _read(
    legacy_version: int,
    extensions: tuple[int, ...],
    ciphers: bytes,
    versions: bytes,
    groups: bytes,
    signature_algorithms: bytes,
    alpn: bytes,
) -> Offer:
    """Of extensions that are not in `extensions` the body is empty."""
    return Offer(
        legacy_version,
        _numbers(versions, 1) if VERSIONS in extensions else _versions_up_to(legacy_version),
        struct.unpack(f">{len(ciphers) >> 1}H", ciphers),
        _numbers(groups, 2) if GROUPS in extensions else (),
        _numbers(signature_algorithms, 2) if SIGNATURES in extensions else (),
        _names(alpn) if ALPN in extensions else (),
        extensions,
    )


def _numbers(body: bytes, prefix: int) -> tuple[int, ...]:
    """A non-empty list of 16-bit numbers that fills its extension behind a length of `prefix` bytes."""
    size = len(body) - prefix
    if size < 2 or size & 1 or int.from_bytes(body[:prefix], "big") != size:
        raise OfferError("the lengths of an extension do not add up")
    return struct.unpack_from(f">{size >> 1}H", body, prefix)


def _names(body: bytes) -> tuple[bytes, ...]:
    """RFC 7301 §3.1: a list of non-empty names."""
    end = len(body)
    if end < 4 or int.from_bytes(body[:2], "big") != end - 2:
        raise OfferError("the ALPN extension's lengths do not add up")
    names = []
    at = 2
    while at < end:
        size = body[at]
        names.append(body[at + 1 : at + 1 + size])
        at += 1 + size
        if not size or at > end:
            raise OfferError("the ALPN extension's lengths do not add up")
    return tuple(names)


def _versions_up_to(legacy_version: int) -> tuple[int, ...]:
    """Without supported_versions a client means the highest version that it knows, at most 1.2 (RFC 8446 §4.2.1)."""
    return tuple(range(min(legacy_version, 0x0303), 0x0300, -1)) or (legacy_version,)


def without_grease(values: Iterable[int]) -> list[int]:
    """What remains without the reserved values 0x0a0a, 0x1a1a, … 0xfafa (RFC 8701 §2)."""
    return [value for value in values if value not in GREASE]


def _is_grease_name(name: bytes) -> bool:
    """RFC 8701 §2 reserves the two byte protocol names 0x0A0A, 0x1A1A, … 0xFAFA."""
    return len(name) == 2 and name[0] == name[1] and name[0] & 0x0F == 0x0A


def printable(raw: bytes) -> str:
    """For texts: what is no printable ASCII as `\\xNN`."""
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in raw)


SERVER_NAME, GROUPS, SIGNATURES, ALPN, VERSIONS = 0, 10, 13, 16, 43

GREASE: Final = frozenset(0x0A0A + 0x1010 * n for n in range(16))
VERSION_NAMES: Final = {0x0300: "SSL3", 0x0301: "1.0", 0x0302: "1.1", 0x0303: "1.2", 0x0304: "1.3"}
GROUP_NAMES: Final = {
    0x0015: "secp224r1",
    0x0017: "secp256r1",
    0x0018: "secp384r1",
    0x0019: "secp521r1",
    0x001D: "x25519",
    0x001E: "x448",
    0x001F: "brainpoolP256r1tls13",
    0x0020: "brainpoolP384r1tls13",
    0x0021: "brainpoolP512r1tls13",
    0x0100: "ffdhe2048",
    0x0101: "ffdhe3072",
    0x0102: "ffdhe4096",
    0x0103: "ffdhe6144",
    0x0104: "ffdhe8192",
    0x0200: "MLKEM512",
    0x0201: "MLKEM768",
    0x0202: "MLKEM1024",
    0x11EB: "SecP256r1MLKEM768",
    0x11EC: "X25519MLKEM768",
    0x11ED: "SecP384r1MLKEM1024",
    0x6399: "X25519Kyber768Draft00",
    0x639A: "P256Kyber768Draft00",
}
POST_QUANTUM: Final = frozenset({0x0200, 0x0201, 0x0202, 0x11EB, 0x11EC, 0x11ED, 0x6399, 0x639A})
