"""The reference part of docs/metrics.md, made from the catalogue of series.

`python -m terminator.telemetry.metrics_page docs/metrics.md` renews it.
"""

from __future__ import annotations

import sys
from pathlib import Path

from terminator.telemetry.series import FAMILIES, Family

BEGIN = "<!-- made from the catalogue by `python -m terminator.telemetry.metrics_page docs/metrics.md`: begin -->"
END = "<!-- end -->"

_MERGES = {"sum": "", "max": " The largest of all processes.", "min": " The smallest of all processes."}


def renewed(page: str) -> str:
    """The page with its reference part made anew; ValueError when the markers are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no part to renew: its markers are missing")
    return before + BEGIN + "\n\n" + reference() + "\n" + END + after


def reference() -> str:
    lines = ["| metric | type | labels | meaning |", "|---|---|---|---|"]
    lines += [_line(family) for family in FAMILIES.values()]
    return "\n".join(lines) + "\n"


def _line(family: Family) -> str:
    labels = ", ".join(f"`{label}`" for label in family.labels) or "–"
    merge = _MERGES[family.merge] if family.type == "gauge" else ""
    bounds = f" Buckets: {', '.join(f'{bound:g}' for bound in family.buckets)} s." if family.buckets else ""
    return f"| `{family.name}` | {family.type} | {labels} | {family.help}{merge}{bounds} |"


def main(path: str) -> None:
    page = Path(path)
    page.write_text(renewed(page.read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["docs/metrics.md"])
