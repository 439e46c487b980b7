"""The command report, on files, windows and standard input."""

from __future__ import annotations

import gzip
import io
import json
import os
import pty
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "report"))

from synthetic import OLD, clock, day, handshake, write

from terminator.cli import main

Run = Callable[..., tuple[int, str, str]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: object) -> tuple[int, str, str]:
        code = main(["report", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, out, err

    return call


@pytest.fixture
def log(tmp_path: Path) -> Callable[..., Path]:
    return lambda events, name="log": write(tmp_path / name, events)


def test_a_report_in_text(run: Run, log: Callable[..., Path]) -> None:
    code, out, err = run(log(day(300, 1)))
    assert (code, err) == (0, "")
    assert "HANDSHAKES" in out
    assert "first_byte" in out


def test_a_report_as_json(run: Run, log: Callable[..., Path]) -> None:
    one, other = log(day(100, 1), "a"), log(day(100, 2), "b")
    other.write_bytes(gzip.compress(other.read_bytes()))
    code, out, _ = run(one, other, "--format", "json", "--by", "host")
    value = json.loads(out)
    assert code == 0
    assert value["source"]["files"] == [str(one), str(other)]
    assert value["source"]["lines"] == value["events"]
    assert value["handshakes"]["established"] + value["handshakes"]["failed"] == 200
    assert {row["host"] for row in value["handshakes"]["by"]} == {"shop.example", "admin.example"}


def test_a_window_counts_what_lies_in_it(run: Run, log: Callable[..., Path]) -> None:
    path = log([handshake(at * 60) for at in range(60)])
    _, out, _ = run(path, "--window", f"{clock(600)[:16]}..{clock(1200)[11:16]}", "--format", "json")
    assert json.loads(out)["handshakes"]["established"] == 10


def test_standard_input(log: Callable[..., Path]) -> None:
    path = log(day(50, 1))
    command = [sys.executable, "-m", "terminator", "report", "-", "--format", "json"]
    with path.open("rb") as file:
        done = subprocess.run(command, stdin=file, capture_output=True, check=True)
    assert json.loads(done.stdout)["events"] > 50
    assert done.stderr == b""


def test_progress_is_shown_on_a_terminal_alone(log: Callable[..., Path]) -> None:
    path = log(list(day(2000, 1)) * 8)
    ours, theirs = pty.openpty()
    command = [sys.executable, "-m", "terminator", "report", str(path), "--html", os.devnull]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=theirs) as process:
        os.close(theirs)
        assert process.stdout is not None
        process.stdout.read()
        assert process.wait() == 0
    told = b""
    try:
        while piece := os.read(ours, 65536):
            told += piece
    except OSError:  # EIO: nobody has the other end any more
        os.close(ours)
    if told:  # a fast machine is done before the first fifth of a second
        assert b"%" in told
        assert told.endswith(b"\r\x1b[K"), "the line is cleared"


def test_two_files_compared(run: Run, log: Callable[..., Path]) -> None:
    a, b = log(day(1500, 1), "a"), log(day(1500, 2, slower=1.5), "b")
    code, out, _ = run("--compare", a, b)
    assert code == 0
    assert "handshake flight" in out.split("MAY BE CHANCE")[0]
    _, out, _ = run("--compare", a, b, "--format", "json")
    value = json.loads(out)
    assert value["reports"][1]["source"]["files"] == [str(b)]
    assert value["different"]


def test_two_windows_compared_in_one_pass(run: Run, log: Callable[..., Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def changing() -> Iterator[dict[str, Any]]:
        for event in day(3000, 1):
            late = event["time"] >= clock(1800)
            if late and "timing.client_ms" in event:
                event["timing.client_ms"] *= 1.5
            yield event

    path = log(changing())
    windows = f"..{clock(1800)[:19]}", f"{clock(1800)[:19]}.."
    code, out, _ = run(path, "--compare", *windows)
    assert code == 0
    different = out.split("MAY BE CHANCE")[0]
    assert "handshake client" in different
    assert "handshake flight" not in different
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BufferedReader(io.BytesIO(path.read_bytes()))))
    assert run("-", "--compare", *windows)[1].split("\n")[3:] == out.split("\n")[3:]


def test_a_page_is_written(run: Run, log: Callable[..., Path], tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    assert run(log(day(100, 1)), "--html", page)[0] == 0
    assert page.read_text().startswith("<!doctype html>")
    code, _, err = run(log(day(10, 1)), "--html", tmp_path / "no" / "page")
    assert code == 1
    assert "No such file" in err


def test_a_preview(run: Run, log: Callable[..., Path]) -> None:
    events = [
        handshake(at, tls_client_offered__versions="1.2" if at % 4 == 0 else "1.3", tls_client_ja4=OLD[0])
        for at in range(100)
    ]
    code, out, _ = run(log(events), "--preview", "profile=modern")
    assert code == 0
    assert "25 would fail (25 %)" in out
    _, out, _ = run(log(events), "--preview", "min_version=1.2", "--format", "json")
    assert json.loads(out)["preview"]["lost"] == 0


def test_a_preview_by_the_configuration(run: Run, log: Callable[..., Path], tmp_path: Path) -> None:
    config = tmp_path / "t.yaml"
    config.write_text(
        """
version: 1
listeners: [{name: https, bind: "127.0.0.1:8443"}]
hosts:
  - names: [shop.example]
    certificates: [{chain: a.pem, key: a.key}]
    tls: {groups: [P-384]}
    routes: [{path: /, respond: {}}]
  - names: [admin.example]
    certificates: [{chain: a.pem, key: a.key}]
    routes: [{path: /, respond: {}}]
"""
    )
    events = [handshake(at, host="shop.example" if at % 2 else "admin.example") for at in range(10)]
    _, out, _ = run(log(events), "--preview", "min_version=1.3", "--config", config, "--format", "json")
    value = json.loads(out)["preview"]
    assert value["lost"] == 5
    assert value["classes"] == {"no_shared_group": 5}
    assert value["policies"]["shop.example"]["groups"] == ["P-384"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "which LOG"),
        (["--compare", "..2026-11-21", "2026-11-21.."], "of which LOG"),
        (["LOG", "--compare", "LOG", "LOG", "--preview", "profile=modern"], "one at a time"),
        (["LOG", "--preview", "strong"], "KEY=VALUE"),
        (["LOG", "--preview", "ciphers=RC4"], "RC4"),
        (["LOG", "--config", "x"], "--config belongs"),
        (["LOG", "--by", "color"], "--by color"),
        (["LOG", "--window", "x"], "FROM..TO"),
        (["LOG", "--window", "now-1h..", "--compare", "..2026-11-21", "2026-11-21.."], "--window bounds files"),
        (["other", "--compare", "LOG", "LOG"], "takes no other LOG"),
        (["-", "-"], "can be read once"),
        (["--compare", "-", "-"], "can be read once"),
        (["LOG", "--html", "LOG"], "no HTML page"),
        (["LOG", "--window", "now-800000h.."], "no log is of that time"),
    ],
)
def test_usage_is_told(arguments: list[str], message: str, run: Run, log: Callable[..., Path]) -> None:
    path = str(log(day(5, 1)))
    code, out, err = run(*(path if word == "LOG" else word for word in arguments))
    assert (code, out) == (2, "")
    assert message in err


def test_what_cannot_be_read_is_told(run: Run, tmp_path: Path) -> None:
    code, _, err = run(tmp_path / "none")
    assert code == 1
    assert "No such file" in err


def test_a_page_may_take_the_place_of_a_page_and_of_nothing_else(run: Run, log: Callable[..., Path]) -> None:
    """`terminator report --html *.log` names a log where the page should go."""
    one, other = log(day(20, 1), "a.log"), log(day(20, 2), "b.log")
    before = one.read_bytes()
    code, _, err = run("--html", one, other)
    assert code == 2
    assert f"--html {one}: it exists and is no HTML page" in err
    assert one.read_bytes() == before
    page = one.with_suffix(".html")
    for _ in range(2):
        assert run(other, "--html", page)[0] == 0
    code, _, err = run(other, "--html", one.parent)
    assert code == 1
    assert "Is a directory" in err


@pytest.mark.parametrize("text", ["0", "-1", "x", "1e3", "9" * 5000])
def test_the_number_of_rows_is_a_number(text: str, run: Run, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        run("log", "--top", text)
    assert left.value.code == 2
    assert "a number from 1 to" in capsys.readouterr().err


def test_a_name_that_is_no_text(tmp_path: Path) -> None:
    path = write(tmp_path / "a\udcff.log", [handshake(0)])
    for form in ("text", "json"):
        done = subprocess.run(
            [sys.executable, "-m", "terminator", "report", str(path), "--format", form, "--html", tmp_path / "a.html"],
            capture_output=True,
        )
        assert (done.returncode, done.stderr) == (0, b"")
        assert b"dcff.log" in done.stdout


def test_a_terminal_that_is_not_of_unicode_gets_the_figures(log: Callable[..., Path]) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "terminator", "report", str(log(day(50, 1)))],
        capture_output=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii", "PYTHONUTF8": "0"},
    )
    assert (done.returncode, done.stderr) == (0, b"")
    assert b"PHASE" in done.stdout


def test_what_strangers_sent_moves_no_cursor_in_either_form(run: Run, log: Callable[..., Path]) -> None:
    evil = "\x1b[2J\x9b31m\x7f\u202e"
    event = handshake(0, host=evil, tls_group=evil, client_address=evil, tls_client_ja4=evil)
    failed = handshake(1, tls_established=False, error_type=evil, error_phase=evil, server_name=evil)
    request = {"event": "http.request", "time": clock(2), "route": evil, "error.type": evil, "backend": evil}
    path = log([event, failed, request, {"event": "config.reload", "time": clock(3), "reload.outcome": evil}])
    for form in ("text", "json"):
        _, out, _ = run(path, "--format", form)
        assert not set("\x1b\x9b\x7f") & set(out), form
        assert "31m" in out
    assert "\u202e" not in run(path)[1]


def test_a_log_that_is_no_json_is_told_what_to_do(run: Run, tmp_path: Path) -> None:
    path = tmp_path / "text.log"
    path.write_text("2026-11-21 09:30:12.482 info    0  tls.handshake 203.0.113.7:51515 shop.example TLS 1.3\n" * 3)
    code, out, _ = run(path)
    assert code == 0
    assert "3 lines hold no event of terminator; a report needs the log as JSON" in out
    path.write_text("x\n" + json.dumps(handshake(0)) + "\n")
    assert "1 lines hold no event of terminator\n" in run(path)[1]


def test_a_file_that_is_missing_is_not_taken_for_a_window(run: Run, tmp_path: Path) -> None:
    code, _, err = run("--compare", f"{tmp_path}/../missing/a.log", f"{tmp_path}/../missing/b.log")
    assert code == 1
    assert "a.log: No such file" in err
