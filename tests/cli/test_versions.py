"""Which terminator this is."""

from __future__ import annotations

import ssl
from importlib import metadata

import pytest

from terminator.cli import versions


def test_the_short_one_is_that_of_the_distribution() -> None:
    assert versions.version() == metadata.version("terminator-proxy")


def test_a_source_tree_that_is_not_installed_says_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    def absent(name: str) -> str:
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", absent)
    assert versions.version() == "unknown"


def test_the_long_one_names_all_it_stands_on() -> None:
    text = versions.long_version()
    assert text.startswith(f"terminator {versions.version()} (Python 3.")
    for part in (ssl.OPENSSL_VERSION, f"trio {metadata.version('trio')}", f"h11 {metadata.version('h11')}"):
        assert part in text
    assert text.endswith(("X25519MLKEM768 yes)", "X25519MLKEM768 no)"))
