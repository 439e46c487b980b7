"""Why a handshake fails: the closed list of classes, and how an exception of OpenSSL or the kernel finds its class.

The list is part of the public surface: docs/handshake-failures.md explains each class with an example, and a test holds
both together. OpenSSL's reason tokens are not stable between its versions, so what no row names becomes `other` with
the raw token beside it, never a wrong class.
"""

from __future__ import annotations

import errno
import os
import re
import ssl
from dataclasses import dataclass
from typing import Final

from terminator.errors import HandshakeError
from terminator.tls.alerts import NUMBERS


@dataclass(frozen=True, slots=True)
class Failure:
    """What a class means, and who can mend it."""

    meaning: str
    ask: str


FAILURES: Final[dict[str, Failure]] = {
    # -- it never became TLS
    "plain_http": Failure(
        "The client spoke plain HTTP on a TLS port; it got a 400 that says so.",
        "whoever wrote the link: http:// instead of https://, or a port of the wrong kind",
    ),
    "http_proxy_request": Failure(
        "The client sent an HTTP CONNECT: it takes this port for a forward proxy.",
        "the client's user: a proxy setting; from strangers it is scanning",
    ),
    "not_tls": Failure(
        "The first bytes are of no protocol that is expected here.",
        "nobody, from strangers (scanners, SSH, RDP); else the client's owner, who has the wrong port",
    ),
    "proxy_header_missing": Failure(
        "A trusted peer did not begin with a PROXY header.",
        "the operator: the proxy in front does not send it, or `proxy_protocol.trusted` is too wide",
    ),
    "proxy_header_invalid": Failure(
        "The PROXY header of a trusted peer cannot be read.",
        "the operator of the proxy in front",
    ),
    "proxy_header_unexpected": Failure(
        "A PROXY header from a peer that is not trusted, or on a listener that expects none.",
        "the operator: add the proxy to `proxy_protocol.trusted`; from strangers it is an attempt at forgery",
    ),
    "malformed_hello": Failure(
        "It looks like TLS, and the ClientHello breaks its format.",
        "the author of the client, or of a middlebox on the way",
    ),
    "hello_too_large": Failure(
        "The ClientHello is larger than any client sends.",
        "the author of the client; from strangers it is probing",
    ),
    # -- no agreement
    "unrecognized_name": Failure(
        "No host is configured for the name asked for (SNI), or none was asked for.",
        "the operator, if the name should be served; else whoever points that name here",
    ),
    "no_application_protocol": Failure(
        "The client offers only protocols that the host does not speak (ALPN), such as h2 alone.",
        "the client's owner; the operator, if the host's `alpn` is too narrow",
    ),
    "unsupported_version": Failure(
        "The client and the host's policy have no TLS version in common.",
        "the client's owner: its TLS is outdated; the operator, if such clients must be served (`min_version`)",
    ),
    "no_shared_cipher": Failure(
        "The client and the host have no cipher suite in common that fits a certificate of the host.",
        "the operator: `ciphers`, or a certificate of the client's key type (RSA, ECDSA) is missing",
    ),
    "no_shared_group": Failure(
        "The client and the host have no key exchange group in common.",
        "the operator: `groups`; or the client's owner",
    ),
    "no_shared_signature": Failure(
        "No certificate of the host can sign in a way that the client accepts.",
        "the operator: a certificate of another key type beside the present one",
    ),
    # -- the client's certificate
    "client_cert_missing": Failure(
        "The host requires a client certificate and the client sent none.",
        "the client's owner: it has no certificate, or none by an authority that the host names",
    ),
    "client_cert_invalid": Failure(
        "The client's certificate does not verify against the host's authorities.",
        "the client's owner: wrong authority or missing intermediates; the operator: `client_auth.ca`",
    ),
    "client_cert_expired": Failure(
        "The client's certificate is past its end, or not valid yet.",
        "the client's owner: renew it; look at both clocks",
    ),
    "client_cert_revoked": Failure(
        "The client's certificate stands on the revocation list.",
        "the client authority that revoked it",
    ),
    "client_cert_not_allowed": Failure(
        "The client's certificate verifies, and no pattern of `client_auth.allow` matches it.",
        "the operator, if this client should be let in",
    ),
    "client_chain_too_long": Failure(
        "The client's chain has more intermediates than `client_auth.depth` allows.",
        "the operator: `client_auth.depth`",
    ),
    "client_crl_expired": Failure(
        "A revocation list is past its end or missing, so no client certificate is accepted.",
        "the operator, at once: fetch the new list into `client_auth.crl` and reload",
    ),
    # -- the client gave up
    "client_rejected_cert": Failure(
        "The client sent an alert: it does not trust the certificate that it was served.",
        "the operator: chain order, expiry, names; the client's owner: its list of authorities, its clock",
    ),
    "client_alert": Failure(
        "The client ended the handshake with another alert, which `tls.alert.received` names.",
        "the client's owner, with the name of the alert",
    ),
    "client_closed": Failure(
        "The client closed or reset the connection before the handshake was done.",
        "nobody, in the phase `first_byte` (health checks, spare connections); else the client's owner or its network",
    ),
    "timeout": Failure(
        "`timeouts.handshake` passed; `error.phase` says what was being waited for.",
        "the client's owner or its network; in the phase `first_byte` mostly nobody",
    ),
    # -- breaches, limits, ourselves
    "protocol_error": Failure(
        "The client broke the TLS protocol after its ClientHello; `error.openssl` says how.",
        "the author of the client; from strangers it is probing",
    ),
    "too_many_handshakes": Failure(
        "The client's address began more handshakes in a second than `limits.handshakes_per_ip` allows.",
        "the operator, if many clients share that address; else the client's owner",
    ),
    "server_error": Failure(
        "This side could not go on.",
        "the operator, and the authors of terminator with the line and `error.openssl`",
    ),
    "other": Failure(
        "OpenSSL gave a reason that no class names; `error.openssl` holds it.",
        "the authors of terminator, so that it finds its class",
    ),
}


def classify(error: OSError, phase: str, *, tls13: bool = True) -> HandshakeError:
    """The class of what `ssl` or the kernel raised while a handshake was driven; or, with TLS 1.3, by the first read
    after it, where the refusal of a client that has already sent its Finished arrives.

    tls13: whether that version was being negotiated, which decides on the alert that OpenSSL sent.
    """
    if isinstance(error, ssl.SSLCertVerificationError):
        return _certificate_failure(error, phase)
    if isinstance(error, ssl.SSLError) and _is_end(error):
        return HandshakeError("client_closed", phase, "the client closed the connection", openssl=_token(error))
    if isinstance(error, ssl.SSLError):
        return _ssl_failure(error, phase, tls13)
    if isinstance(error, ConnectionError) or error.errno in NETWORK_ERRORS:
        return HandshakeError("client_closed", phase, f"the connection broke: {_words(error)}")
    return HandshakeError("server_error", phase, _words(error))


def _is_end(error: ssl.SSLError) -> bool:
    if isinstance(error, (ssl.SSLEOFError, ssl.SSLZeroReturnError, ssl.SSLSyscallError)):
        return True
    return _token(error) == "UNEXPECTED_EOF_WHILE_READING"  # it has no class of its own in some versions (3.11.2)


def _ssl_failure(error: ssl.SSLError, phase: str, tls13: bool) -> HandshakeError:
    reason = _token(error) or _reason_in(str(error))
    if reason.startswith("Closed before TLS handshake"):  # ssl itself, for a peer that was gone before the wrapping
        return HandshakeError("client_closed", phase, "the client reset the connection behind its ClientHello")
    received = _alert_received(reason)
    if received is not None:
        kind = "client_rejected_cert" if received in CERTIFICATE_ALERTS else "client_alert"
        text = f"the client sent the alert {received}"
        return HandshakeError(kind, phase, text, openssl=reason, alert_received=received)
    kind, sent = REASONS.get(reason, ("other", None))
    if reason == "PEER_DID_NOT_RETURN_A_CERTIFICATE" and not tls13:
        sent = "handshake_failure"  # RFC 8446 §6.2 introduced certificate_required
    detail = reason.replace("_", " ").lower() if reason else str(error)
    raw = reason or (str(error) if kind == "other" else None)
    return HandshakeError(kind, phase, detail, openssl=raw, alert_sent=sent)


def _certificate_failure(error: ssl.SSLCertVerificationError, phase: str) -> HandshakeError:
    kind, sent = VERIFY_CODES.get(error.verify_code, ("client_cert_invalid", "certificate_unknown"))
    text = f"the client's certificate: {error.verify_message} (X.509 error {error.verify_code})"
    return HandshakeError(kind, phase, text, openssl=_token(error), alert_sent=sent)


def _alert_received(reason: str) -> str | None:
    """OpenSSL names a received alert by a token such as TLSV1_ALERT_UNKNOWN_CA or SSLV3_ALERT_BAD_CERTIFICATE."""
    match = re.fullmatch(r"(?:SSLV3|TLSV1|TLSV13)_(?:ALERT_)?([A-Z_]+)", reason)
    if match is None:
        return None
    name = match[1].lower()
    name = {"user_cancelled": "user_canceled"}.get(name, name)
    return name if name in NUMBERS else None


def _token(error: ssl.SSLError) -> str | None:
    """Those that `ssl` raises without OpenSSL have none."""
    return getattr(error, "reason", None)


def _reason_in(text: str) -> str:
    """Where `ssl` has no token for a reason it shows OpenSSL's words: `[SSL] tlsv1 alert unknown psk identity (…)`."""
    match = re.match(r"\[\w+\] ([a-z0-9 ]+) \(", text)
    return match[1].replace(" ", "_").upper() if match and match[1] != "unknown error" else ""


def _words(error: OSError) -> str:
    return os.strerror(error.errno) if error.errno else str(error)


NETWORK_ERRORS: Final = {
    errno.ENOTCONN,
    errno.ETIMEDOUT,
    errno.EHOSTUNREACH,
    errno.ENETUNREACH,
    errno.ENETDOWN,
    errno.EHOSTDOWN,
    errno.EPROTO,
}

CERTIFICATE_ALERTS: Final = {
    "bad_certificate",
    "unsupported_certificate",
    "certificate_revoked",
    "certificate_expired",
    "certificate_unknown",
    "unknown_ca",
    "certificate_unobtainable",
    "bad_certificate_status_response",
    "bad_certificate_hash_value",
}
"""What a client sends that does not want our certificate."""

REASONS: Final[dict[str, tuple[str, str | None]]] = {
    # OpenSSL's reason: (class, alert that OpenSSL has sent)
    "UNSUPPORTED_PROTOCOL": ("unsupported_version", "protocol_version"),
    "VERSION_TOO_LOW": ("unsupported_version", "protocol_version"),
    "NO_PROTOCOLS_AVAILABLE": ("unsupported_version", "protocol_version"),
    "WRONG_SSL_VERSION": ("unsupported_version", "protocol_version"),
    "UNKNOWN_PROTOCOL": ("unsupported_version", "protocol_version"),
    "INAPPROPRIATE_FALLBACK": ("unsupported_version", "inappropriate_fallback"),
    "NO_SHARED_CIPHER": ("no_shared_cipher", "handshake_failure"),
    "NO_CIPHERS_SPECIFIED": ("no_shared_cipher", "illegal_parameter"),
    "NO_SUITABLE_KEY_SHARE": ("no_shared_group", "handshake_failure"),
    "NO_SHARED_GROUPS": ("no_shared_group", "handshake_failure"),
    "NO_SUITABLE_GROUPS": ("no_shared_group", "handshake_failure"),
    "UNSUPPORTED_ELLIPTIC_CURVE": ("no_shared_group", "handshake_failure"),
    "NO_SUITABLE_SIGNATURE_ALGORITHM": ("no_shared_signature", "handshake_failure"),
    "NO_SHARED_SIGNATURE_ALGORITHMS": ("no_shared_signature", "handshake_failure"),
    "NO_SHARED_SIGATURE_ALGORITHMS": ("no_shared_signature", "handshake_failure"),  # sic, OpenSSL 1.1.1 and 3
    "MISSING_SIGALGS_EXTENSION": ("no_shared_signature", "missing_extension"),
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": ("client_cert_missing", "certificate_required"),
    "NO_APPLICATION_PROTOCOL": ("no_application_protocol", "no_application_protocol"),
    "CALLBACK_FAILED": ("server_error", "internal_error"),
    "NO_CERTIFICATE_SET": ("server_error", "internal_error"),
    "NO_CERTIFICATE_ASSIGNED": ("server_error", "internal_error"),
    "INTERNAL_ERROR": ("server_error", "internal_error"),
    "MALLOC_FAILURE": ("server_error", "internal_error"),
    # What the ClientHello's own reader let through and OpenSSL did not.
    "HTTP_REQUEST": ("plain_http", None),
    "HTTPS_PROXY_REQUEST": ("http_proxy_request", None),
    "WRONG_VERSION_NUMBER": ("protocol_error", "protocol_version"),
    "LENGTH_MISMATCH": ("protocol_error", "decode_error"),
    "LENGTH_TOO_SHORT": ("protocol_error", "decode_error"),
    "LENGTH_TOO_LONG": ("protocol_error", "decode_error"),
    "BAD_LENGTH": ("protocol_error", "decode_error"),
    "BAD_EXTENSION": ("protocol_error", "decode_error"),
    "DUPLICATE_EXTENSION": ("protocol_error", "illegal_parameter"),
    "BAD_KEY_SHARE": ("protocol_error", "illegal_parameter"),
    "BAD_PSK": ("protocol_error", "illegal_parameter"),
    "BAD_PSK_IDENTITY": ("protocol_error", "decode_error"),
    "BAD_ECPOINT": ("protocol_error", "illegal_parameter"),
    "BAD_LEGACY_VERSION": ("protocol_error", "protocol_version"),
    "BAD_RECORD_TYPE": ("protocol_error", "unexpected_message"),
    "BAD_HELLO_REQUEST": ("protocol_error", "decode_error"),
    "INVALID_COMPRESSION_ALGORITHM": ("protocol_error", "illegal_parameter"),
    "NO_COMPRESSION_SPECIFIED": ("protocol_error", "decode_error"),
    "NO_CHANGE_FOLLOWING_HRR": ("protocol_error", "illegal_parameter"),
    "MISSING_SUPPORTED_GROUPS_EXTENSION": ("protocol_error", "missing_extension"),
    "MISSING_PSK_KEX_MODES_EXTENSION": ("protocol_error", "missing_extension"),
    "EXTENSION_NOT_RECEIVED": ("protocol_error", "missing_extension"),
    "UNSOLICITED_EXTENSION": ("protocol_error", "illegal_parameter"),
    "RENEGOTIATION_MISMATCH": ("protocol_error", "handshake_failure"),
    "UNSAFE_LEGACY_RENEGOTIATION_DISABLED": ("protocol_error", "handshake_failure"),
    "UNEXPECTED_MESSAGE": ("protocol_error", "unexpected_message"),
    "UNEXPECTED_RECORD": ("protocol_error", "unexpected_message"),
    "UNEXPECTED_CCS_MESSAGE": ("protocol_error", "unexpected_message"),
    "CCS_RECEIVED_EARLY": ("protocol_error", "unexpected_message"),
    "BAD_CHANGE_CIPHER_SPEC": ("protocol_error", "decode_error"),
    "INVALID_CCS_MESSAGE": ("protocol_error", "unexpected_message"),
    "APP_DATA_IN_HANDSHAKE": ("protocol_error", "unexpected_message"),
    "NOT_ON_RECORD_BOUNDARY": ("protocol_error", "unexpected_message"),
    "DECRYPTION_FAILED_OR_BAD_RECORD_MAC": ("protocol_error", "bad_record_mac"),
    "RECORD_LAYER_FAILURE": ("protocol_error", None),  # OpenSSL 3.2: there was a reason, and an alert; both are lost
    "BAD_DECRYPT": ("protocol_error", "bad_record_mac"),
    "BAD_SIGNATURE": ("protocol_error", "decrypt_error"),
    "WRONG_SIGNATURE_TYPE": ("protocol_error", "illegal_parameter"),
    "DIGEST_CHECK_FAILED": ("protocol_error", "decrypt_error"),
    "BINDER_DOES_NOT_VERIFY": ("protocol_error", "illegal_parameter"),
    "PACKET_LENGTH_TOO_LONG": ("protocol_error", "record_overflow"),
    "ENCRYPTED_LENGTH_TOO_LONG": ("protocol_error", "record_overflow"),
    "DATA_LENGTH_TOO_LONG": ("protocol_error", "record_overflow"),
    "EXCESSIVE_MESSAGE_SIZE": ("protocol_error", "illegal_parameter"),
    "RECORD_TOO_SMALL": ("protocol_error", "unexpected_message"),
    "TOO_MANY_WARN_ALERTS": ("protocol_error", "unexpected_message"),
    "TOO_MUCH_EARLY_DATA": ("protocol_error", "unexpected_message"),
    "UNKNOWN_ALERT_TYPE": ("protocol_error", "illegal_parameter"),
    "INVALID_ALERT": ("protocol_error", "unexpected_message"),
}

VERIFY_CODES: Final[dict[int, tuple[str, str]]] = {
    # X509_V_ERR_…: (class, alert that OpenSSL has sent)
    2: ("client_cert_invalid", "unknown_ca"),  # unable to get issuer certificate
    3: ("client_crl_expired", "unknown_ca"),  # unable to get certificate CRL
    7: ("client_cert_invalid", "decrypt_error"),  # certificate signature failure
    8: ("client_crl_expired", "decrypt_error"),  # CRL signature failure
    9: ("client_cert_expired", "bad_certificate"),  # certificate is not yet valid
    10: ("client_cert_expired", "certificate_expired"),
    11: ("client_crl_expired", "bad_certificate"),  # CRL is not yet valid
    12: ("client_crl_expired", "certificate_expired"),  # CRL has expired
    18: ("client_cert_invalid", "unknown_ca"),  # self-signed certificate
    19: ("client_cert_invalid", "unknown_ca"),  # self-signed certificate in the chain
    20: ("client_cert_invalid", "unknown_ca"),  # unable to get local issuer certificate
    21: ("client_cert_invalid", "unknown_ca"),  # unable to verify the first certificate
    22: ("client_chain_too_long", "unknown_ca"),
    23: ("client_cert_revoked", "certificate_revoked"),
    24: ("client_cert_invalid", "unknown_ca"),  # invalid CA certificate
    25: ("client_chain_too_long", "unknown_ca"),  # path length constraint exceeded
    26: ("client_cert_invalid", "unsupported_certificate"),  # unsuitable purpose
    27: ("client_cert_invalid", "bad_certificate"),  # certificate not trusted
    28: ("client_cert_invalid", "bad_certificate"),  # certificate rejected
    33: ("client_crl_expired", "unknown_ca"),  # unable to get CRL issuer certificate
    66: ("client_cert_invalid", "bad_certificate"),  # key too small
    67: ("client_cert_invalid", "bad_certificate"),  # CA key too small
    68: ("client_cert_invalid", "bad_certificate"),  # CA digest too weak
}
