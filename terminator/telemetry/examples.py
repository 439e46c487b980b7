"""The last failed handshakes of each class, kept where they happened until somebody asks.

The admin process cannot see events, and events are not sent to it: a flood of failures would then cost the channel what
it costs the log. Each worker keeps a few per class instead, and the master collects them when the status is asked for.
"""

from __future__ import annotations

import time
from collections import deque
from typing import Any

from terminator.telemetry.events import TlsHandshake

PER_CLASS = 3
_MAX_CLASSES = 64  # the list of classes is closed and shorter; this bounds what a defect could do to it
_TEXT_CHARACTERS = 200


class FailureExamples:
    """Keeps references to the events, so that noting one costs no more than an append."""

    def __init__(self) -> None:
        self._by_class: dict[str, deque[tuple[float, TlsHandshake]]] = {}

    def note(self, event: TlsHandshake) -> None:
        """Takes a failed handshake; the oldest of its class makes room."""
        examples = self._by_class.get(event.error_type or "")
        if examples is None:
            if len(self._by_class) >= _MAX_CLASSES:
                return
            examples = self._by_class[event.error_type or ""] = deque(maxlen=PER_CLASS)
        examples.append((time.time(), event))

    def rows(self) -> list[dict[str, Any]]:
        """For the status: JSON values, absent keys left out, texts of clients cut."""
        return [_row(at, event) for examples in self._by_class.values() for at, event in examples]


def _row(at: float, event: TlsHandshake) -> dict[str, Any]:
    row: dict[str, Any] = {
        "at": round(at, 3),
        "class": event.error_type,
        "phase": event.error_phase,
        "message": event.error_message,
        "openssl": event.error_openssl,
        "alert_sent": event.alert_sent,
        "alert_received": event.alert_received,
        "listener": event.listener,
        "host": event.host,
        "server_name": event.server_name,
        "client": event.client_address,
        "ja4": event.ja4,
        "conn_id": event.conn_id,
    }
    return {key: _cut(value) for key, value in row.items() if value is not None}


def _cut(value: object) -> object:
    return value[: _TEXT_CHARACTERS - 1] + "…" if isinstance(value, str) and len(value) > _TEXT_CHARACTERS else value
