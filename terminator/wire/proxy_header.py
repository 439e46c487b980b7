"""The PROXY protocol header, versions 1 and 2: who the client is, told by a proxy in front of us or by us to a backend.

Source: HAProxy's proxy-protocol.txt ("PP" below). Strict, because whoever may send this header may name any address:
nothing is guessed, and a header that could be read in two ways is refused.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from ipaddress import AddressValueError, IPv4Address, IPv6Address
from struct import Struct
from typing import Final

from terminator.wire.client_hello import NeedMore

Endpoint = tuple[str, int]

MAX_V1_BYTES = 107
"""PP §2.1: the longest line, its CRLF included."""
MAX_V2_BYTES = 4096
"""The format allows 65551; HAProxy's own buffer for it is 4096, and addresses with all known TLVs stay below 1000."""


class ProxyHeaderError(Exception):
    """These bytes are no acceptable PROXY header; PP §2.2: the connection is to be dropped."""


@dataclass(frozen=True, slots=True)
class ProxyHeader:
    length: int
    """Bytes of the header; the connection's own bytes follow."""
    local: bool = False
    """The proxy speaks for itself (a health check): the addresses of the socket hold."""
    source: Endpoint | None = None
    """The client. None when `local`, unknown to the proxy, or not an IP address: the addresses of the socket hold."""
    destination: Endpoint | None = None
    authority: str | None = None
    unique_id: bytes | None = None
    tlvs: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class TlsFacts:
    """What a backend is told of the client's TLS connection (PP §2.2.6)."""

    version: str
    """`TLSv1.3`, as OpenSSL writes it."""
    cipher: str
    client_certificate: bool = False
    client_verified: bool = False
    client_cn: str | None = None
    alpn: bytes | None = None


def could_be(data: bytes) -> bool:
    """Whether `data`, which may be short, begins a PROXY header."""
    return data.startswith((SIGNATURE, b"PROXY ")) or (SIGNATURE.startswith(data) or b"PROXY ".startswith(data))


def parse(data: bytes) -> ProxyHeader | NeedMore:
    """Reads the header at the beginning of `data`. Raises `ProxyHeaderError` as early as the bytes allow."""
    if data.startswith(SIGNATURE):
        return _parse_v2(data)
    if data.startswith(b"PROXY "):
        return _parse_v1(data)
    if SIGNATURE.startswith(data):
        return NeedMore(16 - len(data) if data else 15)
    if b"PROXY ".startswith(data):
        return NeedMore(15 - len(data))
    raise ProxyHeaderError("the connection does not begin with a PROXY header")


def encode_v2(
    source: Endpoint | None,
    destination: Endpoint | None,
    *,
    authority: str | None = None,
    unique_id: bytes | None = None,
    tls: TlsFacts | None = None,
    checksum: bool = False,
) -> bytes:
    """The version 2 header for a connection from `source` to `destination`; without both, a LOCAL one (health checks).

    An IPv4 address beside an IPv6 one is written in its mapped form, as PP knows no mixture.
    """
    command, family, addresses = 0x20, 0x00, b""
    if source is not None and destination is not None:
        command = 0x21
        family, addresses = _encode_addresses(source, destination)
    tlvs = b""
    if tls is not None and tls.alpn:
        tlvs += _tlv(ALPN, tls.alpn)
    if authority is not None:
        tlvs += _tlv(AUTHORITY, authority.encode())
    if unique_id is not None:
        tlvs += _tlv(UNIQUE_ID, unique_id[:MAX_UNIQUE_ID])
    if tls is not None:
        tlvs += _tlv(SSL, _encode_tls(tls))
    if checksum:
        tlvs += _tlv(CRC32C, bytes(4))
    header = SIGNATURE + _u8_u8_u16.pack(command, family, len(addresses) + len(tlvs)) + addresses + tlvs
    return header[:-4] + crc32c(header).to_bytes(4, "big") if checksum else header


# ----------------------------------------------------------------------------------------------------- version 1


def _parse_v1(data: bytes) -> ProxyHeader | NeedMore:
    """PP §2.1: one line of ASCII, single spaces, ended by CRLF."""
    end = data.find(b"\r\n", 0, MAX_V1_BYTES)
    if end < 0:
        if len(data) >= MAX_V1_BYTES:
            raise ProxyHeaderError(f"a PROXY v1 line longer than {MAX_V1_BYTES} bytes")
        if b"\n" in data or b"\r" in data[:-1]:
            raise ProxyHeaderError("a PROXY v1 line that does not end with CRLF")
        return NeedMore(max(15 - len(data), 1 if data.endswith(b"\r") else 2))
    line = data[:end]
    if _v1_unknown(line):
        return ProxyHeader(end + 2)
    match = _v1_line(line)
    if match is None:
        raise ProxyHeaderError("a PROXY v1 line that cannot be read")
    family, source, destination, source_port, destination_port = (part.decode("ascii") for part in match.groups())
    make = IPv4Address if family == "4" else IPv6Address
    try:
        endpoints = [
            (str(make(host)), _v1_port(port)) for host, port in ((source, source_port), (destination, destination_port))
        ]
    except (AddressValueError, ValueError) as error:
        raise ProxyHeaderError(f"a PROXY v1 line with a wrong address or port: {error}") from None
    return ProxyHeader(end + 2, source=endpoints[0], destination=endpoints[1])


def _v1_port(text: str) -> int:
    if int(text) > 65535:
        raise ValueError(f"port {text}")
    return int(text)


_v1_unknown: Final = re.compile(rb"PROXY UNKNOWN(?: [\x20-\x7e]*)?").fullmatch
_v1_line: Final = re.compile(
    rb"PROXY TCP([46]) ([0-9A-Fa-f:.]{2,39}) ([0-9A-Fa-f:.]{2,39}) (0|[1-9][0-9]{0,4}) (0|[1-9][0-9]{0,4})"
).fullmatch


# ----------------------------------------------------------------------------------------------------- version 2


def _parse_v2(data: bytes) -> ProxyHeader | NeedMore:
    """PP §2.2: 16 fixed bytes, addresses, TLVs."""
    if len(data) > 12 and data[12] not in (0x20, 0x21):
        raise ProxyHeaderError(f"a PROXY v2 header of unknown version or command 0x{data[12]:02x}")
    if len(data) < 16:
        return NeedMore(16 - len(data))
    command, kind, size = _u8_u8_u16.unpack_from(data, 12)
    end = 16 + size
    if end > MAX_V2_BYTES:
        raise ProxyHeaderError(f"a PROXY v2 header of {end} bytes; {MAX_V2_BYTES} are accepted")
    if len(data) < end:
        return NeedMore(end - len(data))
    if command == 0x20:
        return ProxyHeader(end, local=True)  # PP §2.2: the rest is to be discarded
    if kind >> 4 not in ADDRESS_BYTES or kind & 15 > 2:
        raise ProxyHeaderError(f"a PROXY v2 header of unknown family or protocol 0x{kind:02x}")
    if kind & 15 == 2:
        raise ProxyHeaderError("a PROXY v2 header that speaks of datagrams")
    tlvs_at = 16 + ADDRESS_BYTES[kind >> 4]
    if tlvs_at > end:
        raise ProxyHeaderError("a PROXY v2 header too short for its addresses")
    source, destination = _decode_addresses(data, kind)
    if kind == 0x00 or kind & 15 == 0:
        # An unspecified family says nothing of how long its addresses are, so nothing behind them can be found.
        return ProxyHeader(end)
    tlvs = _parse_tlvs(data, tlvs_at, end)
    values = dict(tlvs)
    for known in (AUTHORITY, CRC32C, UNIQUE_ID):
        if sum(1 for found, _ in tlvs if found == known) > 1:
            raise ProxyHeaderError(f"a PROXY v2 header with two TLVs of type 0x{known:02x}")
    if len(values.get(UNIQUE_ID, b"")) > MAX_UNIQUE_ID:
        raise ProxyHeaderError(f"a PROXY v2 header with a unique id beyond {MAX_UNIQUE_ID} bytes")
    return ProxyHeader(
        end,
        source=source,
        destination=destination,
        authority=_authority(values[AUTHORITY]) if AUTHORITY in values else None,
        unique_id=values.get(UNIQUE_ID),
        tlvs=tlvs,
    )


def _parse_tlvs(data: bytes, start: int, end: int) -> tuple[tuple[int, bytes], ...]:
    """All TLVs but padding; a checksum among them is verified (PP §2.2.3)."""
    tlvs: list[tuple[int, bytes]] = []
    at = start
    while at < end:
        if at + 3 > end:
            raise ProxyHeaderError("a PROXY v2 header with a TLV that is cut off")
        kind, size = _u8_u16.unpack_from(data, at)
        value = data[at + 3 : at + 3 + size]
        if at + 3 + size > end:
            raise ProxyHeaderError("a PROXY v2 header with a TLV that is cut off")
        if kind == CRC32C:
            without = data[: at + 3] + bytes(size) + data[at + 3 + size : end]
            if size != 4 or crc32c(without) != int.from_bytes(value, "big"):
                raise ProxyHeaderError("a PROXY v2 header whose checksum is wrong")
        if kind != NOOP:
            tlvs.append((kind, value))
        at += 3 + size
    return tuple(tlvs)


def _authority(value: bytes) -> str:
    try:
        text = value.decode()
    except UnicodeDecodeError:
        raise ProxyHeaderError("a PROXY v2 header whose authority is not UTF-8") from None
    if not text.isprintable():
        raise ProxyHeaderError("a PROXY v2 header whose authority has control characters")
    return text


def _decode_addresses(data: bytes, kind: int) -> tuple[Endpoint | None, Endpoint | None]:
    if kind == TCP4:
        source, destination, source_port, destination_port = _addresses_v4.unpack_from(data, 16)
        return (str(IPv4Address(source)), source_port), (str(IPv4Address(destination)), destination_port)
    if kind == TCP6:
        source, destination, source_port, destination_port = _addresses_v6.unpack_from(data, 16)
        return (_plain_text(source), source_port), (_plain_text(destination), destination_port)
    return None, None


def _plain_text(raw: bytes) -> str:
    """A mapped IPv4 address is the same client as the plain one, and networks are matched against that."""
    address = IPv6Address(raw)
    return str(address.ipv4_mapped or address)


def _encode_addresses(source: Endpoint, destination: Endpoint) -> tuple[int, bytes]:
    ports = (source[1], destination[1])
    if ":" in source[0] or ":" in destination[0]:
        return TCP6, _addresses_v6.pack(_packed_v6(source[0]), _packed_v6(destination[0]), *ports)
    return TCP4, _addresses_v4.pack(IPv4Address(source[0]).packed, IPv4Address(destination[0]).packed, *ports)


def _packed_v6(host: str) -> bytes:
    if ":" not in host:
        return b"\x00" * 10 + b"\xff\xff" + IPv4Address(host).packed
    return IPv6Address(host.partition("%")[0]).packed


def _encode_tls(tls: TlsFacts) -> bytes:
    """pp2_tlv_ssl; `verify` is zero only for a certificate that was presented and verified."""
    flags = CLIENT_SSL | (CLIENT_CERT_CONN | CLIENT_CERT_SESS if tls.client_certificate else 0)
    value = _u8_u32.pack(flags, 0 if tls.client_certificate and tls.client_verified else 1)
    value += _tlv(SSL_VERSION, tls.version.encode()) + _tlv(SSL_CIPHER, tls.cipher.encode())
    return value + (_tlv(SSL_CN, tls.client_cn.encode()) if tls.client_cn is not None else b"")


def _tlv(kind: int, value: bytes) -> bytes:
    return _u8_u16.pack(kind, len(value)) + value


def crc32c(data: bytes) -> int:
    """CRC-32C (Castagnoli), RFC 9260 Appendix A."""
    register = 0xFFFFFFFF
    for byte in data:
        register = CRC_TABLE[(register ^ byte) & 0xFF] ^ register >> 8
    return register ^ 0xFFFFFFFF


def _crc_table() -> tuple[int, ...]:
    table = []
    for register in range(256):
        for _ in range(8):
            register = register >> 1 ^ (0x82F63B78 if register & 1 else 0)
        table.append(register)
    return tuple(table)


CRC_TABLE: Final = _crc_table()
SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"
TCP4, TCP6 = 0x11, 0x21
ADDRESS_BYTES: Final = {0: 0, 1: 12, 2: 36, 3: 216}
ALPN, AUTHORITY, CRC32C, NOOP, UNIQUE_ID, SSL = 0x01, 0x02, 0x03, 0x04, 0x05, 0x20
SSL_VERSION, SSL_CN, SSL_CIPHER = 0x21, 0x22, 0x23
CLIENT_SSL, CLIENT_CERT_CONN, CLIENT_CERT_SESS = 0x01, 0x02, 0x04
MAX_UNIQUE_ID = 128

_u8_u8_u16: Final = Struct(">BBH")
_u8_u16: Final = Struct(">BH")
_u8_u32: Final = Struct(">BI")
_addresses_v4: Final = Struct(">4s4sHH")
_addresses_v6: Final = Struct(">16s16sHH")
