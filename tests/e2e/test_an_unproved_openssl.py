"""Where OpenSSL's own calls cannot be proved at the start, the daemon says so and serves with what `ssl` gives.

Contexts are then made before the fork, so that all workers have the ticket keys that OpenSSL drew for each.
"""

from __future__ import annotations

import json
import os
import signal
import ssl

import pytest
import yaml
from harness.backends import ok
from harness.commands import terminator
from harness.daemon import eventually

OTHER_INTERPRETER = """
from terminator.tls import libssl

def refuse():
    raise libssl.Unproved("objects lie elsewhere in this interpreter")

libssl.check = refuse
"""


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_tickets_resume_on_every_worker_and_at_no_other_host(prepare, site, answering, certificates, folder, version):
    (folder / "sitecustomize.py").write_text(OTHER_INTERPRETER)
    pair = certificates.issue(folder / "pair", "b.test")
    hosts = [site.host("a.test"), site.host("b.test", certificates=[pair.as_config()])]
    backend = answering(ok())
    prefix = ("env", f"PYTHONPATH={folder}")
    daemon = prepare(backend.address, hosts=hosts, workers=2, prefix=prefix).start()
    assert "lie elsewhere" in daemon.wait_for("server.notice")["message"]
    told = terminator("status", "--socket", daemon.config["admin"]["socket"], "--format", "json", folder=daemon.folder)
    assert any("lie elsewhere" in text for text in json.loads(told.stdout)["switched_off"])

    context = certificates.client_context()
    context.check_hostname = False
    context.minimum_version = context.maximum_version = version

    def session_of(name: str) -> ssl.SSLSession:
        with daemon.connect(name, context=context) as client:
            client.request()
            client.receive_response()
            return client.sock.session

    def resumed(name: str, session: ssl.SSLSession) -> set[bool]:
        found = set()
        for _ in range(12):
            with context.wrap_socket(daemon.connect_plain().sock, server_hostname=name, session=session) as sock:
                found.add(sock.session_reused)
        return found

    session, other = session_of("a.test"), session_of("b.test")
    assert (resumed("a.test", session), resumed("b.test", session)) == ({True}, {False})
    eventually(lambda: len({event["worker"] for event in daemon.all("tls.handshake")}) == 2)
    certificates.issue(pair.chain.parent, "b.test")
    daemon.config_file.write_text(yaml.safe_dump({**daemon.config, "timeouts": {"drain": "6s"}}))
    daemon.signal(signal.SIGHUP)
    assert daemon.wait_for("config.reload")["reload.outcome"] == "ok"
    assert resumed("a.test", session) == {True}, "its context was kept"
    assert resumed("b.test", other) == {False}, "a renewed one draws new keys: a full handshake, no error"
    os.kill(daemon.workers()[0], signal.SIGKILL)
    daemon.wait_for("server.worker_started", count=3)
    assert resumed("a.test", session) == {True}, "the master's contexts outlive a worker"
    assert not daemon.all("tls.handshake_failed")
