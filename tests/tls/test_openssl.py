"""The calls that `ssl` does not offer do what they say."""

from __future__ import annotations

import contextlib
import ssl

import pytest
import trustme
from workshop import Workshop, converse

from terminator.errors import CertificateError
from terminator.tls import openssl
from terminator.tls.memory import load_pair_bytes


def test_ticket_keys_read_back() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    random_key = openssl.ticket_keys(context)
    key = bytes(range(80))
    openssl.set_ticket_keys(context, key)
    assert openssl.ticket_keys(context) == key != random_key
    with pytest.raises(ValueError, match="80 bytes, not 48"):
        openssl.set_ticket_keys(context, key[:48])


@pytest.mark.parametrize(("given", "certificates"), [(False, 2), (True, 1)])
def test_a_chain_is_served_as_it_was_given(given: bool, certificates: int) -> None:
    """Without the call OpenSSL adds the authority that was loaded for clients' certificates."""
    authority = trustme.CA()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    issued = authority.issue_cert("a.test")
    load_pair_bytes(context, issued.cert_chain_pems[0].bytes(), issued.private_key_pem.bytes())
    context.load_verify_locations(cadata=authority.cert_pem.bytes().decode())
    if given:
        openssl.serve_given_chain(context)
    client = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    authority.configure_trust(client)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = context.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, server_hostname="a.test")
    for side in (there, here, there):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    assert len(there._sslobj.get_unverified_chain()) == certificates  # type: ignore[attr-defined]


@pytest.mark.parametrize("version", ["1.2", "1.3"])
@pytest.mark.parametrize(("group", "name"), [("P-384", "secp384r1"), ("X25519", "x25519"), ("P-256", "secp256r1")])
def test_the_group_that_was_set_is_negotiated_and_named(
    workshop: Workshop, version: str, group: str, name: str
) -> None:
    host = workshop.host(groups=[group])
    assert openssl.group_name(converse(workshop.context(host), workshop.client(version)).server) == name


def test_an_unknown_group_is_refused_and_leaves_no_error_behind() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with pytest.raises(CertificateError, match="does not know every group of X25519:nonsense"):
        openssl.set_groups(context, "X25519:nonsense")
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_resumed_session_names_its_group(workshop: Workshop, version: str) -> None:
    context, client = workshop.context(workshop.host(groups=["X25519"])), workshop.client(version)
    again = converse(context, client, session=converse(context, client).session)
    assert again.resumed
    assert openssl.group_name(again.server) == "x25519"


def test_a_client_is_asked_for_a_post_quantum_key(workshop: Workshop) -> None:
    """Also when the key it sent unasked is for another group."""
    if "X25519MLKEM768" not in workshop.capabilities.groups:
        pytest.skip("X25519MLKEM768 came with OpenSSL 3.5")
    client = workshop.client("1.3")
    openssl.set_groups(client, "*X25519:X25519MLKEM768")
    connection = converse(workshop.context(workshop.host()), client).server
    assert openssl.group_name(connection) == "X25519MLKEM768"


def test_a_finite_field_exchange_has_no_group(workshop: Workshop) -> None:
    context = workshop.context(workshop.host("a.example", workshop.authority.issue("a.example", key="rsa2048")))
    client = workshop.client("1.2", ciphers="DHE-RSA-AES128-GCM-SHA256")
    connection = converse(context, client).server
    assert connection.cipher() == ("DHE-RSA-AES128-GCM-SHA256", "TLSv1.2", 128)
    assert openssl.group_name(connection) in (None, "ffdhe2048")


@pytest.mark.parametrize("kind", ["ecdsa", "rsa2048", "ed25519"])
def test_the_key_type_served_is_told(workshop: Workshop, kind: str) -> None:
    context = workshop.context(workshop.host("a.example", workshop.authority.issue("a.example", key=kind)))
    served = openssl.served_key_type(converse(context, workshop.client()).server)
    assert served == kind.removesuffix("2048")
