"""Events over time in a bounded number of slices, whose width doubles whenever they no longer suffice."""

from __future__ import annotations

from datetime import UTC, datetime

from terminator.report.sketch import Sketch

SLICES = 120


class Slice:
    __slots__ = ("established", "failed", "handshake_ms", "requests", "server_errors")

    def __init__(self) -> None:
        self.established = 0.0
        self.failed = 0.0
        self.requests = 0.0
        self.server_errors = 0.0
        self.handshake_ms = Sketch()

    def merge(self, other: Slice) -> None:
        self.established += other.established
        self.failed += other.failed
        self.requests += other.requests
        self.server_errors += other.server_errors
        self.handshake_ms.merge(other.handshake_ms)


class Timeline:
    """Slices of `seconds` each, by their beginning in seconds since 1970. Lines need not come in order."""

    def __init__(self) -> None:
        self.seconds = 1
        self._slices: dict[int, Slice] = {}
        self._lowest = self._highest = 0
        self._text = ""
        self._slice = Slice()

    def at(self, time: str) -> Slice:
        """The slice of a line's `time`. ValueError when it is none."""
        text = time[:19]
        if text != self._text:
            self._slice = self._find(text)
            self._text = text
        return self._slice

    def slices(self) -> list[tuple[int, Slice]]:
        """All slices from the first to the last, empty ones included."""
        if not self._slices:
            return []
        numbers = range(min(self._slices), max(self._slices) + 1)
        return [(number * self.seconds, self._slices.get(number) or Slice()) for number in numbers]

    def _find(self, text: str) -> Slice:
        moment = int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())
        number = moment // self.seconds
        if not self._slices:
            self._lowest = self._highest = number
        while max(self._highest, number) - min(self._lowest, number) >= SLICES:
            self._double()
            number = moment // self.seconds
        self._lowest, self._highest = min(self._lowest, number), max(self._highest, number)
        found = self._slices.get(number)
        if found is None:
            found = self._slices[number] = Slice()
        return found

    def _double(self) -> None:
        self.seconds *= 2
        halved: dict[int, Slice] = {}
        for number, each in self._slices.items():
            known = halved.get(number // 2)
            if known is None:
                halved[number // 2] = each
            else:
                known.merge(each)
        self._slices = halved
        self._lowest //= 2
        self._highest //= 2
