"""`terminator certs`: what is served beside what lies on disk."""

from __future__ import annotations

import json
from typing import Any

import pytest

from terminator.cli import main


def certificate(serial: str, disk: dict[str, Any], warnings: tuple[str, ...] = ()) -> dict[str, Any]:
    return {
        "file": f"/{serial}.pem",
        "serial": serial,
        "issuer": "CN=R11",
        "names": ["a.test", "b.test", "c.test", "d.test", "e.test"],
        "key_type": "ecdsa",
        "key_bits": 256,
        "not_after": "2027-01-02T03:04:05+00:00",
        "days_left": 41.97,
        "warnings": list(warnings),
        "disk": disk,
    }


BODY = {
    "generation": 1,
    "hosts": [
        {"host": "a.test", "names": ["a.test", "b.test"], "certificates": [certificate("5e", {"state": "same"})]},
        {
            "host": "x.test",
            "names": ["x.test"],
            "certificates": [
                certificate("6f", {"state": "differs", "serial": "70"}, ("/6f.pem: out of order",)),
                certificate("71", {"state": "unusable", "error": "/71.pem: is empty"}),
            ],
        },
    ],
}


def test_drift_is_a_warning(admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    admin.answer = (200, BODY)
    assert main(["certs", "--socket", admin.path]) == 0
    told = capsys.readouterr()
    head, *rows = [line.split("  ") for line in told.out.splitlines()]
    assert head[0] == "HOST"
    assert [[cell.strip() for cell in row if cell][:4] for row in rows] == [
        [host, "a.test, b.test, c.test, d.test …", serial, "ecdsa 256"]
        for host, serial in (("a.test", "5e"), ("x.test", "6f"), ("x.test", "71"))
    ]
    assert "2027-01-02 03:04" in told.out
    assert told.err.splitlines() == [
        "warning: host x.test: /6f.pem: serial 6f is served, serial 70 lies on disk; run `terminator reload`",
        "warning: host x.test: /71.pem: serial 71 is served, what lies on disk cannot be: /71.pem: is empty",
        "warning: host x.test: /6f.pem: out of order",
    ]


def test_only_the_hosts_asked_for(admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    admin.answer = (200, BODY)
    assert main(["certs", "--socket", admin.path, "B.test"]) == 0
    told = capsys.readouterr()
    assert (told.out.count("\n"), told.err) == (2, "")


def test_a_host_that_does_not_exist_is_said(admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    admin.answer = (200, BODY)
    assert main(["certs", "--socket", admin.path, "a.test", "Z.test"]) == 0
    assert capsys.readouterr().err == "warning: no host is named z.test\n"


def test_as_json(admin: Any, capsys: pytest.CaptureFixture[str]) -> None:
    admin.answer = (200, BODY)
    assert main(["certs", "--socket", admin.path, "--format", "json"]) == 0
    assert json.loads(capsys.readouterr().out) == BODY


def test_a_daemon_that_is_not_there_ends_with_3() -> None:
    assert main(["certs", "--socket", "/nonexistent"]) == 3
