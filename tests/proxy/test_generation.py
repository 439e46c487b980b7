"""The value in force: which host answers which name, and who is the default."""

from __future__ import annotations

from typing import Any

import pytest


@pytest.mark.parametrize(
    ("name", "host", "by_default"),
    [("a.test", "a.test", False), ("b.test", "b.test", False), ("other.test", "b.test", True), (None, "b.test", True)],
)
async def test_the_default_host_answers_what_no_other_does(
    world: Any, name: str | None, host: str, by_default: bool
) -> None:
    async with world(tls={"unknown_sni": "b.test"}) as w:
        entry, default = w.traffic.generation.host_for_sni(name)
        assert (entry.name, default) == (host, by_default)


async def test_without_a_default_unknown_names_have_no_host(world: Any) -> None:
    async with world() as w:
        assert w.traffic.generation.host_for_sni("other.test") == (None, True)
        assert w.traffic.generation.by_name.keys() == {"a.test", "b.test"}
