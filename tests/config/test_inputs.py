"""Whatever could make a configuration read differently is noticed; what could not, is not."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from terminator.config.files import gather
from terminator.config.inputs import Inputs

ENVIRONMENT = {"NAME": "a", "OTHER": "x"}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "t.yaml").write_text("include: [conf.d/*.yaml, more.yaml]\na: ${NAME}\nb: ${UNSET:-b}\n")
    (tmp_path / "more.yaml").write_text("c: 1\n")
    (tmp_path / "conf.d" / "x.yaml").write_text("d: 1\n")
    return tmp_path


def read(folder: Path) -> Inputs:
    tree = gather(str(folder / "t.yaml"), ENVIRONMENT)
    assert tree.problems == []
    return tree.inputs


def test_what_nothing_happened_to_is_the_same(folder: Path) -> None:
    inputs = read(folder)
    assert inputs.still(ENVIRONMENT)
    assert inputs.still({**ENVIRONMENT, "OTHER": "y"}), "nobody asked for this one"
    (folder / "t.yaml").write_bytes((folder / "t.yaml").read_bytes())
    assert inputs.still(ENVIRONMENT), "the same bytes, written again"


def swapped(folder: Path) -> None:
    """The same bytes at another place: what is reached twice could count once now."""
    (folder / "elsewhere.yaml").write_bytes((folder / "more.yaml").read_bytes())
    (folder / "more.yaml").unlink()
    (folder / "more.yaml").symlink_to("elsewhere.yaml")


@pytest.mark.parametrize(
    "change",
    [
        lambda folder: (folder / "t.yaml").write_text("a: b\n"),
        lambda folder: (folder / "more.yaml").write_text("c: 2\n"),
        lambda folder: (folder / "conf.d" / "x.yaml").unlink(),
        lambda folder: (folder / "conf.d" / "y.yaml").write_text(""),
        lambda folder: (folder / "more.yaml").unlink(),
        swapped,
    ],
    ids=["the file", "an included one", "a match gone", "a match more", "an included one gone", "another file"],
)
def test_every_file_counts(folder: Path, change: Callable[[Path], object]) -> None:
    inputs = read(folder)
    change(folder)
    assert not inputs.still(ENVIRONMENT)


@pytest.mark.parametrize("environment", [{"NAME": "b"}, {}, {"NAME": "a", "UNSET": "c"}])
def test_every_variable_that_was_asked_for_counts(folder: Path, environment: dict[str, str]) -> None:
    assert not read(folder).still(environment)


def test_standard_input_gives_its_text_once(tmp_path: Path) -> None:
    (tmp_path / "in").write_text("a: 1\n")
    saved = os.dup(0)
    with open(tmp_path / "in") as file:
        os.dup2(file.fileno(), 0)
    try:
        inputs = gather("-", ENVIRONMENT).inputs
    finally:
        os.dup2(saved, 0)
        os.close(saved)
    assert not inputs.still(ENVIRONMENT)
