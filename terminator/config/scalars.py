"""What a single YAML value means: the core scalars of YAML 1.2, and the variables `${NAME}` inside it. No I/O.

YAML 1.1, which PyYAML speaks by itself, reads `on` as true, `22:22` as 1342, `0644` as 420 and `2026-11-21` as a date.
Here they are text. Numbers with leading zeros are text too, although YAML 1.2 would drop the zeros: a file mode, a
telephone number or a serial number is no quantity.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

_WORDS: dict[str, bool | None] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_DECIMAL = re.compile(r"[-+]?(?:0|[1-9][0-9]{0,30})")
_BASED = re.compile(r"0o[0-7]{1,30}|0x[0-9a-fA-F]{1,30}")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|(?:0|[1-9][0-9]{0,30})(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)")
_NAN = (".nan", ".NaN", ".NAN")
_NUMBER_START = frozenset("0123456789+-.")

_VARIABLE = re.compile(r"\$(?:\$|\{(?:([A-Za-z_][A-Za-z0-9_]*)(?::-([^}]*))?\})?)")


def core_value(text: str) -> str | int | float | bool | None:
    """The value of an unquoted scalar by the core schema of YAML 1.2 (§10.3.2), leading zeros excepted."""
    if text[:1] not in _NUMBER_START:
        return _WORDS.get(text, text)
    if _DECIMAL.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    if _FLOAT.fullmatch(text):
        return float(text.replace(".inf", "inf").replace(".Inf", "inf").replace(".INF", "inf"))
    return float("nan") if text in _NAN else text


class Fault(NamedTuple):
    """A variable that could not be expanded: its text as written (to find its column), and why not."""

    written: str
    message: str


def expand(text: str, environment: Mapping[str, str]) -> tuple[str, list[Fault]]:
    """`text` with its variables replaced, and what was wrong with them.

    `${NAME}` must be set, and may be empty; `${NAME:-default}` takes the default when NAME is unset or empty, as the
    shell does; `$$` is one `$`; any other `$` stands for itself. What comes out is never expanded again.
    """
    faults: list[Fault] = []

    def replaced(found: re.Match[str]) -> str:
        written, name, default = found[0], found[1], found[2]
        if written == "$$":
            return "$"
        if name is None:
            faults.append(Fault(written, "not a variable: write ${NAME} or ${NAME:-default}, and $$ for a literal $"))
        elif default is not None and "${" in default:
            faults.append(Fault(written, "variables do not nest: a default is plain text"))
        elif default is not None:
            return environment.get(name) or default
        elif name in environment:
            return environment[name]
        else:
            faults.append(
                Fault(written, f"the environment variable {name} is not set; give a default: ${{{name}:-value}}")
            )
        return written

    return _VARIABLE.sub(replaced, text), faults
