"""The verdict table of request heads on the running daemon: what is refused never reaches a backend, and of what is
accepted the backend receives exactly the canonical bytes.

The table is tests/wire/request_cases.py: claim, bytes, status or acceptance, section, forwarded lines.
"""

from __future__ import annotations

import re
import runpy
from pathlib import Path
from typing import Any

import pytest

CASES = runpy.run_path(str(Path(__file__).parents[1] / "wire" / "request_cases.py"))["CASES"]

# What the daemon says of this client on its own behalf: the values are checked here, and the rest is the table's.
OWN = re.compile(
    rb"Via: 1\.[01] terminator\r\n"
    rb"X-Forwarded-For: 127\.0\.0\.1\r\n"
    rb"X-Real-IP: 127\.0\.0\.1\r\n"
    rb"X-Forwarded-Proto: https\r\n"
    rb"X-Forwarded-Port: [0-9]+\r\n"
    rb"(?:X-Forwarded-Host: [^\r\n]*\r\n)?"
    rb"Forwarded: for=127\.0\.0\.1;proto=https(?:;host=\"[^\r\n]*\")?\r\n"
)


def body_for(case: Any) -> tuple[bytes, bytes]:
    """(what the client sends behind its head, what the backend receives behind its)."""
    for line in case.forwarded:
        if line.lower() == b"transfer-encoding: chunked":
            return b"3;x=y\r\nabc\r\n0\r\n\r\n", b"3\r\nabc\r\n0\r\n\r\n"
        if line.lower().startswith(b"content-length:"):
            length = int(line.split(b":")[1])
            body = b"x" * length if length < 10_000 else b""
            return body, body
    return b"", b""


@pytest.mark.parametrize("case", [case for case in CASES if case.status is not None], ids=str)
def test_refused(border, case) -> None:
    border.backend.forget()
    with border.connect() as client:
        client.send(case.raw)
        response = client.receive_response()
        assert response.status == case.status
        assert response.head["connection"] == "close"
        assert len(response.body) < 200
        assert b"example" not in response.body
        assert client.ending() == "clean"
    assert border.backend.nothing_came()


@pytest.mark.parametrize("case", [case for case in CASES if case.status is None], ids=str)
def test_forwarded(border, warm, case) -> None:
    border.backend.forget()
    sent, arrives = body_for(case)
    with border.connect() as client:
        stays = b" HTTP/1.1\r\n" in case.raw and b"close" not in case.raw.lower()
        if stays and (sent or b"content-length" not in case.raw.lower()):
            warm(client, case.raw + sent)
        client.send(case.raw + sent)
        received = border.backend.next_request()
        assert client.receive_response("HEAD" if case.forwarded[0].startswith(b"HEAD ") else "GET").status == 200
    head, _, body = received.partition(b"\r\n\r\n")
    assert body == arrives
    request_line, _, fields = (head + b"\r\n").partition(b"\r\n")
    own = OWN.search(fields)
    assert own is not None, fields
    assert request_line == case.forwarded[0]
    assert fields[: own.start()] + fields[own.end() :] == b"".join(line + b"\r\n" for line in case.forwarded[1:])
