"""The judgement of what comes back, as in test_attacks."""

from __future__ import annotations

import socket
from collections.abc import Callable

import pytest

from terminator.selftest import caller as caller_module
from terminator.selftest.border import DoorTrial
from terminator.selftest.caller import Caller
from terminator.selftest.target import Realm
from terminator.tls.alerts import alert_record


def trial(realm: Realm, caller: Caller) -> dict[str, str]:
    return {verdict.check: verdict.outcome for verdict in DoorTrial(realm, caller).verdicts()}


def answering(answer: bytes) -> Callable[[socket.socket], None]:
    def handler(sock: socket.socket) -> None:
        sock.recv(65536)
        sock.sendall(answer)
        sock.shutdown(socket.SHUT_WR)
        sock.recv(65536)

    return handler


def test_who_refuses_all_in_words(realm: Callable[..., Realm], listen: Callable[..., Caller]) -> None:
    assert trial(realm("a.test"), listen(answering(alert_record("unrecognized_name")))) == {
        "unknown-sni": "pass",
        "garbage": "pass",
        "malformed-hello": "pass",
        "plain-http": "pass",
        "forged-proxy-header": "pass",
        "missing-proxy-header": "skipped",
    }


def test_who_answers_strangers_is_found(realm: Callable[..., Realm], listen: Callable[..., Caller]) -> None:
    found = trial(realm("a.test"), listen(answering(b"HTTP/1.1 200 OK\r\n\r\n")))
    assert found.pop("missing-proxy-header") == "skipped"
    assert set(found.values()) == {"FAIL"}


def test_who_does_not_answer_any_more_is_found(
    realm: Callable[..., Realm], listen: Callable[..., Caller], monkeypatch: pytest.MonkeyPatch
) -> None:
    """To close is well enough an answer to garbage, and none to the honest hello behind it."""
    monkeypatch.setattr(caller_module, "LIMIT_SECONDS", 0.0)
    found = trial(realm("a.test"), listen(lambda sock: sock.recv(65536)))
    assert (found["garbage"], found["malformed-hello"], found["unknown-sni"]) == ("FAIL", "FAIL", "FAIL")
    assert found["plain-http"] == found["forged-proxy-header"] == "pass"
