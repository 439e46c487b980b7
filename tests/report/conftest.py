"""Fixtures of the tests about reports."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from synthetic import write


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    """`log(events, name="log")` writes a log and gives its path."""
    return lambda events, name="log": write(tmp_path / name, events)
