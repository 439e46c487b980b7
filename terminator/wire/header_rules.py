"""Configured changes to fields: `headers: {set, add, remove}` of a route, for requests and responses."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from terminator.wire.client_side import comparable
from terminator.wire.variables import Template, Values

Pairs = Iterable[tuple[str, str]]

_NOT_FOR_RULES = frozenset(
    b"connection proxy-connection keep-alive te trailer transfer-encoding upgrade content-length expect".split()
)


@dataclass(frozen=True, slots=True)
class HeaderRules:
    """Changes to a list of fields, applied in the order remove, set, add. Names in lower case."""

    remove: frozenset[bytes] = frozenset()
    set: tuple[tuple[bytes, Template], ...] = ()
    add: tuple[tuple[bytes, Template], ...] = ()

    @classmethod
    def parse(cls, *, remove: Iterable[str] = (), set: Pairs = (), add: Pairs = ()) -> HeaderRules:
        """From their configured form. Raises ValueError: an unknown variable, or a field that is not the operator's to
        change because it frames the message or belongs to one connection."""
        removed = frozenset(_lower(name) for name in remove)
        settings = tuple((_lower(name), Template.parse(value)) for name, value in set)
        added = tuple((_lower(name), Template.parse(value)) for name, value in add)
        for name in (*removed, *(name for name, _ in settings + added)):
            if comparable(name) in _NOT_FOR_RULES:
                raise ValueError(f"{name.title().decode()} frames the message; terminator writes it itself")
        if b"host" in removed or b"host" in dict(added):
            raise ValueError("a request has exactly one Host; use `set` to change it")
        return cls(removed, settings, added)


def apply_rules(fields: list[tuple[bytes, bytes]], rules: HeaderRules, values: Values) -> list[tuple[bytes, bytes]]:
    """A new list of fields. A rule whose text has variables and expands to nothing leaves its field out."""
    gone = rules.remove.union(name for name, _ in rules.set)
    changed = [field for field in fields if field[0] not in gone]
    for name, template in rules.set:
        value = template.expand_field(values)
        if name == b"host":
            host = value or next((old for key, old in fields if key == b"host"), b"")
            changed.insert(0, (name, host))  # first, as RFC 9110 §7.2 wants it
        elif value or len(template.parts) == 1:
            changed.append((name, value))
    for name, template in rules.add:
        value = template.expand_field(values)
        if value or len(template.parts) == 1:
            changed.append((name, value))
    return changed


def _lower(name: str) -> bytes:
    return name.lower().encode("ascii")
