"""Configured changes to fields: `headers: {set, add, remove}` of a route, for requests and responses."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from terminator.wire.client_side import HOP_BY_HOP, comparable
from terminator.wire.variables import Template, Values

Field = tuple[bytes, bytes]
Texts = Mapping[str, str]

_NONE: Texts = MappingProxyType({})

_NOT_FOR_RULES = HOP_BY_HOP | {b"content-length", b"trailer", b"expect"}


@dataclass(frozen=True, slots=True)
class Rules:
    """Changes to a list of fields, applied in the order remove, set, add. Names in lower case."""

    remove: frozenset[bytes] = frozenset()
    set: tuple[tuple[bytes, Template], ...] = ()
    add: tuple[tuple[bytes, Template], ...] = ()

    @classmethod
    def parse(cls, *, remove: Iterable[str] = (), set: Texts = _NONE, add: Texts = _NONE) -> Rules:
        """From their configured form. Raises ValueError: an unknown variable, or a field that is not the operator's to
        change because it frames the message or belongs to one connection."""
        removed = frozenset(_lower(name) for name in remove)
        settings = tuple((_lower(name), Template.parse(value)) for name, value in set.items())
        added = tuple((_lower(name), Template.parse(value)) for name, value in add.items())
        for name in (*removed, *(name for name, _ in settings + added)):
            if comparable(name) in _NOT_FOR_RULES:
                raise ValueError(f"{name.title().decode()} frames the message; terminator writes it itself")
        if b"host" in removed or b"host" in dict(added):
            raise ValueError("a request has exactly one Host; use `set` to change it")
        return cls(removed, settings, added)

    @property
    def constant(self) -> bool:
        """No text of it holds a variable: the same fields always change in the same way."""
        return all(template.constant for _, template in self.set + self.add)

    def apply(self, fields: Iterable[Field], values: Values) -> list[Field]:
        """A new list of fields. A rule whose text has variables and expands to nothing leaves its field out."""
        gone = self.remove.union(name for name, _ in self.set)
        changed, replaced_host = [], b""
        for field in fields:
            name = field[0].lower()
            if name not in gone:
                changed.append(field)
            elif name == b"host":
                replaced_host = field[1]
        for name, template in self.set:
            value = template.expand_field(values)
            if name == b"host":
                changed.insert(0, (name, value or replaced_host))  # first, as RFC 9110 §7.2 wants it
            elif value or template.constant:
                changed.append((name, value))
        for name, template in self.add:
            value = template.expand_field(values)
            if value or template.constant:
                changed.append((name, value))
        return changed


def _lower(name: str) -> bytes:
    return name.lower().encode("ascii")
