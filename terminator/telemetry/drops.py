"""Counts in the metrics what a journal had to drop."""

from __future__ import annotations

from terminator.telemetry.board import Writer
from terminator.telemetry.journal import Journal


class DropMeter:
    """One per process that has a journal; call `note` now and then."""

    def __init__(self, journal: Journal, writer: Writer) -> None:
        self._journal = journal
        self._writer = writer
        self._noted: dict[str, int] = {}

    def note(self) -> None:
        """Adds what was dropped since the last call."""
        for destination, dropped in self._journal.dropped().items():
            fresh = dropped - self._noted.get(destination, 0)
            if fresh > 0:
                name = "terminator_log_lines_dropped_total"
                self._writer.counter(name, destination=destination).inc(fresh)
                self._noted[destination] = dropped
