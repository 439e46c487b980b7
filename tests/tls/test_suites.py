"""Suites by their numbers on the wire."""

from __future__ import annotations

import pytest

from terminator.tls.policy import PROFILES, TLS13_SUITES
from terminator.tls.suites import Suite, known_suites


@pytest.mark.parametrize(
    ("number", "suite"),
    [
        (0x1301, Suite("TLS_AES_128_GCM_SHA256", "", "", False, True)),
        (0xC02B, Suite("ECDHE-ECDSA-AES128-GCM-SHA256", "ecdhe", "ecdsa", True, False)),
        (0xC02F, Suite("ECDHE-RSA-AES128-GCM-SHA256", "ecdhe", "rsa", True, False)),
        (0xC013, Suite("ECDHE-RSA-AES128-SHA", "ecdhe", "rsa", False, False)),
        (0x009E, Suite("DHE-RSA-AES128-GCM-SHA256", "dhe", "rsa", True, False)),
        (0x002F, Suite("AES128-SHA", "rsa", "rsa", False, False)),
    ],
)
def test_known_numbers(number: int, suite: Suite) -> None:
    assert known_suites()[number] == suite


def test_every_suite_of_the_profiles_has_its_number() -> None:
    names = {suite.name for suite in known_suites().values()}
    assert names >= {*TLS13_SUITES, *(name for profile in PROFILES.values() for name in profile.ciphers)}
