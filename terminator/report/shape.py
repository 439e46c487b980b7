"""What an event must be like before it is counted: the values of its keys have the types that the catalogue gives them.

A log may be edited, damaged or written by something else altogether, and what is counted is sorted, calculated with and
printed. So a wrong type is refused here, once, and nothing further in asks again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

from terminator.telemetry.events import ConfigReload, Event, HttpRequest, LogDropped, TlsHandshake, TunnelClosed

_TYPES: dict[str, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
    "list[str]": (list,),
}
_ADDED: dict[str, tuple[type, ...]] = {"time": (str,), "log.sample": (float, int)}
"""Keys that the journal adds."""
_NEEDED = frozenset({"time", "tls.established", "reload.outcome", "timing.tunnel_ms", "log.dropped"})
_MAX_KNOWN = 4096


class Shape:
    """The keys of one kind of event and the types that their values may have."""

    def __init__(self, kind: type[Event], read: frozenset[str]) -> None:
        allowed: dict[str, tuple[type, ...]] = dict(_ADDED)
        for field in fields(kind):
            if (name := field.metadata["log"]) in read:
                allowed[name] = _TYPES[str(field.type).removesuffix(" | None")]
        self._names = tuple(allowed)
        self._allowed = tuple(types if name in _NEEDED else (*types, type(None)) for name, types in allowed.items())
        self._lists = tuple(name for name, types in allowed.items() if list in types)
        self._known: set[tuple[type, ...]] = set()
        """Combinations of types found to be good: lines have few, and one look-up is cheaper than one for each key."""

    def fits(self, event: Mapping[str, Any]) -> bool:
        # Not tuple(…), by way of a list: a tuple that grows leaves one behind in CPython's free list each time.
        types = (*map(type, map(event.get, self._names)),)
        if types not in self._known:
            if not all(found in allowed for found, allowed in zip(types, self._allowed, strict=True)):
                return False
            if len(self._known) < _MAX_KNOWN:
                self._known.add(types)
        return all(isinstance(text, str) for name in self._lists for text in event.get(name) or ())


_HANDSHAKE = """
conn.id tls.established tls.protocol.version tls.group tls.resumed host certificate.key client.address tls.client.ja4
tls.client.offered_versions tls.client.offered_groups tls.client.offered_ciphers tls.client.offered_pq
timing.first_byte_ms timing.hello_ms timing.select_ms timing.flight_ms timing.client_ms timing.handshake_ms
timing.rtt_ms error.type error.phase error.openssl
"""
_REQUEST = """
conn.id host route backend backend.server backend.reused backend.retries http.response.status_code user_agent.original
timing.queue_ms timing.connect_ms timing.response_ms timing.transfer_ms timing.total_ms error.type
"""
SHAPES = {
    kind.event: Shape(kind, frozenset(read.split()))
    for kind, read in (
        (TlsHandshake, _HANDSHAKE),
        (HttpRequest, _REQUEST),
        (TunnelClosed, "tunnel.closed_by timing.tunnel_ms"),
        (ConfigReload, "reload.outcome reload.errors reload.changes"),
        (LogDropped, "log.dropped"),
    )
}
"""By `event`, each with the keys that are read; events of other kinds are only counted."""
