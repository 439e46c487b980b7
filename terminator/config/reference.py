"""The model told to others: as JSON Schema for editors, and as Markdown for docs/configuration.md. Pure."""

from __future__ import annotations

import inspect
import json
from typing import Any, get_args

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from terminator.config.model import Config
from terminator.config.section import Destination, Path, Section
from terminator.config.shape import Shape, sections, shape_of
from terminator.config.values import duration_text, size_text
from terminator.wire.variables import KNOWN_VARIABLES

DIALECT = "https://json-schema.org/draft/2020-12/schema"

_VARIABLE = {
    "type": "string",
    "description": "A value that comes from the environment: ${NAME} or ${NAME:-default}.",
    "pattern": r"\$\{[A-Za-z_][A-Za-z0-9_]*(:-[^}]*)?\}",
}
_VARIABLE_REFERENCE = {"$ref": "#/$defs/Variable"}
_TEXTS = {get_args(Path)[1].func: "path", get_args(Destination)[1].func: "`stdout`, `stderr`, `off` or path"}
_CONSTRAINTS = ("enum", "const", "pattern", "minLength", "maxLength", "format")


def json_schema() -> dict[str, Any]:
    """JSON Schema (draft 2020-12) of a whole configuration. It accepts what `load` accepts, and much of what only the
    cross checks refuse; where a value has a form of its own, a variable may stand instead."""
    schema = Config.model_json_schema()
    definitions: dict[str, Any] = schema.pop("$defs")
    for section in {section for _, section in sections()}:
        described = schema if section is Config else definitions[section.__name__]
        described["description"] = inspect.cleandoc(section.__doc__ or "")
        for name, field in section.model_fields.items():
            _tidy(described["properties"][name], field)
    opened = _open_to_variables(_without_titles(schema))
    others = {name: _open_to_variables(_without_titles(definitions[name])) for name in sorted(definitions)}
    return {"$schema": DIALECT, "title": "terminator.yaml", **opened, "$defs": {**others, "Variable": _VARIABLE}}


def json_schema_text() -> str:
    """`json_schema` as the shipped file has it."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


def markdown() -> str:
    """Every key with its type, default and meaning: a table for each mapping, then the variables of header values."""
    places: dict[type[Section], list[str]] = {}
    for place, section in sections():
        places.setdefault(section, []).append(place)
    lines: list[str] = []
    for section, where in places.items():
        lines += [f"### {_heading(where)}", "", inspect.cleandoc(section.__doc__ or ""), ""]
        lines += ["| key | type | default | meaning |", "|---|---|---|---|"]
        for name, field in section.model_fields.items():
            shape = shape_of(field)
            default = "required" if field.is_required() else _code(_default(field, shape))
            lines.append(f"| `{name}` | {_type(shape)} | {default} | {_cell(field.description or '')} |")
        lines.append("")
    lines += ["### Variables in header values, redirects and rewrites", "", "| variable | what it says |", "|---|---|"]
    lines += [f"| `{{{name}}}` | {_cell(meaning)} |" for name, meaning in KNOWN_VARIABLES.items()]
    return "\n".join(lines) + "\n"


# ------------------------------------------------------------------------------------------------------- schema


def _tidy(described: dict[str, Any], field: FieldInfo) -> None:
    """A default as the operator would write it, and no bounds that pydantic moved to a place where they say nothing."""
    shape = shape_of(field)
    default = _default(field, shape)
    described.pop("default", None)
    if default is not None and not isinstance(default, dict):
        described["default"] = default


def _without_titles(node: Any) -> Any:
    """Pydantic's titles repeat the key's name."""
    if isinstance(node, list):
        return [_without_titles(item) for item in node]
    if not isinstance(node, dict):
        return node
    return {k: _without_titles(value) for k, value in node.items() if k != "title" or not isinstance(value, str)}


def _open_to_variables(node: dict[str, Any]) -> dict[str, Any]:
    """Every value that is not free text anyway may be written as a variable."""
    node = dict(node)
    for key in ("properties", "patternProperties"):
        if key in node:
            node[key] = {name: _open_to_variables(below) for name, below in node[key].items()}
    if "patternProperties" in node:
        node["additionalProperties"] = False
    for key in ("items", "additionalProperties"):
        if isinstance(node.get(key), dict):
            node[key] = _open_to_variables(node[key])
    if "anyOf" in node:
        leaves = [one for one in node["anyOf"] if _is_leaf(one)]
        others = [_open_to_variables(one) for one in node["anyOf"] if not _is_leaf(one)]
        open_already = not any(map(_is_closed, leaves)) or any(map(_is_free_text, leaves))
        node["anyOf"] = [*leaves, *([] if open_already else [_VARIABLE_REFERENCE]), *others]
    elif _is_closed(node):
        about: dict[str, Any] = {key: node.pop(key) for key in ("description", "default") if key in node}
        node = {**about, "anyOf": [node, _VARIABLE_REFERENCE]}
    return node


def _is_leaf(node: dict[str, Any]) -> bool:
    return not node.keys() & {"$ref", "anyOf"} and node.get("type") not in ("array", "object")


def _is_free_text(node: dict[str, Any]) -> bool:
    return node.get("type") == "string" and not any(key in node for key in _CONSTRAINTS)


def _is_closed(node: dict[str, Any]) -> bool:
    return _is_leaf(node) and not _is_free_text(node) and node.get("type") != "null"


# ----------------------------------------------------------------------------------------------------- Markdown


def _heading(places: list[str]) -> str:
    return " and ".join(f"`{place}`" for place in places) if places != [""] else "Top level"


def _type(shape: Shape) -> str:
    if shape.section is not None:
        return "mapping"
    if shape.items is not None:
        return f"list of {_plural(_type(shape.items))}"
    if shape.values is not None:
        return f"mapping of names to {_plural(_type(shape.values))}"
    if shape.unit is not None:
        return shape.unit + _range(shape)
    words = [f"`{choice}`" for choice in shape.choices]
    text = next((_TEXTS[note.func] for note in shape.notes if getattr(note, "func", None) in _TEXTS), "text")
    for kind, word in ((bool, "`true`, `false`"), (int, "number"), (float, "number"), (str, text)):
        if kind in shape.types:
            words.append(word + _range(shape))
    return ", ".join(words) or "address"


def _plural(word: str) -> str:
    return {"mapping": "mappings", "text": "texts", "address": "addresses", "number": "numbers"}.get(word, word)


def _range(shape: Shape) -> str:
    def shown(value: float) -> str:
        if not value or shape.unit is None:
            return f"{value:g}" if isinstance(value, float) else str(value)
        return duration_text(value) if shape.unit == "duration" else size_text(int(value))

    low, above, high = shape.limit("ge"), shape.limit("gt"), shape.limit("le")
    if low is not None and high is not None:
        return f" {shown(low)}–{shown(high)}"
    if low:
        return f" ≥ {shown(low)}"
    return f" > {shown(above)}" if above is not None else ""


def _default(field: FieldInfo, shape: Shape) -> Any:
    """The default as it would be written; None when there is none, a dict for a mapping with defaults of its own."""
    value = field.default
    if value is PydanticUndefined or value is None:
        return None
    if isinstance(value, BaseModel):
        return {}
    if shape.unit is not None:
        return duration_text(value) if shape.unit == "duration" else size_text(value)
    return value


def _code(value: Any) -> str:
    if value is None or value == {}:
        return ""
    return f"`{json.dumps(value) if not isinstance(value, str) else value}`" if value != "" else '`""`'


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
