"""Active checks take a server out and bring it back, for all workers at once, made and told once."""

from __future__ import annotations

import os
import signal
import threading
import urllib.request

import pytest
from harness.backends import ok
from harness.daemon import eventually

SICK = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\n\r\n"
CHECK = {"path": "/healthz?full", "interval": "100ms", "timeout": "500ms", "rise": 2, "fall": 2, "host": "check.test"}


@pytest.fixture
def patient(answering):
    """A backend whose health the test sets; its name is the body of its responses."""

    def make(name):
        well = threading.Event()
        well.set()

        def answer(request):
            if request.head.target == "/healthz?full":
                return ok() if well.is_set() else SICK
            return ok(name.encode())

        backend = answering(answer)
        backend.well = well
        return backend

    return make


def served_by(daemon, requests=8):
    names = set()
    for _ in range(requests):  # a connection each, so that all workers have their turn
        with daemon.connect() as client:
            client.request("/")
            names.add(client.receive_response().body)
    return names


def test_a_sick_server_gets_nothing_until_it_is_well_again(start, patient):
    sick, sound = patient("sick"), patient("sound")
    daemon = start(sick.address, sound.address, workers=2, backend={"health_check": CHECK})
    assert served_by(daemon) == {b"sick", b"sound"}
    sick.well.clear()
    down = daemon.wait_for("backend.state", {"backend.state": "down"})
    assert (down["backend"], down["backend.server"], down["backend.previous_state"]) == ("b", sick.address, "up")
    assert down["backend.reason"] == "check: answered 503, not 200-399"
    eventually(lambda: served_by(daemon) == {b"sound"}, 5)
    sick.well.set()
    daemon.wait_for("backend.state", {"backend.state": "up"})
    eventually(lambda: served_by(daemon) == {b"sick", b"sound"}, 5)
    assert len(daemon.all("backend.state")) == 2  # once, not once per worker
    asked = next(each for each in sick.requests if each.head.target == "/healthz?full").head
    assert (asked["Host"], asked["Connection"]) == ("check.test", "close")


def test_one_process_checks_for_all(start, patient):
    backend = patient("only")
    daemon = start(backend.address, workers=4, backend={"health_check": CHECK | {"interval": "300ms"}})
    backend.wait_for_requests(1)
    first = len(backend.requests)
    daemon.wait_for("server.ready")
    done = threading.Event()
    done.wait(1.5)  # what is counted is a rate
    assert 3 <= len(backend.requests) - first <= 7


def test_the_state_outlives_reloads_and_the_worker_that_checks(start, patient):
    sick, sound = patient("sick"), patient("sound")
    daemon = start(sick.address, sound.address, workers=2, backend={"health_check": CHECK})
    sick.well.clear()
    daemon.wait_for("backend.state", {"backend.state": "down"})
    text = daemon.config_file.read_text()
    daemon.config_file.write_text(text.replace("drain: 5s", "drain: 6s"))
    daemon.signal(signal.SIGHUP)
    daemon.wait_for("config.reload", {"reload.outcome": "ok"})
    assert served_by(daemon) == {b"sound"}
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_for("server.worker_started", count=3)
    eventually(lambda: served_by(daemon) == {b"sound"}, 5)
    sick.well.set()
    daemon.wait_for("backend.state", {"backend.state": "up"})  # another worker checks now


@pytest.mark.parametrize(("fail_open", "status"), [(True, 200), (False, 503)])
def test_with_every_server_down_it_is_said_once_and_done_as_configured(start, patient, fail_open, status):
    only = patient("only")
    only.well.clear()
    daemon = start(only.address, backend={"health_check": CHECK, "fail_open": fail_open})
    daemon.wait_for("backend.state", {"backend.state": "down"})
    with daemon.connect() as client:
        for _ in range(3):
            client.request("/")
            response = client.receive_response()
            assert response.status == status
            assert ("retry-after" in response.head) is (status == 503)
    said = daemon.wait_for("backend.unavailable")
    assert ("fail_open" in said["backend.consequence"]) is fail_open
    assert len(daemon.all("backend.unavailable")) == 1


def test_a_silent_server_is_down_after_the_timeout(start, played, answering):
    silent, sound = played(), answering(ok(b"sound"))
    daemon = start(silent.address, sound.address, backend={"health_check": CHECK})
    down = daemon.wait_for("backend.state", {"backend.state": "down"})
    assert down["backend.reason"] == "check: no response within 0.5 s"
    assert served_by(daemon) == {b"sound"}


def test_metrics_tell_who_is_up(start, patient, port):
    sick, sound = patient("sick"), patient("sound")
    address = f"127.0.0.1:{port()}"
    daemon = start(sick.address, sound.address, workers=2, backend={"health_check": CHECK}, admin={"bind": address})
    sick.well.clear()
    daemon.wait_for("backend.state", {"backend.state": "down"})

    def told():
        with urllib.request.urlopen(f"http://{address}/metrics", timeout=5) as response:
            text = response.read().decode()
        return {line for line in text.splitlines() if line.startswith("terminator_backend_up")}

    expected = {
        f'terminator_backend_up{{backend="b",server="{sick.address}"}} 0.0',
        f'terminator_backend_up{{backend="b",server="{sound.address}"}} 1.0',
    }
    eventually(lambda: told() == expected, 5)
