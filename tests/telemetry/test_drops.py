"""What a journal drops stands in the metrics, once."""

from __future__ import annotations

from pathlib import Path

from terminator.config.model import Log
from terminator.telemetry.board import Board
from terminator.telemetry.destination import BUFFER_BYTES
from terminator.telemetry.drops import DropMeter, lost_lines
from terminator.telemetry.events import ServerNotice
from terminator.telemetry.journal import Journal

NAME = "terminator_log_lines_dropped_total"


def test_dropped_lines_are_counted_once(tmp_path: Path) -> None:
    file = str(tmp_path / "log")
    journal = Journal(Log.model_validate({"handshakes": "off", "requests": "off", "lifecycle": file}))
    board = Board(1)
    meter = DropMeter(journal, board.writer(0))
    meter.note()
    assert board.snapshot()[NAME] == {(file,): 0.0}, "so that the first loss is an increase"
    assert lost_lines(board) == {}
    event = ServerNotice(topic="test", message="x" * 1000)
    for _ in range(BUFFER_BYTES // 1000 + 50):
        journal.emit(event)
    dropped = journal.dropped()[file]
    assert dropped > 0
    meter.note()
    meter.note()
    assert board.snapshot()[NAME] == {(file,): dropped}
    assert lost_lines(board) == {file: dropped}
    journal.close()
