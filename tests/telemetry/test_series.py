"""The catalogue of metrics keeps Prometheus' conventions, and label values stay within closed lists."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from terminator.telemetry.series import FAMILIES, METHODS, method_label, status_label


def test_labels_are_closed_lists() -> None:
    assert [method_label(method) for method in ("GET", "PROPFIND", "get")] == ["GET", "other", "other"]
    assert [status_label(status) for status in (200, 299, 777, 418)] == ["200", "2xx", "other", "418"]


def test_names_follow_the_conventions() -> None:
    for name, family in FAMILIES.items():
        assert name.startswith("terminator_")
        assert name.endswith("_total") == (family.type == "counter")
        assert name.endswith("_info") == (family.type == "info")
        assert bool(family.buckets) == (family.type == "histogram")
        assert not family.buckets or name.endswith("_seconds")
        assert list(family.buckets) == sorted(set(family.buckets))
        assert family.help.endswith(".")


@given(st.text(), st.integers())
def test_no_client_and_no_backend_can_invent_many_series(method: str, status: int) -> None:
    assert method_label(method) in METHODS | {"other"}
    assert status_label(status) == "other" or 100 <= int(status_label(status).replace("xx", "00")) <= 599
