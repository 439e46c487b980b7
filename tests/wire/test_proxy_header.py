"""The PROXY header: what is read, what is refused, and what we write reads back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.wire.client_hello import NeedMore
from terminator.wire.proxy_header import (
    MAX_V2_BYTES,
    SIGNATURE,
    ProxyHeader,
    ProxyHeaderError,
    TlsFacts,
    could_be,
    crc32c,
    encode_v2,
    parse,
)

V4 = bytes([192, 0, 2, 1, 198, 51, 100, 2]) + b"\xdc\x04\x01\xbb"
V6 = bytes.fromhex("20010db8000000000000000000000001") + bytes.fromhex("20010db8000000000000000000000002") + b"\0\1\0\2"


def v2(command: int = 0x21, kind: int = 0x11, rest: bytes = V4) -> bytes:
    return SIGNATURE + bytes([command, kind]) + len(rest).to_bytes(2, "big") + rest


def tlv(kind: int, value: bytes) -> bytes:
    return bytes([kind]) + len(value).to_bytes(2, "big") + value


CLIENT, SERVER = ("192.0.2.1", 56324), ("198.51.100.2", 443)

READ = {
    "v1 IPv4": (
        b"PROXY TCP4 192.0.2.1 198.51.100.2 56324 443\r\n",
        {"source": CLIENT, "destination": SERVER},
    ),
    "v1 IPv6": (
        b"PROXY TCP6 2001:DB8::1 2001:db8:0:0::2 1 65535\r\n",
        {"source": ("2001:db8::1", 1), "destination": ("2001:db8::2", 65535)},
    ),
    "v1 port 0": (
        b"PROXY TCP4 0.0.0.0 255.255.255.255 0 0\r\n",
        {"source": ("0.0.0.0", 0), "destination": ("255.255.255.255", 0)},
    ),
    "v1 unknown": (b"PROXY UNKNOWN\r\n", {}),
    "v1 unknown, longest": (
        b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535".ljust(105, b"x") + b"\r\n",
        {},
    ),
    "v2 IPv4": (v2(), {"source": CLIENT, "destination": SERVER}),
    "v2 IPv6": (v2(kind=0x21, rest=V6), {"source": ("2001:db8::1", 1), "destination": ("2001:db8::2", 2)}),
    "v2 mapped": (
        v2(kind=0x21, rest=bytes(10) + b"\xff\xff\xc0\x00\x02\x01" + V6[16:]),
        {"source": ("192.0.2.1", 1), "destination": ("2001:db8::2", 2)},
    ),
    "v2 unix": (v2(kind=0x31, rest=bytes(216)), {}),
    "v2 unspecified": (v2(kind=0x00, rest=b""), {}),
    "v2 unspecified, with bytes": (v2(kind=0x00, rest=b"whatever"), {}),
    "v2 IPv4 of unspecified protocol": (v2(kind=0x10), {}),
    "v2 LOCAL": (v2(command=0x20, kind=0x00, rest=b""), {"local": True}),
    "v2 LOCAL, the rest is discarded": (v2(command=0x20, kind=0xFF, rest=b"junk"), {"local": True}),
    "v2 with TLVs": (
        v2(rest=V4 + tlv(2, b"shop.example") + tlv(4, bytes(9)) + tlv(5, b"\x00id") + tlv(0xE1, b"")),
        {
            "source": CLIENT,
            "destination": SERVER,
            "authority": "shop.example",
            "unique_id": b"\x00id",
            "tlvs": ((2, b"shop.example"), (5, b"\x00id"), (0xE1, b"")),
        },
    ),
}


@pytest.mark.parametrize(("data", "values"), READ.values(), ids=READ.keys())
def test_read_whole_in_pieces_and_with_trailing_data(data: bytes, values: dict[str, object]) -> None:
    expected = ProxyHeader(len(data), **values)  # type: ignore[arg-type]
    assert parse(data) == expected
    assert parse(data + b"\x16\x03\x01") == expected
    for end in range(len(data)):
        assert could_be(data[:end])
        answer = parse(data[:end])
        assert isinstance(answer, NeedMore), end
        assert 0 < answer.missing_bytes <= len(data) - end


REFUSED = {
    "TLS": b"\x16\x03\x01\x02\x00",
    "HTTP": b"POST / HTTP/1.1\r\n",
    "v1 lower case": b"proxy TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "v1 two spaces": b"PROXY  TCP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "v1 trailing space": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2 \r\n",
    "v1 tab": b"PROXY TCP4\t192.0.2.1 198.51.100.2 1 2\r\n",
    "v1 bare LF": b"PROXY TCP4 192.0.2.1 198.51.100.2 1 2\nGET / HTTP/1.1\r\n",
    "v1 CR amid": b"PROXY TCP4 192.0.2.1\r198.51.100.2 1 2\r\n",
    "v1 leading zero in the address": b"PROXY TCP4 192.0.02.1 198.51.100.2 1 2\r\n",
    "v1 short address": b"PROXY TCP4 192.0.2 198.51.100.2 1 2\r\n",
    "v1 leading zero in the port": b"PROXY TCP4 192.0.2.1 198.51.100.2 01 2\r\n",
    "v1 port too large": b"PROXY TCP4 192.0.2.1 198.51.100.2 65536 2\r\n",
    "v1 port with a sign": b"PROXY TCP4 192.0.2.1 198.51.100.2 +1 2\r\n",
    "v1 families mixed": b"PROXY TCP4 2001:db8::1 198.51.100.2 1 2\r\n",
    "v1 IPv6 with a zone": b"PROXY TCP6 fe80::1%lo ::1 1 2\r\n",
    "v1 IPv6 brackets": b"PROXY TCP6 [::1] ::1 1 2\r\n",
    "v1 no port": b"PROXY TCP4 192.0.2.1 198.51.100.2 1\r\n",
    "v1 UDP": b"PROXY UDP4 192.0.2.1 198.51.100.2 1 2\r\n",
    "v1 without family": b"PROXY \r\n",
    "v1 too long": b"PROXY UNKNOWN ".ljust(200, b"x") + b"\r\n",
    "v1 endless": b"PROXY UNKNOWN ".ljust(108, b"x"),
    "v2 version 1": v2(command=0x11),
    "v2 unknown command": v2(command=0x22),
    "v2 unknown family": v2(kind=0x41),
    "v2 unknown protocol": v2(kind=0x13),
    "v2 datagram": v2(kind=0x12),
    "v2 short addresses": v2(rest=V4[:-1]),
    "v2 IPv4 length for IPv6": v2(kind=0x21),
    "v2 too long": v2(rest=V4 + tlv(4, bytes(MAX_V2_BYTES))),
    "v2 TLV cut": v2(rest=V4 + tlv(2, b"shop")[:-1]),
    "v2 TLV header cut": v2(rest=V4 + b"\x02\x00"),
    "v2 authority not UTF-8": v2(rest=V4 + tlv(2, b"\xff\xfe")),
    "v2 authority with a newline": v2(rest=V4 + tlv(2, b"shop\n")),
    "v2 two authorities": v2(rest=V4 + tlv(2, b"a") + tlv(2, b"b")),
    "v2 unique id too long": v2(rest=V4 + tlv(5, bytes(129))),
    "v2 wrong checksum": v2(rest=V4 + tlv(3, b"\x00\x00\x00\x01")),
    "v2 short checksum": v2(rest=V4 + tlv(3, b"\x00")),
}


@pytest.mark.parametrize("data", REFUSED.values(), ids=REFUSED.keys())
def test_refused_at_some_length_and_at_all_later_ones(data: bytes) -> None:
    with pytest.raises(ProxyHeaderError):
        parse(data)
    refused = False
    for end in range(len(data) + 1):
        try:
            assert isinstance(parse(data[:end]), NeedMore)
            assert not refused
        except ProxyHeaderError:
            refused = True


@pytest.mark.parametrize("data", [b"\x16", b"GET", b"PROXYX", b"PR ", b"\r\n\r\nx"])
def test_what_surely_is_no_proxy_header(data: bytes) -> None:
    assert not could_be(data)


def test_crc32c_of_the_published_vectors() -> None:
    """RFC 3720 §B.4."""
    assert crc32c(bytes(32)) == 0x8A9136AA
    assert crc32c(b"\xff" * 32) == 0x62A8AB43
    assert crc32c(bytes(range(32))) == 0x46DD794E


def test_a_checksum_is_verified_wherever_it_stands() -> None:
    checked = encode_v2(CLIENT, SERVER, authority="shop.example", checksum=True)
    header = parse(checked)
    assert isinstance(header, ProxyHeader)
    assert header.authority == "shop.example"
    assert [kind for kind, _ in header.tlvs] == [2, 3]
    for at in range(16, len(checked)):
        damaged = bytearray(checked)
        damaged[at] ^= 1
        with pytest.raises(ProxyHeaderError):
            parse(bytes(damaged))


def test_local_for_our_own_health_checks() -> None:
    assert encode_v2(None, None) == SIGNATURE + b"\x20\x00\x00\x00"


def test_ipv4_beside_ipv6_is_mapped() -> None:
    header = parse(encode_v2(("192.0.2.1", 1), ("2001:db8::2", 2)))
    assert isinstance(header, ProxyHeader)
    assert (header.source, header.destination) == (("192.0.2.1", 1), ("2001:db8::2", 2))


def test_what_a_backend_learns_of_tls() -> None:
    facts = TlsFacts(
        version="TLSv1.3",
        cipher="TLS_AES_128_GCM_SHA256",
        client_certificate=True,
        client_verified=True,
        client_cn="alice",
        alpn=b"http/1.1",
    )
    header = parse(encode_v2(CLIENT, SERVER, unique_id=b"c1", tls=facts))
    assert isinstance(header, ProxyHeader)
    inner = tlv(0x21, b"TLSv1.3") + tlv(0x23, b"TLS_AES_128_GCM_SHA256") + tlv(0x22, b"alice")
    assert header.tlvs == ((1, b"http/1.1"), (5, b"c1"), (0x20, b"\x07\x00\x00\x00\x00" + inner))


@pytest.mark.parametrize(
    ("presented", "verified", "start"),
    [
        (False, False, b"\x01\x00\x00\x00\x01"),
        (False, True, b"\x01\x00\x00\x00\x01"),
        (True, False, b"\x07\x00\x00\x00\x01"),
        (True, True, b"\x07\x00\x00\x00\x00"),
    ],
)
def test_only_a_verified_certificate_is_called_verified(presented: bool, verified: bool, start: bytes) -> None:
    """PP §2.2.6: `verify` is zero if the client presented a certificate and it was successfully verified."""
    facts = TlsFacts(version="TLSv1.2", cipher="X", client_certificate=presented, client_verified=verified)
    header = parse(encode_v2(CLIENT, SERVER, tls=facts))
    assert isinstance(header, ProxyHeader)
    assert dict(header.tlvs)[0x20].startswith(start)


v4 = st.ip_addresses(v=4).map(str)
v6 = st.ip_addresses(v=6).map(str).filter(lambda text: not text.startswith("::ffff:"))
port = st.integers(0, 65535)
pairs = st.one_of(
    st.tuples(st.tuples(v4, port), st.tuples(v4, port)),
    st.tuples(st.tuples(v6, port), st.tuples(v6, port)),
    st.tuples(st.tuples(v4, port), st.tuples(v6, port)),
)
printable = st.text(st.characters(categories=["L", "N", "P"]), max_size=40)


@given(pairs, st.none() | printable, st.none() | st.binary(max_size=128), st.booleans())
def test_what_is_written_reads_back(
    pair: tuple[tuple[str, int], tuple[str, int]], authority: str | None, unique_id: bytes | None, checksum: bool
) -> None:
    data = encode_v2(*pair, authority=authority, unique_id=unique_id, checksum=checksum)
    header = parse(data + b"next")
    assert isinstance(header, ProxyHeader)
    assert (header.source, header.destination) == pair
    assert (header.authority, header.unique_id, header.length) == (authority, unique_id, len(data))


@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=150))
def test_noise_is_judged_or_asks_for_more(start: bytes, noise: bytes) -> None:
    try:
        answer: object = parse(start + noise)
    except ProxyHeaderError as error:
        answer = error
    assert isinstance(answer, ProxyHeader | NeedMore | ProxyHeaderError)
    assert not isinstance(answer, ProxyHeaderError) or str(answer).isprintable()
