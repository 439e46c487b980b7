"""Requests that are told like one before on their connection, but for a few fields: at a third of the cost.

An `http.request` is a value of 31 fields, which becomes a dictionary in the order of the log, without those that are
None. Where all but ten fields are known to be those of a request told before, the journal takes that one's dictionary
instead and puts the ten into their places. The line is, byte for byte, that of `whole()` (tests/telemetry/test_alike.py
holds both against each other); without this module the same would be told, at its own cost.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, ClassVar

from terminator.telemetry.events import Event, HttpRequest, Sink, log_names

_ATTRIBUTES = {name: attribute for attribute, name, _ in log_names(HttpRequest)}


class RequestsAlike:
    """What requests have in common that are told alike."""

    __slots__ = ("fields", "first")

    def __init__(self, first: HttpRequest) -> None:
        """first: told in full already. It must have all that `RequestAlike` replaces, save the query."""
        self.first = first
        self.fields: dict[bool, dict[str, Any]] = {}
        """The journal's: what it told of the last one with a query (True), and without."""


class RequestAlike(Event):
    """An `http.request` that went well, to be told as `like.first`, but for what it says itself."""

    __slots__ = ("changes", "like")

    event: ClassVar[str] = HttpRequest.event
    sink: ClassVar[Sink] = HttpRequest.sink

    def __init__(
        self,
        like: RequestsAlike,
        target: tuple[str, str, str | None],
        status: int,
        server: str,
        response_bytes: int,
        idle_seconds: float,
        response_seconds: float,
        transfer_seconds: float,
        total_seconds: float,
    ) -> None:
        """target: method, path and query; seconds: of a clock that does not go back."""
        method, path, query = target
        self.like = like
        self.changes: dict[str, Any] = {
            "http.request.method": method,
            "url.path": path,
            "http.response.status_code": status,
            "backend.server": server,
            "http.response.body.size": response_bytes,
            # As `proxy.recording` has it for what is not below zero, without four calls.
            "timing.idle_ms": int(idle_seconds * 1e6 + 0.5) / 1000,
            "timing.response_ms": int(response_seconds * 1e6 + 0.5) / 1000,
            "timing.transfer_ms": int(transfer_seconds * 1e6 + 0.5) / 1000,
            "timing.total_ms": int(total_seconds * 1e6 + 0.5) / 1000,
        }
        """By name in the log."""
        if query is not None:
            self.changes["url.query"] = query

    @property
    def generation(self) -> int | None:
        return self.like.first.generation

    def whole(self) -> HttpRequest:
        """The same event in full, for whoever does not know this one."""
        changes = {_ATTRIBUTES[name]: value for name, value in self.changes.items()}
        return replace(self.like.first, **({"query": None} | changes))
