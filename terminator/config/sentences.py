"""What pydantic found wrong, in words of an operator: where, one sentence, and what was probably meant.

A value that came out of a variable is never repeated: sentences show the text that stands in the file.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError
from pydantic_core import ErrorDetails

from terminator.config.nodes import Mapping as MappingNode
from terminator.config.nodes import Node, Scalar, Sequence
from terminator.config.places import KeyPath, Place, Problem, dotted
from terminator.config.shape import Shape, shape_at
from terminator.config.values import duration_text, parse_duration, parse_size, size_text

# What nginx, HAProxy, Caddy and Traefik call what is called otherwise here.
_FAMILIAR = {
    "cert": "chain",
    "certificate": "certificates",
    "certs": "certificates",
    "chain_file": "chain",
    "entrypoints": "listeners",
    "frontends": "listeners",
    "key_file": "key",
    "listen": "bind",
    "locations": "routes",
    "location": "path",
    "prefix": "path",
    "private_key": "key",
    "proxy_pass": "backend",
    "server_name": "names",
    "server_names": "names",
    "service": "backend",
    "services": "backends",
    "ssl": "tls",
    "sites": "hosts",
    "upstream": "backend",
    "upstreams": "backends",
    "url": "address",
    "vhosts": "hosts",
}

PATTERNS = {
    r"^[A-Za-z0-9][A-Za-z0-9._-]*$": (
        "a name begins with a letter or digit, and holds only letters, digits, `.`, `_` and `-`"
    ),
    r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$": "not the name of a header field (RFC 9110 §5.1)",
    r"^[^\x00-\x08\x0a-\x1f\x7f]*$": "a header field holds no control characters, line breaks included (RFC 9110 §5.5)",
    r"^[A-Z][A-Z-]*$": "a method is written in capitals, for example GET",
    r"^[1-5]\d\d(-[1-5]\d\d)?$": "write a status or a range, for example 200 or 200-399",
    r"^(client_address|(header|cookie):[!#$%&'*+.^_`|~0-9A-Za-z-]+)$": (
        "write client_address, header:NAME or cookie:NAME"
    ),
}
"""Every pattern of the model in words."""

_EXPECTED = {
    "model_type": "a mapping",
    "dict_type": "a mapping",
    "list_type": "a list",
    "string_type": "text",
    "int_type": "a whole number",
    "float_type": "a number",
    "bool_type": "true or false",
    "dataclass_exact_type": "an address as text, for example 127.0.0.1:8000",
}
_BOUNDS = {
    "greater_than": ("must be more than", "gt"),
    "greater_than_equal": ("must be at least", "ge"),
    "less_than": ("must be less than", "lt"),
    "less_than_equal": ("may be at most", "le"),
}
_SWITCHES = {"on": "true", "yes": "true", "y": "true", "off": "false", "no": "false", "n": "false"}
_SHOWN_CHARACTERS = 60
_SHOWN_KEYS = 14


def problems(error: ValidationError, root: MappingNode, *, whole: bool = True) -> list[Problem]:
    """One problem per place; places where a fault was told already are left out.

    Unless the configuration is `whole`, what is missing from it may stand in the part that could not be read.
    """
    told: list[Problem] = []
    places: dict[tuple[KeyPath, str], list[ErrorDetails]] = {}
    for detail in error.errors(include_url=False, include_input=False):
        path, rest = _known(detail["loc"], root)
        kind = detail["type"]
        if kind in ("missing", "too_short") and not whole:
            continue
        if kind == "missing" or rest == ("[key]",):
            places[((*path, *rest), kind)] = [detail]
        else:
            places.setdefault((path, "extra_forbidden" if kind == "extra_forbidden" else ""), []).append(detail)
    for (path, kind), details in places.items():
        if kind == "missing":
            told.append(Problem(owner(path[:-1], root), dotted(path), "is required"))
            continue
        key_is_wrong = path[-1:] == ("[key]",)
        if key_is_wrong or kind == "extra_forbidden":
            path = path[:-1] if key_is_wrong else path
            sentence = _sentence(details[0], None, None) if key_is_wrong else _unknown_key(path)
            told.append(Problem(key_place(path, root), dotted(path), sentence))
            continue
        node = node_at(path, root)
        if isinstance(node, Scalar) and node.broken:
            continue
        place = node.place if isinstance(node, Scalar) else owner(path, root)
        told.append(Problem(place, dotted(path), _alternatives(details, node, shape_at(path))))
    return told


def node_at(path: KeyPath, root: MappingNode) -> Node | None:
    """The node at `path`, or None when nothing stands there."""
    node: Node = root
    for step in path:
        below = _child(node, step)
        if below is None:
            return None
        node = below
    return node


def owner(path: KeyPath, root: MappingNode) -> Place:
    """Where to point for something about all of `path`: at its key, at its start in a list; or above, if absent."""
    while path and node_at(path, root) is None:
        path = path[:-1]
    if path and isinstance(path[-1], str):
        return key_place(path, root)
    node = node_at(path, root)
    return node.place._replace(width=1) if node is not None else root.place


def key_place(path: KeyPath, root: MappingNode) -> Place:
    """Where the key stands that `path` ends in."""
    above = node_at(path[:-1], root)
    entry = above.entries.get(str(path[-1])) if isinstance(above, MappingNode) else None
    return entry.key if entry is not None else root.place


def near(word: str, words: Iterable[str]) -> str:
    """`; did you mean X?` when one of `words` is a near miss of `word`, else nothing."""
    found = difflib.get_close_matches(word, list(words), 1)
    return f"; did you mean `{found[0]}`?" if found else ""


def shown(node: Node | None) -> str:
    """A value as a sentence may show it."""
    if not isinstance(node, Scalar):
        return "a list" if isinstance(node, Sequence) else "a mapping" if isinstance(node, MappingNode) else "nothing"
    text = node.written if len(node.written) <= _SHOWN_CHARACTERS else node.written[:_SHOWN_CHARACTERS] + "…"
    text = "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
    return f"`{text}`"


def _child(node: Node, step: str | int) -> Node | None:
    if isinstance(node, MappingNode):
        entry = node.entries.get(str(step))
        return entry.node if entry is not None else None
    if isinstance(node, Sequence):
        index = int(step) if isinstance(step, int) or step.isdecimal() else -1
        return node.items[index] if 0 <= index < len(node.items) else None
    return None


def _known(loc: tuple[str | int, ...], root: MappingNode) -> tuple[KeyPath, KeyPath]:
    """Pydantic's location split into what stands in the files and the rest: a missing key, or its names for types."""
    node: Node = root
    for position, step in enumerate(loc):
        below = _child(node, step)
        if below is None:
            return loc[:position], loc[position:]
        node = below
    return loc, ()


def _unknown_key(path: KeyPath) -> str:
    key, shape = str(path[-1]), shape_at(path[:-1])
    section = shape.section if shape is not None else None
    if section is None:
        return "unknown key"
    fields = section.model_fields
    if _FAMILIAR.get(key.lower()) in fields:
        return f"unknown key; did you mean `{_FAMILIAR[key.lower()]}`?"
    if meant := near(key, fields):
        return f"unknown key{meant}"
    for name in fields:
        below = shape_at((*path[:-1], name))
        if below is not None and below.section is not None and key in below.section.model_fields:
            return f"unknown key; did you mean `{name}.{key}`?"
    return f"unknown key; here stand {', '.join(fields)}" if len(fields) <= _SHOWN_KEYS else "unknown key"


def _alternatives(details: list[ErrorDetails], node: Node | None, shape: Shape | None) -> str:
    """One sentence where several types are allowed and none fits."""
    if len(details) == 1:
        return _sentence(details[0], node, shape)
    fitting = [one for one in details if one["type"] not in _EXPECTED and one["type"] != "literal_error"]
    if fitting:  # the type is right and the value is not
        return _sentence(fitting[0], node, shape)
    expected = dict.fromkeys(_expected(one, shape) for one in details)
    return f"expected {' or '.join(expected)}, {_found(node, shape)}"


def _sentence(detail: ErrorDetails, node: Node | None, shape: Shape | None) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind in _EXPECTED or kind == "literal_error":
        return f"expected {_expected(detail, shape)}, {_found(node, shape)}"
    if kind in _BOUNDS:
        words, name = _BOUNDS[kind]
        return f"{words} {_number(context[name], shape)}"
    if isinstance(node, Scalar) and node.value is None and not node.expanded:
        return "has no value; give it one or remove the key"
    if kind == "value_error":
        return str(context["error"]) + _with_unit(node, shape)
    if kind == "string_pattern_mismatch":
        return PATTERNS.get(context["pattern"], f"must match {context['pattern']}")
    return _LENGTHS.get(kind, detail["msg"].lower()).format_map(_Plain(context))


_LENGTHS = {
    "too_short": "needs at least {min_length} entry",
    "too_long": "may have at most {max_length} entries",
    "string_too_short": "needs at least {min_length} characters",
    "string_too_long": "may have at most {max_length} characters",
    "string_unicode": "is not UTF-8",
    "finite_number": "must be a finite number",
}


class _Plain(dict[str, Any]):
    def __missing__(self, key: str) -> str:
        return "?"


def _expected(detail: ErrorDetails, shape: Shape | None) -> str:
    if detail["type"] != "literal_error":
        return _EXPECTED[detail["type"]]
    choices = [f"`{one}`" for one in (shape.choices if shape is not None else ())]
    return " or ".join((", ".join(choices[:-1]), choices[-1])) if len(choices) > 1 else "".join(choices)


def _found(node: Node | None, shape: Shape | None) -> str:
    """What stands there instead, and what was probably meant."""
    if not isinstance(node, Scalar):
        return f"found {shown(node)}"
    if node.value is None and not node.expanded:
        return "found nothing; give it one or remove the key"
    if node.expanded:
        return f"found {shown(node)}, which became {_kind(node.value)}"
    types: tuple[Any, ...] = shape.types if shape is not None else ()
    choices = [str(one) for one in shape.choices] if shape is not None else []
    text = node.written
    hint = ""
    if isinstance(node.value, str):
        if bool in types and text.lower() in _SWITCHES:
            hint = f"; YAML 1.2 writes {_SWITCHES[text.lower()]}"
        elif (int in types or float in types) and text.strip().isdecimal() and text.isascii():
            hint = f"; write {int(text[:15])}, without quotes or leading zeros"
        elif shape is not None and shape.items is not None:
            hint = "; write a list: [" + ("…" if len(text) > _SHOWN_CHARACTERS else text) + "]"
        else:
            hint = near(text, choices)
        return f"found the text {shown(node)}{hint}"
    if str in types or text in choices or not types:
        hint = f'; put it in quotes: "{text}"'
    return f"found {_kind(node.value)} {shown(node)}{hint}"


def _kind(value: object) -> str:
    if value is None:
        return "nothing"
    return "true or false" if isinstance(value, bool) else "text" if isinstance(value, str) else "the number"


def _with_unit(node: Node | None, shape: Shape | None) -> str:
    number = isinstance(node, Scalar) and not node.expanded and type(node.value) in (int, float)
    if not number or shape is None or shape.unit is None:
        return ""
    assert isinstance(node, Scalar)
    unit, parse = ("s", parse_duration) if shape.unit == "duration" else ("B", parse_size)
    try:
        parse(meant := f"{node.written}{unit}")
    except ValueError:
        return ""
    return f"; did you mean {meant}?"


def _number(value: Any, shape: Shape | None) -> str:
    unit = shape.unit if shape is not None else None
    if not value or unit is None:
        return f"{value:g}" if isinstance(value, float) else str(value)
    return duration_text(value) if unit == "duration" else size_text(value)
