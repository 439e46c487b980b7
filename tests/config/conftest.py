"""A configuration in a folder of its own, examined."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from terminator.config.load import Loaded, examine
from terminator.config.places import Problem

MINIMAL = """\
version: 1
listeners:
  - {name: https, bind: "[::]:443"}
hosts:
  - names: [www.example]
    certificates: [{chain: c.pem, key: k.pem}]
    routes:
      - {path: /, backend: web}
backends:
  web: {servers: ["127.0.0.1:8000"]}
"""

Examine = Callable[..., tuple[Loaded | None, tuple[Problem, ...]]]


@pytest.fixture
def minimal() -> str:
    return MINIMAL


@pytest.fixture
def examined(tmp_path: Path) -> Examine:
    """examined(text, other_files={"conf.d/a.yaml": text}, NAME="value") → what `examine` returns."""

    def run(
        text: str | bytes, other_files: dict[str, str] | None = None, **environment: str
    ) -> tuple[Loaded | None, tuple[Problem, ...]]:
        path = tmp_path / "t.yaml"
        for name, content in (other_files or {}).items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(content)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return examine(str(path), environment)

    return run


@pytest.fixture
def faults(examined: Examine) -> Callable[..., list[str]]:
    """As `examined`; `LINE:COL: key: sentence` of each fault, the folder left out."""

    def run(*arguments: Any, **keywords: Any) -> list[str]:
        _, problems = examined(*arguments, **keywords)
        return [_short(problem) for problem in problems]

    return run


@pytest.fixture
def findings(examined: Examine) -> Callable[..., list[str]]:
    """As `faults`, for the warnings of a configuration that is valid."""

    def run(*arguments: Any, **keywords: Any) -> list[str]:
        loaded, problems = examined(*arguments, **keywords)
        assert loaded is not None, [problem.line for problem in problems]
        return [_short(problem) for problem in loaded.findings]

    return run


def _short(problem: Problem) -> str:
    folder = problem.place.source.folder
    return problem.line.replace(f"{folder}/t.yaml:", "").replace(f"{folder}/", "")
