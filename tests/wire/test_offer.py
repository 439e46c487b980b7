"""What a client offers: its numbers, the texts for a log line, and what of it is remembered."""

from __future__ import annotations

import pytest

from terminator.wire import offer
from terminator.wire.offer import GREASE, Offer, OfferError, read_offer, without_grease

MANY = tuple(range(1000))


def u16s(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def sized(data: bytes, width: int = 2) -> bytes:
    return len(data).to_bytes(width, "big") + data


def alpn(*names: bytes) -> bytes:
    return sized(b"".join(sized(name, 1) for name in names))


EXTENSIONS = {
    0x1A1A: b"",
    0: b"a name",
    43: sized(u16s(0x2A2A, 0x0304, 0x0303), 1),
    10: sized(u16s(0x3A3A, 0x11EC, 0x001D, 0x0017, 0x7777)),
    13: sized(u16s(0x0403, 0x0804)),
    16: alpn(b"\x4a\x4a", b"h2", b"http/1.1"),
}


def test_numbers_are_as_offered() -> None:
    assert read_offer(0x0303, u16s(0x5A5A, 0x1301, 0xC02B), EXTENSIONS) == Offer(
        legacy_version=0x0303,
        versions=(0x2A2A, 0x0304, 0x0303),
        ciphers=(0x5A5A, 0x1301, 0xC02B),
        groups=(0x3A3A, 0x11EC, 0x001D, 0x0017, 0x7777),
        signature_algorithms=(0x0403, 0x0804),
        alpn=(b"\x4a\x4a", b"h2", b"http/1.1"),
        extensions=(0x1A1A, 0, 43, 10, 13, 16),
    )


def test_texts_for_the_log_are_without_grease() -> None:
    found = read_offer(0x0303, u16s(0x5A5A, 0x1301, 0xC02B), EXTENSIONS)
    assert found.versions_text == "1.3,1.2"
    assert found.groups_text == "X25519MLKEM768,x25519,secp256r1,0x7777"
    assert found.ciphers_hex == "1301c02b"
    assert found.alpn_text == "h2,http/1.1"
    assert found.post_quantum
    assert found.ja4.startswith("t13d0205")  # TLS 1.3, with a name, 2 suites, 5 extensions


def test_bytes_of_alpn_cannot_forge_a_log() -> None:
    found = read_offer(0x0303, u16s(0x1301), {16: alpn(b"a\nb", b"\xff,")})
    assert found.alpn_text == r"a\x0ab,\xff,"


@pytest.mark.parametrize(
    ("legacy", "versions", "text"),
    [
        (0x0303, (0x0303, 0x0302, 0x0301), "1.2,1.1,1.0"),
        (0x0302, (0x0302, 0x0301), "1.1,1.0"),
        (0x0301, (0x0301,), "1.0"),
        (0x0300, (0x0300,), "SSL3"),
        (0x0304, (0x0303, 0x0302, 0x0301), "1.2,1.1,1.0"),
    ],
)
def test_a_client_without_supported_versions(legacy: int, versions: tuple[int, ...], text: str) -> None:
    """RFC 8446 §4.2.1: at most 1.2 may then be negotiated."""
    found = read_offer(legacy, u16s(0x1301), {})
    assert (found.versions, found.versions_text, found.extensions) == (versions, text, ())


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (10, b""),
        (10, sized(b"")),
        (10, sized(b"\x00\x1d\x00")),
        (10, b"\x00\x09\x00\x1d"),
        (10, sized(u16s(1)) + b"\x00\x00"),
        (13, b""),
        (43, b""),
        (43, b"\x00"),
        (43, sized(u16s(1))),
        (16, b""),
        (16, alpn()),
        (16, alpn(b"")),
        (16, alpn(b"h2", b"")),
        (16, sized(b"\x05h2")),
        (16, b"\x00\x09\x02h2"),
    ],
)
def test_lengths_that_do_not_add_up(kind: int, body: bytes) -> None:
    for _ in range(2):  # a refusal is not remembered as anything else
        with pytest.raises(OfferError, match="lengths"):
            read_offer(0x0303, u16s(0x1301), {kind: body})


def test_the_same_offer_is_found_ready_and_a_large_one_is_not_kept() -> None:
    known = read_offer(0x0303, u16s(0x5A5A, 0x1301, 0xC02B), dict(EXTENSIONS))
    assert read_offer(0x0303, u16s(0x5A5A, 0x1301, 0xC02B), dict(EXTENSIONS)) is known
    kept = offer._read.cache_info().currsize
    large = read_offer(0x0303, u16s(*MANY), EXTENSIONS)
    assert large.ciphers == MANY
    assert read_offer(0x0303, u16s(0x1301), {**EXTENSIONS, 10: sized(u16s(*MANY))}).groups == MANY
    assert read_offer(0x0303, u16s(0x1301), dict.fromkeys(range(1000, 2000), b"")).extensions[-1] == 1999
    assert offer._read.cache_info().currsize == kept


def test_the_order_of_extensions_and_an_empty_one_tell_offers_apart() -> None:
    ciphers = u16s(0x1301)
    one, other = read_offer(0x0303, ciphers, {23: b"", 35: b""}), read_offer(0x0303, ciphers, {35: b"", 23: b""})
    assert (one.extensions, other.extensions) == ((23, 35), (35, 23))
    assert read_offer(0x0303, ciphers, {}).alpn == ()
    with pytest.raises(OfferError):
        read_offer(0x0303, ciphers, {16: b""})


def test_grease_is_what_rfc_8701_reserves() -> None:
    assert sorted(GREASE)[:2] == [0x0A0A, 0x1A1A]
    assert len(GREASE) == 16
    assert max(GREASE) == 0xFAFA
    assert without_grease([0x0A0A, 1, 0xFAFA, 0x0A1A]) == [1, 0x0A1A]
