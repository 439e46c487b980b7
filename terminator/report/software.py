"""Which software stands behind a fingerprint: what the requests of a connection call themselves, joined to its JA4.

Handshakes and requests may be in one log or in two, and either may be read first: whichever half of a connection comes
first is remembered, the last MAX_JOINED of each. That is a sample of the connections, which is all that a name needs.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from functools import lru_cache

MAX_JOINED = 20_000


class Joins:
    """Tells of each connection once, with its first request; a connection is known by its `conn.id`."""

    def __init__(self) -> None:
        self._fingerprints: OrderedDict[str, str] = OrderedDict()
        self._products: OrderedDict[str, str] = OrderedDict()

    def handshake(self, connection: str | None, ja4: str) -> str | None:
        """The product of this connection, when a request told it before."""
        if connection is None:
            return None
        if self._products and (product := self._products.pop(connection, None)) is not None:
            return product
        _remember(self._fingerprints, connection, ja4)
        return None

    def request(self, connection: str | None, agent: str) -> tuple[str, str] | None:
        """JA4 and product, when the handshake of this connection was seen, at its first request."""
        if connection is None:
            return None
        name = product(agent)
        if (ja4 := self._fingerprints.pop(connection, None)) is not None:
            return ja4, name
        _remember(self._products, connection, name)
        return None


def _remember(table: OrderedDict[str, str], key: str, value: str) -> None:
    if len(table) >= MAX_JOINED and key not in table:
        table.popitem(last=False)
    table[key] = value


_PRODUCTS = re.compile(r"(Edg|OPR|Firefox|SamsungBrowser|Chrome|Version)(?:[A-Za-z]*)/(\d+)")
_NAMES = {"Edg": "Edge", "OPR": "Opera", "Version": "Safari"}


@lru_cache(maxsize=4096)
def product(agent: str) -> str:
    """`Firefox 120`, `curl/8.5.0`: what a User-Agent calls itself, browsers by their real name."""
    if agent.startswith("Mozilla/"):
        for wanted in ("Edg", "OPR", "Firefox", "SamsungBrowser", "Chrome", "Version"):
            for name, version in _PRODUCTS.findall(agent):
                if name == wanted:
                    return f"{_NAMES.get(name, name)} {version}"
    words = agent.split()
    return words[0][:40] if words else "-"
