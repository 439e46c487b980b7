"""Types that the catalogue does not give a key are refused, whatever else stands in the line."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from synthetic import clock, failure, handshake, request

from terminator.report import shape
from terminator.report.shape import SHAPES

MAKERS: list[Callable[[], dict[str, Any]]] = [
    lambda: handshake(0),
    lambda: failure(0, log_sample=0.5, error_openssl="X"),
    lambda: request(0),
    lambda: {"event": "tunnel.closed", "time": clock(0), "timing.tunnel_ms": 3, "tunnel.closed_by": "client"},
    lambda: {"event": "config.reload", "time": clock(0), "reload.outcome": "ok", "reload.changes": ["a"]},
    lambda: {"event": "server.log_dropped", "time": clock(0), "log.dropped": 5},
]
WRONG: dict[type, list[Any]] = {
    str: [5, True, ["x"], {}],
    float: ["1", True, [1.0], {}],
    int: ["1", True, [1], {}],
    bool: ["true", 1, []],
    list: ["x", {"a": 1}, [1], [None]],
}


@pytest.mark.parametrize("make", MAKERS)
def test_what_terminator_writes_fits_and_every_other_type_does_not(make: Callable[[], dict[str, Any]]) -> None:
    event = make()
    shape = SHAPES[event["event"]]
    assert shape.fits(event)
    read = set(shape._names) & event.keys()
    assert read
    for key in read:
        for wrong in WRONG[type(event[key])]:
            assert not shape.fits(event | {key: wrong}), (key, wrong)
    assert shape.fits(event)


@pytest.mark.parametrize("make", MAKERS)
def test_keys_may_be_absent_save_those_that_make_the_event(make: Callable[[], dict[str, Any]]) -> None:
    event = make()
    shape = SHAPES[event["event"]]
    for key in set(shape._names) & event.keys():
        needed = key in {"time", "tls.established", "reload.outcome", "timing.tunnel_ms", "log.dropped"}
        assert shape.fits({name: value for name, value in event.items() if name != key}) is not needed, key


def test_keys_that_are_named_exist() -> None:
    for kind, read in (("tls.handshake", shape._HANDSHAKE), ("http.request", shape._REQUEST)):
        assert set(read.split()) <= set(SHAPES[kind]._names)


def test_combinations_are_remembered_in_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shape, "_MAX_KNOWN", 2)
    fresh = shape.Shape(shape.HttpRequest, frozenset(shape._REQUEST.split()))
    for key in request(0):
        assert fresh.fits({name: value for name, value in request(0).items() if name != key}) or key == "time"
    assert len(fresh._known) <= 2
