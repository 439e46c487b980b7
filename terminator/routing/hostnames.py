"""Which host answers to a name: one rule for SNI and for the Host field, exact first, then a one-label wildcard.

A name is compared in lower case and without one trailing dot, an IP literal in its canonical text and without
brackets. `*.shop.example` answers to `a.shop.example`, and neither to `shop.example` nor to `a.b.shop.example`, which
is what a certificate for it covers too (RFC 9525 §6.3). Nothing falls back from here to a default: that is policy.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

T = TypeVar("T")

MAX_NAME = 253  # characters, RFC 1035 §2.3.4 without the root's length byte

_LABEL = r"(?!-)[a-z0-9_-]{1,63}(?<!-)"  # `_` is no host name by RFC 1123, yet in use inside networks
_NAME = re.compile(rf"(?:{_LABEL}\.)*(?!\d+\Z){_LABEL}")  # a last label of digits alone would be an IPv4 address
_ONE_LABEL = re.compile(_LABEL)


@dataclass(frozen=True, slots=True)
class HostPattern:
    """A configured name. `name` is normalised; of a wildcard it is what follows `*.`."""

    name: str
    wildcard: bool = False

    def __str__(self) -> str:
        return f"*.{self.name}" if self.wildcard else self.name


class HostTable(Generic[T]):
    """Host patterns and what stands behind each; immutable. A lookup costs two dictionary accesses at most."""

    __slots__ = ("_exact", "_wildcard")

    def __init__(self, entries: Iterable[tuple[str | HostPattern, T]]) -> None:
        """Raises ValueError when a pattern is no name, or stands here twice."""
        self._exact: dict[str, tuple[HostPattern, T]] = {}
        self._wildcard: dict[str, tuple[HostPattern, T]] = {}
        for text, value in entries:
            pattern = parse_pattern(text) if isinstance(text, str) else text
            names = self._wildcard if pattern.wildcard else self._exact
            if pattern.name in names:
                raise ValueError(f"the name {pattern} stands here twice")
            names[pattern.name] = (pattern, value)

    def lookup(self, name: str) -> T | None:
        """What stands behind the pattern that answers to `name` (see `find`), or None."""
        found = self.find(name)
        return found[1] if found is not None else None

    def find(self, name: str) -> tuple[HostPattern, T] | None:
        """The pattern that answers to `name`, and what stands behind it.

        `name` is an SNI or a Host without its port, in any case, with or without a trailing dot or brackets; text
        that is no name at all finds nothing.
        """
        found = self._exact.get(name)
        if found is not None:
            return found
        if name.isascii() and name.islower() and not name.endswith((".", "]")) and ":" not in name:
            canonical = name  # as the parsers of the ClientHello and of the head hand it over
        else:
            try:
                canonical = normalise(name)
            except ValueError:
                return None
            found = self._exact.get(canonical)
            if found is not None:
                return found
        label, _, rest = canonical.partition(".")
        found = self._wildcard.get(rest)
        return found if found is not None and _ONE_LABEL.fullmatch(label) else None

    def __iter__(self) -> Iterator[tuple[HostPattern, T]]:
        yield from self._exact.values()
        yield from self._wildcard.values()

    def __len__(self) -> int:
        return len(self._exact) + len(self._wildcard)


def normalise(name: str) -> str:
    """The one text by which `name` is compared: lower case, without a trailing dot; IP literals canonical, bare.

    Raises ValueError, whose text says what is wrong, when it is neither a host name nor an IP literal.
    """
    if name.startswith("[") or ":" in name:
        inner = name[1:-1] if name.startswith("[") and name.endswith("]") else name
        try:
            if "%" in inner:
                raise ValueError("a zone (RFC 4007) means nothing outside one machine")
            return str(ipaddress.IPv6Address(inner))
        except ValueError:
            raise ValueError(f"{name!r} is not an IPv6 address; a name stands without its port") from None
    if not name.isascii():
        raise ValueError(f"{name!r} is not ASCII{_a_label_hint(name)}")
    folded = name.lower().removesuffix(".")
    if len(folded) > MAX_NAME:
        raise ValueError(f"a host name has at most {MAX_NAME} characters, this one {len(folded)}")
    if _NAME.fullmatch(folded):
        return folded
    if folded.replace(".", "").isdigit():
        try:
            return str(ipaddress.IPv4Address(folded))
        except ValueError:
            raise ValueError(f"{name!r} is not an IPv4 address, and no host name ends in a number") from None
    raise ValueError(f"{name!r} is not a host name")


def parse_pattern(text: str) -> HostPattern:
    """The pattern written as `text`: a name, `*.name` or an IP literal. ValueError says what is wrong."""
    if not text.startswith("*"):
        if "*" in text:
            raise ValueError(f"{text!r}: a wildcard stands for the whole first label only, as in *.shop.example")
        return HostPattern(normalise(text))
    if not text.startswith("*.") or "*" in text[1:]:
        hint = "; for unknown names see tls.unknown_sni" if text == "*" else ""
        raise ValueError(f"{text!r}: a wildcard stands for the whole first label only, as in *.shop.example{hint}")
    try:
        rest = normalise(text[2:])
    except ValueError as error:
        raise ValueError(f"{text!r}: {error}") from None
    if ":" in rest or rest.replace(".", "").isdigit():
        raise ValueError(f"{text!r}: an IP address has no labels to stand a wildcard for")
    return HostPattern(rest, wildcard=True)


def _a_label_hint(name: str) -> str:
    try:
        return f"; write the A-label {name.encode('idna').decode()}"
    except UnicodeError:
        return "; write the A-label (xn--…)"
