"""Every error terminator raises on purpose: whose fault it is, its token in the logs, its answer, what may be retried.

The branch is the side: `ConfigError` is the operator's, `ClientError` the client's, `BackendError` the backend's,
`HandshakeError` belongs to a TLS handshake that did not succeed. `reason` is the stable token that the logs carry as
`error.type`; `status` is the HTTP answer, or None where nothing can be answered. Foreign exceptions (`OSError`, `ssl`,
`h11`, `trio`) are mapped to these where they arise, with `from`.
"""

from __future__ import annotations

from typing import ClassVar


class TerminatorError(Exception):
    """Base of all errors of this program; `str()` is one sentence for a person."""

    reason: ClassVar[str] = "internal"
    status: ClassVar[int | None] = None


# ---------------------------------------------------------------------------------------------------- the operator


class ConfigError(TerminatorError):
    """The configuration, or a file it names, cannot be used. `problems` holds one rendered text per fault."""

    reason = "config_invalid"

    def __init__(self, problems: list[str]) -> None:
        self.problems = problems
        super().__init__("\n".join(problems))


class CertificateError(TerminatorError):
    """A certificate, key, CA or CRL file cannot be used; the message names the file and the remedy."""

    reason = "certificate_invalid"


class StartError(TerminatorError):
    """The daemon cannot start for a reason outside the configuration's text: an address in use, a missing right."""

    reason = "start_failed"


# ------------------------------------------------------------------------------------------------------- the client


class ClientError(TerminatorError):
    """The client sent something that is refused, or nothing in time. `str()` says what, for the log alone."""

    reason = "bad_request"
    status: ClassVar[int | None] = 400


class BadRequest(ClientError):
    """The request breaks HTTP or could be read in two ways (RFC 9112 §2.2, §6.3). The framing is lost."""


class UriTooLong(ClientError):
    """The request line alone passes `limits.request_head` (RFC 9110 §15.5.15, RFC 9112 §3)."""

    reason, status = "uri_too_long", 414


class HeadTooLarge(ClientError):
    """The head passes `limits.request_head` or `limits.headers` (RFC 6585 §5)."""

    reason, status = "head_too_large", 431


class BodyTooLarge(ClientError):
    """The body passes `limits.request_body` (RFC 9110 §15.5.14)."""

    reason, status = "body_too_large", 413


class ExpectationFailed(ClientError):
    """An `Expect` other than `100-continue` (RFC 9110 §10.1.1)."""

    reason, status = "expectation_failed", 417


class VersionNotSupported(ClientError):
    reason, status = "version_not_supported", 505


class MethodNotImplemented(ClientError):
    """CONNECT and TRACE: a reverse proxy neither tunnels to strangers nor echoes requests (RFC 9110 §9.3.6, §9.3.8)."""

    reason, status = "method_not_implemented", 501


class Misdirected(ClientError):
    """The Host asked for is not served under this connection's SNI (RFC 9110 §15.5.20)."""

    reason, status = "misdirected", 421


class NoRoute(ClientError):
    """No route of the host matches the request."""

    reason, status = "no_route", 404


class HeadTimeout(ClientError):
    """The head was begun and not finished within `timeouts.request_head` (RFC 9110 §15.5.9)."""

    reason, status = "request_head_timeout", 408


class BodyTimeout(ClientError):
    """The body stood still for `timeouts.body_idle` (RFC 9110 §15.5.9)."""

    reason, status = "request_body_timeout", 408


class ClientStalled(ClientError):
    """The client read nothing of the response for `timeouts.body_idle`; nothing can be answered any more."""

    reason, status = "client_stalled", None


class ClientGone(ClientError):
    """The client closed or reset its connection amid an exchange; nobody is left to answer."""

    reason, status = "client_gone", None


# --------------------------------------------------------------------------------------------------------- ourselves


class DrainTimeout(TerminatorError):
    """`timeouts.drain` was over before the exchange was; its connection is cut."""

    reason = "drain_timeout"


# ------------------------------------------------------------------------------------------------------ the backend


class BackendError(TerminatorError):
    """A backend failed. `unsent` is true when surely no byte of the request was processed: then any method may be
    tried again on another server, else only idempotent ones (RFC 9110 §9.2.2)."""

    reason = "backend_error"
    status: ClassVar[int | None] = 502
    unsent: ClassVar[bool] = False


class ConnectFailed(BackendError):
    reason, unsent = "backend_connect_failed", True


class OutOfResources(ConnectFailed):
    """We have no descriptor, port or memory left for a connection; no server is to blame for that."""

    reason, status = "out_of_resources", 503


class ConnectTimeout(BackendError):
    reason, status, unsent = "backend_connect_timeout", 504, True


class NoServer(BackendError):
    """Every server of the backend is down, drained or full, and the queue's time has passed."""

    reason, status, unsent = "backend_unavailable", 503, True


class QueueFull(BackendError):
    reason, status, unsent = "backend_queue_full", 503, True


class QueueTimeout(BackendError):
    reason, status, unsent = "backend_queue_timeout", 503, True


class BackendClosed(BackendError):
    """The backend closed or reset before the first byte of its response."""

    reason = "backend_closed"


class BackendTruncated(BackendError):
    """The backend closed or reset amid its response; the client must see the truncation."""

    reason, status = "backend_truncated", 502


class BackendInvalid(BackendError):
    """What the backend answered is not HTTP, or could be read in two ways."""

    reason = "backend_invalid_response"


class BackendTimeout(BackendError):
    """No response head within `timeouts.backend_response`, or a body that stood still for `timeouts.body_idle`."""

    reason, status = "backend_timeout", 504


# --------------------------------------------------------------------------------------------------- the handshake


class HandshakeError(TerminatorError):
    """A TLS handshake that did not succeed.

    reason:  class from the closed list in docs/handshake-failures.md
    phase:   first_byte | hello | select | handshake: where it ended
    openssl: OpenSSL's own reason token, when it gave one
    alert_sent, alert_received: names by RFC 8446 §6, where known
    """

    def __init__(
        self,
        reason: str,
        phase: str,
        detail: str = "",
        *,
        openssl: str | None = None,
        alert_sent: str | None = None,
        alert_received: str | None = None,
    ) -> None:
        super().__init__(detail or reason)
        self.error_type = reason
        self.phase = phase
        self.openssl = openssl
        self.alert_sent = alert_sent
        self.alert_received = alert_received
