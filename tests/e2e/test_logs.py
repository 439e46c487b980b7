"""Every handshake and request is one typed line, on whichever stream, file or rendering the operator chose."""

from __future__ import annotations

import json
import os
import re
import signal
import ssl
from concurrent.futures import ThreadPoolExecutor

import pytest
from harness.backends import ok
from harness.commands import openssl_client, terminator
from harness.daemon import eventually

from terminator.service.admin_client import ask

TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")
PHASES = ("first_byte", "hello", "select", "flight", "client")


def test_a_handshake_is_told_whole(start, answering, certificates):
    daemon = start(answering(ok()).address)
    context = certificates.client_context()
    context.set_alpn_protocols(["http/1.1"])
    with daemon.connect(context=context) as client:
        cipher = client.sock.cipher()[0]
        port = client.sock.getsockname()[1]
        client.request()
        client.receive_response()
    event = daemon.wait_for("tls.handshake")
    assert TIME.fullmatch(event["time"])
    assert event["level"] == "info"
    assert event["stream"] == "stdout"
    assert event["tls.established"] is True
    assert (event["tls.protocol.version"], event["tls.cipher"]) == ("1.3", cipher)
    assert (event["tls.resumed"], event["tls.alpn"]) == (False, "http/1.1")
    assert (event["server.name"], event["host"], event["listener"]) == ("a.test", "a.test", "https")
    assert (event["client.address"], event["client.port"]) == ("127.0.0.1", port)
    assert re.fullmatch(r"t13d\w{6}_[0-9a-f]{12}_[0-9a-f]{12}", event["tls.client.ja4"])
    assert re.fullmatch(r"[0-9a-f]+", event["certificate.serial"])
    assert event["generation"] == 1
    assert event["timing.handshake_ms"] == pytest.approx(sum(event[f"timing.{p}_ms"] for p in PHASES), abs=0.1)
    assert not [key for key, value in event.items() if value is None]
    request = daemon.wait_for("http.request")
    assert request["conn.id"] == event["conn.id"]


def test_the_negotiated_group_is_told(start, answering, certificates):
    daemon = start(answering(ok()).address)
    done = openssl_client(daemon.ports["https"], "-servername", "a.test", "-groups", "P-256", typed=b"Q\n")
    assert done.returncode == 0
    assert daemon.wait_for("tls.handshake")["tls.group"].lower() in ("p-256", "secp256r1", "prime256v1")


def test_a_resumed_session_is_told(start, answering, certificates):
    daemon = start(answering(ok()).address)
    context = certificates.client_context()
    with daemon.connect(context=context) as client:
        client.request()
        client.receive_response()  # the ticket comes with it
        session = client.sock.session
    plain = daemon.connect_plain().sock
    resumed = context.wrap_socket(plain, server_hostname="a.test", session=session)
    assert resumed.session_reused
    resumed.close()
    assert daemon.wait_for("tls.handshake", count=2)["tls.resumed"] is True


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"], "unsupported_version"),
        (["-tls1_2", "-cipher", "AES128-SHA"], "no_shared_cipher"),
        (["-alpn", "h2"], "no_application_protocol"),
        (["-no-CAfile", "-no-CApath", "-no-CAstore", "-verify_return_error"], "client_rejected_cert"),
    ],
)
def test_a_failed_handshake_is_the_same_record_with_its_class(start, answering, options, expected):
    daemon = start(answering(ok()).address)
    done = openssl_client(daemon.ports["https"], "-servername", "a.test", *options)
    assert done.returncode != 0
    event = daemon.wait_for("tls.handshake", {"tls.established": False})
    assert event["error.type"] == expected
    assert event["error.phase"] in ("select", "handshake")
    assert event["level"] == "notice"
    assert event["server.name"] == "a.test"
    assert event["tls.client.ja4"]
    assert event["tls.client.offered_versions"]
    assert "tls.alert.sent" in event or "tls.alert.received" in event


def test_a_request_is_told_whole(start, answering):
    backend = answering(ok(b"12345"))
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"PUT /a/b?c=d HTTP/1.1\r\nHost: A.test:443\r\nUser-Agent: me\r\nContent-Length: 3\r\n\r\nabc")
        client.receive_response()
    event = daemon.wait_for("http.request")
    expected = {
        "http.request.method": "PUT",
        "url.path": "/a/b",
        "url.query": "c=d",
        "http.request.host": "A.test:443",
        "user_agent.original": "me",
        "network.protocol.version": "1.1",
        "http.response.status_code": 200,
        "http.request.body.size": 3,
        "http.response.body.size": 5,
        "server.name": "a.test",
        "host": "a.test",
        "route": "/",
        "backend": "b",
        "backend.server": backend.address,
        "backend.reused": False,
        "level": "info",
    }
    assert {key: event.get(key) for key in expected} == expected
    for phase in ("head", "connect", "response", "transfer", "total"):
        assert event[f"timing.{phase}_ms"] >= 0
    assert "backend.retries" not in event
    assert "error.type" not in event


def test_files_are_reopened_on_sigusr1(start, answering, folder, get):
    logs = {"handshakes": folder / "tls.log", "requests": folder / "http.log"}
    daemon = start(answering(ok()).address, log={name: str(path) for name, path in logs.items()}, workers=2)
    get(daemon, "https://a.test/before")
    eventually(lambda: "/before" in logs["requests"].read_text())
    for path in logs.values():
        path.rename(f"{path}.1")
    daemon.signal(signal.SIGUSR1)
    eventually(lambda: all(path.exists() for path in logs.values()))
    eventually(lambda: reaches_new_files(daemon, logs["requests"], get))
    assert "/after" not in (folder / "http.log.1").read_text()
    for path in logs.values():
        lines = path.read_text().splitlines()
        assert {json.loads(line)["event"] for line in lines} <= {"tls.handshake", "http.request", "tunnel.closed"}
        assert oct(path.stat().st_mode & 0o007) == "0o0"
    assert not daemon.all("http.request")


def reaches_new_files(daemon, path, get) -> bool:
    """Both workers have the new file only a moment after the master made it."""
    get(daemon, "https://a.test/after")
    return "/after" in path.read_text()


def test_lines_of_several_workers_are_never_torn(start, answering, folder):
    log = folder / "all.log"
    daemon = start(
        answering(ok()).address,
        workers=2,
        log={"handshakes": str(log), "requests": str(log), "lifecycle": "stderr"},
    )
    agent = "agent " * 200

    def visit(number: int) -> None:
        with daemon.connect() as client:
            for step in range(5):
                client.request(f"/{number}/{step}", User_Agent=agent)
                client.receive_response()

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(visit, range(40)))
    eventually(lambda: log.read_bytes().count(b"\n") >= 240)
    events = [json.loads(line) for line in log.read_text().splitlines()]
    assert len(events) == 240
    assert {event["event"] for event in events} == {"tls.handshake", "http.request"}
    assert len({event["worker"] for event in events}) == 2


def test_off_is_off(start, answering, get):
    daemon = start(answering(ok()).address, log={"handshakes": "off", "requests": "off"})
    assert get(daemon, "https://a.test/").status == 200
    daemon.signal(signal.SIGTERM)
    assert daemon.wait() == 0
    assert {event["event"].partition(".")[0] for event in daemon.events} == {"server"}


def test_text_is_for_people(start, answering):
    daemon = start(answering(ok()).address, log={"format": "text"})
    with daemon.connect() as client:
        client.request("/told")
        client.receive_response()
    with pytest.raises(ssl.SSLError):
        daemon.connect("stranger.test")
    assert "a.test" in daemon.wait_for_line("tls.handshake", stream="stdout")
    assert "200" in daemon.wait_for_line("/told", stream="stdout")
    assert "unrecognized_name" in daemon.wait_for_line("stranger.test", stream="stdout")
    for lines in daemon.output.values():
        assert not [line for line in lines if line.startswith("{")]


def test_client_text_cannot_forge_a_line(start, answering):
    daemon = start(answering(ok()).address)
    with daemon.connect() as client:
        client.send(b'GET /x"\\ HTTP/1.1\r\nHost: a.test\r\nUser-Agent: "}\xe2\x80\xa8{"event":"forged\t"\r\n\r\n')
        client.receive_response()
    daemon.wait_for("http.request")
    assert not daemon.all("forged")


def test_lines_that_nobody_reads_any_more_are_told_everywhere_else(start, answering, folder, get):
    """The reader of one log is gone: the other log, /status, the metric and `top` say what it missed."""
    fifo = folder / "requests.fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    daemon = start(answering(ok()).address, log={"requests": str(fifo)})
    os.close(reader)
    for _ in range(3):
        assert get(daemon, "https://a.test/").status == 200
    said = daemon.wait_for("server.log_dropped", {"log.destination": str(fifo)})
    assert (said["stream"], said["level"]) == ("stderr", "warning")
    assert 1 <= said["log.dropped"] <= 3
    daemon.wait_for("server.log_unwritable", {"log.destination": str(fifo), "error.message": "Broken pipe"})
    path = daemon.config["admin"]["socket"]

    def lost() -> dict[str, int]:
        return ask("GET", "/status", path)[1]["log_lines_lost"]

    eventually(lambda: lost() == {str(fifo): 3})
    assert f"log {fifo}: 3 lines lost since the start" in ask("GET", "/status", path)[1]["warnings"]
    assert f"log {fifo}: 3 lines lost since the start" in terminator("status", "--socket", path).stdout
    assert "LOG LINES LOST 3" in terminator("top", "--socket", path, "--interval", "0.1").stdout


def test_text_of_a_client_is_read_as_utf8_and_what_is_none_is_shown(start, answering):
    """And nothing in it reaches a terminal as an order: U+009B begins an escape sequence there."""
    daemon = start(answering(ok()).address)
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: caf\xc3\xa9 \xc2\x9b31m \xff\r\n\r\n")
        client.receive_response()
    event = daemon.wait_for("http.request")
    assert event["user_agent.original"] == "café \x9b31m \\xff"
