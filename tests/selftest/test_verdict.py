from __future__ import annotations

from terminator.selftest.verdict import Verdict


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
