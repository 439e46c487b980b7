"""What the model allows at a place: the walk down its types that errors and the reference have in common. Pure."""

from __future__ import annotations

import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo

from terminator.config.model import Config
from terminator.config.places import KeyPath
from terminator.config.section import Section
from terminator.config.values import parse_duration, parse_size

_UNITS = {parse_duration: "duration", parse_size: "size"}


@dataclass(frozen=True, slots=True)
class Shape:
    """One or several types without their wrapping, and the annotations that stood around them."""

    types: tuple[Any, ...]
    notes: tuple[Any, ...]
    optional: bool

    @property
    def section(self) -> type[Section] | None:
        return next((kind for kind in self.types if isinstance(kind, type) and issubclass(kind, Section)), None)

    @property
    def items(self) -> Shape | None:
        """What stands in the list, if this is one."""
        return next((_shape(get_args(kind)[0]) for kind in self.types if get_origin(kind) is list), None)

    @property
    def values(self) -> Shape | None:
        """What stands under each key, if this is a mapping with keys of the operator's own."""
        return next((_shape(get_args(kind)[1]) for kind in self.types if get_origin(kind) is dict), None)

    @property
    def choices(self) -> tuple[Any, ...]:
        return tuple(one for kind in self.types if get_origin(kind) is Literal for one in get_args(kind))

    @property
    def unit(self) -> str | None:
        """`duration`, `size` or None."""
        functions = [note.func for note in self.notes if isinstance(note, BeforeValidator)]
        return next((_UNITS[function] for function in functions if function in _UNITS), None)

    def limit(self, name: str) -> Any:
        """A bound (`ge`, `gt`, `le`, `lt`, `min_length`, `max_length`, `pattern`), or None."""
        for note in self.notes:
            parts = note.metadata if isinstance(note, FieldInfo) else [note]
            for part in parts:
                if (value := getattr(part, name, None)) is not None:
                    return value
        return None


def shape_of(field: FieldInfo) -> Shape:
    inner = _shape(field.annotation)
    return Shape(inner.types, (*field.metadata, *inner.notes), inner.optional)


def shape_at(path: KeyPath) -> Shape | None:
    """What the model allows at `path`, or None when it has no such place."""
    shape: Shape | None = _shape(Config)
    for step in path:
        if shape is None:
            return None
        section = shape.section
        if section is not None:
            field = section.model_fields.get(str(step))
            shape = shape_of(field) if field is not None else None
        else:
            shape = shape.items if isinstance(step, int) else shape.values
    return shape


def sections() -> Iterator[tuple[str, type[Section]]]:
    """Every mapping of the model with its place (`hosts[].routes[]`, `backends.NAME`), in the order of the model."""
    yield "", Config
    yield from _below("", Config)


def _below(place: str, section: type[Section]) -> Iterator[tuple[str, type[Section]]]:
    for name, field in section.model_fields.items():
        shape: Shape | None = shape_of(field)
        below = f"{place}.{name}" if place else name
        while shape is not None and shape.section is None:
            if shape.items is not None:
                shape, below = shape.items, f"{below}[]"
            else:
                shape, below = shape.values, f"{below}.NAME"
        if shape is not None and shape.section is not None:
            yield below, shape.section
            yield from _below(below, shape.section)


def _shape(annotation: Any) -> Shape:
    origin = get_origin(annotation)
    if origin is Annotated:
        inner, *notes = get_args(annotation)
        shape = _shape(inner)
        return Shape(shape.types, (*notes, *shape.notes), shape.optional)
    if origin in (Union, types.UnionType):
        shapes = [_shape(one) for one in get_args(annotation) if one is not types.NoneType]
        kinds = tuple(kind for shape in shapes for kind in shape.types)
        notes_of_all = tuple(note for shape in shapes for note in shape.notes)
        return Shape(kinds, notes_of_all, types.NoneType in get_args(annotation))
    return Shape((annotation,), (), False)
