"""The walk down the model's types."""

from __future__ import annotations

from typing import Any

import pytest

from terminator.config.model import Backend, Host, Route, Server, TlsPolicy
from terminator.config.places import KeyPath
from terminator.config.shape import sections, shape_at


@pytest.mark.parametrize(
    ("path", "attribute", "value"),
    [
        (("hosts", 0), "section", Host),
        (("hosts", 3, "tls"), "section", TlsPolicy),
        (("hosts", 0, "routes", 1), "section", Route),
        (("backends", "any name"), "section", Backend),
        (("backends", "a", "servers", 0), "section", Server),
        (("backends", "a", "health_check", "interval"), "unit", "duration"),
        (("hosts", 0, "hsts"), "unit", "duration"),  # optional
        (("limits", "request_head"), "unit", "size"),
        (("limits", "headers"), "unit", None),
        (("workers",), "choices", ("auto",)),
        (("tls", "alpn", 0), "choices", ("http/1.1", "http/1.0")),
        (("user",), "optional", True),
        (("workers",), "optional", False),
        (("listeners", 0, "tls"), "types", (bool,)),
    ],
)
def test_what_stands_at_a_place(path: KeyPath, attribute: str, value: Any) -> None:
    assert getattr(shape_at(path), attribute) == value


@pytest.mark.parametrize("path", [("nothing",), ("hosts", 0, "nothing"), ("version", "below"), ("hosts", "a")])
def test_where_nothing_stands(path: KeyPath) -> None:
    assert shape_at(path) is None


def test_limits_are_found_through_all_wrappings() -> None:
    def limit(path: KeyPath, name: str) -> Any:
        shape = shape_at(path)
        assert shape is not None
        return shape.limit(name)

    assert limit(("limits", "request_head"), "ge") == 1024
    assert limit(("backends", "a", "health_check", "timeout"), "gt") == 0
    assert limit(("workers",), "le") == 512
    assert limit(("user",), "ge") is None


def test_every_section_has_its_place() -> None:
    places = dict(sections())
    assert places["hosts[].routes[].headers"] is places["hosts[].routes[].response_headers"]
    assert places["backends.NAME.servers[]"] is Server
    assert next(iter(places)) == ""
    assert len(places) == len(list(sections()))
