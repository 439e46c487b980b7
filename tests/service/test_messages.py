"""What the master says reaches a child as it was said, over the channel that carries it."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from terminator.routing.health import Command
from terminator.service import channel, messages
from terminator.service.channel import ChildEnd, MasterEnd

SAID = [
    messages.Commit(3),
    messages.Abort(3),
    messages.Drain(2.5),
    messages.ReopenLogs(),
    messages.Report(7),
    messages.Probe(),
    messages.Verdict("web", "127.0.0.1:1", False, "status 503"),
    messages.Maintenance("web", "127.0.0.1:1", next(iter(Command))),
    messages.Answer(7, 200, {"ready": True}),
]


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
async def test_it_arrives_as_it_was_said(said: Any) -> None:
    ours, theirs = channel.pair()
    with ours, theirs:
        MasterEnd(ours).send(said)
        heard = await ChildEnd(theirs).receive()
    assert type(heard) is type(said)
    assert heard == said


@pytest.mark.parametrize("said", SAID, ids=lambda said: type(said).__name__)
def test_nobody_can_change_it_on_its_way(said: Any) -> None:
    for field in dataclasses.fields(said):
        with pytest.raises(dataclasses.FrozenInstanceError):
            setattr(said, field.name, None)
