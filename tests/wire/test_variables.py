"""Variables in configured texts, and that nothing a client sends breaks out of the place it is put in."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.wire.request_head import parse
from terminator.wire.variables import KNOWN_VARIABLES, Template, UnknownVariable, variable_names

VALUES = {
    "host": "shop.example",
    "path": "/a%20b",
    "query": "c=d",
    "uri": "/a%20b?c=d",
    "client.address": "192.0.2.7",
    "tls.sni": "",
}


def value(name: str) -> str:
    return VALUES[name]


def saying(said: str) -> Callable[[str], str]:
    return lambda name: said


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("plain", b"plain"),
        ("", b""),
        ("{host}", b"shop.example"),
        ("a {host}-{client.address} b", b"a shop.example-192.0.2.7 b"),
        ("{host}{host}", b"shop.exampleshop.example"),
        ("{{host}} is {host}", b"{host} is shop.example"),
        ('{"group": {"max": 1}}', b'{"group": {"max": 1}}'),
        ('{"to": "{host}"}', b'{"to": "shop.example"}'),
        ("{} { } {1} {", b"{} { } {1} {"),
        ("[{tls.sni}]", b"[]"),
        (" {tls.sni} ", b""),
        ("é", "é".encode()),
    ],
)
def test_expand_field(text: str, expanded: bytes) -> None:
    assert Template.parse(text).expand_field(value) == expanded


@pytest.mark.parametrize("text", ["{hots}", "a{Host}b", "{client-address}", "{host}{x}"])
def test_unknown_variables(text: str) -> None:
    with pytest.raises(UnknownVariable) as refusal:
        Template.parse(text)
    assert refusal.value.name in variable_names(text)
    assert refusal.value.name not in KNOWN_VARIABLES
    assert "is no variable" in str(refusal.value)


def test_variable_names() -> None:
    assert variable_names("{host} {{path}} {x} {1} {client.port}") == ("host", "x", "client.port")


def test_a_template_knows_that_it_is_constant() -> None:
    assert Template.parse("a {{host}}").constant
    assert not Template.parse("a {host}").constant


@given(st.text())
def test_nothing_breaks_out_of_a_field(said: str) -> None:
    expanded = Template.parse("a{tls.sni}b").expand_field(saying(said))
    assert expanded.startswith(b"a")
    assert all(0x20 <= byte < 0x7F for byte in expanded)


@pytest.mark.parametrize(
    ("text", "path", "location"),
    [
        ("https://{host}{path}", "/a", b"https://shop.example/a"),
        ("https://{host}{path}", "//evil.example", b"https://shop.example//evil.example"),
        ("{path}", "//evil.example/a", b"/evil.example/a"),
        ("{path}", "///evil.example", b"/evil.example"),
        ("/{path}", "/evil.example", b"/evil.example"),
        ("//cdn.example{path}", "/a", b"//cdn.example/a"),
        ("/new{path}", "//evil.example", b"/new//evil.example"),
        ("{path}", "/%2f%2Fa|b", b"/%2f%2Fa%7Cb"),
        ("/a b", "/", b"/a%20b"),
        ("/é{path}", "/", b"/%C3%A9/"),
    ],
)
def test_expand_location(text: str, path: str, location: bytes) -> None:
    values = VALUES | {"path": path}
    assert Template.parse(text).expand_location(values.__getitem__) == location


@given(st.text())
def test_nothing_breaks_out_of_a_location(said: str) -> None:
    for text in ("https://a.example/{query}", "/{path}", "{path}"):
        location = Template.parse(text).expand_location(saying(said))
        assert all(0x21 <= byte < 0x7F and byte not in b'"<>\\' for byte in location)
        assert not location.startswith(b"//")


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("/new{path}", "/new/a%20b"),
        ("{path}.html", "/a%20b.html"),
        ("/{host}{path}", "/shop.example/a%20b"),
        ("/q/{query}", "/q/c=d"),
        ("/fixed", "/fixed"),
    ],
)
def test_expand_path(text: str, path: str) -> None:
    assert Template.parse_path(text).expand_path(value) == path


@given(st.text())
def test_a_rewritten_path_is_a_path(said: str) -> None:
    """The request gate takes it: no query begins in it, and no percent sign stands alone."""
    for text in ("/{path}", "{path}", "/a{tls.sni}b"):
        path = Template.parse_path(text).expand_path(saying(said.replace("%00", "")))
        if "%00" in path:
            continue
        head = parse(f"GET {path} HTTP/1.1\r\nHost: a\r\n\r\n".encode("ascii"), max_fields=9)
        assert (head.path, head.query) == (path, None)


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("new{path}", "begins with a slash"),
        ("", "begins with a slash"),
        ("{host}", "begins with a slash"),
        ("/a?b={path}", "query is kept"),
        ("/a#b", "query is kept"),
        ("/new{uri}", "write {path}"),
        ("/a b", "/a%20b"),
        ("/é", "%C3%A9"),
        ("/%zz", "cannot hold"),
        ("/{nowhere}", "is no variable"),
    ],
)
def test_paths_that_cannot_be(text: str, fault: str) -> None:
    with pytest.raises(ValueError, match=fault):
        Template.parse_path(text)


def test_every_variable_is_described() -> None:
    assert all(KNOWN_VARIABLES.values())
    assert variable_names("".join(f"{{{name}}}" for name in KNOWN_VARIABLES)) == tuple(KNOWN_VARIABLES)
