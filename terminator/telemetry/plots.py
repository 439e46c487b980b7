"""Plots as SVG for the pages: lines over time, stacked bars over time, ranges and histograms on a logarithmic axis.

A plot is an image with a name and a description for those who do not see it; the figures themselves stand in the tables
beside it. Colours come from the page's style sheet.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from html import escape
from math import ceil, floor, log10

WIDTH, HEIGHT = 640, 190
LEFT, RIGHT, TOP, BOTTOM = 72, 8, 14, 22

Series = Sequence[float | None]


def lines(title: str, times: Sequence[float], series: Sequence[Series], unit: str) -> str:
    """One line per series over `times` (seconds since 1970); None breaks a line. Marks l1, l2, … in this order."""
    most = max((value for each in series for value in each if value is not None), default=0.0)
    scale = _Linear(most)
    parts = [scale.grid(unit), _times(times)]
    for number, values in enumerate(series, 1):
        for run in _runs(values):
            points = " ".join(f"{_x(place, len(times)):.1f},{scale.y(value):.1f}" for place, value in run)
            # A single value has no length; a round cap makes it a dot.
            shape = f'<polyline class="l{number}" points="{points}"/>'
            if len(run) == 1:
                x, y = points.split(",")
                shape = f'<circle class="f{number}" cx="{x}" cy="{y}" r="2"/>'
            parts.append(shape)
    return _image(title, f"largest value {_short(most)} {unit}", parts)


def bars(title: str, times: Sequence[float], series: Sequence[tuple[str, Series]], unit: str) -> str:
    """Stacked bars over `times`; each series with the class of its mark (`f1`, `fb`)."""
    sums = [sum(values[place] or 0.0 for _, values in series) for place in range(len(times))]
    most = max(sums, default=0.0)
    scale = _Linear(most)
    width = (WIDTH - LEFT - RIGHT) / max(1, len(times))
    parts = [scale.grid(unit), _times(times)]
    for place in range(len(times)):
        base = 0.0
        for mark, values in series:
            value = values[place] or 0.0
            if value:
                top, foot = scale.y(base + value), scale.y(base)
                parts.append(
                    f'<rect class="{mark}" x="{LEFT + place * width:.1f}" y="{top:.1f}" '
                    f'width="{max(0.6, width - 0.6):.1f}" height="{max(0.5, foot - top):.1f}"/>'
                )
                base += value
    return _image(title, f"largest value {_short(most)} {unit}", parts)


def ranges(title: str, rows: Sequence[tuple[str, Sequence[float | None]]], unit: str) -> str:
    """A row each: from its first to its last value a thin line, a thick one between those in the middle, a mark at the
    first. For (p50, p90, p99): the median is the mark."""
    values = [value for _, quantiles in rows for value in quantiles if value]
    scale = _Logarithmic(values)
    height = TOP + 24 * len(rows) + BOTTOM
    parts = [scale.grid(unit, height)]
    told = []
    for number, (name, quantiles) in enumerate(rows):
        y = TOP + 24 * number + 12
        parts.append(f'<text x="{scale.left - 6}" y="{y + 4}" text-anchor="end">{escape(name)}</text>')
        known = [value for value in quantiles if value is not None]
        told.append(f"{name} {', '.join(_short(value) for value in known)} {unit}")
        if not known:
            continue
        places = [scale.x(value) for value in known]
        if len(places) > 2:
            parts.append(
                f'<rect class="area" x="{places[0]:.1f}" y="{y - 5}" width="{places[-1] - places[0]:.1f}" height="10"/>'
            )
        parts.append(f'<line class="l1" x1="{places[0]:.1f}" y1="{y}" x2="{places[-2 if len(places) > 2 else -1]:.1f}"')
        parts.append(f' y2="{y}"/><circle class="f1" cx="{places[0]:.1f}" cy="{y}" r="4"/>')
        parts.append(f'<line class="l2" x1="{places[-1]:.1f}" y1="{y - 6}" x2="{places[-1]:.1f}" y2="{y + 6}"/>')
    return _image(title, "; ".join(told), parts, height)


def histogram(title: str, shape: Sequence[tuple[float, float, float]], unit: str) -> str:
    """(from, to, count) of each bar, on a logarithmic axis."""
    most = max((count for _, _, count in shape), default=0.0)
    scale = _Logarithmic([edge for low, high, _ in shape for edge in (low, high)], left=LEFT)
    counts = _Linear(most)
    parts = [counts.grid(""), scale.grid(unit, HEIGHT)]
    for low, high, count in shape:
        x, end, y = scale.x(low), scale.x(high), counts.y(count)
        parts.append(
            f'<rect class="f1" x="{x:.1f}" y="{y:.1f}" width="{max(0.6, end - x - 0.5):.1f}" '
            f'height="{HEIGHT - BOTTOM - y:.1f}"/>'
        )
    return _image(title, f"{len(shape)} bars, the highest {_short(most)}", parts)


def spark(title: str, series: Series, width: int = 160, height: int = 28) -> str:
    """A line without axes, for a cell of a table."""
    most = max((value for value in series if value is not None), default=0.0)
    step = width / max(1, len(series) - 1)
    parts = []
    for run in _runs(series):
        points = " ".join(
            f"{place * step:.1f},{height - 2 - (value / most if most else 0) * (height - 4):.1f}"
            for place, value in run
        )
        if len(run) == 1:
            x, y = points.split(",")
            parts.append(f'<circle class="f1" cx="{x}" cy="{y}" r="1.5"/>')
        else:
            parts.append(f'<polyline class="l1" points="{points}"/>')
    return (
        f'<svg role="img" width="{width}" height="{height}" viewBox="0 0 {width} {height}" '
        f'aria-label="{escape(title)}">{"".join(parts)}</svg>'
    )


def meter(share: float, mark: str = "f1", width: int = 120) -> str:
    """A bar for a cell; the number stands beside it."""
    length = max(0.0, min(1.0, share)) * width
    return (
        f'<svg aria-hidden="true" width="{width}" height="10" viewBox="0 0 {width} 10">'
        f'<rect class="{mark}" width="{length:.1f}" height="10" rx="2"/></svg>'
    )


# ------------------------------------------------------------------------------------------------------------ axes


class _Linear:
    """From 0 at the foot to a round number at the top."""

    def __init__(self, most: float) -> None:
        raw = most / 4 or 1.0
        size = 10.0 ** floor(log10(raw))
        self._step = next(step * size for step in (1, 2, 2.5, 5, 10) if step * size >= raw)
        self._top = self._step * max(1, ceil(most / self._step - 1e-9))

    def y(self, value: float) -> float:
        return HEIGHT - BOTTOM - value / self._top * (HEIGHT - TOP - BOTTOM)

    def grid(self, unit: str) -> str:
        parts = []
        for number in range(round(self._top / self._step) + 1):
            value = number * self._step
            y = self.y(value)
            parts.append(f'<line class="grid" x1="{LEFT}" y1="{y:.1f}" x2="{WIDTH - RIGHT}" y2="{y:.1f}"/>')
            label = f"{_short(value)} {unit}".strip() if number else "0"
            parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{escape(label)}</text>')
        return "".join(parts)


class _Logarithmic:
    """Powers of ten along the foot."""

    def __init__(self, values: Iterable[float], left: int = 100) -> None:
        known = [value for value in values if value > 0]
        self.left = left
        self._low = floor(log10(min(known))) if known else 0
        self._high = max(ceil(log10(max(known))), self._low + 1) if known else 1

    def x(self, value: float) -> float:
        share = (log10(max(value, 10.0**self._low)) - self._low) / (self._high - self._low)
        return self.left + share * (WIDTH - self.left - 2 * RIGHT)

    def grid(self, unit: str, height: int) -> str:
        parts = []
        for power in range(self._low, self._high + 1):
            x = self.x(10.0**power)
            parts.append(f'<line class="grid" x1="{x:.1f}" y1="{TOP}" x2="{x:.1f}" y2="{height - BOTTOM}"/>')
            anchor = "end" if power == self._high else "middle"
            label = f"{10.0**power:,g} {unit}".strip()
            parts.append(f'<text x="{x:.1f}" y="{height - 6}" text-anchor="{anchor}">{escape(label)}</text>')
        return "".join(parts)


def _times(times: Sequence[float]) -> str:
    if not times:
        return ""
    span = times[-1] - times[0]
    form = "%H:%M:%S" if span < 600 else "%H:%M" if span < 86400 * 2 else "%m-%d"
    parts = []
    for share, anchor in ((0.0, "start"), (0.5, "middle"), (1.0, "end")):
        place = round(share * (len(times) - 1))
        label = datetime.fromtimestamp(times[place], UTC).strftime(form)
        x = LEFT + share * (WIDTH - LEFT - RIGHT)
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - 6}" text-anchor="{anchor}">{label}</text>')
    return "".join(parts)


def _x(place: int, count: int) -> float:
    return LEFT + (place + 0.5) / count * (WIDTH - LEFT - RIGHT)


def _runs(values: Series) -> list[list[tuple[int, float]]]:
    """The stretches between the gaps, each value with its place."""
    runs: list[list[tuple[int, float]]] = [[]]
    for place, value in enumerate(values):
        if value is None:
            runs.append([])
        else:
            runs[-1].append((place, value))
    return [run for run in runs if run]


def _image(title: str, description: str, parts: Iterable[str], height: int = HEIGHT) -> str:
    return (
        f'<svg role="img" viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}" '
        f'aria-label="{escape(title)}: {escape(description)}">{"".join(parts)}</svg>'
    )


def _short(value: float) -> str:
    """Few digits: 0.05, 2.5, 40, 1.2k, 3M."""
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if value >= size:
            return f"{value / size:.3g}{suffix}"
    return f"{value:.3g}"
