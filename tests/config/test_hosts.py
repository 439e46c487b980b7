"""Hosts: what they need, and what thousands of them share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from pydantic import ValidationError

from terminator.config.hosts import Host

Examine = Callable[..., Any]


def test_hosts_share_their_defaults(examined: Examine, minimal: str) -> None:
    """Copied, they cost five thousand hosts two seconds."""
    host = "".join(line + "\n" for line in minimal.splitlines()[4:8])
    loaded, _ = examined(minimal.replace(host, host + host.replace("www.", "w.")))
    one, other = loaded.config.hosts
    assert one.routes[0].headers is other.routes[0].headers
    assert one.tls is other.tls


def test_a_host_needs_a_name_a_certificate_and_a_route() -> None:
    with pytest.raises(ValidationError) as caught:
        Host.model_validate({"names": [], "certificates": [], "routes": []})
    assert [(error["loc"], error["type"]) for error in caught.value.errors()] == [
        ((key,), "too_short") for key in ("names", "certificates", "routes")
    ]
