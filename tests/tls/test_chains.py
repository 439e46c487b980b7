"""What is told of a chain and its key, what is refused, and what is only said to be wrong."""

from __future__ import annotations

import ipaddress
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from workshop import DAY, NOW, Authority, Issued

from terminator.errors import CertificateError
from terminator.tls.certificates import load_pair


def test_a_pair_tells_what_it_is(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue(
        "Shop.Example",
        "*.shop.example",
        subject=[(NameOID.COMMON_NAME, "shop"), (NameOID.ORGANIZATION_NAME, "Shop, Inc")],
        other_names=[x509.IPAddress(ipaddress.ip_address("2001:db8::1"))],
    )
    pair = load_pair(*issued.write(tmp_path))
    info = pair.info
    assert info.names == ("shop.example", "*.shop.example", "2001:db8::1")
    assert (info.key_type, info.key_bits) == ("ecdsa", 256)
    assert int(info.serial, 16) == issued.certificate.serial_number
    assert info.issuer == "CN=Host authority"
    assert info.subject == r"O=Shop\, Inc,CN=shop"
    assert (info.not_before, info.not_after) == (NOW - 10 * DAY, NOW + 80 * DAY)
    assert (info.chain_length, info.chain_problems, info.chain_not_after) == (1, (), None)
    assert pair.key_mode == 0o600
    assert "PRIVATE" not in repr(pair)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("ecdsa", ("ecdsa", 256)),
        ("p384", ("ecdsa", 384)),
        ("ed25519", ("ed25519", 256)),
        ("rsa2048", ("rsa", 2048)),
        ("rsa4096", ("rsa", 4096)),
    ],
)
def test_key_types(tmp_path: Path, authority: Authority, kind: str, expected: tuple[str, int]) -> None:
    info = load_pair(*authority.issue("a.example", key=kind).write(tmp_path)).info
    assert (info.key_type, info.key_bits) == expected


@pytest.mark.parametrize(
    ("wanted", "said"),
    [
        ({"key": "rsa1024"}, "its RSA key has 1024 bits"),
        ({"key": "p224"}, "secp224r1, which is too weak"),
        ({"key": "dsa"}, "a DSA key cannot serve TLS"),
        ({"must_staple": True}, "demands OCSP stapling"),
    ],
)
def test_certificates_that_cannot_be_served_well_are_refused(
    tmp_path: Path, authority: Authority, wanted: dict[str, object], said: str
) -> None:
    with pytest.raises(CertificateError, match=said):
        load_pair(*authority.issue("a.example", **wanted).write(tmp_path))  # type: ignore[arg-type]


def test_a_sha1_signature_is_refused(tmp_path: Path, authority: Authority) -> None:
    """Made by the openssl command, since `cryptography` no longer signs with SHA-1."""
    root = Issued(authority.certificate, authority.key, ())
    ca, ca_key = root.write(tmp_path, "ca")
    subprocess.run(
        f"openssl req -new -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -keyout {tmp_path}/k -subj /CN=a "
        f"| openssl x509 -req -CA {ca} -CAkey {ca_key} -CAcreateserial -sha1 -days 9 -out {tmp_path}/c",
        shell=True,
        check=True,
        capture_output=True,
    )
    with pytest.raises(CertificateError, match="certificate 1 of the chain is signed with SHA1"):
        load_pair(f"{tmp_path}/c", f"{tmp_path}/k")


# ---------------------------------------------------------------------------------------------------- the chain


def test_a_long_chain_in_order_has_no_problem(tmp_path: Path, authority: Authority) -> None:
    below = authority
    for number in range(5):
        below = Authority(f"Intermediate {number}", below)
    info = load_pair(*below.issue("a.example", issuer_url=True).write(tmp_path)).info
    assert (info.chain_length, info.chain_problems) == (6, ())
    assert info.chain_not_after == NOW + 1000 * DAY


def test_faults_of_a_chain_are_told_apart(tmp_path: Path, authority: Authority) -> None:
    middle = Authority("Middle", authority)
    lower = Authority("Lower", middle)
    stranger = Authority("Stranger")
    impostor = Authority("Lower", stranger)
    issued = lower.issue("a.example", issuer_url=True)
    leaf, own, above = issued.certificate, *issued.intermediates

    def problems(*chain: x509.Certificate) -> tuple[str, ...]:
        return load_pair(*Issued(chain[0], issued.key, chain[1:]).write(tmp_path)).info.chain_problems

    assert problems(leaf, own, above) == ()
    assert problems(leaf, own, above, authority.certificate) == ()
    assert "incomplete: the intermediate certificate Lower is missing" in problems(leaf)[0]
    assert "out of order: certificate 2 is not the issuer of certificate 1" in problems(leaf, above, own)[0]
    assert problems(leaf, stranger.certificate) == ("certificate 2 (Stranger) is not the issuer of certificate 1",)
    assert "but did not sign it" in problems(leaf, impostor.certificate)[0]
    assert "certificate 4 is a root" in problems(leaf, own, above, authority.certificate, stranger.certificate)[0]


def test_a_host_right_below_a_private_root_is_complete(tmp_path: Path, authority: Authority) -> None:
    assert load_pair(*authority.issue("a.example").write(tmp_path)).info.chain_problems == ()
