"""What is said of a client, worked out once per connection."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.wire.client_side import ClientCertificate, ClientSide, comparable, plain_address, visible

CERTIFICATE = ClientCertificate(
    der=b"\x30\x03abc",
    chain_der=(b"\x30\x01x", b"\x30\x01y"),
    subject="CN=Zoë,O=50% \r\nX-Admin: 1",
    issuer="CN=ca",
    serial="0A",
    sha256="ab" * 32,
)


@pytest.mark.parametrize(
    ("address", "plain"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("2001:DB8:0::1", "2001:db8::1"),
        ("fe80::1%eth0", "fe80::1"),
        ("", ""),
        ("/run/client.sock", ""),
    ],
)
def test_addresses(address: str, plain: str) -> None:
    assert plain_address(address) == plain
    assert ClientSide(address, 1, "https", 443).forwarded_for == plain.encode()


@pytest.mark.parametrize(
    ("address", "node"),
    [("192.0.2.1", b"for=192.0.2.1;"), ("2001:db8::1", b'for="[2001:db8::1]";'), ("", b"for=unknown;")],
)
def test_node_of_forwarded(address: str, node: bytes) -> None:
    """RFC 7239 §6: an IPv6 address is quoted and in brackets."""
    assert ClientSide(address, 1, "https", 443).forwarded == node + b'proto=https;host="'


def test_certificate_fields() -> None:
    fields = dict(CERTIFICATE.fields())
    assert fields[b"client-cert"] == b":" + base64.b64encode(CERTIFICATE.der) + b":"
    assert fields[b"client-cert-chain"] == b":MAF4:, :MAF5:"
    assert fields[b"x-client-cert-subject"] == b"CN=Zo%C3%AB,O=50%25 %0D%0AX-Admin: 1"
    assert fields[b"x-client-cert-issuer"] == b"CN=ca"
    assert fields[b"x-client-cert-serial"] == b"0A"
    assert fields[b"x-client-cert-sha256"] == b"ab" * 32
    assert fields[b"x-client-cert-verified"] == b"true"


def test_fixed_fields_and_claims() -> None:
    side = ClientSide("192.0.2.1", 1, "https", 443, ja4="t13d_a", ja4_header="X-JA4", claims=("X-Request-ID",))
    assert side.fixed == ((b"x-ja4", b"t13d_a"),)
    assert {b"x-ja4", b"x-request-id", b"host", b"forwarded", b"connection"} <= side.claimed


def test_ja4_is_claimed_even_when_unknown() -> None:
    side = ClientSide("192.0.2.1", 1, "http", 80, ja4_header="X-JA4")
    assert side.fixed == ()
    assert b"x-ja4" in side.claimed


@pytest.mark.parametrize("name", [b"x-forwarded-for", b"x_forwarded_for", b"x.forwarded-for", b"x~forwarded|for"])
def test_comparable(name: bytes) -> None:
    assert comparable(name) == b"x-forwarded-for"


@given(st.text())
def test_visible_is_visible_and_reversible(text: str) -> None:
    from urllib.parse import unquote

    shown = visible(text)
    assert all(0x20 <= ord(character) < 0x7F for character in shown)
    if text.isprintable():
        assert unquote(shown) == text
