"""A client that delays one phase by 200 ms moves that phase and no other: in log, histogram, status page and report.

The phases that are the client's own; that the others are told apart too is proved in tests/tls/test_handshake.py.
"""

from __future__ import annotations

import json
import re
import ssl
import time
from typing import Any

import pytest
from harness.backends import ok
from harness.commands import terminator
from harness.daemon import Daemon

from terminator.service.admin_client import _UnixConnection, ask
from terminator.telemetry.totals import Totals

DELAY = 0.2
PHASES = ("first_byte", "hello", "select", "flight", "client")
CLIENTS = 4


def shake_hands(daemon: Daemon, context: ssl.SSLContext, phase: str) -> None:
    """A TLS client in memory that waits in one phase."""
    with daemon.connect_plain().sock as sock:
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        tls = context.wrap_bio(incoming, outgoing, server_hostname="a.test")
        with pytest.raises(ssl.SSLWantReadError):
            tls.do_handshake()
        hello = outgoing.read()
        time.sleep(DELAY * (phase == "first_byte"))
        sock.sendall(hello[:50])
        time.sleep(DELAY * (phase == "hello"))
        sock.sendall(hello[50:])
        while True:
            incoming.write(sock.recv(65536))
            try:
                tls.do_handshake()
                break
            except ssl.SSLWantReadError:
                continue
        time.sleep(DELAY * (phase == "client"))
        sock.sendall(outgoing.read())


def page(daemon: Daemon) -> str:
    connection = _UnixConnection(daemon.config["admin"]["socket"], 30)
    connection.request("GET", "/")
    response = connection.getresponse()
    text = response.read().decode()
    connection.close()
    assert response.status == 200
    assert "script-src 'sha256-" in response.headers["Content-Security-Policy"]
    return text


def on_the_page(html: str, phase: str) -> float:
    """Milliseconds of the column `now p50`."""
    cells = re.search(rf"<tr><td>{phase}</td>(.*?)</tr>", html)
    assert cells is not None
    return float(re.findall(r">([\d.,]+) ms<", cells[1])[0].replace(",", ""))


@pytest.mark.parametrize("slow", ["first_byte", "hello", "client"])
def test_it_is_the_delayed_phase_that_moves(slow: str, start: Any, answering: Any, certificates: Any) -> None:
    daemon: Daemon = start(answering(ok()).address)
    context = certificates.client_context()
    for _ in range(CLIENTS):
        shake_hands(daemon, context, slow)
    daemon.wait_for("tls.handshake", {"tls.established": True}, count=CLIENTS)
    events = daemon.all("tls.handshake")

    def moved(milliseconds: dict[str, float]) -> set[str]:
        return {phase for phase in PHASES if milliseconds[phase] > DELAY * 1000 * 0.6}

    for event in events:
        assert moved({phase: event[f"timing.{phase}_ms"] for phase in PHASES}) == {slow}

    _, body = ask("GET", "/totals", daemon.config["admin"]["socket"], 30)
    totals = Totals.from_json(body)
    medians = {phase: (totals.phases[phase].quantile(0.5) or 0) * 1000 for phase in PHASES}
    assert moved(medians) == {slow}, "histogram"
    assert all(totals.phases[phase].count == CLIENTS for phase in (*PHASES, "total"))

    html = page(daemon)
    assert moved({phase: on_the_page(html, phase) for phase in PHASES}) == {slow}, "page"

    log = daemon.folder / "log"
    log.write_text("".join(json.dumps(event) + "\n" for event in events))
    done = terminator("report", str(log), "--format", "json")
    assert done.returncode == 0, done.stderr
    rows = {row["phase"]: row["p50"] for row in json.loads(done.stdout)["handshakes"]["phases"]}
    assert moved(rows) == {slow}, "report"
