"""The model: defaults that are valid themselves, plain values, and the policy of a host."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from terminator.config.model import Config, Duration, Size
from terminator.config.nodes import Text
from terminator.config.shape import sections, shape_of
from terminator.config.values import TcpAddress, UnixAddress

Examine = Callable[..., Any]


def everything(value: Any) -> Iterator[Any]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from everything(getattr(value, name))
    elif isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from everything(below)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from everything(item)
    else:
        yield value


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


def test_the_loaders_strings_become_plain_ones(examined: Examine, minimal: str) -> None:
    loaded, _ = examined(minimal + "log: {requests: off, lifecycle: a.log}\nuser: x\ntls: {unknown_sni: www.example}\n")
    texts = [value for value in everything(loaded.config) if isinstance(value, str)]
    assert len(texts) > 10
    assert {type(value) for value in texts} == {str}
    assert not any(isinstance(value, Text) for value in texts)


def test_paths_are_absolute_and_words_are_not(examined: Examine, minimal: str, tmp_path: Any) -> None:
    loaded, _ = examined(
        minimal + "log: {requests: off, handshakes: ../h.log, lifecycle: /var/l.log}\nadmin: {socket: s}\n"
    )
    config = loaded.config
    assert config.hosts[0].certificates[0].key == f"{tmp_path}/k.pem"
    assert (config.log.requests, config.log.lifecycle) == ("off", "/var/l.log")
    assert config.log.handshakes == f"{tmp_path.parent}/h.log"
    assert config.admin.socket == f"{tmp_path}/s"


def test_addresses_are_parsed_and_unix_paths_resolved(examined: Examine, minimal: str, tmp_path: Any) -> None:
    loaded, _ = examined(minimal.replace('"127.0.0.1:8000"', '"unix:s.sock", {address: "[::1]:80"}'))
    assert [server.address for server in loaded.config.backends["web"].servers] == [
        UnixAddress(f"{tmp_path}/s.sock"),
        TcpAddress("::1", 80),
    ]


def test_nothing_changes_later(examined: Examine, minimal: str) -> None:
    loaded, _ = examined(minimal)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.config.workers = 3


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


@pytest.mark.parametrize(("kind", "value"), [(Duration, "5s"), (Size, "5B")])
def test_units_stand_alone(kind: Any, value: str) -> None:
    assert TypeAdapter(kind).validate_python(value) == 5


def test_a_configuration_needs_four_things() -> None:
    with pytest.raises(ValidationError) as caught:
        Config.model_validate({})
    assert [error["loc"] for error in caught.value.errors()] == [("version",), ("listeners",), ("hosts",)]


def test_hosts_share_their_defaults(examined: Examine, minimal: str) -> None:
    """Copied, they cost five thousand hosts two seconds."""
    host = "".join(line + "\n" for line in minimal.splitlines()[4:8])
    loaded, _ = examined(minimal.replace(host, host + host.replace("www.", "w.")))
    one, other = loaded.config.hosts
    assert one.routes[0].headers is other.routes[0].headers
    assert one.tls is other.tls
