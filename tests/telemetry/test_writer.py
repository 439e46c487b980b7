"""The writer task: lines leave by themselves, and neither a stopped reader nor a disk holds up the loop."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
import pytest
import trio
import trio.testing

from terminator.config.model import Log
from terminator.telemetry import writer
from terminator.telemetry.destination import BUFFER_BYTES
from terminator.telemetry.events import HttpRequest, ServerNotice
from terminator.telemetry.journal import Journal
from terminator.telemetry.writer import write_behind


def notice(message: str) -> ServerNotice:
    return ServerNotice(topic="test", message=message)


async def test_lines_reach_a_file_by_themselves(tmp_path: Path) -> None:
    path = tmp_path / "a"
    journal = Journal(Log(handshakes="off", requests="off", lifecycle=str(path)))
    journal.emit(notice("before the task"))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_behind, journal)
        for number in range(3):
            journal.emit(notice(str(number)))
            with trio.fail_after(5):
                while path.read_bytes().count(b"\n") < number + 2:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert journal.close() == 0


async def test_a_stopped_reader_does_not_stop_the_loop_nor_the_other_log(tmp_path: Path) -> None:
    fifo, path = tmp_path / "fifo", tmp_path / "a"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    journal = Journal(Log(handshakes="off", requests=str(fifo), lifecycle=str(path)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_behind, journal)
        with trio.fail_after(10):
            count = 2500  # more than a pipe holds, less than the buffer
            for number in range(count):
                journal.emit(HttpRequest(conn_id=str(number), listener="https"))
            journal.emit(notice("the loop runs"))
            while not path.exists() or b"the loop runs" not in path.read_bytes():
                await trio.sleep(0.01)
            got = await _read_lines(reader, count)
        nursery.cancel_scope.cancel()
    assert got == [str(number) for number in range(count)]
    journal.close()
    os.close(reader)


async def test_half_a_buffer_does_not_wait(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """At 20,000 requests a second a worker fills its buffer in less than 50 ms, and would lose lines on a fast disk."""
    monkeypatch.setattr(writer, "BATCH_SECONDS", 3600)
    path = tmp_path / "a"
    journal = Journal(Log(handshakes="off", requests="off", lifecycle=str(path)))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(write_behind, journal)
        journal.emit(notice("first"))
        await trio.testing.wait_all_tasks_blocked()
        assert path.read_bytes() == b""
        count = BUFFER_BYTES * 3 // 4 // 10_000
        for times in (1, 2):  # the second time, it is so before anybody waits
            for _ in range(count):
                journal.emit(notice("x" * 10_000))
            with trio.fail_after(10):
                while path.read_bytes().count(b"\n") < 1 + times * count:
                    await trio.sleep(0.01)
        nursery.cancel_scope.cancel()
    assert journal.dropped() == {str(path): 0}
    assert journal.close() == 0


async def _read_lines(fd: int, count: int) -> list[str]:
    data = b""
    while data.count(b"\n") < count:
        await trio.lowlevel.wait_readable(fd)
        data += os.read(fd, 65536)
    return [orjson.loads(line)["conn.id"] for line in data.splitlines()]
