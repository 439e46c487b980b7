"""Whose certificate a client showed when it was not let in: for the log alone.

OpenSSL drops a certificate that does not verify before anybody can ask for it. So the context reports the messages of a
handshake (the hook that `ssl` has for debugging), and the one that holds the client's certificates is kept until the
outcome is known. What it names is a claim: nothing has been verified, and the client need not even have the key.
"""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from typing import Any

from terminator.tls import openssl
from terminator.tls.client_certificates import distinguished_name
from terminator.wire.certificate_names import first_certificate, read_names

MAX_NAME = 500
"""Characters of a name in the log; strangers choose its length."""
_HANDSHAKE, _CERTIFICATE, _TLS13 = 22, 11, 0x0304


@dataclass(frozen=True, slots=True)
class Shown:
    """Names in RFC 4514 text, cut off at MAX_NAME; serial in upper-case hex."""

    subject: str
    issuer: str
    serial: str


def watch(context: ssl.SSLContext) -> None:
    """Has connections of this context remember what their clients show. Needs `Capabilities.messages`."""
    openssl.report_messages(context, _note)


def _note(connection: Any, direction: str, version: int, content: int, message: int, data: bytes) -> None:
    if message == _CERTIFICATE and content == _HANDSHAKE and direction == "read":
        connection.shown_certificate = first_certificate(data, tls13=version == _TLS13)


def shown(connection: ssl.SSLSocket | ssl.SSLObject) -> Shown | None:
    """What the client showed in this connection's handshake, or in the one that its session is from."""
    der = getattr(connection, "shown_certificate", None) or _of_the_session(connection)
    found = read_names(der) if der is not None else None
    if found is None:
        return None
    return Shown(
        distinguished_name(found.subject)[:MAX_NAME], distinguished_name(found.issuer)[:MAX_NAME], found.serial[:40]
    )


def _of_the_session(connection: ssl.SSLSocket | ssl.SSLObject) -> bytes | None:
    try:
        return connection.getpeercert(binary_form=True)
    except ValueError:  # the handshake is not done
        return None


def ignore(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    """The outcome is known: what was shown is dropped, and later messages of this connection cost nothing."""
    if hasattr(connection, "shown_certificate"):
        del connection.shown_certificate
    openssl.report_no_messages(connection)
