"""Questions as they come over the admin socket; that the answers are true is shown end to end."""

from __future__ import annotations

from typing import Any

import pytest

from terminator.service.explaining import question_of


def test_a_query_asks_as_the_command_does() -> None:
    asked = question_of(
        {
            "url": ["https://a.test:8443/x?y=1"],
            "method": ["PUT"],
            "header": ["X-A: 1", "X-B:2"],
            "sni": [""],
            "client": ["192.0.2.1"],
        }
    )
    assert (asked.port, asked.method, asked.target, asked.sni, asked.client) == (
        8443,
        "PUT",
        "/x?y=1",
        None,
        "192.0.2.1",
    )
    assert asked.headers == (("X-A", "1"), ("X-B", "2"))


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ({}, "ask /explain"),
        ({"url": "https://a.test/"}, "ask /explain"),
        ({"url": ["https://a.test/"], "header": ["nonsense"]}, "a header is"),
        ({"url": ["https://a.test/"], "header": ["X: a\r\nY: b"]}, "a header is"),
        ({"url": ["https://a.test/"], "client": ["me"]}, "'me'"),
    ],
)
def test_what_cannot_be_asked(query: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        question_of(query)
