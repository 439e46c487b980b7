"""How many requests the other workers have with each server: their gauges on the shared board, read in place.

No message is sent and nothing is locked: each worker writes its own number as it changes and adds up the others' when
it has to choose. What it sees may be a moment old, as any answer would be by the time it arrived.
"""

from __future__ import annotations

from terminator.telemetry.board import Board, Gauge, Writer

SERIES = "terminator_backend_requests_in_flight"
SEARCH_SECONDS = 1.0
"""How often the others' directories are searched for servers that they met since."""


class SharedLoad:
    """board: with a row per process, of which `row` is this one's and `writer` writes it."""

    def __init__(self, board: Board, row: int, writer: Writer) -> None:
        self._writer = writer
        self._rows = [each for number, each in enumerate(board.readers) if number != row]
        self._read = [0] * len(self._rows)
        self._cells: dict[tuple[str, ...], list[tuple[memoryview[float], int]]] = {}
        self._searched_at = float("-inf")

    def gauge(self, backend: str, server: str) -> Gauge:
        """Where this worker tells the others of its requests with the server."""
        return self._writer.gauge(SERIES, backend=backend, server=server)

    def search(self, now: float) -> None:
        """Finds what the others have begun to tell; cheap to call often."""
        if now - self._searched_at < SEARCH_SECONDS:
            return
        self._searched_at = now
        for number, row in enumerate(self._rows):
            for family, labels, slot in row.series(self._read[number]):
                self._read[number] += 1
                if family.name == SERIES:
                    self._cells.setdefault(labels, []).append((row.values, slot))

    def elsewhere(self, backend: str, server: str) -> int:
        """Requests that the other workers have with the server now."""
        total = 0
        for values, slot in self._cells.get((backend, server), ()):
            value = values[slot]
            if value == value:  # not NaN, which stands for a process that has ended
                total += int(value)
        return total
