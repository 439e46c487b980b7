"""The judgement of what comes back. That a sound daemon passes, and each guard that is off is found, is
tests/e2e/test_selftest.py's."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from terminator.selftest import caller as caller_module
from terminator.selftest.attacks import HostTrial
from terminator.selftest.caller import Caller
from terminator.selftest.target import Realm
from terminator.selftest.tickets import Tickets
from terminator.tls.alerts import alert_record


def refusing(alert: str | None) -> Callable[[socket.socket], None]:
    def handler(sock: socket.socket) -> None:
        sock.recv(8192)
        if alert is not None:
            sock.sendall(alert_record(alert))
            sock.shutdown(socket.SHUT_WR)
            sock.recv(8192)

    return handler


def verdicts(realm: Realm, caller: Caller, name: str) -> dict[str, tuple[str, str]]:
    subject = next(one for one in realm.subjects if one.name == name)
    trial = HostTrial(realm, subject, caller, Tickets(caller))
    return {one.check: (one.outcome, one.detail) for one in trial.verdicts()}


WALL = "client_auth: {mode: require, ca: ca.pem}"


def test_a_daemon_that_refuses_everybody_serves_nobody(
    realm: Callable[..., Realm], listen: Callable[..., Caller]
) -> None:
    """Refusals mean nothing where nobody is let in: the check that this is not so fails."""
    found = verdicts(realm("a.test", ("b.test", WALL)), listen(refusing("handshake_failure")), "a.test")
    assert found["serves"][0] == "FAIL"
    assert found["old-protocols"][0] == found["other-ciphers"][0] == "pass"
    assert found["other-host"][0] == "FAIL"  # neither 421
    assert found["foreign-ticket-1.3"] == (
        "skipped",
        "no ticket of another host is to be had: b.test requires a certificate",
    )


def test_silence_proves_nothing(
    realm: Callable[..., Realm], listen: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(caller_module, "LIMIT_SECONDS", 0.0)
    found = verdicts(realm("a.test", ("b.test", WALL)), listen(refusing(None)), "b.test")
    for check in ("old-protocols", "other-groups", "other-alpn", "no-certificate-fresh", "unknown-authority"):
        assert found[check][0] == "FAIL", check
        assert "which a limit on connections does too" in found[check][1]


def test_what_there_is_no_way_to_try(realm: Callable[..., Realm], listen: Callable[..., Caller]) -> None:
    caller = listen(refusing("handshake_failure"))
    alone = verdicts(realm("a.test"), caller, "a.test")
    assert alone["other-host"] == alone["foreign-session-id"] == ("skipped", "there is no other host")
    nameless = verdicts(realm("192.0.2.1", "b.test"), caller, "192.0.2.1")
    assert {outcome for outcome, _ in nameless.values()} == {"skipped"}
    modern = verdicts(realm(("a.test", "profile: modern"), ("b.test", "tickets: false")), caller, "a.test")
    assert modern["renegotiation"] == ("skipped", "TLS 1.3 has none")
    assert modern["foreign-ticket-1.2"] == ("skipped", "the host does not speak TLS 1.2")
    assert modern["foreign-ticket-1.3"][1].endswith("b.test issues none")
    walls = verdicts(realm(("a.test", WALL), ("b.test", WALL)), caller, "a.test")
    assert walls["no-certificate-kept-alive"][0] == "skipped"
    assert walls["no-certificate-wildcard"] == ("skipped", "the host has no wildcard name")


def test_a_refusal_for_another_reason_proves_nothing(
    realm: Callable[..., Realm], listen: Callable[..., Caller]
) -> None:
    """Whoever has no version, suite or group in common is refused before a certificate is asked for."""
    for alert in ("handshake_failure", "protocol_version"):
        found = verdicts(realm(("a.test", WALL), "b.test"), listen(refusing(alert)), "a.test")
        for check in ("no-certificate-fresh", "unknown-authority"):
            assert found[check] == ("FAIL", f"refused for another reason than the certificate: {alert}")
        assert found["no-certificate-unknown-sni"][0] == "FAIL"
    found = verdicts(realm(("a.test", WALL), "b.test"), listen(refusing("unrecognized_name")), "a.test")
    assert found["no-certificate-unknown-sni"] == ("pass", "refused: unrecognized_name")
