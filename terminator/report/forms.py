"""Tables, bars and figures in plain text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

BLOCKS = " ▁▂▃▄▅▆▇█"
_PARTS = " ▏▎▍▌▋▊▉█"


def table(
    head: Sequence[str], rows: Sequence[Sequence[str]], *, left: int = 1, right: Sequence[int] | None = None
) -> Iterator[str]:
    """Columns as wide as they must be; the first `left` to the left, the others, or those of `right`, to the right."""
    rights = set(range(left, len(head)) if right is None else right)
    texts = [[shown(cell) for cell in row] for row in (head, *rows)]
    widths = [max(map(len, column)) for column in zip(*texts, strict=True)]
    for row in texts:
        cells = [
            cell.rjust(width) if place in rights else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        yield "  ".join(cells).rstrip()


def shown(text: str) -> str:
    """What a log holds was sent by strangers: no control character of it reaches the terminal."""
    return text if text.isprintable() else "".join(c if c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def sparkline(values: Sequence[float | None]) -> str:
    """One character a value, from 0 to the largest; blank where there is none."""
    most = max((value for value in values if value is not None), default=0.0)
    if not most:
        return "".join(" " if value is None else BLOCKS[1] for value in values)
    return "".join(
        " " if value is None else BLOCKS[1] if not value else BLOCKS[max(1, round(value / most * 8))]
        for value in values
    )


def bar(share: float | None, width: int) -> str:
    """A bar of at most `width` characters."""
    eighths = round((share or 0.0) * width * 8)
    return (_PARTS[8] * (eighths // 8) + _PARTS[eighths % 8]).rstrip()


def ms(value: float | None) -> str:
    """Milliseconds with three digits that matter."""
    if value is None:
        return "-"
    if value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.3f}".rstrip("0").rstrip(".") if value < 1 else f"{value:.3g}"


def percent(share: float | None) -> str:
    if share is None:
        return "-"
    return f"{share * 100:.3g} %" if share < 0.9995 else f"{share * 100:.4g} %"


def clock(moment: object) -> str:
    """A line's `time` to the second; what is none as it is."""
    try:
        return f"{datetime.fromisoformat(str(moment)).astimezone(UTC):%Y-%m-%d %H:%M:%S}"
    except ValueError:
        return "-" if moment is None else str(moment)
