"""Contexts prove themselves by real handshakes: policy enforced, tickets kept and kept apart, unchanged ones kept."""

from __future__ import annotations

import ssl
import stat
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.x509.oid import NameOID
from workshop import Authority, Conversation, Workshop, converse

from terminator.errors import CertificateError, ConfigError
from terminator.tls import openssl
from terminator.tls.contexts import ContextStore, build
from terminator.tls.material import HostMaterial
from terminator.tls.openssl import Capabilities
from terminator.tls.tickets import Tickets, TicketSecret

SECRET = TicketSecret(b"0123456789abcdef" * 2, 3600)
TICKETS, NEXT = SECRET.tickets(0), SECRET.tickets(3600)

both_versions = pytest.mark.parametrize("version", ["1.2", "1.3"])


# -------------------------------------------------------------------------------------------------------- policy


@pytest.mark.parametrize(
    ("policy", "client", "negotiated"),
    [
        ({}, "1.2", "TLSv1.2"),
        ({}, "1.3", "TLSv1.3"),
        ({"profile": "modern"}, "1.3", "TLSv1.3"),
        ({"profile": "modern"}, "1.2", None),
        ({"min_version": "1.3"}, "1.2", None),
        ({"profile": "old"}, "1.2", "TLSv1.2"),
    ],
)
def test_versions_are_the_hosts(
    workshop: Workshop, policy: dict[str, Any], client: str, negotiated: str | None
) -> None:
    context = workshop.context(workshop.host(**policy))
    if negotiated is None:
        with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
            converse(context, workshop.client(client))
    else:
        assert converse(context, workshop.client(client)).server.version() == negotiated


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion:DeprecationWarning")
@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1])
@pytest.mark.parametrize(("profile", "served"), [("old", True), ("intermediate", False)])
def test_old_protocols_are_for_the_old_profile(
    workshop: Workshop, version: ssl.TLSVersion, profile: str, served: bool
) -> None:
    context = workshop.context(workshop.host(profile=profile))
    client = workshop.client()
    client.set_ciphers("DEFAULT:@SECLEVEL=0")
    client.minimum_version = client.maximum_version = version
    if served:
        assert converse(context, client).server.version() == version.name.replace("_", ".")
    else:
        with pytest.raises(ssl.SSLError, match="UNSUPPORTED_PROTOCOL"):
            converse(context, client)


@pytest.mark.parametrize(
    ("policy", "cipher"),
    [
        ({}, "ECDHE-ECDSA-CHACHA20-POLY1305"),
        ({"profile": "old"}, "ECDHE-ECDSA-AES128-GCM-SHA256"),
        (
            {"ciphers": ["ECDHE-ECDSA-AES256-GCM-SHA384", "ECDHE-ECDSA-CHACHA20-POLY1305"]},
            "ECDHE-ECDSA-AES256-GCM-SHA384",
        ),
    ],
)
def test_whose_order_counts(workshop: Workshop, policy: dict[str, Any], cipher: str) -> None:
    client = workshop.client(
        "1.2",
        ciphers="ECDHE-ECDSA-CHACHA20-POLY1305:ECDHE-ECDSA-AES256-GCM-SHA384:ECDHE-ECDSA-AES128-GCM-SHA256",
    )
    found = converse(workshop.context(workshop.host(**policy)), client).server.cipher()
    assert found is not None
    assert found[0] == cipher


def test_suites_without_forward_secrecy_are_refused_in_every_profile(workshop: Workshop) -> None:
    issued = workshop.authority.issue("a.example", key="rsa2048")
    for profile in ("intermediate", "old"):
        context = workshop.context(workshop.host("a.example", issued, profile=profile))
        with pytest.raises(ssl.SSLError, match="NO_SHARED_CIPHER"):
            converse(context, workshop.client("1.2", ciphers="AES128-GCM-SHA256:AES128-SHA"))


def test_options_are_set_on_purpose(workshop: Workshop) -> None:
    context = workshop.context(workshop.host())
    on = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_NO_SSLv3
    off = ssl.OP_CIPHER_SERVER_PREFERENCE | getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0) | ssl.OP_NO_TICKET
    assert context.options & on == on
    assert not context.options & off
    assert context.num_tickets == 1
    assert context.verify_flags == ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
    assert context.verify_mode == ssl.CERT_NONE


def test_client_certificates_are_verified_alike_on_every_python(
    workshop: Workshop, client_authority: Authority
) -> None:
    """Python 3.13 adds VERIFY_X509_STRICT to its defaults, which refuses authorities without key identifiers."""
    alice = client_authority.issue(usage="client", subject=[(NameOID.COMMON_NAME, "alice")])
    with pytest.raises(x509.ExtensionNotFound):
        alice.certificate.extensions.get_extension_for_class(x509.AuthorityKeyIdentifier)
    for mode in ("request", "require"):
        host = workshop.host(ca=client_authority.pem, crl=client_authority.revocation_list(), auth={"mode": mode})
        context = workshop.context(host)
        wanted = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN | ssl.VERIFY_CRL_CHECK_LEAF
        assert context.verify_flags == wanted
        assert converse(context, workshop.client(certificate=alice)).server.getpeercert()


@both_versions
def test_no_certificate_comes_compressed(workshop: Workshop, client_authority: Authority, version: str) -> None:
    """RFC 8879, which OpenSSL 3.2 does by itself where it was built with a compressor."""
    alice = client_authority.issue(usage="client", subject=[(NameOID.COMMON_NAME, "alice")])
    context, seen = workshop.context(workshop.host(ca=client_authority.pem)), set()
    openssl.report_messages(context, lambda _, way, version, content, message, data: seen.add((way, content, message)))
    converse(context, workshop.client(version, alice))
    certificate, compressed = 11, 25
    assert ("read", 22, certificate) in seen
    assert not {("read", 22, compressed), ("write", 22, compressed)} & seen


def test_alpn(workshop: Workshop) -> None:
    context = workshop.context(workshop.host(alpn=["http/1.1"]))
    for offered, chosen in [(["h2", "http/1.1"], "http/1.1"), (["h2"], None), (None, None)]:
        assert converse(context, workshop.client(alpn=offered)).server.selected_alpn_protocol() == chosen


@both_versions
def test_the_clients_algorithms_choose_among_certificates(workshop: Workshop, version: str) -> None:
    issue = workshop.authority.issue
    host = workshop.host("a.example", issue("a.example"), issue("a.example", key="rsa2048"))
    context = workshop.context(host)
    assert openssl.served_key_type(converse(context, workshop.client(version)).server) == "ecdsa"
    if version == "1.2":
        client = workshop.client("1.2", ciphers="ECDHE-RSA-AES128-GCM-SHA256")
        assert openssl.served_key_type(converse(context, client).server) == "rsa"


def test_a_chain_is_served_whole(workshop: Workshop) -> None:
    below = Authority("Second", Authority("First", workshop.authority))
    context = workshop.context(workshop.host("a.example", below.issue("a.example")))
    converse(context, workshop.client())  # the client knows the root alone


def test_renegotiation_is_refused(workshop: Workshop) -> None:
    assert workshop.context(workshop.host()).options & ssl.OP_NO_RENEGOTIATION


def test_the_key_log_is_written(workshop: Workshop, tmp_path: Path) -> None:
    host = replace(workshop.host(), key_log_file=str(tmp_path / "keys"))

    def build_logging(host: HostMaterial) -> ssl.SSLContext:
        return build(host, capabilities=workshop.capabilities, log_keys=True)

    converse(build_logging(host), workshop.client())
    assert "SERVER_TRAFFIC_SECRET_0" in (tmp_path / "keys").read_text()
    assert stat.filemode((tmp_path / "keys").stat().st_mode) == "-rw-------"
    (tmp_path / "keys").chmod(0o640)
    with pytest.raises(CertificateError, match="others can neither read nor write"):
        build_logging(host)
    with pytest.raises(CertificateError, match="the key log cannot be written: No such file"):
        build_logging(replace(host, key_log_file=str(tmp_path / "none" / "keys")))


def test_nothing_is_opened_for_the_key_log_before_the_fork(workshop: Workshop, tmp_path: Path) -> None:
    """A worker closes what it has not asked for; OpenSSL would go on writing to whatever takes the number."""
    host = replace(workshop.host(), key_log_file=str(tmp_path / "keys"))
    other = replace(workshop.host("b.example"), key_log_file=str(tmp_path / "keys"))
    store = ContextStore(workshop.capabilities, TICKETS)
    store.commit(store.prepare({"a.example": host}))
    converse(store.contexts["a.example"], workshop.client())
    assert not (tmp_path / "keys").exists()
    store.log_keys()
    converse(store.contexts["a.example"], workshop.client())
    written = (tmp_path / "keys").read_text()
    assert "SERVER_TRAFFIC_SECRET_0" in written
    store.commit(store.prepare({"a.example": host, "b.example": other}))  # as a reload does it
    converse(store.contexts["b.example"], workshop.client(), "b.example")
    assert len((tmp_path / "keys").read_text()) > len(written)


def test_a_policy_that_cannot_be_is_refused(workshop: Workshop) -> None:
    with pytest.raises(ConfigError, match="forward secrecy"):
        workshop.context(workshop.host(ciphers=["AES128-SHA"]))


def test_a_context_needs_no_help_from_private_calls(workshop: Workshop) -> None:
    """Where nothing could be proved, the daemon serves all the same."""
    context = build(workshop.host(), capabilities=Capabilities(), tickets=TICKETS)
    client = workshop.client()
    assert converse(context, client, session=converse(context, client).session).resumed


# ------------------------------------------------------------------------------------------------------- tickets


def resume(workshop: Workshop, version: str, first: ssl.SSLContext, second: ssl.SSLContext) -> Conversation:
    """A session that began on `first`, offered to `second`."""
    client = workshop.client(version)
    client.check_hostname = False
    began = converse(first, client)
    assert not began.resumed
    return converse(second, client, session=began.session)


@both_versions
def test_a_ticket_resumes_on_any_worker_and_after_a_renewal(workshop: Workshop, version: str) -> None:
    issue = workshop.authority.issue
    before = workshop.context(workshop.host("a.example", issue("a.example")), TICKETS)
    worker = workshop.context(workshop.host("a.example", issue("a.example")), TICKETS)
    renewed = workshop.context(workshop.host("a.example", issue("a.example", key="rsa2048")), TICKETS)
    assert resume(workshop, version, before, worker).resumed
    assert resume(workshop, version, before, renewed).resumed


@both_versions
def test_a_ticket_never_resumes_on_another_host(workshop: Workshop, version: str) -> None:
    issued = workshop.authority.issue("a.example", "b.example")
    a, b = (workshop.context(workshop.host(name, issued), TICKETS) for name in ("a.example", "b.example"))
    assert not resume(workshop, version, a, b).resumed


@both_versions
def test_without_ticket_keys_hosts_are_apart_all_the_same(workshop: Workshop, version: str) -> None:
    issued = workshop.authority.issue("a.example", "b.example")
    a, b = (
        build(workshop.host(name, issued), capabilities=Capabilities(), tickets=TICKETS)
        for name in ("a.example", "b.example")
    )
    assert not resume(workshop, version, a, b).resumed
    assert resume(workshop, version, a, a).resumed


@both_versions
def test_session_ids_do_not_resume(workshop: Workshop, version: str) -> None:
    """Neither elsewhere nor here: the cache is off, so there is nothing to keep apart."""
    context = workshop.context(workshop.host(), TICKETS)
    client = workshop.client(version)
    client.options |= ssl.OP_NO_TICKET
    began = converse(context, client)
    if version == "1.2":
        assert not converse(context, client, session=began.client.session).resumed
    assert context.session_stats()["number"] == 0


@both_versions
def test_tickets_can_be_off(workshop: Workshop, version: str) -> None:
    context = workshop.context(workshop.host(tickets=False), TICKETS)
    client = workshop.client(version)
    began = converse(context, client)
    session = began.client.session
    assert session is None or not session.has_ticket
    assert not converse(context, client, session=session).resumed


@both_versions
def test_the_turn_of_a_period_costs_a_full_handshake_and_no_error(workshop: Workshop, version: str) -> None:
    host = workshop.host()
    store = ContextStore(workshop.capabilities, TICKETS)
    store.commit(store.prepare({host.host: host}))
    client = workshop.client(version)
    old = converse(store.contexts[host.host], client).session
    assert converse(store.contexts[host.host], client, session=old).resumed
    store.rotate(NEXT)
    again = converse(store.contexts[host.host], client, session=old)
    assert not again.resumed
    assert converse(store.contexts[host.host], client, session=again.session).resumed


@both_versions
@pytest.mark.parametrize("mode", ["request", "require"])
def test_a_ticket_from_before_client_authentication_does_not_resume(
    workshop: Workshop, client_authority: Authority, version: str, mode: str
) -> None:
    """CVE-2025-23419's kin: the open past of a host is no way into its closed present."""
    issued = workshop.authority.issue("a.example")
    opened = workshop.context(workshop.host("a.example", issued), TICKETS)
    closed = workshop.context(workshop.host("a.example", issued, ca=client_authority.pem, auth={"mode": mode}), TICKETS)
    if mode == "require":
        with pytest.raises(ssl.SSLError, match="PEER_DID_NOT_RETURN_A_CERTIFICATE"):
            resume(workshop, version, opened, closed)
    else:
        assert not resume(workshop, version, opened, closed).resumed


@both_versions
def test_a_client_that_proved_itself_resumes_until_the_rule_changes(
    workshop: Workshop, client_authority: Authority, version: str
) -> None:
    issued = workshop.authority.issue("a.example")
    lists = [client_authority.revocation_list() for _ in range(2)]
    before, same, after = (
        workshop.context(workshop.host("a.example", issued, ca=client_authority.pem, crl=crl), TICKETS)
        for crl in (lists[0], lists[0], client_authority.revocation_list(client_authority.issue()))
    )
    client = workshop.client(version, client_authority.issue(usage="client"))
    session = converse(before, client).session
    again = converse(same, client, session=session)
    assert again.resumed
    assert again.server.getpeercert()
    assert not converse(after, client, session=session).resumed


# --------------------------------------------------------------------------------------------------------- store


def three_hosts(workshop: Workshop) -> dict[str, HostMaterial]:
    return {name: workshop.host(name) for name in ("a.example", "b.example", "c.example")}


def test_an_unchanged_host_keeps_its_context(workshop: Workshop) -> None:
    hosts = three_hosts(workshop)
    store = ContextStore(workshop.capabilities, TICKETS)
    first = store.prepare(hosts)
    assert first.fresh == tuple(hosts)
    assert store.contexts == {}, "nothing is in force before the commit"
    store.commit(first)

    changed = {name: hosts[name] for name in ("a.example", "b.example")} | {"b.example": workshop.host("b.example")}
    second = store.prepare(changed)
    assert second.fresh == ("b.example",)
    assert second.contexts["a.example"] is first.contexts["a.example"]
    assert store.contexts is first.contexts
    store.commit(second)
    assert set(store.contexts) == {"a.example", "b.example"}


def test_a_prepared_generation_may_be_dropped(workshop: Workshop) -> None:
    hosts = three_hosts(workshop)
    store = ContextStore(workshop.capabilities, TICKETS)
    store.commit(store.prepare(hosts))
    before = dict(store.contexts)
    store.prepare({"a.example": workshop.host("a.example")})
    assert store.contexts == before


def test_all_hosts_that_cannot_be_built_are_named(workshop: Workshop) -> None:
    hosts = three_hosts(workshop) | {
        "d.example": workshop.host("d.example", ciphers=["AES128-SHA"]),
        "e.example": replace(workshop.host("e.example"), key_log_file="/nonexistent/keys"),
    }
    store = ContextStore(workshop.capabilities)
    store.log_keys()
    with pytest.raises(ConfigError) as refusal:
        store.prepare(hosts)
    assert [problem.partition(": ")[0] for problem in refusal.value.problems] == ["host d.example", "host e.example"]


def test_a_rotation_between_prepare_and_commit_reaches_the_fresh_contexts(workshop: Workshop) -> None:
    host = workshop.host()
    store = ContextStore(workshop.capabilities, TICKETS)
    prepared = store.prepare({host.host: host})
    store.rotate(NEXT)
    store.commit(prepared)
    assert openssl.ticket_keys(store.contexts[host.host]) == NEXT.key(host.host, host.admission)


def test_rotation_without_the_means_is_nothing(workshop: Workshop) -> None:
    host = workshop.host()
    store = ContextStore(Capabilities(), TICKETS)
    store.commit(store.prepare({host.host: host}))
    before = openssl.ticket_keys(store.contexts[host.host])
    store.rotate(NEXT)
    assert openssl.ticket_keys(store.contexts[host.host]) == before


def test_what_one_store_resumes_another_with_the_same_keys_does(workshop: Workshop) -> None:
    """Two machines with one `ticket_secret_file`."""
    host = workshop.host()
    stores = [ContextStore(workshop.capabilities, Tickets(TICKETS.period, TICKETS.secret)) for _ in range(2)]
    for store in stores:
        store.commit(store.prepare({host.host: host}))
    first, second = (store.contexts[host.host] for store in stores)
    assert resume(workshop, "1.3", first, second).resumed


def test_a_thousand_hosts(workshop: Workshop) -> None:
    """Each has its own context; a reload that changes one builds one. The bounds are ten times what is usual."""
    one = workshop.host("h0.example")
    hosts = {f"h{n}.example": replace(one, host=f"h{n}.example", digest=f"{n}") for n in range(1000)}
    store = ContextStore(workshop.capabilities, TICKETS)
    before = _resident_bytes()
    began = time.process_time()
    store.commit(store.prepare(hosts))
    build_ms = (
        time.process_time() - began
    )  # seconds for a thousand are milliseconds for each; of CPU, for others may have the machine
    bytes_each = (_resident_bytes() - before) / len(hosts)

    hosts["h7.example"] = replace(one, host="h7.example", digest="new")
    began = time.process_time()
    prepared = store.prepare(hosts)
    assert (time.process_time() - began) < build_ms / 20
    assert prepared.fresh == ("h7.example",)

    began = time.process_time()
    store.rotate(NEXT)
    rotate_ms = time.process_time() - began  # likewise
    print(f"build {build_ms:.2f} ms, rotate {rotate_ms:.3f} ms, {bytes_each / 1024:.1f} KiB, each")
    assert build_ms < 10
    assert rotate_ms < 0.2
    assert bytes_each < 150 * 1024


def _resident_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096
