"""The board as Prometheus text (0.0.4) or OpenMetrics, whichever the Accept header asks for. For the admin process."""

from __future__ import annotations

from collections.abc import Iterator
from math import inf

from prometheus_client import Metric
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
    InfoMetricFamily,
)
from prometheus_client.registry import CollectorRegistry

from terminator.telemetry.board import Board, Distribution, Labels
from terminator.telemetry.series import FAMILIES, Family


def render(board: Board, accept: str = "") -> tuple[bytes, str]:
    """The body and the Content-Type of an answer to `GET /metrics` with this Accept header."""
    try:
        encode, content_type = choose_encoder(accept)
    except (ValueError, TypeError):  # it asks for a version that is no number
        encode, content_type = choose_encoder("")
    registry = CollectorRegistry(auto_describe=False)
    registry.register(BoardCollector(board))
    return encode(registry), content_type


class BoardCollector:
    """prometheus_client's custom collector over a board; every family is described, with samples or without."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        snapshot = self._board.snapshot()
        for family in FAMILIES.values():
            series = snapshot.get(family.name, {})
            if not series and family.type == "counter" and not family.labels:
                series = {(): 0.0}
            yield _metric(family, series)


def _metric(family: Family, series: dict[Labels, float | Distribution]) -> Metric:
    metric: Metric
    if family.type == "histogram":
        metric = histogram = HistogramMetricFamily(family.name, family.help, labels=family.labels)
        for labels, value in sorted(series.items()):
            assert isinstance(value, Distribution)
            histogram.add_metric(labels, _cumulative(value), value.sum)
    elif family.type == "info":
        metric = info = InfoMetricFamily(family.name.removesuffix("_info"), family.help)
        for labels in sorted(series):
            info.add_metric([], dict(zip(family.labels, labels, strict=True)))
    else:
        kind = CounterMetricFamily if family.type == "counter" else GaugeMetricFamily
        metric = plain = kind(family.name, family.help, labels=family.labels)
        for labels, value in sorted(series.items()):
            assert not isinstance(value, Distribution)
            plain.add_metric(labels, value)
    return metric


def _cumulative(value: Distribution) -> list[tuple[str, float]]:
    buckets, total = [], 0.0
    for bound, count in zip((*value.bounds, inf), value.counts, strict=True):
        total += count
        buckets.append(("+Inf" if bound == inf else str(bound), total))
    return buckets
