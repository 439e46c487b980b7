"""Values as the model holds them: plain, parsed, absolute, and never changed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from pydantic import BaseModel, TypeAdapter, ValidationError

from terminator.config.nodes import Text
from terminator.config.section import Duration, Size

Examine = Callable[..., Any]


def everything(value: Any) -> Iterator[Any]:
    if isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from everything(getattr(value, name))
    elif isinstance(value, dict):
        for key, below in value.items():
            yield key
            yield from everything(below)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from everything(item)
    else:
        yield value


def test_the_loaders_strings_become_plain_ones(examined: Examine, minimal: str) -> None:
    loaded, _ = examined(minimal + "log: {requests: off, lifecycle: a.log}\nuser: x\ntls: {unknown_sni: www.example}\n")
    texts = [value for value in everything(loaded.config) if isinstance(value, str)]
    assert len(texts) > 10
    assert {type(value) for value in texts} == {str}
    assert not any(isinstance(value, Text) for value in texts)


def test_paths_are_absolute_and_words_are_not(examined: Examine, minimal: str, tmp_path: Any) -> None:
    loaded, _ = examined(
        minimal + "log: {requests: off, handshakes: ../h.log, lifecycle: /var/l.log}\nadmin: {socket: s}\n"
    )
    config = loaded.config
    assert config.hosts[0].certificates[0].key == f"{tmp_path}/k.pem"
    assert (config.log.requests, config.log.lifecycle) == ("off", "/var/l.log")
    assert config.log.handshakes == f"{tmp_path.parent}/h.log"
    assert config.admin.socket == f"{tmp_path}/s"


def test_nothing_changes_later(examined: Examine, minimal: str) -> None:
    loaded, _ = examined(minimal)
    with pytest.raises(ValidationError, match="frozen"):
        loaded.config.workers = 3


@pytest.mark.parametrize(("kind", "value"), [(Duration, "5s"), (Size, "5B")])
def test_units_stand_alone(kind: Any, value: str) -> None:
    assert TypeAdapter(kind).validate_python(value) == 5
