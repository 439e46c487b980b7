"""Plots are well-formed, keep to their canvas, and take whatever figures there are."""

from __future__ import annotations

import re
from collections.abc import Callable
from xml.etree import ElementTree as ET

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.telemetry.plots import HEIGHT, WIDTH, bars, histogram, lines, meter, ranges, spark

TIMES = [1.7e9 + 60 * number for number in range(60)]
VALUES: dict[str, list[float | None]] = {
    "none": [None] * 60,
    "zero": [0.0] * 60,
    "rising": [float(number) for number in range(60)],
    "gaps": [None if number % 7 == 0 else 5.0 for number in range(60)],
    "single": [*[None] * 30, 3.0, *[None] * 29],
    "tiny": [1e-6] * 60,
    "huge": [1e12] * 60,
}


def parsed(svg: str) -> ET.Element:
    tree = ET.fromstring(svg)
    width, height = (float(tree.attrib[name]) for name in ("width", "height"))
    for element in tree.iter():
        for name, value in element.attrib.items():
            if name in ("x", "x1", "x2", "cx", "y", "y1", "y2", "cy"):
                limit = width if "x" in name else height
                assert -0.5 <= float(value) <= limit + 0.5, (element.tag, name, value)
            if name in ("width", "height"):
                assert float(value) >= 0
        for x, y in re.findall(r"([\d.e+-]+),([\d.e+-]+)", element.attrib.get("points", "")):
            assert 0 <= float(x) <= width
            assert -0.5 <= float(y) <= height + 0.5
    return tree


@pytest.mark.parametrize("values", VALUES.values(), ids=VALUES.keys())
def test_every_kind_takes_every_series(values: list[float | None]) -> None:
    parsed(lines("t", TIMES, [values, values[::-1]], "ms"))
    parsed(bars("t", TIMES, [("f1", values), ("fb", values)], ""))
    parsed(spark("t", values))
    parsed(ranges("t", [("a", values[:3]), ("b", values[28:33]), ("c", [])], "ms"))


def test_nothing_to_show() -> None:
    for svg in (
        lines("t", [], [[]], "ms"),
        bars("t", [], [], ""),
        ranges("t", [], "ms"),
        histogram("t", [], "ms"),
        spark("t", []),
    ):
        parsed(svg)


def test_a_plot_has_a_name_and_tells_its_figures() -> None:
    tree = parsed(ranges("phases & more", [("client", [1.0, 20.0, 300.0])], "ms"))
    assert tree.attrib["role"] == "img"
    assert tree.attrib["aria-label"] == "phases & more: client 1, 20, 300 ms"
    assert tree.attrib["viewBox"].startswith(f"0 0 {WIDTH}")


def test_a_larger_value_stands_higher_and_further_right() -> None:
    tree = parsed(lines("t", TIMES[:2], [[1.0, 4.0]], "ms"))
    (line,) = (each for each in tree.iter() if each.attrib.get("class") == "l1")
    (x1, y1), (x2, y2) = (map(float, point.split(",")) for point in line.attrib["points"].split())
    assert x1 < x2
    assert y2 < y1 <= HEIGHT


def test_gaps_break_the_line_and_a_single_value_is_a_dot() -> None:
    tree = parsed(lines("t", TIMES[:5], [[1.0, 2.0, None, 2.0, None]], "ms"))
    kinds = [each.tag for each in tree.iter() if each.attrib.get("class") in ("l1", "f1")]
    assert kinds == ["polyline", "circle"]


def test_bars_stack_up_to_their_sum() -> None:
    tree = parsed(bars("t", TIMES[:1], [("f1", [3.0]), ("fb", [1.0])], ""))
    lower, upper = (each for each in tree.iter() if each.attrib.get("class") in ("f1", "fb"))
    assert float(upper.attrib["y"]) + float(upper.attrib["height"]) == pytest.approx(float(lower.attrib["y"]), abs=0.2)


def test_a_meter_is_decoration_beside_its_number() -> None:
    tree = ET.fromstring(meter(0.5))
    assert tree.attrib["aria-hidden"] == "true"
    assert float(tree[0].attrib["width"]) == 60
    assert float(ET.fromstring(meter(7.0))[0].attrib["width"]) == 120


@pytest.mark.parametrize(
    "plot",
    [
        lambda values: lines("t", TIMES[: len(values)], [values], "ms"),
        lambda values: bars("t", TIMES[: len(values)], [("f1", values)], ""),
    ],
)
@given(values=st.lists(st.none() | st.floats(0, 1e15), max_size=60))
def test_any_values(plot: Callable[[list[float | None]], str], values: list[float | None]) -> None:
    parsed(plot(values))


@given(st.lists(st.floats(1e-6, 1e9), min_size=1, max_size=30))
def test_any_histogram(edges: list[float]) -> None:
    shape = [(low, low * 1.15, 5.0) for low in sorted(edges)]
    parsed(histogram("t", shape, "ms"))
