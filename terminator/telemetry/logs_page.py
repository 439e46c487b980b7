"""The reference part of docs/logs.md, made from the event types.

`python -m terminator.telemetry.logs_page docs/logs.md` renews it.
"""

from __future__ import annotations

import sys
from dataclasses import fields
from pathlib import Path

from terminator.telemetry import events
from terminator.telemetry.events import Event, log_names

BEGIN = "<!-- made from the event types by `python -m terminator.telemetry.logs_page docs/logs.md`: begin -->"
END = "<!-- end -->"

_TYPES = {"str": "text", "int": "integer", "float": "number", "bool": "boolean", "list[str]": "list of texts"}


def event_types() -> list[type[Event]]:
    """Every event type, in the order of the catalogue."""
    kinds = [kind for kind in vars(events).values() if isinstance(kind, type) and issubclass(kind, Event)]
    return [kind for kind in kinds if kind is not Event]


def renewed(page: str) -> str:
    """The page with its reference part made anew; ValueError when the markers are missing."""
    before, begin, rest = page.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        raise ValueError("the page has no part to renew: its markers are missing")
    return before + BEGIN + "\n\n" + reference() + "\n" + END + after


def reference() -> str:
    """One section per event type, with a table of its fields."""
    return "\n".join(_section(kind) for kind in event_types())


def _section(kind: type[Event]) -> str:
    types = {field.name: str(field.type).removesuffix(" | None") for field in fields(kind)}
    optional = {field.name for field in fields(kind) if str(field.type).endswith("| None")}
    doc = " ".join((kind.__doc__ or "").split())
    if doc.startswith(kind.__name__ + "("):  # what dataclass writes where the author wrote nothing
        doc = ""
    lines = [f"### {kind.event}", ""]
    if doc:
        lines += [doc, ""]
    lines += [f"Goes to `log.{kind.sink}`.", "", "| key | type | meaning |", "|---|---|---|"]
    for attribute, name, meaning in log_names(kind):
        sometimes = ", or absent" if attribute in optional else ""
        lines.append(f"| `{name}` | {_TYPES[types[attribute]]}{sometimes} | {meaning} |")
    return "\n".join(lines) + "\n"


def main(path: str) -> None:
    page = Path(path)
    page.write_text(renewed(page.read_text()))


if __name__ == "__main__":
    main(*sys.argv[1:2] or ["docs/logs.md"])
