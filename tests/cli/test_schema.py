"""`terminator schema` prints what the repository ships."""

from __future__ import annotations

import argparse
from pathlib import Path

import pytest

from terminator.cli import schema

ROOT = Path(__file__).parents[2]


def printed(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    parser = argparse.ArgumentParser()
    schema.add_arguments(parser)
    assert schema.run(parser.parse_args(arguments)) == 0
    return capsys.readouterr().out


def test_json_is_the_default(capsys: pytest.CaptureFixture[str]) -> None:
    assert printed(capsys) == (ROOT / "config/terminator.schema.json").read_text()


def test_markdown(capsys: pytest.CaptureFixture[str]) -> None:
    assert (ROOT / "docs/configuration.md").read_text().endswith(printed(capsys, "--format", "markdown"))
