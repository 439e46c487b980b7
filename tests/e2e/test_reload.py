"""A reload swaps certificates and routes for what comes next, touches nothing that is there, and tells one result."""

from __future__ import annotations

import datetime as dt
import os
import signal
import socket
import ssl

import pytest
import yaml
from harness.backends import WebSocketEcho, ok
from harness.certificates import Certificates
from harness.commands import terminator
from harness.daemon import Daemon, eventually, is_alive
from harness.websocket import WebSocket

DAY = dt.timedelta(days=1)


def serial(daemon: Daemon, name: str = "a.test") -> str:
    """Serial number of the certificate that a new connection gets."""
    with daemon.connect(name) as client:
        return str((client.sock.getpeercert() or {})["serialNumber"])


def command(daemon: Daemon, *arguments: str):
    socket_path = daemon.config["admin"]["socket"]
    return terminator(*arguments, "--socket", socket_path, folder=daemon.folder)


def rewrite(daemon: Daemon, **sections) -> None:
    daemon.config_file.write_text(yaml.safe_dump({**daemon.config, **sections}, sort_keys=False))


@pytest.fixture
def pair(certificates: Certificates, folder):
    return certificates.issue(folder / "pair", "a.test")


@pytest.fixture
def daemon(start, site, answering, pair):
    backend = answering(ok(b"before"))
    return start(backend.address, hosts=[site.host("a.test", certificates=[pair.as_config()])], workers=2)


def reissue(certificates: Certificates, pair, *names: str, **options) -> None:
    certificates.issue(pair.chain.parent, *(names or ("a.test",)), **options)


def test_a_renewed_certificate_serves_after_sighup(daemon, certificates, pair):
    before = serial(daemon)
    reissue(certificates, pair)
    assert serial(daemon) == before
    daemon.signal(signal.SIGHUP)
    event = daemon.wait_for("config.reload")
    assert (event["reload.outcome"], event["generation"]) == ("ok", 2)
    assert serial(daemon) != before
    assert daemon.wait_for("tls.handshake", {"generation": 2})


def test_the_command_waits_for_the_outcome(daemon, certificates, pair):
    before = serial(daemon)
    reissue(certificates, pair)
    done = command(daemon, "reload")
    assert done.returncode == 0, done.stderr
    assert {serial(daemon) for _ in range(8)} != {before}
    assert len({serial(daemon) for _ in range(8)}) == 1  # every worker has it


def test_a_reload_without_changes_says_so(daemon):
    before = serial(daemon)
    assert command(daemon, "reload").returncode == 0
    assert daemon.wait_for("config.reload")["reload.outcome"] == "unchanged"
    assert serial(daemon) == before


def test_a_reload_that_changes_one_of_many_costs_far_less_than_the_start(start, site, certificates, folder, pair):
    """`bench/many_hosts.py` has the figures of thousands; here both are timed by the daemon, under the same load."""
    wildcard = certificates.issue(folder / "wildcard", "*.many.test")
    hosts = [site.host(f"host{number}.many.test", certificates=[wildcard.as_config()]) for number in range(600)]
    hosts.append(site.host("a.test", certificates=[pair.as_config()]))
    for host in hosts:
        host["routes"] = [{"path": "/", "respond": {"body": "x"}}]
    daemon = start(hosts=hosts, workers=2)
    took = []
    for number in range(1, 5):
        before = serial(daemon)
        reissue(certificates, pair)
        assert command(daemon, "reload").returncode == 0
        took.append(daemon.wait_for("config.reload", count=number)["timing.reload_ms"])
        assert serial(daemon) != before
    assert min(took) < daemon.wait_for("server.ready")["timing.start_ms"] / 3, took


def test_worse_can_be_accepted_by_name(daemon, certificates, pair):
    now = dt.datetime.now(dt.UTC)
    reissue(certificates, pair, not_before=now - 2 * DAY, not_after=now - DAY)
    assert command(daemon, "reload").returncode == 1
    assert command(daemon, "reload", "--accept-worse").returncode == 0
    with pytest.raises(ssl.SSLCertVerificationError, match="expired"):
        daemon.connect("a.test")


def test_a_dry_run_changes_nothing_and_tells_what_would(daemon, certificates, pair):
    before = serial(daemon)
    reissue(certificates, pair)
    done = command(daemon, "reload", "--dry-run")
    assert done.returncode == 0
    assert "a.test" in done.stdout
    assert serial(daemon) == before
    assert command(daemon, "reload").returncode == 0
    changes = daemon.wait_for("config.reload")["reload.changes"]
    for change in changes:
        assert change in done.stdout


def test_what_is_open_goes_on(daemon, answering, certificates, pair):
    """A kept connection stays, and its next request already takes the new routes."""
    after = answering(ok(b"after"))
    with daemon.connect() as client:
        client.request()
        assert client.receive_response().body == b"before"
        rewrite(daemon, backends={"b": {"servers": [after.address]}})
        assert command(daemon, "reload").returncode == 0
        client.request()
        assert client.receive_response().body == b"after"


def test_a_request_in_flight_goes_on(start, played, answering):
    old, new = played(), answering(ok(b"new"))
    daemon = start(old.address)
    with daemon.connect() as client, daemon.connect() as other:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\nabc")
        behind = old.accept()
        behind.receive_head()
        rewrite(daemon, backends={"b": {"servers": [new.address]}})
        assert command(daemon, "reload").returncode == 0
        other.request()
        assert other.receive_response().body == b"new"
        client.send(b"def")
        assert behind.receive_exactly(6) == b"abcdef"
        behind.send(ok(b"old"))
        assert client.receive_response().body == b"old"


def test_a_websocket_goes_on(start, certificates, cleanup):
    echo = WebSocketEcho()
    cleanup.callback(echo.close)
    daemon = start(echo.address)
    plain = socket.create_connection(("127.0.0.1", daemon.ports["https"]))
    with WebSocket(plain, "wss://a.test/ws", certificates.client_context()) as client:
        client.recv()
        for number in range(5):
            rewrite(daemon, timeouts={"drain": "5s", "body_idle": f"{number + 10}s"})
            assert command(daemon, "reload").returncode == 0
            client.send(str(number))
            assert client.recv() == str(number)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_survive_the_renewal_on_every_worker(daemon, certificates, pair, version):
    context = certificates.client_context()
    context.minimum_version = context.maximum_version = version
    with daemon.connect(context=context) as client:
        client.request()
        client.receive_response()
        session = client.sock.session
    reissue(certificates, pair)
    assert command(daemon, "reload").returncode == 0
    workers: set[int] = set()
    for number in range(1, 41):
        plain = daemon.connect_plain().sock
        with context.wrap_socket(plain, server_hostname="a.test", session=session) as resumed:
            assert resumed.session_reused
        workers.add(daemon.wait_for("tls.handshake", {"tls.resumed": True}, count=number)["worker"])
        if len(workers) == 2:
            return
    raise AssertionError(f"40 connections all came to worker {workers}")


@pytest.mark.parametrize(
    ("version", "tickets"),
    [(ssl.TLSVersion.TLSv1_2, True), (ssl.TLSVersion.TLSv1_2, False), (ssl.TLSVersion.TLSv1_3, True)],
    ids=["1.2 ticket", "1.2 session id", "1.3 ticket"],
)
def test_a_session_of_one_host_is_worth_nothing_at_another(start, site, answering, certificates, version, tickets):
    """Neither on any worker nor after a reload. Session ids are never given: `session.id` of such a client is empty."""
    daemon = start(answering(ok()).address, hosts=[site.host("a.test"), site.host("b.test")], workers=2)
    context = certificates.client_context()
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version
    if not tickets:
        context.options |= ssl.OP_NO_TICKET
    with daemon.connect("a.test", context=context) as client:
        client.request()
        client.receive_response()
        session = client.sock.session
    assert session.has_ticket == tickets

    def resumed(name: str) -> set[bool]:
        found = set()
        for _ in range(8):
            with context.wrap_socket(daemon.connect_plain().sock, server_hostname=name, session=session) as sock:
                found.add(sock.session_reused)
        return found

    for _ in range(2):
        assert resumed("a.test") == {tickets}
        assert resumed("b.test") == {False}
        rewrite(daemon, timeouts={"drain": "7s"})
        assert command(daemon, "reload").returncode == 0


def test_listeners_come_and_go(daemon, site):
    added = site.listener("second")
    rewrite(daemon, listeners=[*daemon.config["listeners"], added])
    assert command(daemon, "reload").returncode == 0
    daemon.ports["second"] = int(added["bind"].rpartition(":")[2])
    with daemon.connect(listener="second") as client:
        client.request()
        assert client.receive_response().status == 200
        rewrite(daemon)
        assert command(daemon, "reload").returncode == 0
        client.request()  # the connection outlives its listener
        assert client.receive_response().status == 200
    with pytest.raises(ConnectionRefusedError):
        daemon.connect_plain("second")


def test_what_needs_a_restart_is_said(daemon):
    rewrite(daemon, workers=3)
    done = command(daemon, "reload")
    assert "workers" in done.stdout + done.stderr
    assert "restart" in done.stdout + done.stderr


def test_a_killed_worker_is_replaced_and_only_its_connections_are_lost(daemon):
    workers = daemon.workers()
    assert len(workers) == 2
    os.kill(workers[0], signal.SIGKILL)
    daemon.wait_for("server.worker_exited", {"process.pid": workers[0]})
    daemon.wait_for("server.worker_started", count=3)
    for _ in range(8):
        with daemon.connect() as client:
            client.request()
            assert client.receive_response().status == 200


def test_the_daemon_ends_when_its_master_is_killed(prepare, answering):
    daemon = prepare(answering(ok()).address, workers=2).start()
    processes = daemon.processes()
    os.kill(daemon.pid, signal.SIGKILL)
    daemon.expected_exit = -signal.SIGKILL

    def gone() -> bool:
        return not any(is_alive(pid) for pid in processes)

    eventually(gone)
    with pytest.raises(ConnectionRefusedError):
        daemon.connect_plain()
