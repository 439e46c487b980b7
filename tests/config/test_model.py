"""The model: defaults that are valid themselves, what a file needs, and the policy of a host."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import BaseModel, ValidationError

from terminator.config.model import Config
from terminator.config.shape import sections, shape_of

Examine = Callable[..., Any]


@pytest.mark.parametrize("section", dict.fromkeys(section for _, section in sections()), ids=lambda one: one.__name__)
def test_every_key_has_a_meaning_and_every_section_too(section: type[BaseModel]) -> None:
    assert section.__doc__
    assert [name for name, field in section.model_fields.items() if not field.description] == []


@pytest.mark.parametrize("section", dict.fromkeys(section for _, section in sections()), ids=lambda one: one.__name__)
def test_every_default_keeps_its_own_bounds(section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        shape = shape_of(field)
        default = field.default
        if (
            field.is_required()
            or default is None
            or isinstance(default, BaseModel)
            or not isinstance(default, (int, float))
        ):
            continue
        low, above, high = shape.limit("ge"), shape.limit("gt"), shape.limit("le")
        assert low is None or default >= low, name
        assert above is None or default > above, name
        assert high is None or default <= high, name


@pytest.mark.parametrize(
    ("shared", "own", "policy"),
    [
        ("", "", {"profile": "intermediate", "min_version": None, "tickets": True}),
        ("profile: modern", "", {"profile": "modern"}),
        ("profile: modern, tickets: false", "tickets: true", {"profile": "modern", "tickets": True}),
        ('profile: old, min_version: "1.1"', "profile: modern", {"profile": "modern", "min_version": None}),
        ('min_version: "1.2"', "ciphers: [A]", {"min_version": "1.2", "ciphers": ["A"]}),
        ("client_auth: {mode: require, ca: a}", "client_auth: {mode: none}", {"client_auth.mode": "none"}),
        ("client_auth: {mode: require, ca: a}", "tickets: false", {"client_auth.mode": "require"}),
        ("client_auth: {mode: require, ca: a}", "client_auth: {mode: request, ca: b}", {"client_auth.depth": 4}),
    ],
)
def test_a_hosts_policy(examined: Examine, minimal: str, shared: str, own: str, policy: dict[str, Any]) -> None:
    text = minimal.replace("    routes:", f"    tls: {{{own}}}\n    routes:") + f"tls: {{{shared}}}\n"
    loaded, problems = examined(text)
    assert not problems
    found = loaded.config.policy(loaded.config.hosts[0])
    for key, value in policy.items():
        held: Any = found
        for step in key.split("."):
            held = getattr(held, step)
        assert held == value


def test_a_configuration_needs_four_things() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({})
    assert [error["loc"] for error in caught.value.errors()] == [("version",), ("listeners",), ("hosts",)]
