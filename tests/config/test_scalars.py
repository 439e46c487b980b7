"""Single values: the core schema of YAML 1.2, and variables."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.config.scalars import core_value, expand


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("~", None),
        ("null", None),
        ("NULL", None),
        ("true", True),
        ("False", False),
        ("0", 0),
        ("-17", -17),
        ("+5", 5),
        ("0o17", 15),
        ("0x1F", 31),
        ("1.5", 1.5),
        (".5", 0.5),
        ("1.", 1.0),
        ("1e3", 1000.0),
        ("-1.5E-2", -0.015),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        # What YAML 1.1 takes for something else.
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("no", "no"),
        ("y", "y"),
        ("22:22", "22:22"),
        ("1:30:00", "1:30:00"),
        ("2026-11-21", "2026-11-21"),
        ("1_000", "1_000"),
        ("=", "="),
        ("0b11", "0b11"),
        # Leading zeros are kept, unlike in YAML 1.2.
        ("0644", "0644"),
        ("007.5", "007.5"),
        ("0x", "0x"),
        ("-", "-"),
        (".", "."),
        ("nan", "nan"),
        ("tRue", "tRue"),
        ("9" * 5000, "9" * 5000),
    ],
)
def test_core_schema(text: str, value: object) -> None:
    assert core_value(text) == value
    assert type(core_value(text)) is type(value)


def test_not_a_number() -> None:
    value = core_value(".nan")
    assert isinstance(value, float)
    assert math.isnan(value)


@given(st.text())
def test_any_text_has_a_value(text: str) -> None:
    value = core_value(text)
    assert value == text if isinstance(value, str) else True


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", "plain"),
        ("${A}", "one"),
        ("a${A}b${B}c", "aonebtwoc"),
        ("${EMPTY}", ""),
        ("${EMPTY:-d}", "d"),
        ("${NONE:-d}", "d"),
        ("${NONE:-}", ""),
        ("${A:-d}", "one"),
        ("${NONE:-a:-b$c {x}", "a:-b$c {x"),
        ("$$", "$"),
        ("$${A}", "${A}"),
        ("$$$${A}", "$${A}"),
        ("$$${A}", "$one"),
        ("$A $ a$", "$A $ a$"),
        ("${TRICK}", "${A} $$"),  # what came out is not expanded again
    ],
)
def test_variables(text: str, expanded: str) -> None:
    environment = {"A": "one", "B": "two", "EMPTY": "", "TRICK": "${A} $$"}
    assert expand(text, environment) == (expanded, [])


@pytest.mark.parametrize(
    ("text", "written", "message"),
    [
        ("x${NONE}", "${NONE}", "the environment variable NONE is not set; give a default: ${NONE:-value}"),
        ("${a b}", "${", "not a variable"),
        ("${", "${", "not a variable"),
        ("${}", "${", "not a variable"),
        ("${1A}", "${", "not a variable"),
        ("${A-b}", "${", "not a variable"),
        ("${client.address}", "${", "not a variable"),
        ("${NONE:-${A}}", "${NONE:-${A}", "do not nest"),
    ],
)
def test_faulty_variables(text: str, written: str, message: str) -> None:
    _, faults = expand(text, {"A": "one"})
    assert [fault.written for fault in faults] == [written]
    assert message in faults[0].message


@given(st.text(alphabet="${}AB:-a ", max_size=30))
def test_no_text_breaks_expansion(text: str) -> None:
    expanded, faults = expand(text, {"A": "secret"})
    assert isinstance(expanded, str)
    assert all("secret" not in fault.message for fault in faults)
