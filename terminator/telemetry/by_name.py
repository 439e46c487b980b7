"""From an event to its fields by their names in the log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from typing import Any

from terminator.telemetry.events import Event, HttpRequest, TlsHandshake, log_names

_ROUNDED = (TlsHandshake, HttpRequest)
"""Whoever makes these has rounded their times already; doing it again would cost each line a microsecond."""


def adder(kind: type[Event]) -> Callable[[Event, dict[str, Any]], None]:
    """What adds the fields of such an event to a dictionary, in the order of the log: none that is None, times with
    three decimals, and not the generation, which the journal may know better.

    It is a loop over the catalogue, written out as `dataclass` writes out its methods: it runs with every line.
    """
    lines = ["def add(event, fields):"]
    types = {field.name: str(field.type) for field in fields(kind)}
    for attribute, name, _ in log_names(kind)[:-1]:
        rounded = types[attribute].startswith("float") and kind not in _ROUNDED
        lines.append(f" if (value := event.{attribute}) is not None:")
        lines.append(f"  fields[{name!r}] = {'round(value, 3)' if rounded else 'value'}")
    made: dict[str, Any] = {}
    exec("\n".join(lines), made)
    add: Callable[[Event, dict[str, Any]], None] = made["add"]
    return add
