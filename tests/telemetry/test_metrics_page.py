"""docs/metrics.md tells of every metric, as it is."""

from __future__ import annotations

from pathlib import Path

import pytest

from terminator.telemetry.metrics_page import main, reference, renewed
from terminator.telemetry.series import FAMILIES

PAGE = Path(__file__).parents[2] / "docs" / "metrics.md"


def test_the_page_is_current() -> None:
    text = PAGE.read_text()
    assert text == renewed(text), "run: python -m terminator.telemetry.metrics_page docs/metrics.md"


def test_every_metric_has_its_line() -> None:
    lines = reference().splitlines()
    assert len(lines) == len(FAMILIES) + 2
    assert all(line.count(" | ") >= 3 for line in lines[2:])
    assert any("The smallest of all processes." in line for line in lines if "terminator_backend_up" in line)
    assert any("Buckets: 0.0001, " in line for line in lines if "handshake_duration" in line)


def test_a_page_without_its_markers_is_refused(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("# nothing to renew")
    with pytest.raises(ValueError, match="markers"):
        main(str(page))
