"""Configured changes to fields: remove, then set, then add."""

from __future__ import annotations

from typing import Any

import pytest

from terminator.wire.header_rules import Rules

FIELDS = [(b"host", b"shop.example"), (b"X-A", b"1"), (b"x-b", b"2"), (b"x-a", b"3")]


def value(name: str) -> str:
    return {"host": "shop.example", "tls.sni": "", "path": "/a"}[name]


@pytest.mark.parametrize(
    ("rules", "changed"),
    [
        (Rules(), FIELDS),
        (Rules.parse(remove=["x-A"]), [FIELDS[0], FIELDS[2]]),
        (Rules.parse(set={"X-A": "new"}), [FIELDS[0], FIELDS[2], (b"x-a", b"new")]),
        (Rules.parse(add={"X-A": "new"}), [*FIELDS, (b"x-a", b"new")]),
        (Rules.parse(set={"X-C": "{path}!"}), [*FIELDS, (b"x-c", b"/a!")]),
        (Rules.parse(remove=["X-C"], set={"X-C": "1"}, add={"X-C": "2"}), [*FIELDS, (b"x-c", b"1"), (b"x-c", b"2")]),
        (Rules.parse(set={"Host": "internal"}), [(b"host", b"internal"), *FIELDS[1:]]),
        (Rules.parse(set={"Host": "{tls.sni}"}), FIELDS),
        (Rules.parse(set={"X-A": "{tls.sni}"}), [FIELDS[0], FIELDS[2]]),
        (Rules.parse(add={"X-C": "{tls.sni}"}), FIELDS),
        (Rules.parse(set={"X-C": ""}), [*FIELDS, (b"x-c", b"")]),
    ],
)
def test_apply(rules: Rules, changed: list[tuple[bytes, bytes]]) -> None:
    before = list(FIELDS)
    assert rules.apply(FIELDS, value) == changed
    assert before == FIELDS


@pytest.mark.parametrize(
    "name", ["Content-Length", "transfer-encoding", "Connection", "TE", "Upgrade", "Content_Length"]
)
def test_framing_is_not_the_operators(name: str) -> None:
    for rules in ({"set": {name: "x"}}, {"add": {name: "x"}}, {"remove": [name]}):
        with pytest.raises(ValueError, match="writes it itself"):
            Rules.parse(**rules)  # type: ignore[arg-type]


def test_host_is_one() -> None:
    for rules in ({"add": {"Host": "x"}}, {"remove": ["host"]}):
        with pytest.raises(ValueError, match="exactly one Host"):
            Rules.parse(**rules)  # type: ignore[arg-type]


def test_unknown_variables_are_found_when_parsed() -> None:
    with pytest.raises(ValueError, match="is no variable"):
        Rules.parse(set={"X-A": "{hots}"})


@pytest.mark.parametrize(
    ("rules", "constant"),
    [
        ({"set": {"X-A": "b"}, "add": {"X-B": "{{host}}"}, "remove": ["X-C"]}, True),
        ({"set": {"X-A": "b {host}"}}, False),
        ({"add": {"X-A": "{path}"}}, False),
    ],
)
def test_constant_rules_ask_for_no_variable(rules: dict[str, Any], constant: bool) -> None:
    assert Rules.parse(**rules).constant is constant
