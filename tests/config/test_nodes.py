"""YAML to nodes: places, duplicate keys, aliases and merge keys within bounds."""

from __future__ import annotations

import os
import re
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from terminator.config import nodes
from terminator.config.nodes import Budget, Mapping, Node, Scalar, Sequence, Text, Unusable, compose
from terminator.config.places import Problem, Source


def composed(text: str, **environment: str) -> tuple[Any, list[str]]:
    problems: list[Problem] = []
    node = compose(Source("f", "/etc/f", text), environment, Budget(), problems)
    return None if node is None else plain(node), [problem.line for problem in problems]


def refused(text: str) -> str:
    with pytest.raises(Unusable) as caught:
        composed(text)
    return caught.value.problem.line


def plain(node: Node) -> Any:
    if isinstance(node, Scalar):
        return node.value
    if isinstance(node, Sequence):
        return [plain(item) for item in node.items]
    return {key: plain(entry.node) for key, entry in node.entries.items()}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("", None),
        ("# nothing\n", None),
        ("a: 1", {"a": 1}),
        ("a: '1'", {"a": "1"}),
        ('a: "1"', {"a": "1"}),
        ("a: |\n  1\n  2\n", {"a": "1\n2\n"}),
        ("a: !!str 1", {"a": "1"}),
        ("a: ! 1", {"a": "1"}),
        ("on: 1\nyes: 2\ntrue: 3\n1: 4", {"on": 1, "yes": 2, "true": 3, "1": 4}),  # keys are text
        ("{a: [1, {b: c}], d: }", {"a": [1, {"b": "c"}], "d": None}),
        ("a: &x [1, 2]\nb: *x", {"a": [1, 2], "b": [1, 2]}),
        ("a: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}", {"a": {"p": 1, "q": 2}, "b": {"q": 3, "p": 1}}),
        ("a: &x {p: 1}\nb: &y {p: 2, q: 3}\nc: {<<: [*x, *y]}", {"c": {"p": 1, "q": 3}}),
        ("a: {'<<': 1}", {"a": {"<<": 1}}),
        ("%YAML 1.1\n---\na: on\n...\n", {"a": "on"}),
    ],
)
def test_values(text: str, value: Any) -> None:
    found, problems = composed(text)
    assert (found if not isinstance(value, dict) else {key: found[key] for key in value}) == value
    assert not problems


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: 1\nb: 2\na: 3", "f:3:1: a: this key already stands at f:1:1"),
        ("x: [{a: 1, a: 1}]", "f:1:12: x[0].a: this key already stands at f:1:6"),
        ("a: !secret x", "f:1:4: a: the tag !secret means nothing here"),
        ("a: !!int '3'", "f:1:4: a: the tag !!int means nothing here"),
        ("a: {<<: 4}", 'f:1:9: a["<<"]: << takes a mapping, or a list of mappings'),
        ('a: "x\\0y"', "f:1:4: a: a NUL character can stand nowhere"),
        ("a: x ${NO} y", "f:1:6: a: the environment variable NO is not set"),
        ("a: ['${NO}', '${ALSO_NO}']", "f:1:6: a[0]: the environment variable NO is not set"),
    ],
)
def test_faults_that_leave_a_tree(text: str, told: str) -> None:
    _, problems = composed(text)
    assert problems[0].startswith(told)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: *x", 'f:1:4: a: no anchor &x stands before this alias; quote a text that begins with *: "*x"'),
        ("a: &x [1, *x]", "f:1:11: a[1]: *x stands inside what it repeats"),
        ("a: &x {b: {c: *x}}", "f:1:15: a.b.c: *x stands inside what it repeats"),
        ("a: 1\n---\nb: 2", "f:2:1: a second document begins here; a file holds one"),
        ("[a]: 1", "f:1:1: a key is a single word, and no list, mapping or alias"),
        ("a: &x b\n*x : 1", "f:2:1: a key is a single word, and no list, mapping or alias"),
        ("[" * 41 + "]" * 41, "f:1:41: [0][0][0][0][0]: nested deeper than 40 levels"),
        ("{a: " * 41 + "}" * 41, "f:1:161: a.a.a.a.a: nested deeper than 40 levels"),
    ],
)
def test_files_that_are_refused(text: str, told: str) -> None:
    assert refused(text) == told


def test_forty_levels_are_allowed() -> None:
    assert composed("[" * 40 + "]" * 40)[0] is not None


def test_an_abyss_of_brackets_neither_recurses_nor_takes_long() -> None:
    assert "nested deeper" in refused("[" * 1_000_000)


def test_a_billion_laughs_are_counted_not_built() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 10)]
    assert "more than 2000000 values, aliases counted" in refused("\n".join(lines))


def test_depth_counts_through_aliases() -> None:
    lines = ["a0: &a0 [x]"] + [f"a{n}: &a{n} [*a{n - 1}]" for n in range(1, 60)]
    assert "nested deeper than 40 levels" in refused("\n".join(lines))


def test_places_are_those_of_keys_and_values() -> None:
    source = Source("f", "/etc/f", "a:\n  - b: ${X} # c\n    'd d': \"e\"\n")
    root = compose(source, {"X": "1"}, Budget(), [])
    assert isinstance(root, Mapping)
    items = root.entries["a"].node
    assert isinstance(items, Sequence)
    inner = items.items[0]
    assert isinstance(inner, Mapping)
    key, value = inner.entries["b"]
    assert (str(key), key.width, str(value.place), value.place.width) == ("f:2:5", 1, "f:2:8", 4)
    key, value = inner.entries["d d"]
    assert (str(key), key.width, str(value.place), value.place.width) == ("f:3:5", 5, "f:3:12", 3)


def test_an_expanded_value_remembers_what_was_written() -> None:
    root = compose(Source("f", "/etc/f", "a: ${X}\nb: '${X}'\nc: $$\n"), {"X": "17"}, Budget(), [])
    assert isinstance(root, Mapping)
    a, b, c = (entry.node for entry in root.entries.values())
    assert isinstance(a, Scalar)
    assert isinstance(b, Scalar)
    assert isinstance(c, Scalar)
    assert (a.value, a.written, a.expanded) == (17, "${X}", True)
    assert (b.value, b.written, b.expanded) == ("17", "${X}", True)
    assert (c.value, c.expanded) == ("$", False)


@pytest.mark.parametrize(
    ("text", "prefix", "path"),
    [
        ("a.pem", "", "/etc/conf/a.pem"),
        ("../a.pem", "", "/etc/a.pem"),
        ("/x/a.pem", "", "/x/a.pem"),
        ("unix:run/s", "unix:", "/etc/conf/run/s"),
        ("unix:/run/s", "unix:", "/run/s"),
    ],
)
def test_text_resolves_from_its_folder(text: str, prefix: str, path: str) -> None:
    known = Text(text)
    known.folder = "/etc/conf"
    assert known.resolve(prefix) == path
    assert os.path.isabs(known.resolve(prefix))


NUMBER = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|0o[0-7]+")  # YAML 1.2.2 §10.3.2


def alike(text: str) -> bool:
    """No number to YAML 1.2 alone, as 0e0 and 0o7 are: PyYAML, which speaks 1.1, writes such texts without quotes."""
    return NUMBER.fullmatch(text) is None or not isinstance(yaml.safe_load(text), str)


texts = st.text(max_size=12).filter(alike)
values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(min_size=1, max_size=8), inner, max_size=4),
    max_leaves=20,
)


@given(values)
def test_what_pyyaml_writes_is_read_back(value: Any) -> None:
    """PyYAML quotes by YAML 1.1; floats come as 1.0e+20. `$` and NUL have a meaning of their own here."""
    text = yaml.safe_dump({"value": value}, allow_unicode=False)
    if "$" in text or "\\0" in text or "\\uD" in text or "\\uFE" in text:
        return
    found, problems = composed(text)
    assert (found, problems) == ({"value": value}, [])


def test_the_bound_leaves_room_for_the_model() -> None:
    assert nodes.MAX_DEPTH >= 3 * 9
