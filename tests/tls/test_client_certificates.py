"""Who may come in: OpenSSL's verdict in a full handshake, and ours on every connection, resumed ones too."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import subprocess
from datetime import datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.x509.oid import NameOID
from workshop import DAY, NOW, Authority, Issued, Workshop, converse

from terminator.errors import HandshakeError
from terminator.tls.client_certificates import allows, distinguished_name, examine, names, pattern_problems
from terminator.tls.contexts import build
from terminator.tls.failures import FAILURES
from terminator.tls.material import HostMaterial
from terminator.tls.openssl import Capabilities
from terminator.tls.tickets import TicketSecret

TICKETS = TicketSecret(b"0123456789abcdef" * 2, 3600).tickets(0)
both_versions = pytest.mark.parametrize("version", ["1.2", "1.3"])
both_modes = pytest.mark.parametrize("mode", ["request", "require"])


@both_versions
@both_modes
def test_a_verified_client_is_told_to_the_backend(
    workshop: Workshop, client_authority: Authority, version: str, mode: str
) -> None:
    middle = Authority("Middle", client_authority)
    alice = middle.issue(
        usage="client", subject=[(NameOID.ORGANIZATION_NAME, "Ops, Inc"), (NameOID.COMMON_NAME, "alice")]
    )
    host = workshop.host(ca=client_authority.pem, auth={"mode": mode})
    context, client = workshop.context(host, TICKETS), workshop.client(version, alice)
    full = converse(context, client)
    found = examine(full.server, host, NOW)
    assert found is not None
    assert found.der == alice.der
    assert found.chain_der == (middle.certificate.public_bytes(serialization.Encoding.DER),)
    assert (found.subject, found.issuer) == (r"CN=alice,O=Ops\, Inc", "CN=Middle")
    assert int(found.serial, 16) == alice.certificate.serial_number
    assert found.sha256 == alice.certificate.fingerprint(hashes.SHA256()).hex()

    again = converse(context, client, session=full.session)
    assert again.resumed
    resumed = examine(again.server, host, NOW)
    assert resumed is not None
    assert (resumed.der, resumed.subject, resumed.chain_der) == (found.der, found.subject, ())


def test_a_host_that_asks_for_none_has_none(workshop: Workshop) -> None:
    host = workshop.host()
    assert examine(converse(workshop.context(host), workshop.client()).server, host, NOW) is None


# -------------------------------------------------------------------------------------- what OpenSSL refuses itself


def _nobody(authority: Authority) -> Issued | None:
    return None


def _valid(authority: Authority) -> Issued:
    return authority.issue(usage="client")


def _stranger(authority: Authority) -> Issued:
    return Authority("Client authority").issue(usage="client")


def _expired(authority: Authority) -> Issued:
    return authority.issue(usage="client", not_after=NOW - DAY)


def _early(authority: Authority) -> Issued:
    return authority.issue(usage="client", not_before=NOW + DAY)


def _for_servers(authority: Authority) -> Issued:
    return authority.issue(usage="server")


def _too_deep(authority: Authority) -> Issued:
    return Authority("2", Authority("1", authority)).issue(usage="client")


@both_versions
@both_modes
@pytest.mark.parametrize(
    ("make", "code"),
    [
        (_stranger, "certificate signature failure|unable to get local issuer certificate"),
        (_expired, "certificate has expired"),
        (_early, "certificate is not yet valid"),
        (_for_servers, "unsuitable certificate purpose|unsupported certificate purpose"),
        (_too_deep, "certificate chain too long|unable to get local issuer"),
    ],
)
def test_a_certificate_that_does_not_verify_ends_the_handshake(
    workshop: Workshop, client_authority: Authority, version: str, mode: str, make: Any, code: str
) -> None:
    """`request` too: what is sent must verify."""
    context = workshop.context(workshop.host(ca=client_authority.pem, auth={"mode": mode, "depth": 1}))
    with pytest.raises(ssl.SSLCertVerificationError, match=code):
        converse(context, workshop.client(version, make(client_authority)))


@both_versions
def test_no_certificate(workshop: Workshop, client_authority: Authority, version: str) -> None:
    asked = workshop.host(ca=client_authority.pem, auth={"mode": "request"})
    assert examine(converse(workshop.context(asked), workshop.client(version)).server, asked, NOW) is None
    demanded = workshop.host(ca=client_authority.pem)
    with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
        converse(workshop.context(demanded), workshop.client(version))


@pytest.mark.parametrize("flag", ["-tls1_2", "-tls1_3"])
def test_clients_are_told_whose_certificates_are_asked_for(
    workshop: Workshop, client_authority: Authority, flag: str
) -> None:
    other = Authority("Another authority")
    crl = client_authority.revocation_list()
    context = workshop.context(workshop.host(ca=client_authority.pem + other.pem, crl=crl, auth={"mode": "request"}))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(20)
        command = ["openssl", "s_client", "-connect", f"127.0.0.1:{listener.getsockname()[1]}", flag]
        client = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        with listener.accept()[0] as sock, context.wrap_socket(sock, server_side=True) as connection:
            connection.recv(1)
        said = client.communicate(timeout=20)[0].decode()
    names = said.partition("Acceptable client certificate CA names\n")[2].splitlines()
    assert {line.replace(" ", "") for line in names[:2]} == {"CN=Clientauthority", "CN=Anotherauthority"}


@both_versions
@both_modes
@pytest.mark.parametrize(
    ("revoked", "ends", "verdict"),
    [
        (False, NOW + DAY, None),
        (True, NOW + DAY, "certificate revoked"),
        (False, NOW - DAY, "CRL has expired"),
        (True, NOW - DAY, "CRL has expired"),
    ],
)
def test_revocation_lists(
    workshop: Workshop,
    client_authority: Authority,
    version: str,
    mode: str,
    revoked: bool,
    ends: datetime,
    verdict: str | None,
) -> None:
    alice, bob = client_authority.issue(usage="client"), client_authority.issue(usage="client")
    crl = client_authority.revocation_list(bob, *([alice] if revoked else []), next_update=ends)
    host = workshop.host(ca=client_authority.pem, crl=crl, auth={"mode": mode})
    context, client = workshop.context(host), workshop.client(version, alice)
    if verdict is None:
        assert examine(converse(context, client).server, host, NOW) is not None
    else:
        with pytest.raises(ssl.SSLCertVerificationError, match=verdict):
            converse(context, client)


def test_a_list_of_another_authority_fails_closed(workshop: Workshop, client_authority: Authority) -> None:
    crl = Authority("Somebody").revocation_list()
    context = workshop.context(workshop.host(ca=client_authority.pem, crl=crl))
    with pytest.raises(ssl.SSLCertVerificationError, match="unable to get certificate CRL"):
        converse(context, workshop.client("1.2", client_authority.issue(usage="client")))


def test_an_intermediate_may_be_the_anchor(workshop: Workshop, client_authority: Authority) -> None:
    """What the operator put in `ca` is trusted as it is, and nothing beside it."""
    middle, sibling = Authority("Middle", client_authority), Authority("Sibling", client_authority)
    host = workshop.host(ca=middle.pem)
    context = workshop.context(host)
    found = examine(converse(context, workshop.client("1.3", middle.issue(usage="client"))).server, host, NOW)
    assert found is not None
    assert found.chain_der == ()
    with pytest.raises(ssl.SSLCertVerificationError):
        converse(context, workshop.client("1.3", sibling.issue(usage="client")))


# ----------------------------------------------------------------------------------------- what time and rules change


@both_versions
@pytest.mark.parametrize(
    ("later", "reason"),
    [
        (timedelta(0), None),
        (timedelta(days=3), "client_crl_expired"),
        (timedelta(days=10), "client_cert_expired"),
    ],
)
def test_a_resumed_session_is_looked_at_again(
    workshop: Workshop, client_authority: Authority, version: str, later: timedelta, reason: str | None
) -> None:
    """OpenSSL brings the verdict of hours ago with the session."""
    alice = client_authority.issue(usage="client", not_after=NOW + 5 * DAY)
    crl = client_authority.revocation_list(next_update=NOW + 2 * DAY)
    host = workshop.host(ca=client_authority.pem, crl=crl)
    context, client = workshop.context(host, TICKETS), workshop.client(version, alice)
    again = converse(context, client, session=converse(context, client).session)
    assert again.resumed
    if reason is None:
        assert examine(again.server, host, NOW + later) is not None
        return
    with pytest.raises(HandshakeError) as refusal:
        examine(again.server, host, NOW + later)
    assert (refusal.value.error_type, refusal.value.phase) == (reason, "handshake")
    assert reason in FAILURES
    assert "serial" in str(refusal.value)


@both_versions
@pytest.mark.parametrize("resumed", [False, True])
@pytest.mark.parametrize(("allow", "admitted"), [([], True), (["CN=alice"], True), (["CN=bob", "O=x"], False)])
def test_allow_decides_on_every_connection(
    workshop: Workshop, client_authority: Authority, version: str, resumed: bool, allow: list[str], admitted: bool
) -> None:
    alice = client_authority.issue(usage="client", subject=[(NameOID.COMMON_NAME, "alice")])
    host = workshop.host(ca=client_authority.pem, auth={"allow": allow})
    context, client = workshop.context(host, TICKETS), workshop.client(version, alice)
    conversation = converse(context, client)
    if resumed:
        conversation = converse(context, client, session=conversation.session)
        assert conversation.resumed
    if admitted:
        assert examine(conversation.server, host, NOW) is not None
    else:
        with pytest.raises(HandshakeError, match="no pattern of `allow` matches CN=alice") as refusal:
            examine(conversation.server, host, NOW)
        assert refusal.value.error_type == "client_cert_not_allowed"
        assert refusal.value.error_type in FAILURES


@both_versions
def test_a_session_without_a_certificate_is_not_let_in(
    workshop: Workshop, client_authority: Authority, version: str
) -> None:
    """Should a context ever be of another mind than its host, the last word is still said here."""
    wanted = workshop.host(ca=client_authority.pem)
    lax = workshop.context(workshop.host(ca=client_authority.pem, auth={"mode": "request"}))
    open_to_all = workshop.context(workshop.host())
    for context in (lax, open_to_all):
        with pytest.raises(HandshakeError) as refusal:
            examine(converse(context, workshop.client(version)).server, wanted, NOW)
        assert refusal.value.error_type == "client_cert_missing"
        assert refusal.value.error_type in FAILURES


def test_depth_holds_where_openssl_cannot_be_told(workshop: Workshop, client_authority: Authority) -> None:
    deep = Authority("2", Authority("1", client_authority)).issue(usage="client")

    def meet(depth: int) -> HostMaterial | None:
        host = workshop.host(ca=client_authority.pem, auth={"depth": depth})
        context = build(host, capabilities=Capabilities())
        examine(converse(context, workshop.client("1.3", deep)).server, host, NOW)
        return host

    assert meet(2)
    with pytest.raises(HandshakeError) as refusal:
        meet(1)
    assert refusal.value.error_type == "client_chain_too_long"
    assert refusal.value.error_type in FAILURES


# ------------------------------------------------------------------------------------------------------ patterns


ALICE = {
    "CN=": ("alice",),
    "O=": ("Ops Europe",),
    "DNS:": ("www.Shop.example",),
    "URI:": ("spiffe://a/ns/x",),
    "email:": ("Alice@Shop.example",),
}


@pytest.mark.parametrize(
    ("pattern", "matches"),
    [
        ("CN=alice", True),
        ("cn=alice", True),
        ("CN=Alice", False),
        ("CN=al*", True),
        ("CN=*", True),
        ("CN=a", False),
        ("CN=alic.", False),
        ("OU=*", False),
        ("O=Ops*", True),
        ("O=*Europe", True),
        ("O=Ops", False),
        ("DNS:www.shop.example", True),
        ("DNS:*.shop.example", True),
        ("DNS:*.example", False),
        ("DNS:w*.shop.example", True),
        ("URI:spiffe://a/*", True),
        ("URI:spiffe://b/*", False),
        ("email:*@shop.example", True),
        ("email:*@example", False),
    ],
)
def test_patterns(pattern: str, matches: bool) -> None:
    assert allows([pattern], ALICE) is matches
    assert allows(["CN=nobody", pattern], ALICE) is matches


@pytest.mark.parametrize("pattern", ["alice", "X=alice", "", "CN", "=alice", "DNS=a", "CN:alice"])
def test_a_pattern_of_no_kind_is_a_problem(pattern: str) -> None:
    [problem] = pattern_problems([pattern, "CN=alice"])
    assert problem.startswith(f"client_auth.allow: {pattern!r} does not begin with one of CN=, O=")


def test_a_pattern_of_nothing_is_a_problem() -> None:
    assert pattern_problems(["CN="]) == [
        "client_auth.allow: 'CN=' names nothing; `CN=*` matches every certificate that has one"
    ]


def test_names_of_a_real_certificate(workshop: Workshop, client_authority: Authority) -> None:
    alice = client_authority.issue(
        "alice.example",
        usage="client",
        subject=[
            (NameOID.COMMON_NAME, "älice"),
            (NameOID.COMMON_NAME, "al"),
            (NameOID.ORGANIZATIONAL_UNIT_NAME, "ops"),
        ],
        other_names=[
            x509.UniformResourceIdentifier("spiffe://a/b"),
            x509.RFC822Name("alice@a.example"),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        ],
    )
    host = workshop.host(ca=client_authority.pem)
    connection = converse(workshop.context(host), workshop.client("1.3", alice)).server
    decoded = connection.getpeercert()
    assert decoded is not None
    assert names(decoded) == {
        "CN=": ("älice", "al"),
        "OU=": ("ops",),
        "DNS:": ("alice.example",),
        "URI:": ("spiffe://a/b",),
        "email:": ("alice@a.example",),
        "IP:": ("192.0.2.1",),
    }


@pytest.mark.parametrize(
    ("attributes", "text"),
    [
        ((), ""),
        (((("commonName", "a"),),), "CN=a"),
        (((("countryName", "DE"),), (("organizationName", "O"),), (("commonName", "a"),)), "CN=a,O=O,C=DE"),
        (((("commonName", "a"), ("userId", "1")),), "CN=a+UID=1"),
        (((("emailAddress", "a@b"),),), "emailAddress=a@b"),
        (((("commonName", 'a,b+c"d\\e<f>g;h'),),), r"CN=a\,b\+c\"d\\e\<f\>g\;h"),
        (((("commonName", " a "),),), r"CN=\ a\ "),
        (((("commonName", "#a"),),), r"CN=\#a"),
        (((("commonName", "a\0b"),),), r"CN=a\00b"),
        (((("commonName", " "),),), "CN=\\ "),
    ],
)
def test_distinguished_names(attributes: Any, text: str) -> None:
    """RFC 4514 §2.1: the last part comes first; §2.4: what is escaped."""
    assert distinguished_name(attributes) == text
