"""The journal's two ways in: native datagrams with fields, and lines with a priority on the stream it reads."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import pytest

from terminator.config.model import Log
from terminator.telemetry import journald
from terminator.telemetry.events import HttpRequest, ServerNotice
from terminator.telemetry.journal import Journal


def test_an_entry_has_message_priority_and_fields() -> None:
    fields = {"time": "now", "level": "notice", "event": "tls.handshake", "server.name": "a.example", "conn.id": "7"}
    assert journald.datagram(fields, b'{"x": 1}\n') == (
        b'MESSAGE={"x": 1}\nPRIORITY=5\nSYSLOG_IDENTIFIER=terminator\n'
        b"EVENT=tls.handshake\nTLS_SNI=a.example\nCONN_ID=7\n"
    )


def test_a_value_with_a_newline_cannot_forge_a_field() -> None:
    entry = journald.datagram({"level": "error", "error.message": "a\nPRIORITY=0"}, b"line\n")
    assert entry.endswith(b"ERROR_MESSAGE\n" + (12).to_bytes(8, "little") + b"a\nPRIORITY=0\n")


@pytest.mark.parametrize(
    ("value", "text"),
    [(True, b"true"), (False, b"false"), (1.5, b"1.5"), (["a"], b"a"), ("caf\udce9", b"caf\xe9")],
)
def test_values_are_text(value: object, text: bytes) -> None:
    assert journald.datagram({"level": "info", "x": value}, b"").endswith(b"X=" + text + b"\n")


def test_only_the_named_stream_is_the_journals() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        status = os.fstat(ours.fileno())
        stream = f"{status.st_dev}:{status.st_ino}"
        assert journald.leads_to_journal(ours.fileno(), stream)
        assert not journald.leads_to_journal(theirs.fileno(), stream)
        assert not journald.leads_to_journal(ours.fileno(), None)
        gone = ours.fileno()
    assert not journald.leads_to_journal(gone, stream)


def test_what_the_journal_does_not_take_is_said(tmp_path: Path) -> None:
    native = journald.NativeJournal(str(tmp_path / "none"))
    assert not native.send({"level": "info"}, b"line\n")
    native.close()


def test_failures_go_native_and_successes_through_the_stream(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The journal's socket and stream are played here; both ways carry the same line."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "journal"))
        manager.settimeout(5)
        monkeypatch.setattr(journald, "SOCKET_PATH", manager.getsockname())
        path = str(tmp_path / "requests")
        Path(path).touch()
        status = os.stat(path)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        journal = Journal(Log.model_construct(**{**Log().__dict__, "lifecycle": path, "requests": path}))
        journal.emit(ServerNotice(topic="test", message="said"))
        journal.emit(HttpRequest(conn_id="1", listener="https", status=200))
        journal.emit(HttpRequest(conn_id="2", listener="https", status=502, error_type="backend_refused"))
        journal.close()
        notice, failure = manager.recv(65536), manager.recv(65536)
    assert b"SERVER_TOPIC=test\n" in notice
    assert b"PRIORITY=5\n" in failure
    assert b"ERROR_TYPE=backend_refused\n" in failure
    (line,) = (tmp_path / "requests").read_bytes().splitlines()
    assert line.startswith(b"<6>")
    assert json.loads(line[3:])["conn.id"] == "1"
