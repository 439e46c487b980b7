"""The certificate of self-tests: it loads, it is new each time, and it is of no use for anybody."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta

from cryptography import x509

from terminator.tls.memory import load_pair_bytes
from terminator.tls.throwaway import throwaway_pair


def test_it_serves_for_an_hour_under_a_name_that_does_not_exist() -> None:
    chain, key = throwaway_pair()
    load_pair_bytes(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), chain, key)
    certificate = x509.load_pem_x509_certificate(chain)
    now = datetime.now(UTC)
    assert certificate.not_valid_before_utc < now < certificate.not_valid_after_utc <= now + timedelta(hours=1)
    assert certificate.subject.rfc4514_string() == "CN=self-test.invalid"


def test_no_two_are_alike() -> None:
    assert throwaway_pair()[1] != throwaway_pair()[1]
