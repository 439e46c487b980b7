"""One destination, whatever kind of file stands behind it: pieces, waiting, breaking, opening anew."""

from __future__ import annotations

import os
import pty
import select
import socket
import tty
from pathlib import Path

import pytest

from terminator.errors import StartError
from terminator.telemetry.destination import Destination, Kind, Progress, open_destination

LINE = b"x" * 99 + b"\n"


def drained(destination: Destination) -> Progress:
    while (progress := destination.write()) is Progress.MORE:
        pass
    return progress


@pytest.mark.parametrize(
    ("path", "kind"),
    [("/dev/null", Kind.DEVICE), ("/dev/full", Kind.DEVICE), ("{tmp}/a", Kind.FILE)],
)
def test_kinds_of_paths(tmp_path: Path, path: str, kind: Kind) -> None:
    destination = open_destination(path.replace("{tmp}", str(tmp_path)))
    assert destination.kind is kind
    assert not destination.can_wait
    destination.close()


def test_a_fifo_without_a_reader_does_not_hang_the_start(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(StartError, match="No such device or address"):
        open_destination(str(tmp_path / "fifo"))


@pytest.mark.parametrize("own", [True, False], ids=["own description", "shared description"])
def test_a_pipe_is_filled_and_no_further(own: bool) -> None:
    """A shared, blocking description is as safe as one of our own: nothing is written that does not fit."""
    read_end, write_end = os.pipe()
    os.set_blocking(write_end, not own)
    destination = Destination("stdout", write_end, own=own)
    for _ in range(2000):
        assert destination.put(LINE)
    assert drained(destination) is Progress.BLOCKED
    got = b""
    while destination.pending or select.select([read_end], [], [], 0)[0]:
        assert drained(destination) in (Progress.BLOCKED, Progress.DONE)
        got += os.read(read_end, 4096)
    assert got == LINE * 2000
    os.close(read_end)
    os.close(write_end)


def test_pieces_for_a_pipe_are_whole_lines() -> None:
    """Packets keep the borders of the writes: each holds whole lines and at most PIPE_BUF bytes."""
    read_end, write_end = os.pipe2(os.O_DIRECT | os.O_NONBLOCK)
    destination = Destination("stdout", write_end, own=True)
    for number in range(100):
        destination.put(b"y" * (number * 37 % 700) + b"\n")
    assert drained(destination) in (Progress.DONE, Progress.BLOCKED)
    pieces = []
    while select.select([read_end], [], [], 0)[0]:
        pieces.append(os.read(read_end, 65536))
    assert all(piece.endswith(b"\n") and len(piece) <= select.PIPE_BUF for piece in pieces)
    assert len(pieces) < 20
    os.close(read_end)
    os.close(write_end)


def test_a_stream_socket_is_never_waited_for() -> None:
    """As systemd's stdout to the journal: the shared socket stays blocking, a full one is left alone."""
    ours, journal = socket.socketpair()
    destination = Destination("stdout", ours.fileno(), own=False)
    assert destination.kind is Kind.SOCKET
    sent = 0
    while drained(destination) is Progress.DONE:
        for _ in range(1000):
            destination.put(LINE)
        sent += 1000
    assert ours.getblocking()
    got = b""
    while destination.pending or select.select([journal], [], [], 0)[0]:
        drained(destination)
        got += journal.recv(1 << 20)
    assert got == LINE * sent
    journal.close()
    destination.put(LINE)
    destination.put(LINE)
    assert drained(destination) is Progress.DONE
    assert destination.lost == 2
    assert not destination.put(LINE)
    destination.close()
    ours.close()


def test_a_terminal_that_is_not_read_blocks_nobody() -> None:
    master, slave = pty.openpty()
    tty.setraw(slave)
    os.set_blocking(slave, False)
    destination = Destination("stdout", slave, own=True)
    assert destination.kind is Kind.TERMINAL
    for _ in range(1000):
        destination.put(LINE)
    assert drained(destination) is Progress.BLOCKED
    got = b""
    while destination.pending or select.select([master], [], [], 0)[0]:
        drained(destination)
        got += os.read(master, 65536)
    assert got == LINE * 1000
    os.close(master)
    os.close(slave)


def test_room_is_bounded_and_counted() -> None:
    read_end, write_end = os.pipe2(os.O_NONBLOCK)
    destination = Destination("stdout", write_end, own=True, room=1000)
    taken = sum(destination.put(LINE) for _ in range(100))
    assert taken == 11
    assert (destination.dropped, destination.roomy) == (89, False)
    assert drained(destination) is Progress.DONE
    assert destination.roomy
    os.close(read_end)
    os.close(write_end)


def test_half_a_buffer_is_told() -> None:
    destination, told = Destination("stdout", os.open("/dev/null", os.O_WRONLY), own=True, room=1000), []
    destination.on_half_full = lambda: told.append(len(told))
    assert sum(destination.put(LINE) for _ in range(100)) == 11
    assert len(told) == 5  # with 600 to 1000 bytes; not where the line is dropped
    destination.close()


def test_what_is_left_is_counted_as_lost(tmp_path: Path) -> None:
    destination = open_destination("/dev/full")
    for _ in range(3):
        destination.put(LINE)
    assert destination.write() is Progress.FAILED
    destination.put(LINE)
    destination.give_up()
    assert destination.lost == 4
    assert not destination.pending
    destination.close()


def test_a_broken_pipe_is_whole_again_after_reopening(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    destination = open_destination(str(fifo))
    os.close(reader)
    destination.put(LINE)
    assert drained(destination) is Progress.DONE
    assert (destination.lost, destination.put(LINE)) == (1, False)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    number = destination.fd
    destination.reopen()
    assert destination.fd == number
    assert not os.get_inheritable(number)
    assert destination.put(LINE)
    assert drained(destination) is Progress.DONE
    assert os.read(reader, 4096) == LINE
    destination.close()
    os.close(reader)


def test_a_file_is_opened_for_appending_and_closed_to_others(tmp_path: Path) -> None:
    path = tmp_path / "a"
    path.write_bytes(b"before\n")
    destination = open_destination(str(path))
    with path.open("ab") as other:
        other.write(b"another process\n")
    destination.put(LINE)
    assert destination.write() is Progress.DONE
    assert path.read_bytes() == b"before\nanother process\n" + LINE
    destination.close()


def test_a_stump_left_by_another_process_is_ended(tmp_path: Path) -> None:
    """After a reopening nobody knows who wrote there last, and whether their disk was full."""
    path = tmp_path / "a"
    destination = open_destination(str(path))
    path.write_bytes(b'{"stump')
    destination.reopen()
    destination.put(LINE)
    destination.put(LINE)
    assert destination.write() is Progress.DONE
    assert path.read_bytes() == b'{"stump\n' + LINE + LINE
    destination.close()


def test_stdout_into_a_file_keeps_the_shared_offset(tmp_path: Path) -> None:
    """`(terminator run; echo done) >log`: the last words of the shell may not overwrite our lines."""
    with (tmp_path / "log").open("wb", buffering=0) as shared:
        kept = os.dup(1)
        os.dup2(shared.fileno(), 1)
        try:
            destination = open_destination("stdout")
            destination.put(LINE)
            destination.write()
            os.write(1, b"done\n")
        finally:
            os.dup2(kept, 1)
            os.close(kept)
        destination.close()
    assert (tmp_path / "log").read_bytes() == LINE + b"done\n"


def test_give_to_another_user(tmp_path: Path) -> None:
    destination = open_destination(str(tmp_path / "a"))
    destination.give_to(os.getuid(), os.getgid())
    assert (tmp_path / "a").stat().st_uid == os.getuid()
    destination.close()
