"""ClientHellos that no TLS library would send, and what a server says first. Bytes in, values out; no I/O.

Old versions, suites without encryption and groups that nobody offers any more can be asked for only by writing the
hello by hand. It need not lead to a connection: a server that answers with its own hello has agreed.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from struct import pack
from typing import Final, Literal

from terminator.tls.alerts import ALERTS

SSL3, TLS10, TLS11, TLS12, TLS13 = 0x0300, 0x0301, 0x0302, 0x0303, 0x0304

GROUPS: Final = {
    "P-256": 23,
    "P-384": 24,
    "P-521": 25,
    "X25519": 29,
    "X448": 30,
    "SecP256r1MLKEM768": 0x11EB,
    "X25519MLKEM768": 0x11EC,
    "SecP384r1MLKEM1024": 0x11ED,
}
"""IANA's numbers of the groups that a configuration may name."""
EVERY_GROUP: Final = (*range(1, 34), *range(256, 261), 0x0200, 0x0201, 0x0202, 0x11EB, 0x11EC, 0x11ED)
"""IANA's registry TLS Supported Groups: curves that are hardly known, finite fields (RFC 7919), post-quantum ones."""
TLS13_SUITES: Final = {
    "TLS_AES_128_GCM_SHA256": 0x1301,
    "TLS_AES_256_GCM_SHA384": 0x1302,
    "TLS_CHACHA20_POLY1305_SHA256": 0x1303,
}
OTHER_TLS13_SUITES: Final = (0x1304, 0x1305, 0x1306, 0x1307, 0x00C6, 0x00C7, 0xC0B4, 0xC0B5)
"""CCM, AEGIS, SM4 and the suites of integrity without encryption (RFC 9150)."""
EVERY_OLDER_SUITE: Final = (*range(0x00C6), *range(0xC001, 0xC0B4), *range(0xCCA8, 0xCCAF))
"""IANA's registry TLS Cipher Suites up to TLS 1.2: NULL, EXPORT, RC4, DES, anonymous, static keys, PSK and the good."""
_SIGNATURES: Final = (
    *(0x0403, 0x0503, 0x0603, 0x0807, 0x0808, 0x0804, 0x0805, 0x0806, 0x0809, 0x080A, 0x080B),
    *(0x0401, 0x0501, 0x0601, 0x0203, 0x0201),
)
_SECURE_RENEGOTIATION: Final = 0x00FF
_RETRY: Final = bytes.fromhex("cf21ad74e59a6111be1d8c021e65b891c2a211167abb8c5e079e09e2c8a8339c")
"""The random of a HelloRetryRequest (RFC 8446 §4.1.3)."""
_ALERT, _HANDSHAKE, _SERVER_HELLO = 21, 22, 2


@dataclass(frozen=True, slots=True)
class Offer:
    """What a hello asks for. `version` is the only one it offers with TLS 1.3, the highest with the earlier ones."""

    server_name: str | None
    version: int
    ciphers: Iterable[int]
    groups: Iterable[int]
    alpn: tuple[str, ...] = ()


def client_hello(offer: Offer, random: bytes) -> bytes:
    """The hello in one record. random: 64 bytes, for the client's random and its session id.

    With TLS 1.3 the list of key shares is empty, which asks the server to name a group (RFC 8446 §4.2.8).
    """
    ciphers = [*offer.ciphers] if offer.version == TLS13 else [*offer.ciphers, _SECURE_RENEGOTIATION]
    extensions = b""
    if offer.server_name is not None:
        extensions += _extension(0, _sized(2, b"\0" + _sized(2, offer.server_name.encode("ascii"))))
    extensions += _extension(10, _sized(2, _numbers(offer.groups)))
    extensions += _extension(11, b"\x01\x00")
    extensions += _extension(13, _sized(2, _numbers(_SIGNATURES)))
    if offer.alpn:
        extensions += _extension(16, _sized(2, b"".join(_sized(1, name.encode("ascii")) for name in offer.alpn)))
    if offer.version == TLS13:
        extensions += _extension(43, _sized(1, _numbers([TLS13]))) + _extension(45, b"\x01\x01")
        extensions += _extension(51, _sized(2, b""))
    body = pack(">H", min(offer.version, TLS12)) + random[:32] + _sized(1, random[32:64])
    body += _sized(2, _numbers(ciphers)) + b"\x01\x00" + _sized(2, extensions)
    return record(b"\x01" + len(body).to_bytes(3, "big") + body, min(offer.version, TLS10))


def ssl2_hello(random: bytes) -> bytes:
    """A CLIENT-HELLO of SSL 2 that offers SSL 2 alone. random: 16 bytes."""
    suites = bytes.fromhex("010080 020080 030080 040080 050080 060040 0700c0")
    body = b"\x01\x00\x02" + pack(">HHH", len(suites), 0, 16) + suites + random[:16]
    return pack(">H", 0x8000 | len(body)) + body


def record(message: bytes, version: int = TLS10) -> bytes:
    """A handshake message in one record (RFC 8446 §5.1)."""
    return pack(">BHH", _HANDSHAKE, version, len(message)) + message


@dataclass(frozen=True, slots=True)
class Answer:
    """The first thing that a server says.

    agreed: its hello (or a request for another one), with `version` and `cipher`, and with TLS 1.3 the `group`
    alert: `alert` names it. closed, silent: it said nothing, and ended or did not. other: no TLS; `data` begins it
    """

    kind: Literal["agreed", "alert", "closed", "silent", "other"]
    version: int = 0
    cipher: int = 0
    group: int = 0
    alert: str = ""
    data: bytes = b""

    @property
    def refused(self) -> bool:
        """The connection was refused, in words or without."""
        return self.kind in ("alert", "closed")

    def __str__(self) -> str:
        match self.kind:
            case "agreed":
                version = VERSION_WORDS.get(self.version, f"0x{self.version:04x}")
                return f"{version} with suite 0x{self.cipher:04x}" + (f", group {self.group}" if self.group else "")
            case "alert":
                return self.alert
            case "closed":
                return "closed without a word"
            case "silent":
                return "no answer, and not closed"
        return f"answered with {self.data[:40]!r}"


VERSION_WORDS: Final = {SSL3: "SSL 3", TLS10: "TLS 1.0", TLS11: "TLS 1.1", TLS12: "TLS 1.2", TLS13: "TLS 1.3"}


def answer_in(data: bytes) -> Answer | None:
    """What a server's first bytes come to; None while they may become either."""
    if not data:
        return None
    if data[0] not in (_ALERT, _HANDSHAKE) or data[1:2] not in (b"", b"\x03"):
        return Answer("other", data=data)
    if len(data) < 7:
        return None
    if data[0] == _ALERT:
        return Answer("alert", alert=ALERTS.get(data[6], f"alert {data[6]}"))
    end = 5 + int.from_bytes(data[3:5], "big")
    if len(data) < min(end, 9 + int.from_bytes(data[6:9], "big")):
        return None
    if data[5] != _SERVER_HELLO:
        return Answer("other", data=data)
    try:
        return _server_hello(data[9 : 9 + int.from_bytes(data[6:9], "big")])
    except IndexError:
        return Answer("other", data=data)


def _server_hello(body: bytes) -> Answer:
    """RFC 8446 §4.1.3. IndexError for one that is too short."""
    version, random = int.from_bytes(body[0:2], "big"), body[2:34]
    place = 35 + body[34]
    cipher, group = body[place] << 8 | body[place + 1], 0
    place += 5  # suite, compression method, length of the extensions
    while place < len(body):
        kind, size = int.from_bytes(body[place : place + 2], "big"), int.from_bytes(body[place + 2 : place + 4], "big")
        value = body[place + 4 : place + 4 + size]
        place += 4 + size
        if kind == 43:
            version = value[0] << 8 | value[1]
        elif kind == 51:
            group = value[0] << 8 | value[1]
    return Answer("agreed", version=version, cipher=cipher, group=group, data=b"retry" if random == _RETRY else b"")


def _numbers(values: Iterable[int]) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def _sized(width: int, data: bytes) -> bytes:
    return len(data).to_bytes(width, "big") + data


def _extension(kind: int, data: bytes) -> bytes:
    return pack(">HH", kind, len(data)) + data
