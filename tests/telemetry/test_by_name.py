"""The fields of an event by name: what the loop says that is written out, for every event of the catalogue."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.telemetry.by_name import adder
from terminator.telemetry.events import Event, HttpRequest, TlsHandshake, TunnelClosed, log_names
from terminator.telemetry.logs_page import event_types

values = st.none() | st.text(max_size=5) | st.booleans() | st.floats(0, 1e6) | st.lists(st.text(max_size=3))


@pytest.mark.parametrize("kind", event_types())
@given(st.data())
def test_every_field_that_is_there_in_its_order(kind: type[Event], data: st.DataObject) -> None:
    names = log_names(kind)[:-1]
    said = {attribute: data.draw(values) for attribute, _, _ in names}
    floats = {field.name for field in dataclasses.fields(kind) if str(field.type).startswith("float")}
    if kind not in (TlsHandshake, HttpRequest):
        said |= {attribute: data.draw(st.none() | st.floats(0, 1e6)) for attribute in floats}
    plain: dict[str, Any] = {"time": "now"}
    for attribute, name, _ in names:
        value: Any = said[attribute]
        if value is not None:
            rounded = attribute in floats and kind not in (TlsHandshake, HttpRequest)
            plain[name] = round(value, 3) if rounded else value
    added: dict[str, Any] = {"time": "now"}
    adder(kind)(kind(**said, generation=7), added)
    assert list(added.items()) == list(plain.items())


def test_a_time_has_three_decimals() -> None:
    fields: dict[str, Any] = {}
    adder(TunnelClosed)(TunnelClosed(conn_id="c", duration_ms=1.23456), fields)
    assert fields["timing.tunnel_ms"] == 1.235
