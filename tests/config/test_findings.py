"""Faults beyond the schema at their places."""

from __future__ import annotations

import pytest

from terminator.config.findings import Findings, place_of
from terminator.config.nodes import Budget, Mapping, compose
from terminator.config.places import KeyPath, Source

TEXT = """\
a: 1
b:
  c: [x, {d: '${SECRET}'}]
  e: ${NO}
"""


@pytest.fixture
def root() -> Mapping:
    node = compose(Source("f", "/f", TEXT), {"SECRET": "hunter2"}, Budget(), [])
    assert isinstance(node, Mapping)
    return node


@pytest.mark.parametrize(
    ("path", "place"),
    [
        (("a",), "f:1:4"),  # a single value: itself
        (("b",), "f:2:1"),  # a mapping: its key
        (("b", "c"), "f:3:3"),
        (("b", "c", 0), "f:3:7"),
        (("b", "c", 1), "f:3:10"),  # a mapping in a list: its start
        (("b", "c", 1, "d"), "f:3:14"),
        (("b", "c", 7), "f:3:3"),  # not there: what is above it
        (("b", "z", "y"), "f:2:1"),
        (("z",), "f:1:1"),
        ((), "f:1:1"),
        (("a", "below"), "f:1:1"),
    ],
)
def test_where_to_point(root: Mapping, path: KeyPath, place: str) -> None:
    assert str(place_of(path, root)) == place


def test_errors_and_warnings_are_kept_apart(root: Mapping) -> None:
    findings = Findings(root)
    findings.error(("a",), "one")
    findings.warn(("b", "c", 0), "two")
    assert [problem.line for problem in findings.errors] == ["f:1:4: a: one"]
    assert [problem.line for problem in findings.warnings] == ["f:3:7: b.c[0]: two"]


def test_a_broken_value_is_passed_over(root: Mapping) -> None:
    findings = Findings(root)
    findings.error(("b", "e"), "one")
    findings.warn(("b", "e"), "two")
    assert not findings.errors
    assert not findings.warnings


def test_what_a_variable_became_is_not_repeated(root: Mapping) -> None:
    findings = Findings(root)
    assert findings.said(("a",), ValueError("1 is wrong")) == "1 is wrong"
    secret: KeyPath = ("b", "c", 1, "d")
    assert (
        findings.said(secret, ValueError("hunter2 is wrong")) == "`${SECRET}` became a value that is not allowed here"
    )
    assert (findings.shown(secret), findings.shown(("a",)), findings.shown(("b",))) == (
        "`${SECRET}`",
        "`1`",
        "a mapping",
    )
    assert findings.is_written(("a",))
    assert not findings.is_written(secret)
