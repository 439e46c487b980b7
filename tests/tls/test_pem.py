"""PEM files as they come from authorities, editors and other systems."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.errors import CertificateError
from terminator.tls import pem

BLOCK = pem.armour("CERTIFICATE", b"0123456789" * 20)


@pytest.mark.parametrize(
    ("data", "labels"),
    [
        (BLOCK, ["CERTIFICATE"]),
        (BLOCK + BLOCK, ["CERTIFICATE"] * 2),
        (BLOCK.replace(b"\n", b"\r\n"), ["CERTIFICATE"]),
        (BLOCK.replace(b"\n", b"\r"), ["CERTIFICATE"]),
        (b"\xef\xbb\xbf" + BLOCK, ["CERTIFICATE"]),
        (b"subject=CN = x\n\n" + BLOCK + b"\n trailing words\n", ["CERTIFICATE"]),
        (BLOCK.rstrip(b"\n"), ["CERTIFICATE"]),
        (pem.armour("EC PARAMETERS", b"x") + pem.armour("EC PRIVATE KEY", b"y"), ["EC PARAMETERS", "EC PRIVATE KEY"]),
    ],
)
def test_what_stands_around_a_block_does_not_matter(data: bytes, labels: list[str]) -> None:
    found = pem.blocks(data, "f", "the chain")
    assert [block.label for block in found] == labels
    assert all(b"\r" not in block.text and block.text.endswith(b"-----\n") for block in found)


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"hello", "holds no PEM block"),
        (BLOCK[:100], "does not end; the file is cut off"),
        (BLOCK + BLOCK[:60], "does not end"),
        (BLOCK.replace(b"END CERTIFICATE", b"END OTHER"), "does not end"),
        (b"\x30\x82\x01\x00rest", "is DER, not PEM; convert it: openssl x509 -inform DER"),
        (b"\x30\x82\x01\x00\x02\x01\x03\x06\x09\x2a\x86\x48\x86\xf7\x0d\x01\x07\x01", "PKCS #12"),
        ("-----BEGIN".encode("utf-16"), "UTF-16"),
    ],
)
def test_what_is_no_pem_is_said(data: bytes, said: str) -> None:
    with pytest.raises(CertificateError, match=r"^f: the chain ") as refusal:
        pem.blocks(data, "f", "the chain")
    assert said in str(refusal.value)


def test_damaged_base64_is_refused() -> None:
    [block] = pem.blocks(BLOCK.replace(b"MDEy", b"M*Ey", 1), "f", "the chain")
    with pytest.raises(CertificateError, match="Base64 of a CERTIFICATE block is damaged"):
        block.der("f")


def test_the_headers_of_an_encrypted_key_are_seen() -> None:
    label = b"RSA PRIVATE KEY-----\n"
    text = b"-----BEGIN " + label + b"Proc-Type: 4,ENCRYPTED\nDEK-Info: AES\n\nMDEy\n-----END " + label
    [block] = pem.blocks(text, "f", "the key")
    assert block.headers


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=4))
def test_what_is_armoured_is_read_back(ders: list[bytes]) -> None:
    data = b"".join(pem.armour("CERTIFICATE", der) for der in ders)
    assert [block.der("f") for block in pem.blocks(data, "f", "the chain")] == ders
    assert all(len(line) <= 64 for line in data.splitlines())


@given(st.binary(max_size=200))
def test_any_bytes_are_read_or_refused(noise: bytes) -> None:
    data = noise + b"-----BEGIN CERTIFICATE-----\n" + base64.b64encode(noise) + noise
    try:
        for block in pem.blocks(data, "f", "the chain"):
            block.der("f")
    except CertificateError:
        pass
