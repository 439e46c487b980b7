"""Fields become one JSON object on one line, whatever they hold; a line too long keeps what joins it to others."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.telemetry.line import json_line, shortened
from terminator.telemetry.text_format import text_line

BASE = {"time": "2026-11-21T09:30:12.482913Z", "level": "info", "event": "http.request"}

any_text = st.text(st.characters(exclude_categories=()), max_size=300)
any_value = st.one_of(
    any_text, st.integers(), st.booleans(), st.binary(max_size=50), st.lists(any_text, max_size=20), st.floats(0, 1e9)
)


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("/caf\udce9", "/caf\\xe9"),
        ("\ud800", "\\ud800"),
        (b"\xff\x00", "\\xff\x00"),
        (1 << 70, str(1 << 70)),
        (["a\udc80", 2], ["a\\x80", 2]),
        ("line\nfeed", "line\nfeed"),
    ],
)
def test_what_json_cannot_hold_is_written_as_text(value: object, written: object) -> None:
    assert orjson.loads(json_line(BASE | {"key": value}))["key"] == written


@given(st.dictionaries(st.sampled_from(["a", "b", "conn.id", "url.path", "e"]), any_value))
def test_one_object_on_one_line(fields: dict[str, Any]) -> None:
    line = json_line(BASE | fields)
    assert line.count(b"\n") == 1
    assert orjson.loads(line).keys() == BASE.keys() | fields.keys()


@given(st.dictionaries(st.sampled_from("abcdefgh"), any_value), st.sampled_from([json_line, text_line]))
def test_a_shortened_line_fits_and_keeps_its_name(fields: dict[str, Any], render: Any) -> None:
    line = shortened(BASE | fields | {"conn.id": "0-7"}, 200, render)
    assert len(line) <= 200
    assert line.count(b"\n") == 1
    assert b"0-7" in line
    assert b"http.request" in line


def test_only_the_longest_values_are_cut() -> None:
    fields = {"url.path": "/" + "a" * 9000, "user_agent.original": "b" * 900, "route": "/api/", "timing.total_ms": 1.5}
    line = orjson.loads(shortened(BASE | fields, 4096, json_line))
    assert len(line["url.path"]) > 1000
    assert line["url.path"].endswith("…")
    assert line["log.truncated"] is True
    assert {key: line[key] for key in fields if key != "url.path"} == {
        key: fields[key] for key in fields if key != "url.path"
    }


def test_no_control_character_stands_in_a_line_as_it_is() -> None:
    """JSON itself asks for U+0000 to U+001F alone; a terminal obeys U+009B as well."""
    every = "".join(map(chr, range(0x20))) + "\x7f" + "".join(map(chr, range(0x80, 0xA1))) + "é€😀"
    line = json_line(BASE | {"key": every})
    assert not any(ord(character) < 0x20 or 0x7F <= ord(character) < 0xA0 for character in line.decode().rstrip("\n"))
    assert orjson.loads(line)["key"] == every
    assert "\xa0é€😀" in line.decode()
