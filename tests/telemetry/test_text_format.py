"""The readable rendering: two fixed layouts, key=value for the rest, and no way for a client to forge a line."""

from __future__ import annotations

import pytest

from terminator.telemetry.text_format import text_line

BASE = {"time": "2026-11-21T09:30:12.482913Z", "level": "info"}
START = "2026-11-21 09:30:12.482 info    "


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        (
            {
                "event": "tls.handshake",
                "worker": 2,
                "conn.id": "2-a",
                "tls.established": True,
                "tls.protocol.version": "1.3",
                "tls.cipher": "TLS_AES_128_GCM_SHA256",
                "tls.resumed": True,
                "server.name": "shop.example",
                "client.address": "2001:db8::7",
                "client.port": 5000,
                "timing.hello_ms": 0.1,
                "timing.select_ms": 0.0,
                "timing.handshake_ms": 12.5,
                "generation": 4,
            },
            (
                "2  tls.handshake [2001:db8::7]:5000 shop.example TLS 1.3 TLS_AES_128_GCM_SHA256 resumed"
                " 12.5ms (hello 0.1) conn.id=2-a generation=4"
            ),
        ),
        (
            {
                "event": "tls.handshake",
                "tls.established": False,
                "error.type": "no_shared_cipher",
                "error.phase": "handshake",
                "error.message": "the client offers none of ours",
                "client.address": "192.0.2.1",
            },
            (
                "-  tls.handshake 192.0.2.1 - FAILED no_shared_cipher in handshake"
                ' error.message="the client offers none of ours"'
            ),
        ),
        (
            {
                "event": "http.request",
                "worker": 0,
                "client.address": "192.0.2.1",
                "client.port": 9,
                "http.request.method": "GET",
                "http.request.host": "shop.example",
                "url.path": "/a",
                "url.query": "b=c",
                "http.response.status_code": 200,
                "http.response.body.size": 17,
                "timing.connect_ms": 0.4,
                "timing.total_ms": 3.5,
                "route": "/",
            },
            "0  http.request  192.0.2.1:9 GET shop.example/a?b=c 200 17B 3.5ms (connect 0.4) route=/",
        ),
        (
            {"event": "config.reload", "reload.outcome": "ok", "reload.changes": ["a b", "c"], "x": True, "y": ""},
            '-  config.reload reload.outcome=ok reload.changes=["a b", c] x=yes y=""',
        ),
    ],
)
def test_layouts(fields: dict[str, object], line: str) -> None:
    assert text_line(BASE | fields) == (START + line + "\n").encode()


@pytest.mark.parametrize(
    ("sent", "shown"),
    [
        ("a\r\nb\tc", '"a\\r\\nb\\tc"'),
        ("\x1b[31mred\x9b\x7f", '"\\x1b[31mred\\x9b\\x7f"'),
        ("\u2028\u202e\u200b", '"\\u2028\\u202e\\u200b"'),
        ("\U000e0001", '"\\U000e0001"'),
        ('say "x" \\', '"say \\"x\\" \\\\"'),
        ("k=v", '"k=v"'),
        ("Grüße", "Grüße"),
    ],
)
def test_what_is_not_printable_is_shown_as_its_escape(sent: str, shown: str) -> None:
    fields = {"event": "server.notice", "message": sent}
    assert text_line(BASE | fields).decode().endswith(f"message={shown}\n")


def test_a_client_cannot_write_a_second_line() -> None:
    forged = "/x 200 1B\n2026-11-21 09:30:12.482 info    0  http.request  192.0.2.1:9 GET shop.example/ok"
    line = text_line(BASE | {"event": "http.request", "url.path": forged})
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert b' - "-/x 200 1B\\n2026' in line  # in quotes, where the path stands
