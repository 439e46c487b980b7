"""docs/security.md names a test for each measure: each of them exists."""

from __future__ import annotations

import re
from pathlib import Path
from runpy import run_path

import pytest

ROOT = Path(__file__).parents[2]
NAMED = sorted(set(re.findall(r"`(tests/[a-z0-9_/]+\.py)(?:::(\w+))?`", (ROOT / "docs" / "security.md").read_text())))


def test_there_are_many() -> None:
    assert len(NAMED) > 30


@pytest.mark.parametrize(("file", "function"), NAMED, ids=["::".join(filter(None, each)) for each in NAMED])
def test_named_tests_exist(file: str, function: str) -> None:
    assert f"def {function}" in (ROOT / file).read_text()


def test_the_table_is_as_long_as_the_page_says() -> None:
    cases = run_path(str(ROOT / "tests" / "wire" / "request_cases.py"))["CASES"]
    assert f"{len(cases)} cases" in (ROOT / "docs" / "security.md").read_text()
