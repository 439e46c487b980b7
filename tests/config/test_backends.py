"""Backends: a server is a mapping, or its address alone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from terminator.config.backends import Backend
from terminator.config.values import TcpAddress, UnixAddress

Examine = Callable[..., Any]


def test_addresses_are_parsed_and_unix_paths_resolved(examined: Examine, minimal: str, tmp_path: Any) -> None:
    loaded, _ = examined(minimal.replace('"127.0.0.1:8000"', '"unix:s.sock", {address: "[::1]:80"}'))
    assert [server.address for server in loaded.config.backends["web"].servers] == [
        UnixAddress(f"{tmp_path}/s.sock"),
        TcpAddress("::1", 80),
    ]


@pytest.mark.parametrize("server", [8000, None, ["127.0.0.1", 8000]])
def test_what_is_no_server_is_told_what_one_is(server: object) -> None:
    with pytest.raises(ValidationError, match="expected an address as text, for example"):
        Backend.model_validate({"servers": [server]})
