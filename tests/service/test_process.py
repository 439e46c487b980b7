"""A child seen through a selector: messages in, messages out, an end."""

from __future__ import annotations

import os
import selectors
import signal
import socket
from collections.abc import Iterator

import pytest

from terminator.service import channel
from terminator.service.process import Message, Process


@pytest.fixture
def setting() -> Iterator[tuple[selectors.BaseSelector, Process, socket.socket, list[Message]]]:
    """(selector, process, the child's end, what was heard)."""
    heard: list[Message] = []
    ours, theirs = channel.pair()
    with selectors.DefaultSelector() as selector:
        process = Process(2**22 + 1, channel.MasterEnd(ours), selector, heard.append)
        yield selector, process, theirs, heard
        process.close()
        theirs.close()


def turn(selector: selectors.BaseSelector) -> None:
    for key, _ in selector.select(0):
        key.data()


def frame(payload: bytes) -> bytes:
    return len(payload).to_bytes(4, "big") + payload


def test_messages_are_heard_in_order(setting: tuple[selectors.BaseSelector, Process, socket.socket, list]) -> None:
    selector, _, child, heard = setting
    child.send(frame(b'{"n": 1}') + frame(b'{"n": 2}'))
    turn(selector)
    assert heard == [{"n": 1}, {"n": 2}]


def test_what_does_not_fit_is_sent_when_the_child_reads(
    setting: tuple[selectors.BaseSelector, Process, socket.socket, list],
) -> None:
    selector, process, child, _ = setting
    process.send_frame(bytes(3_000_000))
    received = 0
    while received < 3_000_004:
        try:
            received += len(child.recv(1_000_000))
        except BlockingIOError:
            turn(selector)
    assert {key.events for key in selector.get_map().values()} == {selectors.EVENT_READ}, "and then no more"


def test_descriptors_are_copied_and_the_copies_closed(
    setting: tuple[selectors.BaseSelector, Process, socket.socket, list],
) -> None:
    _, process, child, _ = setting
    reader, writer = os.pipe()
    before = len(os.listdir("/proc/self/fd"))
    process.send_frame(b"x", [writer])
    assert len(os.listdir("/proc/self/fd")) == before
    _, fds, _, _ = socket.recv_fds(child, 100, 1)
    os.close(writer)
    os.write(fds[0], b"hello")
    assert os.read(reader, 10) == b"hello"
    os.close(reader)
    os.close(fds[0])


@pytest.mark.parametrize("data", [b"", frame(b"nonsense")])
def test_a_broken_channel_is_let_go_of(
    setting: tuple[selectors.BaseSelector, Process, socket.socket, list], data: bytes
) -> None:
    selector, process, child, heard = setting
    child.send(data or frame(b'{"n": 1}'))
    if not data:
        child.close()
    turn(selector)
    turn(selector)
    assert len(selector.get_map()) == 0
    assert heard == ([] if data else [{"n": 1}])
    process.send("nobody there")
    process.close()


def test_the_last_words_are_heard_at_the_end(
    setting: tuple[selectors.BaseSelector, Process, socket.socket, list],
) -> None:
    _, process, child, heard = setting
    child.send(frame(b'{"kind": "drained"}'))
    process.close()
    assert heard == [{"kind": "drained"}]


def test_a_signal_to_a_process_that_has_ended_is_harmless(
    setting: tuple[selectors.BaseSelector, Process, socket.socket, list],
) -> None:
    setting[1].signal(signal.SIGTERM)
