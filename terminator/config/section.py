"""What all mappings of the configuration have in common, and the forms of their single values."""

from __future__ import annotations

from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, PlainSerializer, WithJsonSchema

from terminator.config.values import (
    DURATION,
    SIZE,
    Address,
    SystemdSocket,
    parse_backend_address,
    parse_bind_address,
    parse_duration,
    parse_size,
)


class Section(BaseModel):
    """A mapping of the configuration: unknown keys are errors, values are never coerced, nothing changes later."""

    model_config = ConfigDict(
        extra="forbid",
        strict=True,
        frozen=True,
        use_attribute_docstrings=True,
        arbitrary_types_allowed=True,
        validate_default=False,
    )

    def __deepcopy__(self, memo: dict[int, Any] | None = None) -> Self:
        """Itself: pydantic copies every default that holds a list, and thousands of hosts share theirs gladly."""
        return self


def _path(value: object) -> object:
    """A relative path is relative to the file it stands in; the loader's strings know that file's folder."""
    if not isinstance(value, str):
        return value
    if not value:
        raise ValueError("a path may not be empty")
    resolve = getattr(value, "resolve", None)
    return str(resolve()) if resolve is not None else str(value)


def _bind(value: object) -> object:
    return parse_bind_address(_unix(value)) if isinstance(value, str) else value


def _backend_address(value: object) -> object:
    return parse_backend_address(_unix(value)) if isinstance(value, str) else value


def _unix(value: str) -> str:
    resolve = getattr(value, "resolve", None)
    return f"unix:{resolve('unix:')}" if resolve is not None and value.startswith("unix:") and value[5:] else str(value)


def _destination(value: object) -> object:
    return value if value in ("stdout", "stderr", "off") else _path(value)


_TEXT = PlainSerializer(str, return_type=str, when_used="json")

Duration = Annotated[
    float,
    BeforeValidator(parse_duration),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": rf"^(0|{DURATION.pattern})$"}, {"const": 0}]}),
]
Size = Annotated[
    int,
    BeforeValidator(parse_size),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": rf"^(0|{SIZE.pattern})$"}, {"const": 0}]}),
]
Path = Annotated[str, BeforeValidator(_path)]
Bind = Annotated[Address | SystemdSocket, BeforeValidator(_bind), _TEXT, WithJsonSchema({"type": "string"})]
BackendAddress = Annotated[Address, BeforeValidator(_backend_address), _TEXT, WithJsonSchema({"type": "string"})]
Destination = Annotated[str, BeforeValidator(_destination)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$", max_length=100)]
FieldName = Annotated[str, Field(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]+$")]
FieldValue = Annotated[str, Field(pattern=r"^[^\x00-\x08\x0a-\x1f\x7f]*$")]
Cidr = Annotated[str, Field(min_length=2)]
