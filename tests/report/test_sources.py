"""Logs plain and packed, from files, pipes and the journal; what is no event is counted and passed over."""

from __future__ import annotations

import gzip
import io
import lzma
import shutil
import subprocess
import sys
import tracemalloc
import types
from collections.abc import Callable
from pathlib import Path

import orjson
import pytest
from synthetic import day, handshake

from terminator.report import sources
from terminator.report.sources import Reader, SourceError, total_bytes

EVENTS = [handshake(at) for at in range(500)]
PLAIN = b"".join(orjson.dumps(event) + b"\n" for event in EVENTS)


def read(path: Path) -> tuple[list[dict[str, object]], Reader]:
    reader = Reader(str(path))
    return list(reader), reader


@pytest.mark.parametrize("pack", [bytes, gzip.compress, lzma.compress], ids=["plain", "gzip", "xz"])
def test_packed_or_not(pack: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(pack(PLAIN))
    events, reader = read(path)
    assert events == EVENTS
    assert (reader.lines, reader.unreadable) == (500, 0)


def test_several_gzip_members_as_logrotate_may_leave_them(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(gzip.compress(PLAIN) + gzip.compress(PLAIN))
    assert len(read(path)[0]) == 1000


@pytest.mark.skipif(shutil.which("zstd") is None, reason="the command zstd is not installed")
def test_zstd(tmp_path: Path) -> None:
    path = tmp_path / "log.zst"
    subprocess.run(["zstd", "-q", "-o", path], input=PLAIN, check=True)
    assert read(path)[0] == EVENTS
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(SourceError, match="zstd"):
        read(path)


def test_zstd_without_anything_that_reads_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("compression", "compression.zstd", "zstandard"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setenv("PATH", str(tmp_path))
    path = tmp_path / "log.zst"
    path.write_bytes(b"\x28\xb5\x2f\xfd" + bytes(100))
    with pytest.raises(SourceError, match="unpack it with `zstd -dc`"):
        read(path)


def test_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stdin:
        buffer = io.BufferedReader(io.BytesIO(gzip.compress(PLAIN)))

    monkeypatch.setattr(sys, "stdin", Stdin)
    assert list(Reader("-")) == EVENTS
    assert total_bytes(["-"]) is None


@pytest.mark.parametrize(
    "wrap",
    [
        lambda text: orjson.dumps({"__REALTIME_TIMESTAMP": "1", "_PID": "7", "MESSAGE": text.decode()}),
        lambda text: orjson.dumps({"MESSAGE": list(text)}),
        lambda text: b"Nov 21 09:00:00 edge terminator[7]: " + text,
        lambda text: orjson.dumps({"log": text.decode() + "\n", "stream": "stdout"}),
    ],
    ids=["journalctl -o json", "journalctl -o json, bytes", "journalctl -o short", "container log"],
)
def test_what_others_put_around_a_line(wrap: Callable[[bytes], bytes], tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(b"".join(wrap(line) + b"\n" for line in PLAIN.splitlines()))
    events, reader = read(path)
    assert events == EVENTS
    assert reader.unreadable == 0


@pytest.mark.parametrize("indent", ["", "    "], ids=["-o export", "-o verbose"])
def test_entries_of_the_journal_with_a_field_on_each_line(indent: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    head = "Sat 2026-11-21 09:00:00.000000 UTC [s=1]\n" if indent else ""
    path.write_text(
        "".join(
            f"{head}{indent}__CURSOR=s=1\n{indent}_PID=7\n{indent}MESSAGE={line}\n{indent}PRIORITY=6\n\n"
            for line in PLAIN.decode().splitlines()
        )
    )
    events, reader = read(path)
    assert events == EVENTS
    assert reader.unreadable == (500 if indent else 0), "the head of an entry is no field"


def test_lines_that_hold_no_event_are_counted(tmp_path: Path) -> None:
    noise = [b"hello", b"{}", b"[]", b"7", b'"event"', b"null", b'{"MESSAGE": "x"}', b'{"MESSAGE": "[1]"}', b"\xff\xfe"]
    noise += [b'{"MESSAGE": 5}', b'x {"time":', b'{"MESSAGE": [300, "x"]}', PLAIN[:50]]
    path = tmp_path / "log"
    path.write_bytes(b"\n".join(noise) + b"\n\n\n" + PLAIN[:-1])
    events, reader = read(path)
    assert events == EVENTS
    assert reader.unreadable == len(noise)


def test_a_line_without_end_takes_no_memory(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with path.open("wb") as file:
        for _ in range(64):
            file.write(b"x" * (1 << 20))
        file.write(b"\n" + PLAIN)
    tracemalloc.start()
    events, reader = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert (len(events), reader.unreadable) == (500, 1)
    assert peak < 16 << 20


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "No such file"), (gzip.compress(PLAIN)[:-200], "ended before"), (b"\x1f\x8b" + bytes(50), "Unknown|not")],
)
def test_faults_name_the_file(content: bytes | None, message: str, tmp_path: Path) -> None:
    path = tmp_path / "log"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SourceError, match=message) as failed:
        read(path)
    assert str(path) in str(failed.value)
    with pytest.raises(SourceError, match="directory"):
        read(tmp_path)


def test_progress_is_told_in_bytes_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "log"
    path.write_bytes(PLAIN * 20)
    seen: list[int] = []
    assert len(list(Reader(str(path), seen.append))) == 10_000
    assert seen == sorted(seen)
    assert seen[-1] == path.stat().st_size == total_bytes([str(path)])
    assert total_bytes([str(tmp_path / "none")]) is None


def test_a_made_up_day_is_read_back(log: Callable[..., Path]) -> None:
    assert len(read(log(day(50, 1)))[0]) == len(list(day(50, 1)))


def test_errors_of_an_unpacker_are_those_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A module that unpacks has errors of its own; here lzma stands for whichever is installed."""
    module = types.ModuleType("unpacker")
    module.open, module.ZstdError = lzma.open, lzma.LZMAError  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "unpacker", module)
    whole = lzma.compress(PLAIN)
    opened = sources._opened_by("unpacker", io.BytesIO(whole))
    assert opened is not None
    with opened:
        assert opened.read(1 << 20) == PLAIN
    opened = sources._opened_by("unpacker", io.BytesIO(whole[:50] + bytes(50) + whole[100:]))
    assert opened is not None
    with opened, pytest.raises(OSError, match="Corrupt"):
        opened.read(1 << 20)
    assert sources._opened_by("there_is_no_such_module", io.BytesIO(whole)) is None
