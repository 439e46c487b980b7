"""A TLS ClientHello on the wire: what the client asks for and offers, or how many bytes are still missing.

It is read before OpenSSL sees it, because host, certificate and TLS policy depend on it. Strict where two readers could
differ (lengths that do not add up, an extension twice, something behind the hello in its record), indifferent to values
it does not know. OpenSSL parses the same bytes again, so nothing here replaces its checks.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from struct import Struct, pack
from typing import Final, Literal, NamedTuple

from terminator.record import record
from terminator.wire import ja4

MAX_BYTES = 65536
"""Go takes 64 KiB, OpenSSL 128; real hellos stay below 2 KiB, with post-quantum key shares below 4."""
MAX_RECORDS = 1024
"""Each record costs us time, also when it holds one byte; nobody needs more than one per byte of an ordinary hello."""
MAX_EXTENSIONS = 256
"""Clients send 10 to 20, and some 60 are assigned."""
_MAX_REMEMBERED_VALUES = 256
"""Larger offers are not remembered: strangers choose their size."""

HelloFault = Literal[
    "not_tls", "plain_http", "http_proxy_request", "unsupported_version", "malformed_hello", "hello_too_large"
]


class HelloError(Exception):
    """These bytes do not begin with an acceptable ClientHello, and more of them would not help."""

    def __init__(self, reason: HelloFault, detail: str) -> None:
        super().__init__(detail)
        self.reason: HelloFault = reason


@dataclass(frozen=True, slots=True)
class NeedMore:
    """Undecided: at least so many more bytes are needed. Never more than a conforming sender is about to send."""

    missing_bytes: int


class Offers(NamedTuple):
    """What a log line tells of a client's offer, in the client's order and without GREASE."""

    versions: str
    """`1.3,1.2`: highest first, as an operator writes them in `min_version`."""
    groups: str
    """`X25519MLKEM768,x25519,secp256r1`: names of IANA's registry; others in hex."""
    ciphers: str
    """Four hex digits a suite, without separators."""
    alpn: str
    """`h2,http/1.1`; bytes outside printable ASCII as `\\xNN`."""
    post_quantum: bool
    ja4: str


@record
class ClientHello:
    """RFC 8446 §4.1.2. Numbers are as offered, in the client's order, GREASE (RFC 8701) included."""

    server_name: str | None
    """SNI in lower case without its trailing dot; None when the client sent none (RFC 6066 §3)."""
    legacy_version: int
    versions: tuple[int, ...]
    """supported_versions; for a client that knows no such extension, every version up to legacy_version."""
    ciphers: tuple[int, ...]
    groups: tuple[int, ...]
    signature_algorithms: tuple[int, ...]
    alpn: tuple[bytes, ...]
    extensions: tuple[int, ...]
    session_id: bytes
    has_psk: bool
    length: int
    """Bytes of the records that hold the hello; what follows them is not ours to judge."""

    @property
    def offers(self) -> Offers:
        """What is told of the offer. Most clients make the same one again and again, and find it ready."""
        parts = (
            self.versions,
            self.ciphers,
            self.groups,
            self.signature_algorithms,
            self.extensions,
            self.alpn,
            self.legacy_version,
        )
        if sum(map(len, parts[:6])) > _MAX_REMEMBERED_VALUES:
            return _offers.__wrapped__(*parts)
        return _offers(*parts)

    @property
    def offers_post_quantum(self) -> bool:
        return self.offers.post_quantum

    @property
    def versions_text(self) -> str:
        return self.offers.versions

    @property
    def groups_text(self) -> str:
        return self.offers.groups

    @property
    def ciphers_hex(self) -> str:
        return self.offers.ciphers

    @property
    def alpn_text(self) -> str:
        return self.offers.alpn

    @property
    def ja4(self) -> str:
        """The JA4 fingerprint of this hello over TCP."""
        return self.offers.ja4


def parse(data: bytes, *, max_bytes: int = MAX_BYTES) -> ClientHello | NeedMore:
    """Reads the ClientHello at the beginning of `data`, in however many records; bytes behind it are left alone.

    Raises `HelloError`, as early as the bytes allow: an announced length beyond `max_bytes` is refused unread.
    """
    size = len(data)
    if size < 9 or data[0] != HANDSHAKE or data[1] != 3 or data[5] != CLIENT_HELLO:
        return _unusual_start(data, max_bytes)
    record_bytes = data[3] << 8 | data[4]
    hello_bytes = data[6] << 16 | data[7] << 8 | data[8]
    if hello_bytes + 4 != record_bytes:
        return _parse_fragments(data, hello_bytes, max_bytes) if record_bytes >= 4 else _tiny_start(data, max_bytes)
    end = 5 + record_bytes
    if end > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes {end} bytes on the wire; {max_bytes} are accepted")
    if record_bytes > MAX_RECORD_BYTES:
        raise HelloError("malformed_hello", f"a record of {record_bytes} bytes (RFC 8446 §5.1: at most 2^14)")
    if size < end:
        return NeedMore(end - size)
    return _parse_body(data, 9, end, end)


@lru_cache(maxsize=1024)
def _offers(
    versions: tuple[int, ...],
    ciphers: tuple[int, ...],
    groups: tuple[int, ...],
    signature_algorithms: tuple[int, ...],
    extensions: tuple[int, ...],
    alpn: tuple[bytes, ...],
    legacy_version: int,
) -> Offers:
    known_versions = sorted(set(versions) & VERSION_NAMES.keys(), reverse=True)
    suites = without_grease(ciphers)
    return Offers(
        versions=",".join(VERSION_NAMES[version] for version in known_versions),
        groups=",".join(GROUP_NAMES.get(group) or f"0x{group:04x}" for group in without_grease(groups)),
        ciphers=pack(f">{len(suites)}H", *suites).hex(),
        alpn=",".join(_printable(name) for name in alpn if not _is_grease_name(name)),
        post_quantum=not POST_QUANTUM.isdisjoint(groups),
        ja4=ja4.fingerprint(
            version=max(without_grease(versions) if 43 in extensions else [legacy_version], default=0),
            has_server_name=0 in extensions,
            ciphers=suites,
            extensions=without_grease(extensions),
            signature_algorithms=without_grease(signature_algorithms),
            alpn=alpn[0] if alpn else b"",
        ),
    )


def without_grease(values: Iterable[int]) -> list[int]:
    """What remains without the reserved values 0x0a0a, 0x1a1a, … 0xfafa (RFC 8701 §2)."""
    return [value for value in values if value not in GREASE]


# ------------------------------------------------------------------------------------------------------- records


def _parse_fragments(data: bytes, hello_bytes: int, max_bytes: int) -> ClientHello | NeedMore:
    """A hello that does not fill exactly one record (RFC 8446 §5.1: fragments of any size, none empty)."""
    end = hello_bytes + 9
    if end > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes {end} bytes on the wire; {max_bytes} are accepted")
    message_bytes = hello_bytes + 4
    fragments: list[bytes] = []
    gathered, start, size = 0, 0, len(data)
    while gathered < message_bytes:
        if len(fragments) == MAX_RECORDS:
            raise HelloError("hello_too_large", f"the ClientHello comes in more than {MAX_RECORDS} records")
        if size - start < 5:
            if start < size and data[start] != HANDSHAKE:
                raise HelloError("malformed_hello", "another record amid the ClientHello")
            return _missing(start + 5 + message_bytes - gathered, size, max_bytes)
        if data[start] != HANDSHAKE or data[start + 1] != 3:
            raise HelloError("malformed_hello", "another record amid the ClientHello")
        record_bytes = data[start + 3] << 8 | data[start + 4]
        if not 0 < record_bytes <= MAX_RECORD_BYTES:
            raise HelloError("malformed_hello", f"a record of {record_bytes} bytes (RFC 8446 §5.1: 1 to 2^14)")
        gathered += record_bytes
        if gathered > message_bytes:
            raise HelloError("malformed_hello", "something follows the ClientHello in its record")
        end = start + 5 + record_bytes
        if end > size:
            rest = message_bytes - gathered
            return _missing(end + (5 + rest if rest else 0), size, max_bytes)
        fragments.append(data[start + 5 : end])
        start = end
    if start > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes {start} bytes; {max_bytes} are accepted")
    return _parse_body(b"".join(fragments), 4, message_bytes, start)


def _missing(needed: int, size: int, max_bytes: int) -> NeedMore:
    if needed > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes at least {needed} bytes; {max_bytes} are accepted")
    return NeedMore(needed - size)


def _unusual_start(data: bytes, max_bytes: int) -> ClientHello | NeedMore:
    """The first bytes when they are too few, or no ClientHello: whose language is this?"""
    if not data:
        return NeedMore(9)
    first = data[0]
    if first == HANDSHAKE:
        if len(data) > 1 and data[1] != 3:
            raise HelloError("not_tls", f"not TLS: begins with {data[:8].hex(' ')}")
        if len(data) > 4 and data[3] << 8 | data[4] == 0:
            raise HelloError("malformed_hello", "an empty handshake record (RFC 8446 §5.1)")
        if len(data) > 5 and data[5] != CLIENT_HELLO:
            raise HelloError("malformed_hello", f"handshake message {data[5]} where a ClientHello is due")
        if len(data) >= 5 and data[3] << 8 | data[4] < 4:
            return _tiny_start(data, max_bytes)
        return NeedMore(9 - len(data))
    if first in RECORD_TYPES:
        if len(data) < 3:
            return NeedMore(3 - len(data))
        if data[1] == 3:
            raise HelloError("malformed_hello", f"a record of type {RECORD_TYPES[first]} where a ClientHello is due")
    if first & 0x80:
        # The SSL 2.0 form carries no extensions, hence no name to choose a host by; RFC 8446 §D.5 forbids it.
        if len(data) < 5:
            return NeedMore(5 - len(data))
        if data[2] == CLIENT_HELLO and (data[3] == 3 or data[3:5] == b"\x00\x02"):
            raise HelloError("unsupported_version", "a ClientHello in SSL 2.0 form (RFC 8446 §D.5)")
    if data.startswith(b"CONNECT "):
        raise HelloError("http_proxy_request", "an HTTP CONNECT: the client takes this port for a forward proxy")
    if data.startswith(HTTP_METHODS):
        raise HelloError("plain_http", "an HTTP request without TLS")
    if any(method.startswith(data) for method in HTTP_METHODS):
        return NeedMore(1)
    raise HelloError("not_tls", f"not TLS: begins with {_printable(data[:16])}")


def _tiny_start(data: bytes, max_bytes: int) -> ClientHello | NeedMore:
    """The first record holds less than the message's own four byte header: gather these first."""
    header, start = b"", 0
    while len(header) < 4:
        if len(data) - start < 6:
            return NeedMore(start + 6 - len(data))
        if data[start] != HANDSHAKE or data[start + 1] != 3:
            raise HelloError("malformed_hello", "another record amid the ClientHello")
        record_bytes = data[start + 3] << 8 | data[start + 4]
        if record_bytes == 0:
            raise HelloError("malformed_hello", "an empty handshake record (RFC 8446 §5.1)")
        header += data[start + 5 : start + 5 + min(record_bytes, 4 - len(header))]
        start += 5 + record_bytes
        if start > len(data) and len(header) < 4:
            return NeedMore(start - len(data))
    return _parse_fragments(data, int.from_bytes(header[1:4], "big"), max_bytes)


# ------------------------------------------------------------------------------------------------------- message


def _parse_body(data: bytes, start: int, end: int, length: int) -> ClientHello:
    """The ClientHello structure in data[start:end], all of which it must fill."""
    try:
        session_at = start + 35
        ciphers_at = session_at + data[start + 34]
        cipher_bytes = data[ciphers_at] << 8 | data[ciphers_at + 1]
        compression_at = ciphers_at + 2 + cipher_bytes
        at = compression_at + 1 + data[compression_at]
    except IndexError:
        raise HelloError("malformed_hello", "the ClientHello is too short for its fields") from None
    if at > end or ciphers_at - session_at > 32 or cipher_bytes < 2 or cipher_bytes & 1 or not data[compression_at]:
        raise HelloError("malformed_hello", "lengths within the ClientHello do not add up")

    places: dict[int, tuple[int, int]] = {}
    if at < end:  # an SSL 3.0 or TLS 1.0 client may end before its extensions (RFC 8446 §4.1.2)
        if at + 2 > end or at + 2 + (data[at] << 8 | data[at + 1]) != end:
            raise HelloError("malformed_hello", "the extensions do not fill the rest of the ClientHello")
        at += 2
        count = 0
        while at + 4 <= end and count < MAX_EXTENSIONS:
            kind, size = _two_u16(data, at)
            at += 4
            places[kind] = (at, at + size)
            at += size
            count += 1
        if len(places) != count:
            raise HelloError("malformed_hello", "an extension stands twice (RFC 8446 §4.2)")
        if at != end:
            crowded = count == MAX_EXTENSIONS and at < end
            raise HelloError("malformed_hello", "too many extensions" if crowded else "an extension is cut off")

    legacy_version = data[start] << 8 | data[start + 1]
    return ClientHello(
        _server_name(data, places[SERVER_NAME]) if SERVER_NAME in places else None,
        legacy_version,
        _u16_list(data, places[VERSIONS], 1) if VERSIONS in places else _versions_up_to(legacy_version),
        _u16s(data, ciphers_at + 2, cipher_bytes),
        _u16_list(data, places[GROUPS], 2) if GROUPS in places else (),
        _u16_list(data, places[SIGNATURES], 2) if SIGNATURES in places else (),
        _alpn(data, places[ALPN]) if ALPN in places else (),
        tuple(places),
        data[session_at:ciphers_at],
        PRE_SHARED_KEY in places,
        length,
    )


def _server_name(data: bytes, place: tuple[int, int]) -> str:
    """RFC 6066 §3: a list in which exactly one name stands, of type host_name."""
    start, end = place
    if end - start < 6 or data[start + 2] or data[start + 3] << 8 | data[start + 4] != end - start - 5:
        raise HelloError("malformed_hello", "the server_name extension is not one host name")
    if data[start] << 8 | data[start + 1] != end - start - 2:
        raise HelloError("malformed_hello", "the server_name extension is not one host name")
    raw = data[start + 5 : end]
    if len(raw) > 255 or NAME_BYTES(raw) is None:
        raise HelloError("malformed_hello", f"the server_name is no host name: {_printable(raw[:64])}")
    return raw.decode("ascii").lower().removesuffix(".")


def _alpn(data: bytes, place: tuple[int, int]) -> tuple[bytes, ...]:
    """RFC 7301 §3.1: a list of non-empty names."""
    start, end = place
    if end - start < 4 or data[start] << 8 | data[start + 1] != end - start - 2:
        raise HelloError("malformed_hello", "the ALPN extension's lengths do not add up")
    names = []
    at = start + 2
    while at < end:
        size = data[at]
        names.append(data[at + 1 : at + 1 + size])
        at += 1 + size
        if not size or at > end:
            raise HelloError("malformed_hello", "the ALPN extension's lengths do not add up")
    return tuple(names)


def _u16_list(data: bytes, place: tuple[int, int], prefix: int) -> tuple[int, ...]:
    """A non-empty list of 16-bit numbers that fills its extension behind a length of `prefix` bytes."""
    start, end = place
    size = end - start - prefix
    if size < 2 or size & 1 or (data[start] if prefix == 1 else data[start] << 8 | data[start + 1]) != size:
        raise HelloError("malformed_hello", "the lengths of an extension do not add up")
    return _u16s(data, start + prefix, size)


def _u16s(data: bytes, start: int, size: int) -> tuple[int, ...]:
    return _structs[size >> 1].unpack_from(data, start)


def _versions_up_to(legacy_version: int) -> tuple[int, ...]:
    """Without supported_versions a client means the highest version that it knows, at most 1.2 (RFC 8446 §4.2.1)."""
    return tuple(range(min(legacy_version, 0x0303), 0x0300, -1)) or (legacy_version,)


class _Structs(dict[int, Struct]):
    """Compiled readers of n 16-bit numbers; bounded, since a client chooses n."""

    def __missing__(self, count: int) -> Struct:
        made = Struct(f">{count}H")
        if count <= 256:
            self[count] = made
        return made


def _printable(raw: bytes) -> str:
    return "".join(chr(byte) if 0x20 <= byte < 0x7F else f"\\x{byte:02x}" for byte in raw)


def _is_grease_name(name: bytes) -> bool:
    """RFC 8701 §2 reserves the two byte protocol names 0x0A0A, 0x1A1A, … 0xFAFA."""
    return len(name) == 2 and name[0] == name[1] and name[0] & 0x0F == 0x0A


_structs: Final = _Structs()
_two_u16: Final = Struct(">HH").unpack_from
NAME_BYTES: Final = re.compile(rb"[!-\-/-~][!-~]*").fullmatch  # visible ASCII, not beginning with a dot

HANDSHAKE, CLIENT_HELLO = 22, 1
MAX_RECORD_BYTES = 1 << 14
RECORD_TYPES: Final = {20: "change_cipher_spec", 21: "alert", 23: "application_data", 24: "heartbeat"}
SERVER_NAME, GROUPS, SIGNATURES, ALPN, PRE_SHARED_KEY, VERSIONS = 0, 10, 13, 16, 41, 43

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

HTTP_METHODS: Final = tuple(
    method.encode() + b" "
    for method in (
        *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"),  # RFC 9110 §9, RFC 5789
        *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"),  # WebDAV
        "PRI",  # RFC 9113 §3.4: HTTP/2 with prior knowledge
    )
)
