"""A span of time written as `FROM..TO`: which lines of a log are meant."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime, time, timedelta

from terminator.config.values import parse_duration

_ALONE = re.compile(r"\d\d:[^T]*")
_FIRST_YEAR, _LAST_YEAR = 1971, 2999
FORM = "%Y-%m-%dT%H:%M:%S.%fZ"


@dataclass(frozen=True, slots=True)
class Window:
    """Bounds in the form of the log's `time`, so that texts are compared; "" and "~" are open ends."""

    text: str
    begin: str = ""
    end: str = "~"

    def holds(self, moment: str) -> bool:
        return self.begin <= moment < self.end


def parse_window(text: str, now: datetime) -> Window:
    """`FROM..TO`, FROM included, TO not; either may be left out. Each is a date, a date with time (UTC unless it names
    another offset), or `now-1h`; TO may be a time alone, of FROM's day and offset. ValueError says what is wrong."""
    begin_text, dots, end_text = text.partition("..")
    if not dots:
        raise ValueError(f"{text}: a window is written FROM..TO, for example 2026-11-21T09:00..10:00 or now-1h..")
    begin = _moment(begin_text, now, None) if begin_text else None
    end = _moment(end_text, now, begin) if end_text else None
    if begin is not None:
        begin = begin.astimezone(UTC)
    if end is not None:
        end = end.astimezone(UTC)
    if begin is not None and end is not None and end <= begin:
        raise ValueError(f"{text}: it ends before it begins")
    return Window(
        text, begin.strftime(FORM) if begin is not None else "", end.strftime(FORM) if end is not None else "~"
    )


def _moment(text: str, now: datetime, day: datetime | None) -> datetime:
    moment = now - timedelta(seconds=_ago(text)) if text.startswith("now-") else _written(text, day)
    if not _FIRST_YEAR <= moment.year <= _LAST_YEAR:
        raise ValueError(f"{text}: no log is of that time")
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment


def _ago(text: str) -> float:
    try:
        return parse_duration(text.removeprefix("now-"))
    except ValueError as error:
        raise ValueError(f"{text}: {error}") from None


def _written(text: str, day: datetime | None) -> datetime:
    try:
        if day is not None and _ALONE.fullmatch(text):
            alone = time.fromisoformat(text)
            return datetime.combine(day.date(), alone, alone.tzinfo or day.tzinfo)
        return datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text}: not a time; write 2026-11-21, 2026-11-21T09:30, or now-1h") from None
