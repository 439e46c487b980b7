"""Sound and good are two things: what is warned of, and what is refused because the served one was better. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from terminator.config.model import ClientAuth, TlsPolicy
from terminator.tls.judgement import covers, host_warnings, warnings, worse, worse_host, worse_materials
from terminator.tls.material import CertificateInfo, ClientAuthorities, HostMaterial, Pair, compose

NOW = datetime(2026, 11, 21, tzinfo=UTC)
DAY = timedelta(days=1)

GOOD = CertificateInfo(
    serial="1a",
    subject="CN=a",
    issuer="CN=ca",
    names=("a.example", "*.a.example"),
    not_before=NOW - 30 * DAY,
    not_after=NOW + 60 * DAY,
    key_type="ecdsa",
    key_bits=256,
    sha256="00",
    chain_length=2,
    chain_problems=(),
    chain_not_after=NOW + 900 * DAY,
)


def pair(mode: int = 0o600, **changes: Any) -> Pair:
    info = replace(GOOD, **changes)
    return Pair(
        chain_file="c.pem", key_file="k.pem", key_mode=mode, chain_pem=b"", key_pem=b"", info=info, digest=info.sha256
    )


def renewed(**changes: Any) -> Pair:
    return pair(**{"sha256": "11", "serial": "2b", "not_before": NOW - DAY, "not_after": NOW + 89 * DAY} | changes)


@pytest.mark.parametrize(
    ("names", "name", "covered"),
    [
        (("a.example",), "a.example", True),
        (("a.example",), "A.Example.", True),
        (("a.example",), "b.example", False),
        (("*.example",), "a.example", True),
        (("*.example",), "*.example", True),
        (("*.example",), "b.a.example", False),
        (("*.example",), "example", False),
        (("a.example",), "*.example", False),
        (("2001:db8::1",), "2001:db8::1", True),
        (("2001:db8::1",), "[2001:db8::1]", True),
        ((), "a.example", False),
    ],
)
def test_covering_a_name(names: tuple[str, ...], name: str, covered: bool) -> None:
    """RFC 9525 §6.3: a wildcard stands for exactly one label."""
    assert covers(names, name) is covered


@pytest.mark.parametrize(
    ("served", "said"),
    [
        (pair(), None),
        (pair(not_after=NOW - DAY), "c.pem: the certificate (serial 1a) expired on 2026-11-20 00:00 UTC; renew it"),
        (pair(not_before=NOW + DAY), "c.pem: the certificate (serial 1a) is not valid before 2026-11-22 00:00 UTC"),
        (pair(not_after=NOW + 5 * DAY), "c.pem: the certificate expires in 5.0 days, on 2026-11-26"),
        (pair(chain_not_after=NOW - DAY), "c.pem: an intermediate certificate expired on 2026-11-20"),
        (pair(chain_problems=("out of order",)), "c.pem: out of order"),
        (
            pair(names=("b.example", "c.example")),
            "c.pem: the certificate does not cover a.example; it is for b.example",
        ),
        (pair(names=()), "c.pem: the certificate has no subjectAltName"),
        (pair(mode=0o640), None),
        (pair(mode=0o644), "k.pem: the private key is readable by others (mode 0644); chmod 0600 k.pem"),
        (pair(mode=0o660), "k.pem: the private key is readable by others (mode 0660)"),
    ],
)
def test_what_a_pair_is_warned_of(served: Pair, said: str | None) -> None:
    found = warnings(served, ["a.example"], NOW)
    if said is None:
        assert found == []
    else:
        [text] = found
        assert text.startswith(said)


def test_every_name_that_is_not_covered_is_named() -> None:
    [text] = warnings(pair(), ["a.example", "x.a.example", "b.example", "*.c.example"], NOW)
    assert "does not cover b.example, *.c.example" in text


@pytest.mark.parametrize(
    ("new", "reason"),
    [
        (renewed(), None),
        (renewed(not_after=NOW - timedelta(hours=1)), "expired on 2026-11-20 23:00 UTC"),
        (renewed(not_before=NOW + DAY), "is not valid before 2026-11-22"),
        (renewed(names=("b.example",)), "no longer covers a.example"),
        (renewed(names=("a.example", "b.example")), None),
        (renewed(key_type="rsa", key_bits=2048), "its rsa key of 2048 bits is weaker than the ecdsa key of 256 bits"),
        (renewed(key_type="rsa", key_bits=4096), None),
        (renewed(key_type="ed25519"), None),
        (renewed(key_bits=384), None),
        (renewed(not_before=NOW - 40 * DAY), "(serial 2b, issued 2026-10-12 00:00 UTC) is older than the one served"),
    ],
)
def test_a_worse_certificate_is_refused_with_its_reason(new: Pair, reason: str | None) -> None:
    found = worse([new], [pair()], ["a.example"], NOW)
    if reason is None:
        assert found == []
    else:
        [text] = found
        assert text.startswith("c.pem: ")
        assert reason in text


def test_what_is_served_already_is_no_reason() -> None:
    """An expired certificate must not hold up a reload that is about something else."""
    expired = pair(not_after=NOW - DAY)
    assert worse([expired], [expired], ["a.example"], NOW) == []


def test_each_key_type_is_compared_with_its_own() -> None:
    rsa = pair(key_type="rsa", key_bits=3072, sha256="22", not_before=NOW - 2 * DAY)
    assert worse([renewed(), rsa], [pair(), rsa], ["a.example"], NOW) == []
    [text] = worse([pair(), renewed(key_type="rsa", key_bits=2048)], [pair(), rsa], ["a.example"], NOW)
    assert "weaker than the rsa key of 3072 bits" in text


def test_a_second_key_type_may_join() -> None:
    assert worse([pair(), renewed(key_type="rsa", key_bits=4096)], [pair()], ["a.example"], NOW) == []


def test_a_name_that_was_never_covered_is_not_lost() -> None:
    assert worse([renewed()], [pair()], ["a.example", "z.example"], NOW) == []


def test_several_reasons_are_all_said() -> None:
    found = worse([renewed(not_after=NOW - DAY, not_before=NOW - 90 * DAY, names=())], [pair()], ["a.example"], NOW)
    assert len(found) == 3


# ------------------------------------------------------------------------------------------------------ whole hosts


def host(
    *pairs: Pair, crl_ends: datetime | None = None, ca_ends: datetime = NOW + DAY, digest: str = ""
) -> HostMaterial:
    authorities = policy = None
    if digest:
        authorities = ClientAuthorities(
            ca_pem=b"", ca_not_after=ca_ends, crl_pem=None, crl_next_update=crl_ends, digest=digest
        )
        policy = TlsPolicy(client_auth=ClientAuth.model_validate({"mode": "require", "ca": "ca.pem", "crl": "crl.pem"}))
    return compose("a.example", ("a.example",), policy or TlsPolicy(), pairs, authorities)


def test_an_expired_revocation_list_is_worse() -> None:
    """It would shut every client out: OpenSSL fails closed."""
    old = host(pair(), crl_ends=NOW + DAY, digest="old")
    new = host(pair(), crl_ends=NOW - DAY, digest="new")
    assert worse_host(new, old, NOW) == ["host a.example: crl.pem: the revocation list expired on 2026-11-20 00:00 UTC"]
    assert worse_host(new, new, NOW) == []
    [warning] = host_warnings(new, NOW)
    assert warning.startswith("crl.pem: the revocation list expired")


def test_authorities_that_are_all_expired_are_worse() -> None:
    new = host(pair(), ca_ends=NOW - DAY, digest="new")
    assert worse_host(new, host(pair()), NOW) == ["host a.example: ca.pem: every client authority in it has expired"]
    assert host_warnings(new, NOW)[0].startswith("ca.pem: every client authority")


def test_a_new_host_is_judged_by_itself() -> None:
    [text] = worse_materials({"a.example": host(pair(not_after=NOW - DAY))}, {}, NOW)
    assert text.startswith("host a.example: c.pem: the certificate (serial 1a) expired")
    assert worse_materials({"a.example": host(pair())}, {}, NOW) == []


def test_two_certificates_of_one_key_type_are_warned_of() -> None:
    [text] = host_warnings(host(pair(), renewed()), NOW)
    assert text.startswith("several ecdsa certificates")
