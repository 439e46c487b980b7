"""Whose certificate it was that did not come in; with the daemon: tests/e2e/test_client_certificates.py."""

from __future__ import annotations

import contextlib
import ssl

import pytest
from cryptography.x509.oid import NameOID
from workshop import DAY, NOW, Authority, Issued, Workshop, converse

from terminator.tls.shown import MAX_NAME, Shown, ignore, shown
from terminator.wire.certificate_names import read_names

both_versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


def refused(context: ssl.SSLContext, client: ssl.SSLContext) -> ssl.SSLObject:
    """The server's side of a handshake that it does not finish."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = context.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, server_hostname="a.example")
    for side in (there, here, there):
        with contextlib.suppress(ssl.SSLWantReadError):
            side.do_handshake()
    with pytest.raises(ssl.SSLError) as refusal:
        here.do_handshake()
    assert not isinstance(refusal.value, ssl.SSLWantReadError)
    return here


def expired(authority: Authority, name: str) -> Issued:
    return authority.issue(usage="client", subject=[(NameOID.COMMON_NAME, name)], not_after=NOW - DAY)


@both_versions
def test_a_certificate_that_does_not_verify(workshop: Workshop, client_authority: Authority, version: str) -> None:
    bob = expired(client_authority, "bob, the expired")
    host = workshop.host(ca=client_authority.pem)
    found = shown(refused(workshop.context(host), workshop.client(version, bob)))
    assert found is not None
    assert found.subject == r"CN=bob\, the expired"
    assert found.issuer == client_authority.certificate.subject.rfc4514_string()
    assert int(found.serial, 16) == bob.certificate.serial_number


@both_versions
def test_none_was_shown(workshop: Workshop, client_authority: Authority, version: str) -> None:
    host = workshop.host(ca=client_authority.pem)
    assert shown(refused(workshop.context(host), workshop.client(version))) is None


@both_versions
def test_a_verified_one_is_read_as_python_reads_it(
    workshop: Workshop, client_authority: Authority, version: str
) -> None:
    alice = client_authority.issue(usage="client", subject=[(NameOID.COMMON_NAME, "alice")])
    context, client = workshop.context(workshop.host(ca=client_authority.pem)), workshop.client(version, alice)
    full = converse(context, client)
    serial = f"{alice.certificate.serial_number:X}"
    expected = Shown(
        "CN=alice", client_authority.certificate.subject.rfc4514_string(), serial.zfill(len(serial) + len(serial) % 2)
    )
    assert shown(full.server) == expected
    names = read_names(alice.der)
    decoded = full.server.getpeercert()
    assert names is not None
    assert decoded is not None
    assert (names.subject, names.serial) == (decoded["subject"], decoded["serialNumber"])
    again = converse(context, client, session=full.session)
    assert again.resumed
    assert shown(again.server) == expected  # by its session: no message has told
    ignore(full.server)
    assert not hasattr(full.server, "shown_certificate")
    full.client.write(b"more")
    assert full.server.read(4) == b"more"


def test_a_long_name_is_cut(workshop: Workshop, client_authority: Authority) -> None:
    subject = [(NameOID.ORGANIZATIONAL_UNIT_NAME, "x" * 60)] * 20
    long = client_authority.issue(usage="client", subject=subject, not_after=NOW - DAY)
    found = shown(refused(workshop.context(workshop.host(ca=client_authority.pem)), workshop.client("1.3", long)))
    assert found is not None
    assert len(found.subject) == MAX_NAME


def test_a_host_that_asks_for_none_watches_nobody(workshop: Workshop) -> None:
    assert workshop.context(workshop.host())._msg_callback is None  # type: ignore[attr-defined]
