"""What libyaml means by its complaints: each in words of an operator, with the remedy. No I/O."""

from __future__ import annotations

import re
from collections.abc import Sequence

Position = tuple[int, int]
"""Line and column, both from 0, as libyaml counts."""

_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.*]*\]?:[0-9]+\]?")
_VARIABLE = re.compile(r"\$\{[^}\s]*\}?")
_UNQUOTED = {"*": "*.shop.example", "&": "&", "@": "@", "`": "`", "%": "%", "!": "!"}

_WORDS = {
    "mapping values are not allowed in this context": (
        "a `: ` stands where no key can be; quote a text that holds one, or check the indentation"
    ),
    "did not find expected ',' or '}'": "a `{` is not closed, or a comma is missing",
    "did not find expected ',' or ']'": "a `[` is not closed, or a comma is missing",
    "found unexpected end of stream": "a quote that opens here is not closed",
    "could not find expected ':'": "neither `key: value` nor part of the line before",
    "did not find expected key": "does not fit the lines above: check the indentation, or quote the text",
    "did not find expected '-' indicator": "does not fit the list above: entries begin with `- ` in the same column",
    "found unknown escape character": r"in double quotes `\` begins an escape; write `\\`, or use single quotes",
    "did not find expected node content": "a value is missing here, or must be quoted",
    "found a tab character that violates indentation": "a tab; YAML is indented with spaces",
    "block sequence entries are not allowed in this context": "a list cannot begin here; put it on lines of its own",
}
_AT_THE_CONTEXT = (
    "found unexpected end of stream",
    "did not find expected ',' or '}'",
    "did not find expected ',' or ']'",
    "could not find expected ':'",
    "did not find expected alphabetic or numeric character",
)


def explain(lines: Sequence[str], problem: str, mark: Position, context: Position | None) -> tuple[int, int, str]:
    """Line, column (from 0) and sentence for a fault that libyaml reports as `problem` at `mark`."""
    if mark[0] < len(lines) and (variable := _VARIABLE.match(lines[mark[0]], max(0, mark[1] - 1))) is not None:
        return mark[0], variable.start(), f'quote a variable inside {{ }} or [ ]: "{variable[0]}"'
    if context is not None and problem in _AT_THE_CONTEXT:
        mark = context  # where it was opened, rather than where the text ran out
    line, column = mark
    if line >= len(lines):  # the end of the text counts as a line of its own
        line, column = len(lines) - 1, max(0, len(lines[-1]) - 1)
        if problem == "did not find expected node content":
            return line, column, "the file ends inside a `{` or a `[`"
    text = lines[line] if line < len(lines) else ""
    character = text[column : column + 1]

    for found in _BRACKETED.finditer(text):
        if found.start() <= column <= found.end():
            return line, found.start(), f'quote an address that begins with [: "{found[0]}"'
    if character == "\t" and "token" in problem:
        return line, column, _WORDS["found a tab character that violates indentation"]
    if character in _UNQUOTED and problem not in _WORDS:
        word = re.match(r"[^\s,\]}]*", text[column:])
        shown = word[0] if word is not None and len(word[0]) > 1 else _UNQUOTED[character]
        return line, column, f'quote a text that begins with {character}: "{shown}"'
    return line, column, _WORDS.get(problem, f"not YAML: {problem}")
