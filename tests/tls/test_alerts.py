"""Alerts on the wire, as OpenSSL reads them."""

from __future__ import annotations

import socket
import ssl

import pytest

from terminator.tls.alerts import ALERTS, NUMBERS, alert_record
from terminator.tls.failures import classify


def test_the_record() -> None:
    """RFC 8446 §5.1 and §6: type 21, legacy version, length 2, fatal, number."""
    assert alert_record("unrecognized_name") == bytes([21, 3, 3, 0, 2, 2, 112])
    assert alert_record("protocol_version", 0x0301) == bytes([21, 3, 1, 0, 2, 2, 70])


def test_names_are_unique() -> None:
    assert len(NUMBERS) == len(ALERTS)


UNNAMED = {"close_notify", "ech_required"}
"""No failure by itself; and not known to OpenSSL 3."""


@pytest.mark.parametrize("name", sorted(NUMBERS.keys() - UNNAMED))
def test_openssl_reads_what_we_write_and_we_name_what_openssl_read(name: str) -> None:
    here, there = socket.socketpair()
    with here, there:
        here.sendall(alert_record(name))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        with pytest.raises(ssl.SSLError) as received:
            context.wrap_socket(there, server_hostname="shop.example")
    failure = classify(received.value, "handshake")
    assert failure.alert_received == name
    assert failure.error_type in ("client_rejected_cert", "client_alert")
