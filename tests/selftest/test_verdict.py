from __future__ import annotations

import pytest

from terminator.selftest.verdict import Fault, Skipped, Verdict, judge


def test_json_leaves_out_what_is_absent() -> None:
    of_a_host = Verdict("https", "a.test", "serves", "FAIL", "why").as_json()
    assert of_a_host == {
        "listener": "https",
        "host": "a.test",
        "check": "serves",
        "outcome": "fail",
        "detail": "why",
    }
    assert "host" not in Verdict("https", None, "garbage", "pass", "refused").as_json()


@pytest.mark.parametrize(("raised", "outcome"), [(Fault("why"), "FAIL"), (Skipped("why"), "skipped"), (None, "pass")])
def test_one_verdict_for_each_attack(raised: Exception | None, outcome: str) -> None:
    def attack() -> str:
        if raised is not None:
            raise raised
        return "why"

    verdict = judge("https", "a.test", "serves", attack)
    assert (verdict.outcome, verdict.detail) == (outcome, "why")


def test_a_host_without_a_name_is_not_attacked() -> None:
    assert judge("https", "192.0.2.1", "serves", lambda: "why", nameless=True).outcome == "skipped"
