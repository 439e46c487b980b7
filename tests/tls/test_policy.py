"""Profiles resolved: what the guideline says, what an operator may change, and what is refused with its reason."""

from __future__ import annotations

import ssl
from dataclasses import replace
from typing import Any

import pytest

from terminator.config.model import ClientAuth, TlsPolicy
from terminator.errors import ConfigError
from terminator.tls.openssl import Capabilities
from terminator.tls.policy import PROFILES, describe, resolve, unusable_suites

OLD = Capabilities(groups=("X25519", "P-256", "P-384", "P-521", "X448"))
NEW = replace(OLD, groups=("X25519MLKEM768", "SecP256r1MLKEM768", *OLD.groups))
NONE = Capabilities()


@pytest.mark.parametrize(
    ("profile", "min_version", "suites", "server_order"),
    [("modern", "1.3", 0, False), ("intermediate", "1.2", 9, False), ("old", "1.0", 19, True)],
)
def test_the_profiles_are_the_guidelines(profile: str, min_version: str, suites: int, server_order: bool) -> None:
    """https://ssl-config.mozilla.org/guidelines/5.7.json, less the suites without forward secrecy."""
    found = resolve(TlsPolicy(profile=profile), OLD)  # type: ignore[arg-type]
    assert (found.min_version, found.max_version) == (min_version, "1.3")
    assert len(found.ciphers) == suites
    assert found.server_order is server_order
    assert found.groups == ("X25519", "P-256", "P-384")


def test_every_profile_has_forward_secrecy_alone() -> None:
    for profile in PROFILES.values():
        assert all(name.startswith(("ECDHE-", "DHE-")) for name in profile.ciphers)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(resolve(TlsPolicy(profile="old"), OLD).cipher_string)
    assert {c["kea"] for c in context.get_ciphers()} <= {"kx-ecdhe", "kx-dhe", "kx-any"}


def test_a_post_quantum_group_comes_first_where_there_is_one() -> None:
    assert resolve(TlsPolicy(), NEW).groups == ("X25519MLKEM768", "X25519", "P-256", "P-384")
    assert resolve(TlsPolicy(), NONE).groups == ()


@pytest.mark.parametrize(
    ("groups", "text"),
    [
        (["X25519"], "X25519"),
        (["P-256", "X25519"], "P-256:X25519"),
        (["X25519MLKEM768"], "X25519MLKEM768"),
        (["X25519MLKEM768", "SecP256r1MLKEM768", "X25519", "P-256"], "X25519MLKEM768:SecP256r1MLKEM768/X25519:P-256"),
        (["X25519", "X25519MLKEM768"], "X25519:X25519MLKEM768"),
    ],
)
def test_post_quantum_groups_are_worth_a_round_trip(groups: list[str], text: str) -> None:
    assert resolve(TlsPolicy(groups=groups), NEW).group_string == text


@pytest.mark.parametrize(
    ("policy", "expected"),
    [
        ({"min_version": "1.3"}, {"ciphers": (), "min_version": "1.3", "finite_field": False}),
        ({"profile": "modern", "min_version": "1.2"}, {"min_version": "1.2", "server_order": False}),
        ({"ciphers": ["ECDHE-RSA-AES128-SHA"], "min_version": "1.1"}, {"security_level": 0, "server_order": True}),
        ({"ciphers": ["ECDHE-ECDSA-AES128-GCM-SHA256"] * 2}, {"ciphers": ("ECDHE-ECDSA-AES128-GCM-SHA256",)}),
        ({"groups": ["x25519", "secp384r1", "P-384"]}, {"groups": ("X25519", "P-384")}),
        ({}, {"security_level": 2, "finite_field": True}),
    ],
)
def test_what_an_operator_changes(policy: dict[str, Any], expected: dict[str, Any]) -> None:
    found = resolve(TlsPolicy(**policy), OLD)
    assert {key: getattr(found, key) for key in expected} == expected


def test_modern_with_a_lower_minimum_takes_the_next_profiles_suites() -> None:
    lowered = resolve(TlsPolicy(profile="modern", min_version="1.2"), OLD)
    assert lowered.ciphers == resolve(TlsPolicy(), OLD).ciphers


@pytest.mark.parametrize(
    ("policy", "said"),
    [
        ({"ciphers": ["AES128-SHA"]}, "tls.ciphers: AES128-SHA has no forward secrecy"),
        ({"ciphers": ["ADH-AES128-SHA"]}, "tls.ciphers: ADH-AES128-SHA does not authenticate the server"),
        ({"ciphers": ["TLS_AES_128_GCM_SHA256"]}, "belongs to TLS 1.3, whose suites are always on"),
        ({"ciphers": ["ECDHE-RSA-AES128-GCM-SHA255"]}, "did you mean ECDHE-RSA-AES128-GCM-SHA256?"),
        ({"ciphers": ["ecdhe-rsa-aes128-gcm-sha256"]}, "did you mean ECDHE-RSA-AES128-GCM-SHA256?"),
        ({"ciphers": ["HIGH:!aNULL"]}, "has no suite HIGH:!aNULL"),
        ({"ciphers": ["NULL"]}, "has no suite NULL"),
        ({"ciphers": []}, "ciphers: none is left for TLS 1.2"),
        ({"min_version": "1.0"}, "no cipher suite of this policy works with TLS 1.0; use profile: old"),
        ({"groups": ["X25519MLKEM768"]}, "cannot do X25519MLKEM768 (it came with OpenSSL 3.5)"),
        ({"groups": ["X25518"]}, "groups: X25518 is unknown; did you mean X25519?"),
        ({"groups": []}, "groups: none is named"),
    ],
)
def test_what_cannot_be_is_an_error_that_says_so(policy: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigError) as refusal:
        resolve(TlsPolicy(**policy), OLD)
    [problem] = refusal.value.problems
    assert said in problem


def test_all_problems_come_at_once() -> None:
    with pytest.raises(ConfigError) as refusal:
        resolve(TlsPolicy(ciphers=["AES128-SHA", "nonsense"], groups=["X25519MLKEM768", "P-256"]), OLD)
    assert len(refusal.value.problems) == 3


def test_groups_need_a_way_to_set_them() -> None:
    with pytest.raises(ConfigError, match="cannot be set on this Python and OpenSSL"):
        resolve(TlsPolicy(groups=["X25519"]), NONE)


def test_a_suite_that_is_too_weak_is_refused() -> None:
    weak = "ECDHE-RSA-DES-CBC3-SHA"
    with pytest.raises(ConfigError, match=weak) as refusal:
        resolve(TlsPolicy(ciphers=[weak]), OLD)
    # Debian builds OpenSSL without 3DES; where it is, it has 112 bits.
    assert "has no suite" in str(refusal.value) or "112 bits of strength" in str(refusal.value)


def test_the_description_is_for_people() -> None:
    def told(policy: TlsPolicy, capabilities: Capabilities = OLD) -> dict[str, str]:
        return dict(describe(policy, resolve(policy, capabilities)))

    usual = told(TlsPolicy())
    assert list(usual) == ["profile", "versions", "TLS 1.3", "TLS 1.2", "order", "groups", "ALPN", "tickets"]
    assert usual["profile"] == "intermediate (Mozilla Server Side TLS 5.7)"
    assert usual["versions"] == "TLS 1.2 to 1.3"
    assert usual["TLS 1.2"].startswith("ECDHE-ECDSA-AES128-GCM-SHA256 ECDHE-RSA")
    assert usual["order"] == "the client's order of preference"
    assert usual["groups"].startswith("X25519 P-256 P-384 (without X25519MLKEM768: not in OpenSSL ")
    assert (usual["ALPN"], usual["tickets"]) == ("http/1.1 http/1.0", "on")
    assert told(TlsPolicy(), NEW)["groups"] == "X25519MLKEM768 X25519 P-256 P-384"
    assert told(TlsPolicy(groups=["P-256"]))["groups"] == "P-256"
    modern = told(TlsPolicy(profile="modern", tickets=False), NONE)
    assert not any(word.startswith("TLS 1.2") for word in modern)
    assert "the default of this OpenSSL" in modern["groups"]
    assert modern["tickets"] == "off"
    old = told(TlsPolicy(profile="old"))
    assert old["caution"].startswith("TLS 1.0 and 1.1 need SHA-1")
    assert "TLS 1.2-" in old
    auth = ClientAuth.model_construct(mode="require", ca="ca.pem", crl="crl.pem", depth=2, allow=["CN=a"])
    assert told(TlsPolicy.model_construct(**{**dict(TlsPolicy()), "client_auth": auth}))["clients"] == (
        "certificate required, by an authority in ca.pem, through at most 2 intermediates, not revoked by crl.pem, "
        "only CN=a"
    )


@pytest.mark.parametrize(
    ("policy", "keys", "told"),
    [
        (TlsPolicy(), ["ecdsa"], None),
        (TlsPolicy(), ["rsa"], None),
        (TlsPolicy(profile="modern"), ["ecdsa"], None),
        (TlsPolicy(ciphers=["ECDHE-RSA-AES128-GCM-SHA256"]), ["rsa"], None),
        (TlsPolicy(ciphers=["ECDHE-RSA-AES128-GCM-SHA256"]), ["ecdsa", "rsa"], None),
        (TlsPolicy(ciphers=["ECDHE-ECDSA-AES128-GCM-SHA256"]), ["ed25519"], None),
        (
            TlsPolicy(ciphers=["ECDHE-RSA-AES128-GCM-SHA256"]),
            ["ecdsa"],
            "no suite below TLS 1.3 fits a certificate of the host (ecdsa)",
        ),
    ],
)
def test_suites_that_no_certificate_fits(policy: TlsPolicy, keys: list[str], told: str | None) -> None:
    assert unusable_suites(resolve(policy, OLD), keys) == told


def test_the_order_is_ours_only_where_there_are_suites_to_order() -> None:
    assert resolve(TlsPolicy(ciphers=["ECDHE-RSA-AES128-GCM-SHA256"]), OLD).server_order
    assert not resolve(TlsPolicy(profile="modern", ciphers=["ECDHE-RSA-AES128-GCM-SHA256"]), OLD).server_order
