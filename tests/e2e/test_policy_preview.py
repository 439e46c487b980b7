"""The preview names exactly those clients that the changed policy then turns away, and by which class."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass
from typing import Any

import pytest
import trustme
import yaml
from harness.backends import ok
from harness.commands import openssl_client, terminator
from harness.daemon import Daemon

from terminator.config.model import TlsPolicy
from terminator.report.preview import parse_policy, preview
from terminator.report.tally import Tally
from terminator.tls.proofs import prove

OLD = "DEFAULT@SECLEVEL=0"
CLIENTS: dict[str, list[str]] = {
    "current": [],
    "TLS 1.2 alone": ["-tls1_2"],
    "TLS 1.1": ["-tls1_1", "-cipher", OLD],
    "TLS 1.0": ["-tls1", "-cipher", OLD],
    "one group, X25519": ["-groups", "X25519"],
    "one group, P-256": ["-groups", "P-256"],
    "one group, P-521": ["-groups", "P-521"],
    "TLS 1.2, X25519": ["-tls1_2", "-groups", "X25519"],
    "TLS 1.2, P-384": ["-tls1_2", "-groups", "P-384:P-256"],
    "ECDSA suites": ["-tls1_2", "-cipher", "ECDHE+aECDSA"],
    "RSA suites": ["-tls1_2", "-cipher", "ECDHE+aRSA"],
    "one suite, AES-256": ["-tls1_2", "-cipher", "ECDHE-RSA-AES256-GCM-SHA384"],
    "CBC": ["-tls1_2", "-cipher", "ECDHE-ECDSA-AES128-SHA:ECDHE-RSA-AES128-SHA"],
    "DHE": ["-tls1_2", "-cipher", "DHE-RSA-AES128-GCM-SHA256"],
    "one suite of TLS 1.3": ["-tls1_3", "-ciphersuites", "TLS_CHACHA20_POLY1305_SHA256"],
}
BEFORE = {"profile": "old", "groups": ["X25519", "P-256", "P-384", "P-521"]}


@dataclass(frozen=True)
class Change:
    text: str
    tls: dict[str, Any]


CHANGES = [
    Change("profile=modern", {"profile": "modern"}),
    Change("profile=intermediate", {"profile": "intermediate"}),
    Change("min_version=1.2 groups=P-256,P-384", {**BEFORE, "min_version": "1.2", "groups": ["P-256", "P-384"]}),
    Change("groups=X25519", {**BEFORE, "groups": ["X25519"]}),
    Change(
        "min_version=1.2 ciphers=ECDHE-RSA-AES128-GCM-SHA256",
        {**BEFORE, "min_version": "1.2", "ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"]},
    ),
]


def visit(daemon: Daemon) -> dict[str, dict[str, Any]]:
    """Each client once; the handshake line of each."""
    before = len(daemon.all("tls.handshake"))
    for number, options in enumerate(CLIENTS.values(), 1):
        openssl_client(daemon.ports["https"], "-servername", "a.test", *options)
        daemon.wait_for("tls.handshake", count=before + number)
    return dict(zip(CLIENTS, daemon.all("tls.handshake")[before:], strict=True))


@pytest.fixture
def daemon(start: Any, answering: Any, site: Any, certificates: Any, folder: Any) -> Daemon:
    host = site.host("a.test", tls=BEFORE)
    rsa = certificates.issue(folder / "rsa", "a.test", key_type=trustme.KeyType.RSA)
    host["certificates"].append(rsa.as_config())
    made: Daemon = start(answering(ok()).address, hosts=[host])
    return made


def test_predicted_and_failing_clients_are_the_same(daemon: Daemon) -> None:
    replayed = visit(daemon)
    served = {name: event for name, event in replayed.items() if event["tls.established"]}
    assert len(served) >= len(CLIENTS) - 2, "most clients are served by the old profile"
    config = dict(daemon.config)
    for reloads, change in enumerate(CHANGES, 1):
        predicted = predict(daemon, change, served)
        config["hosts"][0]["tls"] = change.tls
        daemon.config_file.write_text(yaml.safe_dump(config))
        daemon.signal(signal.SIGHUP)
        daemon.wait_for("config.reload", {"reload.outcome": "ok"}, count=reloads)
        after = visit(daemon)
        failing = {name: after[name]["error.type"] for name in served if not after[name]["tls.established"]}
        assert predicted == failing, change.text
    assert failing, "the last change turns some away"


def predict(daemon: Daemon, change: Change, served: dict[str, dict[str, Any]]) -> dict[str, str]:
    """Client → class that is predicted; the command's sum over all of them must be the same."""
    base = TlsPolicy.model_validate(BEFORE)
    predicted: dict[str, str] = {}
    for name, event in served.items():
        tally = Tally(offers=True)
        tally.add(event)
        for each in served.values():  # these tell which certificates the host has, and are not judged
            tally.add({**each, "tls.client.offered_ciphers": None})
        found = preview(tally, {"*": parse_policy([change.text], base)}, prove())
        assert found.served == 1
        for kind in found.lost.classes:
            predicted[name] = kind
    assert asked(daemon, change, served)["lost"] == len(predicted)
    return predicted


def asked(daemon: Daemon, change: Change, served: dict[str, dict[str, Any]]) -> dict[str, Any]:
    log, before = daemon.folder / "log", daemon.folder / "before.yaml"
    log.write_text("".join(json.dumps(event) + "\n" for event in served.values()))
    before.write_text(yaml.safe_dump({**daemon.config, "hosts": [{**daemon.config["hosts"][0], "tls": BEFORE}]}))
    done = terminator("report", str(log), "--preview", change.text, "--config", str(before), "--format", "json")
    assert done.returncode == 0, done.stderr
    value: dict[str, Any] = json.loads(done.stdout)["preview"]
    return value
