"""What requests call themselves is joined to fingerprints, whichever comes first, in bounded memory."""

from __future__ import annotations

import pytest

from terminator.report import software
from terminator.report.software import Joins, product


def test_each_connection_is_told_once_in_either_order() -> None:
    joins = Joins()
    assert joins.handshake("a", "ja4 of a") is None
    assert joins.request("a", "curl/8.5.0") == ("ja4 of a", "curl/8.5.0")
    assert joins.request("a", "curl/8.5.0") is None
    assert joins.request("b", "wget/1 x") is None
    assert joins.request("b", "wget/1 x") is None
    assert joins.handshake("b", "ja4 of b") == "wget/1"


def test_lines_without_a_connection_are_not_joined() -> None:
    joins = Joins()
    assert joins.handshake(None, "ja4") is None
    assert joins.request(None, "curl/8") is None


def test_the_last_ones_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(software, "MAX_JOINED", 2)
    joins = Joins()
    for connection in "abc":
        joins.handshake(connection, connection)
        joins.request(connection.upper(), "curl/8")
    assert joins.request("a", "curl/8") is None
    assert joins.request("c", "curl/8") == ("c", "curl/8")
    assert joins.handshake("A", "x") is None
    assert joins.handshake("C", "x") == "curl/8"


@pytest.mark.parametrize(
    ("agent", "name"),
    [
        ("Mozilla/5.0 (X11) AppleWebKit/537.36 Chrome/131.0 Safari/537.36", "Chrome 131"),
        ("Mozilla/5.0 (Windows NT 10.0; rv:120.0) Gecko/20100101 Firefox/120.0", "Firefox 120"),
        ("Mozilla/5.0 (X) AppleWebKit/605 (KHTML, like Gecko) Version/17.1 Safari/605.1", "Safari 17"),
        ("Mozilla/5.0 (X) AppleWebKit/537 Chrome/120.0 Safari/537 Edg/120.0.1", "Edge 120"),
        ("Mozilla/5.0 (compatible; Bot/2.1)", "Mozilla/5.0"),
        ("python-httpx/0.28 extra", "python-httpx/0.28"),
        ("", "-"),
        ("x" * 500, "x" * 40),
    ],
)
def test_names_of_software(agent: str, name: str) -> None:
    assert product(agent) == name
