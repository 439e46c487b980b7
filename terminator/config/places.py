"""Where something stands in the configuration, and how a fault there is shown: place, key, sentence, line, caret."""

from __future__ import annotations

import os
import re
import unicodedata
from dataclasses import dataclass, field
from typing import NamedTuple

KeyPath = tuple[str | int, ...]
"""The way from the top of the configuration to a value: keys of mappings, and positions in lists from 0."""

LINE_BREAK = re.compile(r"\r\n|[\n\r\x85\u2028\u2029]")  # those that libyaml counts
_PLAIN_KEY = re.compile(r"[\w*-]+")
_STEP = re.compile(r'\[(\d+)\]|\["((?:[^"\\]|\\.)*)"\]|\.?([^.\[\]]+)')
_SHOWN_COLUMNS = 160


@dataclass(frozen=True, eq=False)
class Source:
    """One file that was read. `name` is what the operator calls it, `path` is absolute."""

    name: str
    path: str
    text: str
    lines: tuple[str, ...] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "lines", tuple(LINE_BREAK.split(self.text)))

    @property
    def folder(self) -> str:
        return os.path.dirname(self.path)


class Place(NamedTuple):
    """Line and column count from 1; `width` is how many characters the caret underlines."""

    source: Source
    line: int
    column: int
    width: int = 1

    def __str__(self) -> str:
        return f"{self.source.name}:{self.line}:{self.column}"

    def excerpt(self) -> str:
        """The source line with a caret under the fault; cut to what fits a terminal when it is long."""
        line = self.source.lines[self.line - 1] if self.line <= len(self.source.lines) else ""
        start = max(0, self.column - 1 - _SHOWN_COLUMNS // 2) if len(line) > _SHOWN_COLUMNS else 0
        shown = line[start : start + _SHOWN_COLUMNS]
        lead = "".join("\t" if c == "\t" else " " * _columns(c) for c in shown[: self.column - 1 - start])
        marked = shown[self.column - 1 - start :][: max(1, self.width)]
        caret = "^" * max(1, sum(map(_columns, marked)))
        shown = "".join(c if c == "\t" or c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in shown)
        number = f"{self.line:>5}"
        return f"{number} | {shown}\n{' ' * len(number)} | {lead}{caret}".rstrip()


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault or warning. `key` is its dotted path, empty where none is known; `message` is one sentence."""

    place: Place
    key: str
    message: str

    @property
    def line(self) -> str:
        """`FILE:LINE:COL: path.to.key: what is wrong`, without the source line."""
        return f"{self.place}: {self.key}: {self.message}" if self.key else f"{self.place}: {self.message}"

    def __str__(self) -> str:
        # A file that is empty, or cannot be read, has no line to show.
        return f"{self.line}\n{self.place.excerpt()}" if self.place.source.text else self.line


def dotted(path: KeyPath) -> str:
    """`hosts[0].routes[2].path`; a key that is no plain word stands as `["a key"]`."""
    text = ""
    for step in path:
        if isinstance(step, int):
            text += f"[{step}]"
        elif _PLAIN_KEY.fullmatch(step):
            text += f".{step}" if text else step
        else:
            text += '["' + step.replace("\\", "\\\\").replace('"', '\\"') + '"]'
    return text


def undotted(text: str) -> KeyPath:
    """The path that `dotted` wrote as `text`."""
    path: list[str | int] = []
    for index, quoted, plain in _STEP.findall(text):
        path.append(int(index) if index else plain or re.sub(r"\\(.)", r"\1", quoted))
    return tuple(path)


def _columns(character: str) -> int:
    """How many columns of a terminal a character takes."""
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
