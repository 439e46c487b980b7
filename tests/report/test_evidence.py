"""A seeded difference is found, none is found where there is none, and the stated rate of false alarms holds."""

from __future__ import annotations

import math
import random

import pytest

from terminator.report.evidence import fisher, quantile_verdict, share_verdict
from terminator.report.sketch import GAMMA, Sketch

QUANTILES = (0.5, 0.95, 0.99)


def sample(rng: random.Random, count: int, factor: float = 1.0, spread: float = 1.0) -> Sketch:
    sketch = Sketch()
    for _ in range(count):
        sketch.add(round(rng.lognormvariate(3, spread) * factor, 3))
    return sketch


@pytest.mark.parametrize(
    ("table", "expected"),
    [
        # R: 2 * min(phyper tails); for the first also scipy.stats.fisher_exact of the one-sided alternatives
        ((1, 10, 9, 10), 0.0010933339),
        ((3, 15, 3, 15), 1.0),
        ((8, 10, 1, 6), 0.0489510490),
        ((0, 100, 0, 50), 1.0),
        ((100, 100, 50, 50), 1.0),
    ],
)
def test_fisher_by_known_values(table: tuple[int, int, int, int], expected: float) -> None:
    assert fisher(*table) == pytest.approx(expected, rel=1e-6)


def test_fisher_agrees_with_counting() -> None:
    """All tables of small margins against the sum of binomial coefficients."""
    for of_a, of_b in ((5, 8), (7, 7), (1, 12)):
        for hits in range(of_a + of_b + 1):
            masses = {
                x: math.comb(of_a, x) * math.comb(of_b, hits - x) / math.comb(of_a + of_b, hits)
                for x in range(max(0, hits - of_b), min(of_a, hits) + 1)
            }
            for a in masses:
                low = sum(mass for x, mass in masses.items() if x <= a)
                high = sum(mass for x, mass in masses.items() if x >= a)
                assert fisher(a, of_a, hits - a, of_b) == pytest.approx(min(1.0, 2 * min(low, high)), rel=1e-9)


def test_fisher_of_millions_is_quick_and_finite() -> None:
    assert fisher(10_000, 1_000_000, 10_100, 1_000_000) > 0.05
    assert fisher(10_000, 1_000_000, 20_000, 1_000_000) < 1e-100


@pytest.mark.parametrize("share", QUANTILES)
@pytest.mark.parametrize("counts", [(400, 400), (1500, 90)])
def test_the_rate_of_false_alarms_of_a_quantile(share: float, counts: tuple[int, int]) -> None:
    """Two samples of one distribution, 400 times, at a level of 5 %: at most 5 % and what chance allows beyond it."""
    rng = random.Random(f"{share} {counts}")
    trials = 400
    alarms = sum(
        quantile_verdict(sample(rng, counts[0]), sample(rng, counts[1]), share, 0.05).differs for _ in range(trials)
    )
    assert alarms <= trials * 0.05 + 3 * math.sqrt(trials * 0.05 * 0.95)


def test_the_rate_of_false_alarms_of_a_share() -> None:
    rng = random.Random(4)
    trials, alarms = 1000, 0
    for _ in range(trials):
        a, b = (sum(rng.random() < 0.03 for _ in range(count)) for count in (300, 500))
        alarms += share_verdict(a, 300, b, 500, 0.05).differs
    assert alarms <= trials * 0.05 + 3 * math.sqrt(trials * 0.05 * 0.95)


@pytest.mark.parametrize(("factor", "share"), [(1.2, 0.5), (1.3, 0.95), (2.0, 0.99), (0.8, 0.5), (10.0, 0.5)])
def test_a_shift_is_found_and_its_interval_holds_it(factor: float, share: float) -> None:
    rng = random.Random(7)
    verdict = quantile_verdict(sample(rng, 4000), sample(rng, 4000, factor), share, 0.001)
    assert verdict.differs
    assert verdict.low is not None
    assert verdict.high is not None
    assert verdict.low <= factor <= verdict.high
    assert verdict.high / verdict.low < 2


def test_intervals_cover_at_their_level_and_agree_with_the_verdict() -> None:
    rng = random.Random(11)
    covered, trials = 0, 200
    for _ in range(trials):
        factor = rng.choice([1.0, 1.04, 1.3])
        verdict = quantile_verdict(sample(rng, 500), sample(rng, 700, factor), 0.5, 0.1)
        assert verdict.low is not None
        assert verdict.high is not None
        assert verdict.differs == (not verdict.low < 1 < verdict.high)
        covered += verdict.low <= factor <= verdict.high
    assert covered >= trials * 0.9 - 3 * math.sqrt(trials * 0.09)


def test_another_shape_with_the_same_median() -> None:
    """The median does not differ, the 99th percentile does."""
    rng = random.Random(5)
    a, b = sample(rng, 8000, spread=0.5), sample(rng, 8000, spread=1.0)
    assert not quantile_verdict(a, b, 0.5, 0.001).differs
    assert quantile_verdict(a, b, 0.99, 0.001).differs


def test_ties_and_zeros() -> None:
    constant, other = Sketch(), Sketch()
    for _ in range(100):
        constant.add(5.0)
        other.add(5.0)
    verdict = quantile_verdict(constant, other, 0.5, 0.01)
    assert not verdict.differs
    assert verdict.low == pytest.approx(1 / GAMMA)
    moved = Sketch()
    for _ in range(100):
        moved.add(6.0)
    assert quantile_verdict(constant, moved, 0.5, 0.01).differs
    zeros = Sketch()
    for _ in range(100):
        zeros.add(0.0)
    assert quantile_verdict(zeros, zeros, 0.5, 0.01).differs is False
    assert quantile_verdict(zeros, moved, 0.5, 0.01).differs


def test_few_observations_leave_the_bounds_open() -> None:
    rng = random.Random(3)
    verdict = quantile_verdict(sample(rng, 20), sample(rng, 20), 0.99, 0.001)
    assert not verdict.differs
    assert verdict.high is None


def test_a_difference_of_shares_has_an_interval() -> None:
    verdict = share_verdict(30, 1000, 90, 1000, 0.01)
    assert verdict.differs
    assert verdict.low is not None
    assert verdict.high is not None
    assert 0 < verdict.low < 0.06 < verdict.high
    none = share_verdict(0, 1000, 0, 1000, 0.01)
    assert not none.differs
