"""Places, excerpts and dotted paths."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.config.places import KeyPath, Place, Problem, Source, dotted, undotted


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ((), ""),
        (("a",), "a"),
        (("hosts", 0, "routes", 12, "path"), "hosts[0].routes[12].path"),
        (("backends", "my.api", "servers"), 'backends["my.api"].servers'),
        (("set", "X-Env"), "set.X-Env"),
        (("set", 'a"b\\'), 'set["a\\"b\\\\"]'),
        (("<<",), '["<<"]'),
    ],
)
def test_dotted_and_back(path: KeyPath, text: str) -> None:
    assert dotted(path) == text
    assert undotted(text) == path


@given(st.lists(st.integers(0, 10**6) | st.text(), max_size=6))
def test_every_path_survives(steps: list[str | int]) -> None:
    assert undotted(dotted(tuple(steps))) == tuple(steps)


@pytest.mark.parametrize(
    ("text", "line", "column", "width", "excerpt"),
    [
        ("a: b\nc: dd\n", 2, 4, 2, "    2 | c: dd\n      |    ^^"),
        ("\tx", 1, 2, 1, "    1 | \tx\n      | \t^"),
        ("日本: x", 1, 5, 1, "    1 | 日本: x\n      |       ^"),
        ("a: 日", 1, 4, 1, "    1 | a: 日\n      |    ^^"),
        ("", 1, 1, 1, "    1 | \n      | ^"),
        ("a: b", 1, 5, 9, "    1 | a: b\n      |     ^"),
        ("a", 7, 1, 1, "    7 | \n      | ^"),
        ("a: \x1b[31m", 1, 4, 1, "    1 | a: \ufffd[31m\n      |    ^"),
    ],
)
def test_excerpt(text: str, line: int, column: int, width: int, excerpt: str) -> None:
    assert Place(Source("f", "/f", text), line, column, width).excerpt() == excerpt


def test_a_long_line_is_cut_around_the_fault() -> None:
    text = "x" * 5000 + "HERE" + "y" * 5000
    shown, caret = Place(Source("f", "/f", text), 1, 5001, 4).excerpt().splitlines()
    assert len(shown) < 200
    assert shown[caret.index("^") : caret.rindex("^") + 1] == "HERE"


@pytest.mark.parametrize("line_break", ["\n", "\r\n", "\r", "\x85", "\u2028", "\u2029"])
def test_lines_are_those_of_yaml(line_break: str) -> None:
    assert Source("f", "/f", f"a{line_break}b\x0bc").lines == ("a", "b\x0bc")


def test_problem_with_and_without_key() -> None:
    place = Place(Source("d/f.yaml", "/x/d/f.yaml", "a: 1"), 1, 4)
    assert str(Problem(place, "a", "is wrong")) == "d/f.yaml:1:4: a: is wrong\n    1 | a: 1\n      |    ^"
    assert Problem(place, "", "is wrong").line == "d/f.yaml:1:4: is wrong"
    assert place.source.folder == "/x/d"


def test_a_file_without_a_line_shows_none() -> None:
    place = Place(Source("f.yaml", "/d/f.yaml", ""), 1, 1)
    assert str(Problem(place, "", "cannot be read: is a directory")) == "f.yaml:1:1: cannot be read: is a directory"
