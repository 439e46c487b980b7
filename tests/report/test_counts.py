"""Counts by a word, with weights, and no more words than there is room for."""

from __future__ import annotations

import pytest

from terminator.report import counts
from terminator.report.counts import Counts


def test_weights_add_up() -> None:
    found = Counts()
    found.add("a")
    found.add("b", 2.5)
    found.add("a", 10)
    assert found == {"a": 11, "b": 2.5}
    assert found["never"] == 0
    assert "never" not in found
    assert found.total() == 13.5
    assert found.most_common(1) == [("a", 11)]


def test_further_words_are_counted_as_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(counts, "MAX_KEYS", 2)
    found = Counts()
    for key in ("a", "b", "c", "d", "a"):
        found.add(key)
    assert found == {"a": 2, "b": 1, "other": 2}
