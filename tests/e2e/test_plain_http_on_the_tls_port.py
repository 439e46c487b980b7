"""Plain HTTP on the TLS port is answered in plain words; other noise is closed and told."""

from __future__ import annotations

import pytest
from harness.backends import ok


@pytest.fixture
def daemon(start, answering):
    return start(answering(ok()).address)


def test_http_gets_a_400_that_says_so(daemon, get):
    result = get(daemon, "http://a.test/")
    assert result.status == 400
    assert b"https" in result.body.lower()
    assert result.head["connection"] == "close"
    event = daemon.wait_for("tls.handshake")
    assert (event["tls.established"], event["error.type"]) == (False, "plain_http")


def test_a_proxy_request_is_told_apart(daemon):
    with daemon.connect_plain() as client:
        client.send(b"CONNECT a.test:443 HTTP/1.1\r\nHost: a.test:443\r\n\r\n")
        client.receive_rest()
    assert daemon.wait_for("tls.handshake")["error.type"] == "http_proxy_request"


@pytest.mark.parametrize("noise", [b"SSH-2.0-OpenSSH_9.2\r\n", b"\x00" * 64, b"\x16\x03\x01\xff\xff" + b"\xff" * 60])
def test_noise_is_closed(daemon, noise):
    with daemon.connect_plain() as client:
        client.send(noise)
        client.receive_rest()
    event = daemon.wait_for("tls.handshake")
    assert event["error.type"] in ("not_tls", "malformed_hello", "hello_too_large")
