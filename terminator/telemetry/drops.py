"""Counts in the metrics what a journal had to drop."""

from __future__ import annotations

from terminator.telemetry.board import Board, Writer
from terminator.telemetry.journal import Journal

_NAME = "terminator_log_lines_dropped_total"


def lost_lines(board: Board) -> dict[str, float]:
    """Log lines lost since the start in all processes, by destination; only where there are any."""
    series = board.snapshot({_NAME}).get(_NAME, {})
    return {labels[0]: lines for labels, lines in sorted(series.items()) if isinstance(lines, float) and lines}


class DropMeter:
    """One per process that has a journal; call `note` now and then."""

    def __init__(self, journal: Journal, writer: Writer) -> None:
        self._journal = journal
        self._writer = writer
        self._noted: dict[str, int] = {}

    def note(self) -> None:
        """Adds what was dropped since the last call, and has the journal say what it cannot say where it was lost."""
        self._journal.tell_losses()
        for destination, dropped in self._journal.dropped().items():
            fresh = dropped - self._noted.get(destination, 0)
            # With 0 as well: the first loss shall be an increase to Prometheus, not a series that begins with it.
            if fresh > 0 or destination not in self._noted:
                self._writer.counter(_NAME, destination=destination).inc(fresh)
                self._noted[destination] = dropped
