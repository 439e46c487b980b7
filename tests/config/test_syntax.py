"""libyaml's complaints in words, each produced by a real file."""

from __future__ import annotations

from collections.abc import Callable

import pytest

CASES = [
    ("a: *.example", '1:4: quote a text that begins with *: "*.example"'),
    ("a: [x, *.b.example, c]", '1:8: quote a text that begins with *: "*.b.example"'),
    ("a: &.x", '1:4: quote a text that begins with &: "&.x"'),
    ("a: @x y", '1:4: quote a text that begins with @: "@x"'),
    ("a: `x`", '1:4: quote a text that begins with `: "`x`"'),
    ("a: %x", '1:4: quote a text that begins with %: "%x"'),
    ("a: [::1]:443", '1:4: quote an address that begins with [: "[::1]:443"'),
    ("a: [fe80::1]:443", '1:4: quote an address that begins with [: "[fe80::1]:443"'),
    ("a: [::]:443", '1:4: quote an address that begins with [: "[::]:443"'),
    ("a: [*:443]", '1:4: quote an address that begins with [: "[*:443]"'),
    ("- x: 1\n  bind: [2001:db8::1]:80", '2:9: quote an address that begins with [: "[2001:db8::1]:80"'),
    ("\ta: 1", "1:1: a tab; YAML is indented with spaces"),
    ("a: 1\n\tb: 2", "2:1: a tab; YAML is indented with spaces"),
    ("a:\n\t- x", "2:1: a tab; YAML is indented with spaces"),
    ("a: x: y", "1:5: a `: ` stands where no key can be; quote a text that holds one, or check the indentation"),
    ("- {a: b", "1:3: a `{` is not closed, or a comma is missing"),
    ("a: [b\nc: d", "1:4: a `[` is not closed, or a comma is missing"),
    ('a: "x\nb: c', "1:4: a quote that opens here is not closed"),
    ("a: 1\nb", "2:1: neither `key: value` nor part of the line before"),
    ("a:\n  - b\n c", "3:2: does not fit the lines above: check the indentation, or quote the text"),
    ('a: "\\d"', r"1:5: in double quotes `\` begins an escape; write `\\`, or use single quotes"),
    ("a: {b: ${X:-c}}", '1:8: quote a variable inside { } or [ ]: "${X:-c}"'),
    ("a: [1, ${X}]", '1:8: quote a variable inside { } or [ ]: "${X}"'),
    ("a: {", "1:4: the file ends inside a `{` or a `[`"),
    ("a: }", "1:4: a value is missing here, or must be quoted"),
    ("a: - b", "1:4: a list cannot begin here; put it on lines of its own"),
    ("- a\nb: c", "2:1: does not fit the list above: entries begin with `- ` in the same column"),
    ('a: "\\ud800"', "1:7: not YAML: found invalid Unicode character escape code"),
]


@pytest.mark.parametrize(("text", "told"), CASES)
def test_complaints(faults: Callable[..., list[str]], text: str, told: str) -> None:
    assert told in faults(text)
