"""Files are told as changed once, when they have come to rest."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from terminator.service.watch import QUIET_SECONDS, Watch


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
    chain.write_text("chain")
    key.write_text("key")
    return chain, key


def rewrite(path: Path, text: str) -> None:
    """As careful tools do it: another inode under the same name."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


def test_nothing_is_told_of_files_that_rest(files: tuple[Path, Path]) -> None:
    watch = Watch(map(str, files))
    assert [watch.changed(float(now)) for now in range(10)] == [False] * 10


def test_a_change_is_told_once_after_it_has_come_to_rest(files: tuple[Path, Path]) -> None:
    watch = Watch(map(str, files))
    rewrite(files[0], "chain 2")
    assert not watch.changed(0.0)
    rewrite(files[1], "key 2")
    assert not watch.changed(1.0), "the second file of the pair"
    assert not watch.changed(1.0 + QUIET_SECONDS - 0.1)
    assert watch.changed(1.0 + QUIET_SECONDS)
    assert not watch.changed(20.0)


def test_a_file_that_goes_and_comes_back_is_a_change(files: tuple[Path, Path]) -> None:
    watch = Watch(map(str, files))
    files[0].unlink()
    assert not watch.changed(0.0)
    files[0].write_text("chain 2")
    assert not watch.changed(1.0)
    assert watch.changed(1.0 + QUIET_SECONDS)


def test_a_symbolic_link_swapped_in_a_parent_folder_is_a_change(tmp_path: Path) -> None:
    """What certbot's and our own deploy hooks do."""
    for version in ("1", "2"):
        (tmp_path / version).mkdir()
        (tmp_path / version / "chain.pem").write_text("chain")
        os.utime(tmp_path / version / "chain.pem", (0, 0))
    (tmp_path / "live").symlink_to("1")
    watch = Watch([str(tmp_path / "live" / "chain.pem")])
    (tmp_path / "next").symlink_to("2")
    (tmp_path / "next").rename(tmp_path / "live")
    watch.changed(0.0)
    assert watch.changed(QUIET_SECONDS)
    assert watch.touched() == {str(tmp_path / "live" / "chain.pem")}


def test_touched_names_what_is_not_as_it_was_read(files: tuple[Path, Path]) -> None:
    watch = Watch(map(str, files))
    assert watch.touched() == set()
    rewrite(files[1], "key 2")
    assert watch.touched() == {str(files[1])}
