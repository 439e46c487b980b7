"""Chains and keys as they come: what loads, what is said of it, and what is refused with file and remedy."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from workshop import DAY, NOW, Authority, Issued

from terminator.errors import CertificateError
from terminator.tls.certificates import Shelf, load_pair
from terminator.tls.material import compose

PEM, DER = serialization.Encoding.PEM, serialization.Encoding.DER


def _same_file(issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.key_pem + issued.chain_pem)
    key.write_bytes(issued.key_pem + issued.chain_pem)


def _carriage_returns(issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(b"\xef\xbb\xbf" + issued.chain_pem.replace(b"\n", b"\r\n"))
    key.write_bytes(issued.key_pem.replace(b"\n", b"\r\n"))


def _words_around(issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(b"subject=CN = a\nissuer=CN = b\n" + issued.chain_pem)
    key.write_bytes(b"Bag Attributes\n    friendlyName: a\n" + issued.key_pem)


def _traditional_key(issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.chain_pem)
    form = serialization.PrivateFormat.TraditionalOpenSSL
    parameters = b"-----BEGIN EC PARAMETERS-----\nBggqhkjOPQMBBw==\n-----END EC PARAMETERS-----\n"
    key.write_bytes(parameters + issued.key.private_bytes(PEM, form, serialization.NoEncryption()))


@pytest.mark.parametrize("write", [_same_file, _carriage_returns, _words_around, _traditional_key])
def test_habits_of_writing_are_accepted(
    tmp_path: Path, authority: Authority, write: Callable[[Issued, Path, Path], None]
) -> None:
    issued = authority.issue("a.example")
    write(issued, tmp_path / "chain", tmp_path / "key")
    pair = load_pair(str(tmp_path / "chain"), str(tmp_path / "key"))
    assert pair.chain_pem == issued.chain_pem
    assert pair.chain_pem.startswith(b"-----BEGIN CERTIFICATE-----\n")


# ------------------------------------------------------------------------------------------------------- refusals


def _mismatched(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    key.write_bytes(authority.issue("a.example").key_pem)


def _exchanged(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.key_pem)


def _exchanged_key(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    key.write_bytes(issued.chain_pem)


def _leaf_last(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(authority.pem + issued.chain_pem)


def _garbage_certificate(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def _garbage_key(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    key.write_bytes(b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")


def _half_written(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.chain_pem[:-100])


def _two_keys(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    key.write_bytes(issued.key_pem * 2)


def _encrypted(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    lock = serialization.BestAvailableEncryption(b"word")
    key.write_bytes(issued.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, lock))


def _encrypted_traditionally(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    lock = serialization.BestAvailableEncryption(b"word")
    key.write_bytes(issued.key.private_bytes(PEM, serialization.PrivateFormat.TraditionalOpenSSL, lock))


def _der(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.der)


def _trusted(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.chain_pem.replace(b" CERTIFICATE", b" TRUSTED CERTIFICATE"))


def _request(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.chain_pem.replace(b" CERTIFICATE", b" CERTIFICATE REQUEST"))


def _pkcs7(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.chain_pem.replace(b" CERTIFICATE", b" PKCS7"))


def _bundle(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    chain.write_bytes(issued.chain_pem * 21)


def _missing_key(authority: Authority, issued: Issued, chain: Path, key: Path) -> None:
    key.unlink()


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (_mismatched, "chain: the certificate does not belong to the key"),
        (_exchanged, "chain: the certificate chain has no CERTIFICATE block; it holds a private key; are `chain` and"),
        (_exchanged_key, "key: the private key has no PRIVATE KEY block; are `chain` and `key` exchanged?"),
        (_leaf_last, "is number 2 in it; put it first"),
        (_garbage_certificate, "chain: a certificate in it cannot be parsed"),
        (_garbage_key, "key: the private key cannot be parsed"),
        (_half_written, "chain: the certificate chain has a PEM block that does not end"),
        (_two_keys, "key: holds 2 private keys"),
        (_encrypted, "key: the private key is encrypted"),
        (_encrypted_traditionally, "key: the private key is encrypted"),
        (_der, "chain: the certificate chain is DER, not PEM; convert it: openssl x509"),
        (_trusted, "chain: holds an OpenSSL TRUSTED CERTIFICATE; convert it: openssl x509"),
        (_request, "it holds a signing request"),
        (_pkcs7, "convert it: openssl pkcs7"),
        (_bundle, "has 21 certificates, more than 20"),
        (_missing_key, "key: the private key does not exist"),
    ],
)
def test_what_cannot_serve_is_refused_with_file_and_remedy(
    tmp_path: Path, authority: Authority, spoil: Callable[[Authority, Issued, Path, Path], None], said: str
) -> None:
    issued = authority.issue("a.example")
    chain, key = tmp_path / "chain", tmp_path / "key"
    chain.write_bytes(issued.chain_pem)
    key.write_bytes(issued.key_pem)
    spoil(authority, issued, chain, key)
    with pytest.raises(CertificateError) as refusal:
        load_pair(str(chain), str(key))
    assert str(refusal.value).startswith(str(tmp_path))
    assert said in str(refusal.value)


# ---------------------------------------------------------------------------------------- reading once, and again


def test_unchanged_bytes_are_not_parsed_again(tmp_path: Path, authority: Authority, plain_policy: object) -> None:
    paths = authority.issue("a.example").write(tmp_path)
    first = load_pair(*paths)
    previous = {"a.example": compose("a.example", ("a.example",), plain_policy, (first,), None)}  # type: ignore[arg-type]
    assert Shelf(previous).pair(*paths) is first

    Path(paths[1]).chmod(0o644)
    again = Shelf(previous).pair(*paths)
    assert (again.info, again.key_mode) == (first.info, 0o644)
    assert again.info is first.info

    authority.issue("a.example").write(tmp_path)
    changed = Shelf(previous).pair(*paths)
    assert changed.info.serial != first.info.serial


def test_the_same_files_under_two_hosts_are_parsed_once(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue("a.example")
    shelf = Shelf()
    first = shelf.pair(*issued.write(tmp_path, "one"))
    copy = shelf.pair(*issued.write(tmp_path, "two"))
    assert copy.info is first.info
    assert copy.chain_file != first.chain_file


def test_a_file_is_read_once_per_load(tmp_path: Path, authority: Authority) -> None:
    """So that a renewal in the middle of a load is never half in it."""
    paths = authority.issue("a.example").write(tmp_path)
    shelf = Shelf()
    first = shelf.pair(*paths)
    authority.issue("a.example").write(tmp_path)
    assert shelf.pair(*paths) is first


# ------------------------------------------------------------------------------------------- client authorities


def test_authorities_and_lists(tmp_path: Path, client_authority: Authority) -> None:
    other = Authority("Other")
    (tmp_path / "ca").write_bytes(client_authority.pem + other.pem + client_authority.pem)
    lists = client_authority.revocation_list() + other.revocation_list(next_update=NOW + DAY)
    (tmp_path / "crl").write_bytes(lists)
    found = Shelf().authorities(str(tmp_path / "ca"), str(tmp_path / "crl"))
    assert found.ca_pem == client_authority.pem + other.pem
    assert found.crl_next_update == NOW + DAY
    assert found.ca_not_after == NOW + 1000 * DAY

    without = Shelf().authorities(str(tmp_path / "ca"), None)
    assert (without.crl_pem, without.crl_next_update) == (None, None)
    assert without.digest != found.digest


def test_authorities_that_cannot_be_used(tmp_path: Path, client_authority: Authority) -> None:
    (tmp_path / "ca").write_bytes(client_authority.pem)
    (tmp_path / "garbage").write_bytes(b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n")
    for ca, crl, said in [
        (None, None, "client_auth needs `ca`"),
        ("nothing", None, "the list of client authorities does not exist"),
        ("ca", "ca", "the revocation list has no X509 CRL block"),
        ("ca", "garbage", "a revocation list in it cannot be parsed"),
    ]:
        with pytest.raises(CertificateError, match=said):
            Shelf().authorities(ca and str(tmp_path / ca), crl and str(tmp_path / crl))
