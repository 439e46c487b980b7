"""The cipher suites that this OpenSSL has, by their numbers on the wire."""

from __future__ import annotations

import functools
import ssl
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Suite:
    """exchange and authentication are "" for suites of TLS 1.3, which fix neither."""

    name: str
    exchange: str
    """ecdhe, dhe, rsa, …"""
    authentication: str
    """ecdsa, rsa, …"""
    needs_tls12: bool
    tls13: bool


@functools.cache
def known_suites() -> dict[int, Suite]:
    """By IANA's number (RFC 8446 §B.4 and the registry TLS Cipher Suites)."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")
    return {
        int(found["id"]) & 0xFFFF: Suite(
            name=str(found["name"]),
            exchange=_word(found["kea"], "kx-"),
            authentication=_word(found["auth"], "auth-"),
            needs_tls12=found["protocol"] == "TLSv1.2",
            tls13=found["protocol"] == "TLSv1.3",
        )
        for found in context.get_ciphers()
    }


def _word(value: object, prefix: str) -> str:
    word = str(value).removeprefix(prefix)
    return "" if word == "any" else word
