"""Quantiles are at most 1 % off, whatever the distribution; sketches of parts add up to that of the whole."""

from __future__ import annotations

import math
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.report.sketch import RELATIVE_ERROR, Sketch, merged, value_of

SHARES = (0.001, 0.01, 0.1, 0.5, 0.9, 0.95, 0.99, 0.999, 1.0)
DISTRIBUTIONS: dict[str, Callable[[random.Random], float]] = {
    "lognormal": lambda rng: rng.lognormvariate(3, 1.5),
    "heavy tail": lambda rng: rng.paretovariate(0.8),
    "two humps": lambda rng: rng.gauss(5, 0.2) if rng.random() < 0.7 else rng.gauss(500, 20),
    "uniform": lambda rng: rng.uniform(0, 1000),
    "constant": lambda rng: 42.0,
    "mostly zero": lambda rng: 0.0 if rng.random() < 0.8 else rng.expovariate(0.1),
    "tiny": lambda rng: rng.uniform(0.001, 0.01),
}


def exact(ordered: list[float], share: float) -> float:
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


@pytest.mark.parametrize("draw", DISTRIBUTIONS.values(), ids=DISTRIBUTIONS.keys())
@pytest.mark.parametrize("count", [1, 2, 99, 20_000])
def test_quantiles_keep_to_the_stated_error(draw: Callable[[random.Random], float], count: int) -> None:
    rng = random.Random(count)
    values = sorted(max(0.0, round(draw(rng), 3)) for _ in range(count))
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    for share, found in zip(SHARES, sketch.quantiles(SHARES), strict=True):
        assert found == pytest.approx(exact(values, share), rel=RELATIVE_ERROR * 1.0001, abs=0)
    assert (sketch.count, sketch.largest) == (count, values[-1])
    assert sketch.total == pytest.approx(sum(values))


@given(st.lists(st.floats(0.001, 1e8), min_size=1), st.floats(0, 1))
def test_any_values(values: list[float], share: float) -> None:
    sketch = Sketch()
    for value in values:
        sketch.add(value)
    assert sketch.quantile(share) == pytest.approx(exact(sorted(values), share), rel=RELATIVE_ERROR * 1.0001)


def test_parts_add_up() -> None:
    rng = random.Random(1)
    values = [rng.expovariate(0.02) for _ in range(3000)]
    whole, parts = Sketch(), [Sketch(), Sketch(), Sketch()]
    for number, value in enumerate(values):
        whole.add(value)
        parts[number % 3].add(value)
    together = merged(parts)
    assert together.buckets == whole.buckets
    assert (together.count, together.largest) == (whole.count, whole.largest)
    assert together.cumulative() == whole.cumulative()


def test_a_weight_counts_as_so_many() -> None:
    sketch = Sketch()
    sketch.add(1.0)
    sketch.add(100.0, 9)
    assert sketch.count == 10
    assert sketch.quantile(0.05) == pytest.approx(1.0, rel=0.01)
    assert sketch.quantile(0.5) == pytest.approx(100.0, rel=0.01)


def test_nothing_has_no_quantiles() -> None:
    assert Sketch().quantiles((0.1, 0.9)) == [None, None]
    assert merged([]).count == 0


def test_memory_is_bounded_by_the_range_of_the_values() -> None:
    sketch, rng = Sketch(), random.Random(2)
    for _ in range(100_000):
        sketch.add(10 ** rng.uniform(-3, 7))
    assert len(sketch.buckets) < 1200
    assert value_of(0) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("value", [-0.001, 1e300, float("inf"), float("nan")])
def test_what_is_no_duration_is_refused(value: float) -> None:
    sketch = Sketch()
    with pytest.raises(ValueError, match="no duration"):
        sketch.add(value)
    assert sketch.count == 0
