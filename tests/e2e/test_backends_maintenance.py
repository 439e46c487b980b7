"""`terminator backend NAME SERVER drain|down|up`: no new requests, those in flight finish, until `up` or a restart."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys

from harness.backends import ok
from harness.daemon import eventually


def terminator(daemon, *arguments):
    command = [sys.executable, "-m", "terminator", *arguments, "--socket", daemon.config["admin"]["socket"]]
    return subprocess.run(command, capture_output=True, text=True, timeout=60)


def served_by(daemon, requests=6):
    names = set()
    for _ in range(requests):
        with daemon.connect() as client:
            client.request("/")
            names.add(client.receive_response().body)
    return names


def test_a_drained_server_finishes_what_it_has_and_gets_no_more(start, played, answering):
    drained, other = played(), answering(ok(b"other"))
    daemon = start(drained.address, other.address, workers=2)
    with daemon.connect() as client:
        client.request("/slow")
        behind = drained.accept()
        behind.receive_request()
        done = terminator(daemon, "backend", "b", drained.address, "drain")
        assert (done.returncode, done.stderr) == (0, "")
        assert f"b {drained.address}: drain, was up" in done.stdout
        event = daemon.wait_for("backend.state")
        assert (event["backend.state"], event["backend.reason"]) == ("drain", "command drain")
        eventually(lambda: states(daemon, drained) == {"drain"})
        assert served_by(daemon) == {b"other"}
        behind.send(ok(b"finished"))
        assert client.receive_response().body == b"finished"
    assert not drained.has_waiting()
    assert len(daemon.all("backend.state")) == 1


def states(daemon, backend):
    rows = json.loads(terminator(daemon, "status", "--format", "json").stdout)["backends"]
    return {row["state"] for row in rows if row["server"] == backend.address}


def test_a_command_outlives_workers_and_reloads_until_up(start, answering):
    one, other = answering(ok(b"one")), answering(ok(b"other"))
    daemon = start(one.address, other.address, workers=2)
    assert terminator(daemon, "backend", "b", one.address, "down").returncode == 0
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_for("server.worker_started", count=3)
    daemon.config_file.write_text(daemon.config_file.read_text().replace("drain: 5s", "drain: 6s"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reload", {"reload.outcome": "ok"})
    eventually(lambda: states(daemon, one) == {"maintenance"})
    assert served_by(daemon) == {b"other"}
    told = terminator(daemon, "explain", "https://a.test/", "--live")
    assert f"{one.address}, weight 1, maintenance (command down), 0 in flight" in told.stdout
    assert terminator(daemon, "backend", "b", one.address, "up").returncode == 0
    eventually(lambda: served_by(daemon) == {b"one", b"other"}, 10)


def test_even_fail_open_respects_a_command(start, answering):
    only = answering(ok(b"only"))
    daemon = start(only.address, backend={"fail_open": True})
    assert terminator(daemon, "backend", "b", only.address, "down").returncode == 0
    with daemon.connect() as client:
        eventually(lambda: states(daemon, only) == {"maintenance"})
        client.request("/")
        assert client.receive_response().status == 503


def test_what_there_is_not_is_refused(start, answering):
    backend = answering(ok())
    daemon = start(backend.address)
    for name, server, said in (("c", backend.address, "there are b"), ("b", "10.0.0.1:1", f"it has {backend.address}")):
        done = terminator(daemon, "backend", name, server, "drain")
        assert done.returncode == 1
        assert said in done.stderr
