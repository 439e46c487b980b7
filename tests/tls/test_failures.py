"""The closed list of failure classes, its documentation, and what each reason of OpenSSL belongs to."""

from __future__ import annotations

import errno
import json
import re
import ssl
from pathlib import Path
from typing import get_args

import pytest

from terminator.telemetry.events import TlsHandshake, log_names
from terminator.tls.alerts import NUMBERS
from terminator.tls.failures import FAILURES, REASONS, VERIFY_CODES, classify
from terminator.tls.handshake import OWN_ALERTS
from terminator.wire.client_hello import HelloFault

DOCUMENT = (Path(__file__).parents[2] / "docs" / "handshake-failures.md").read_text(encoding="utf-8")
SECTIONS = {
    match[1]: match[2] for match in re.finditer(r"^### `(\w+)`\n(.*?)(?=^###? |\Z)", DOCUMENT, re.MULTILINE | re.DOTALL)
}


def plain(text: str) -> str:
    return " ".join(text.split())


def test_the_document_lists_exactly_the_classes() -> None:
    assert list(SECTIONS) == list(FAILURES)


@pytest.mark.parametrize("name", FAILURES)
def test_the_document_says_what_the_code_says(name: str) -> None:
    section = plain(SECTIONS[name])
    assert FAILURES[name].meaning in section
    assert f"Ask {FAILURES[name].ask}." in section


@pytest.mark.parametrize("name", FAILURES)
def test_the_example_is_a_line_that_could_be(name: str) -> None:
    match = re.search(r"```json\n(.*?)\n```", SECTIONS[name], re.DOTALL)
    assert match is not None
    line = json.loads(match[1])
    known = {log for _, log, _ in log_names(TlsHandshake)} | {"time", "level", "event"}
    assert set(line) <= known
    assert (line["event"], line["tls.established"], line["error.type"]) == ("tls.handshake", False, name)
    assert line["error.phase"] in ("first_byte", "hello", "select", "handshake")
    for key in ("tls.alert.sent", "tls.alert.received"):
        assert line.get(key, "close_notify") in NUMBERS
    spans = ("first_byte", "hello", "select", "flight", "client")
    total = sum(line.get(f"timing.{span}_ms", 0) for span in spans)
    assert line["timing.handshake_ms"] == pytest.approx(total, abs=0.0005)


def test_every_table_speaks_of_classes_and_alerts_that_exist() -> None:
    for kind, alert in (*REASONS.values(), *VERIFY_CODES.values()):
        assert kind in FAILURES
        assert alert is None or alert in NUMBERS
    assert set(OWN_ALERTS) <= set(FAILURES)
    assert set(OWN_ALERTS.values()) <= set(NUMBERS)
    assert set(get_args(HelloFault)) <= set(FAILURES)


def ssl_error(reason: str | None, text: str = "") -> ssl.SSLError:
    error = ssl.SSLError(1, text or f"[SSL: {reason}] words (_ssl.c:1000)")
    error.reason = reason  # type: ignore[assignment]
    return error


@pytest.mark.parametrize(
    ("error", "kind", "sent", "received"),
    [
        (ConnectionResetError(errno.ECONNRESET, "reset"), "client_closed", None, None),
        (BrokenPipeError(errno.EPIPE, "pipe"), "client_closed", None, None),
        (OSError(errno.ENOTCONN, "not connected"), "client_closed", None, None),
        (OSError(errno.ETIMEDOUT, "timed out"), "client_closed", None, None),
        (OSError(errno.ENOMEM, "no memory"), "server_error", None, None),
        (ssl.SSLEOFError(8, "EOF"), "client_closed", None, None),
        (ssl.SSLZeroReturnError(6, "closed"), "client_closed", None, None),
        (ssl_error("UNEXPECTED_EOF_WHILE_READING"), "client_closed", None, None),
        (ssl_error("UNSUPPORTED_PROTOCOL"), "unsupported_version", "protocol_version", None),
        (ssl_error("INTERNAL_ERROR"), "server_error", "internal_error", None),
        (ssl_error("TLSV1_ALERT_UNKNOWN_CA"), "client_rejected_cert", None, "unknown_ca"),
        (ssl_error("SSLV3_ALERT_CERTIFICATE_EXPIRED"), "client_rejected_cert", None, "certificate_expired"),
        (ssl_error("TLSV1_ALERT_USER_CANCELLED"), "client_alert", None, "user_canceled"),
        (ssl_error("TLSV13_ALERT_CERTIFICATE_REQUIRED"), "client_alert", None, "certificate_required"),
        (
            ssl_error(None, "[SSL] tlsv1 alert unknown psk identity (_ssl.c:992)"),
            "client_alert",
            None,
            "unknown_psk_identity",
        ),
        (ssl_error("SOMETHING_OF_OPENSSL_9"), "other", None, None),
        (ssl_error(None, "[SSL] unknown error (_ssl.c:992)"), "other", None, None),
    ],
)
def test_classes(error: OSError, kind: str, sent: str | None, received: str | None) -> None:
    failure = classify(error, "handshake")
    assert (failure.error_type, failure.alert_sent, failure.alert_received) == (kind, sent, received)
    assert failure.phase == "handshake"
    assert str(failure)


def test_what_no_class_names_keeps_its_raw_reason() -> None:
    assert classify(ssl_error("SOMETHING_OF_OPENSSL_9"), "handshake").openssl == "SOMETHING_OF_OPENSSL_9"


def test_certificate_required_is_of_tls_13_alone() -> None:
    error = ssl_error("PEER_DID_NOT_RETURN_A_CERTIFICATE")
    assert classify(error, "handshake").alert_sent == "certificate_required"
    assert classify(error, "handshake", tls13=False).alert_sent == "handshake_failure"


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        (10, "client_cert_expired"),
        (9, "client_cert_expired"),
        (12, "client_crl_expired"),
        (3, "client_crl_expired"),
        (20, "client_cert_invalid"),
        (22, "client_chain_too_long"),
        (23, "client_cert_revoked"),
        (9999, "client_cert_invalid"),
    ],
)
def test_verify_codes(code: int, kind: str) -> None:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_code, error.verify_message = code, "words"
    failure = classify(error, "handshake")
    assert failure.error_type == kind
    assert f"(X.509 error {code})" in str(failure)
