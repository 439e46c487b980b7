"""Whether two samples differ, or whether chance alone explains it.

Quantiles are compared without any assumption on the distributions: at the quantile of both samples taken together, the
observations at or below it are counted in each (Mood's median test, for any quantile), and the counts are compared by
Fisher's exact test. A sketch gives such counts exactly. The interval for the ratio of two quantiles holds the factors
by which one sample can be stretched without the test objecting; in a sketch, stretching is shifting the buckets, so
the interval and the verdict never contradict each other.

Shares are compared by Fisher's exact test; their difference has Newcombe's interval (Statistics in Medicine 1998,
method 10). Fisher's test is exact for every sample size, so with the level divided by the number of comparisons
(Bonferroni) the chance that a report calls *anything* different between two samples of the same process is at most the
level. It assumes observations that do not influence one another; bursts of one client break that, and make the test
too eager.
"""

from __future__ import annotations

from bisect import bisect_right
from dataclasses import dataclass
from math import exp, lgamma, sqrt
from statistics import NormalDist

from terminator.report.sketch import GAMMA, ZERO, Sketch

_MAX_SHIFT = 4096
"""Beyond a factor of 10^35 an interval counts as open."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`ratio` or `difference` of B to A, with the bounds of its interval; None is an open bound."""

    differs: bool
    p: float
    low: float | None
    high: float | None


def quantile_verdict(a: Sketch, b: Sketch, share: float, level: float) -> Verdict:
    """Bounds are of the ratio of B's quantile to A's. level: the chance of a false alarm."""
    ours, theirs = a.cumulative(), b.cumulative()

    def p_value(shift: int) -> float:
        return _p_at(ours, theirs, shift, share)

    start = _bucket(*theirs, share) - _bucket(*ours, share)
    if abs(start) > _MAX_SHIFT:  # one of them is mostly zero
        start = 0
    p = p_value(0)
    if p_value(start) < level:  # far apart in shape as well; no stretching makes them alike
        return Verdict(p < level, p, None, None)
    low = _edge(p_value, start, -1, level)
    high = _edge(p_value, start, +1, level)
    # One bucket wider, since the true ratio lies between shifts; not across 1, which the test has decided.
    if low is not None and low != 1:
        low -= 1
    if high is not None and high != -1:
        high += 1
    if p < level:
        low = 0 if low == 1 else low
        high = 0 if high == -1 else high
    return Verdict(p < level, p, _factor(low), _factor(high))


def share_verdict(a: float, of_a: float, b: float, of_b: float, level: float) -> Verdict:
    """Bounds are of B's share less A's."""
    p = fisher(round(a), round(of_a), round(b), round(of_b))
    low_a, high_a = _wilson(a, of_a, level)
    low_b, high_b = _wilson(b, of_b, level)
    share_a, share_b = a / of_a, b / of_b
    low = share_b - share_a - sqrt((share_b - low_b) ** 2 + (high_a - share_a) ** 2)
    high = share_b - share_a + sqrt((high_b - share_b) ** 2 + (share_a - low_a) ** 2)
    return Verdict(p < level, p, low, high)


def fisher(a: int, of_a: int, b: int, of_b: int) -> float:
    """Fisher's exact test, both sides: twice the smaller tail of the hypergeometric distribution."""
    hits, both = a + b, of_a + of_b
    lowest, highest = max(0, hits - of_b), min(of_a, hits)
    if lowest == highest:
        return 1.0

    def mass(x: int) -> float:
        return exp(
            _log_choose(of_a, x) + _log_choose(of_b, hits - x) - _log_choose(both, hits),
        )

    def tail(x: int, step: int) -> float:
        # From the observed value outwards; the terms fall faster and faster once past the middle.
        term, total = mass(x), 0.0
        while lowest <= x <= highest:
            total += term
            if term < total * 1e-12:
                break
            if step > 0:
                term *= (of_a - x) * (hits - x) / ((x + 1) * (of_b - hits + x + 1))
            else:
                term *= x * (of_b - hits + x) / ((of_a - x + 1) * (hits - x + 1))
            x += step
        return total

    expected = hits * of_a / both
    outer = tail(a, 1 if a >= expected else -1)
    return min(1.0, 2 * outer)


# ------------------------------------------------------------------------------------------------------- quantiles

_Cumulative = tuple[list[int], list[float]]


def _p_at(ours: _Cumulative, theirs: _Cumulative, shift: int, share: float) -> float:
    """The test at the pooled quantile, with the second sample shrunk by `shift` buckets."""
    of_ours, of_theirs = ours[1][-1], theirs[1][-1]
    wanted = share * (of_ours + of_theirs)

    def below(bucket: int) -> tuple[float, float]:
        return _at_or_below(*ours, bucket), _at_or_below(*theirs, bucket + shift if bucket > ZERO else ZERO)

    candidates = sorted({*ours[0], *(bucket - shift if bucket > ZERO else ZERO for bucket in theirs[0])})
    low, high = 0, len(candidates) - 1
    while low < high:
        middle = (low + high) // 2
        if sum(below(candidates[middle])) >= wanted:
            high = middle
        else:
            low = middle + 1
    counts = below(candidates[low])
    if low > 0:  # of the two bounds around the quantile the nearer one: with ties the other may hold everything
        before = below(candidates[low - 1])
        if wanted - sum(before) < sum(counts) - wanted:
            counts = before
    return fisher(round(counts[0]), round(of_ours), round(counts[1]), round(of_theirs))


def _edge(p_value: object, start: int, step: int, level: float) -> int | None:
    """The last shift from `start` that is not rejected; None when none is."""
    assert callable(p_value)
    inside, stride = start, step
    while p_value(inside + stride) >= level:
        inside += stride
        stride *= 2
        if abs(stride) > _MAX_SHIFT:
            return None
    outside = inside + stride
    while abs(outside - inside) > 1:
        middle = (inside + outside) // 2
        if p_value(middle) >= level:
            inside = middle
        else:
            outside = middle
    return inside


def _bucket(buckets: list[int], sums: list[float], share: float) -> int:
    wanted = share * sums[-1]
    return next((bucket for bucket, total in zip(buckets, sums, strict=True) if total >= wanted), buckets[-1])


def _at_or_below(buckets: list[int], sums: list[float], bucket: int) -> float:
    place = bisect_right(buckets, bucket)
    return sums[place - 1] if place else 0.0


def _factor(shift: int | None) -> float | None:
    return None if shift is None else float(GAMMA**shift)


# ---------------------------------------------------------------------------------------------------------- shares


def _wilson(hits: float, of: float, level: float) -> tuple[float, float]:
    """The score interval of a share (Wilson 1927)."""
    z = NormalDist().inv_cdf(1 - level / 2)
    share, z2 = hits / of, z * z
    middle = (share + z2 / (2 * of)) / (1 + z2 / of)
    half = z / (1 + z2 / of) * sqrt(share * (1 - share) / of + z2 / (4 * of * of))
    return max(0.0, middle - half), min(1.0, middle + half)


def _log_choose(of: int, chosen: int) -> float:
    return lgamma(of + 1) - lgamma(chosen + 1) - lgamma(of - chosen + 1)
