"""What another policy would do to recorded offers, case by case; the replay with real handshakes is in tests/e2e."""

from __future__ import annotations

import pytest
from synthetic import OLD, failure, handshake

from terminator.config.model import TlsPolicy
from terminator.errors import ConfigError
from terminator.report.preview import judge, offered, parse_policy, preview
from terminator.report.tally import Tally
from terminator.tls.openssl import Capabilities
from terminator.tls.policy import resolve
from terminator.tls.proofs import prove

ABLE = prove()
ECDSA, RSA = frozenset({"ecdsa"}), frozenset({"rsa"})
NEW = "1.3,1.2", "x25519,secp256r1", "13011302c02bc02f"
CASES = [
    # offer, change, key types, verdict
    (NEW, "profile=modern", ECDSA, None),
    (NEW, "profile=old", RSA, None),
    (("1.2", "x25519", "c02bc02f"), "profile=modern", ECDSA, "unsupported_version"),
    (("1.2,1.1", "x25519", "c02bc02f"), "profile=intermediate", ECDSA, None),
    (("1.2", "x25519", "c02f"), "profile=intermediate", ECDSA, "no_shared_cipher"),
    (("1.2", "x25519", "c02f"), "profile=intermediate", RSA, None),
    (("1.2", "x25519", "c02f"), "profile=intermediate", ECDSA | RSA, None),
    (("1.2", "x25519", "002f"), "profile=old", RSA, "no_shared_cipher"),
    (("1.1,1.0", "secp256r1", "c013"), "profile=intermediate", RSA, "unsupported_version"),
    (("1.1,1.0", "secp256r1", "c013"), "profile=old", RSA, None),
    # AES-GCM came with TLS 1.2
    (("1.1", "secp256r1", "c02f"), "profile=old", RSA, "no_shared_cipher"),
    (NEW, "min_version=1.3", ECDSA, None),
    (NEW, "groups=P-384", ECDSA, "no_shared_group"),
    (NEW, "groups=P-256", ECDSA, None),
    (("1.2", "x25519", "c02b"), "groups=P-384", ECDSA, "no_shared_cipher"),
    # A client that names no groups takes any (RFC 8422 §4).
    (("1.2", None, "c02b"), "groups=P-384", ECDSA, None),
    # Finite-field Diffie-Hellman needs no group in TLS 1.2.
    (("1.2", "x448", "009e"), "profile=intermediate", RSA, None),
    (NEW, "ciphers=ECDHE-RSA-AES256-GCM-SHA384", RSA, None),
    (("1.2", "x25519", "c02f"), "ciphers=ECDHE-RSA-AES256-GCM-SHA384", RSA, "no_shared_cipher"),
    (("1.2", "x25519", "c030"), "ciphers=ECDHE-RSA-AES256-GCM-SHA384", RSA, None),
    # TLS 1.3 is taken although only 1.2 would have a common suite.
    (("1.3,1.2", "x25519", "c02b"), "profile=intermediate", ECDSA, "no_shared_cipher"),
    (("", None, ""), "profile=old", RSA, "unsupported_version"),
]


@pytest.mark.parametrize(("offer", "change", "key_types", "verdict"), CASES)
def test_judgement(
    offer: tuple[str, str | None, str], change: str, key_types: frozenset[str], verdict: str | None
) -> None:
    assert judge(offered(*offer), resolve(parse_policy([change]), ABLE), key_types) == verdict


def test_the_default_groups_of_openssl_stand_in_where_none_can_be_set() -> None:
    policy = resolve(TlsPolicy(), Capabilities())
    assert policy.groups == ()
    assert judge(offered(*NEW), policy, ECDSA) is None
    assert judge(offered("1.3", "ffdhe2048", "1301"), policy, ECDSA) == "no_shared_group"


def test_a_change_is_made_to_the_host_s_own_policy() -> None:
    base = TlsPolicy(profile="old", groups=["P-256"])
    assert parse_policy(["min_version=1.2"], base).profile == "old"
    assert parse_policy(["min_version=1.2"], base).groups == ["P-256"]
    assert parse_policy(["profile=modern"], base).groups is None
    both = parse_policy(["min_version=1.2 groups=X25519,P-256", "ciphers=A:B"])
    assert (both.min_version, both.groups, both.ciphers) == ("1.2", ["X25519", "P-256"], ["A", "B"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("modern", "KEY=VALUE"),
        ("color=red", "KEY=VALUE"),
        ("profile=", "KEY=VALUE"),
        ("profile=strong", "profile"),
        ("min_version=1.4", "min_version"),
        (" ", "nothing"),
    ],
)
def test_faults_are_told(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_policy([text])


def test_what_openssl_cannot_do_is_told() -> None:
    with pytest.raises(ConfigError, match="NO-SUCH"):
        resolve(parse_policy(["ciphers=NO-SUCH-SUITE"]), ABLE)


def test_handshakes_are_counted_by_host_and_client() -> None:
    tally = Tally(offers=True)
    old = {"tls_client_offered__versions": "1.2", "tls_client_offered__ciphers": "c02b", "tls_client_ja4": OLD[0]}
    for event in (
        *(handshake(at) for at in range(6)),
        *(handshake(at, tls_protocol_version="1.2", **old) for at in range(3)),
        handshake(9, host="b.example", tls_protocol_version="1.2", **old),
        failure(10, **old),  # not served today either
        handshake(11, tls_client_offered__versions=None, host="b.example"),
    ):
        tally.add(event)
    found = preview(tally, {"*": parse_policy(["profile=modern"])}, ABLE)
    assert (found.served, found.lost.count, found.without_offer) == (10, 4, 1)
    assert found.lost.classes == {"unsupported_version": 4}
    assert {host: lost.count for host, lost in found.by_host.items()} == {"shop.example": 3, "b.example": 1}
    assert found.served_by_host == {"shop.example": 9, "b.example": 1}
    assert {ja4: lost.count for ja4, lost in found.by_client.items()} == {OLD[0]: 4}
    only = preview(tally, {"b.example": parse_policy(["profile=modern"])}, ABLE)
    assert (only.served, only.lost.count) == (1, 1)
