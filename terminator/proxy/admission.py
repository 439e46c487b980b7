"""How much one client address may take: open connections at a time, handshakes begun per second.

An IPv6 client owns a whole /64, so that is what counts as one address. Both tables hold only addresses that are active
now, so their size is bounded by the open connections and by a second's arrivals.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache


@lru_cache(maxsize=8192)
def address_key(address: str) -> str:
    """`address` itself for IPv4, its /64 for IPv6, the text as it is for anything else (a unix socket)."""
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return address
    if parsed.version == 4:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((int(parsed) >> 64 << 64, 64)))


class Admission:
    """Counts per address. Every `enter` that returned True is followed by one `leave` with the same address."""

    def __init__(self) -> None:
        self._open: dict[str, int] = {}
        self._begun: dict[str, int] = {}
        self._second = 0

    def enter(self, address: str, max_open: int) -> bool:
        """Whether one more connection from `address` may be open; counts it if so. 0 = no limit."""
        key = address_key(address)
        count = self._open.get(key, 0)
        if max_open and count >= max_open:
            return False
        self._open[key] = count + 1
        return True

    def leave(self, address: str) -> None:
        key = address_key(address)
        count = self._open.get(key, 0) - 1
        if count > 0:
            self._open[key] = count
        else:
            self._open.pop(key, None)

    def may_shake_hands(self, address: str, now: float, max_per_second: int) -> bool:
        """Whether `address` may begin one more handshake in this second; counts it if so. 0 = no limit."""
        if not max_per_second:
            return True
        if int(now) != self._second:
            self._second = int(now)
            self._begun.clear()
        key = address_key(address)
        count = self._begun.get(key, 0)
        self._begun[key] = count + 1
        return count < max_per_second
