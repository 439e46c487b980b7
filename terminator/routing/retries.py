"""Whether a failed attempt may be repeated on another server: what is safe, and how much of it.

Safe is a request of which surely nothing was processed, and an idempotent method at any time before the response began
(RFC 9110 §9.2.2: "a proxy MUST NOT automatically retry non-idempotent requests"). A kept connection that the backend
closes before any byte of a response is the ordinary race of RFC 9112 §9.3.1; but a backend that was killed while it
worked looks the same, so a POST is not repeated there either. How much: a budget, so that an outage of the backend is
not multiplied by everybody trying again.
"""

from __future__ import annotations

from dataclasses import dataclass

from terminator.errors import (
    BackendClosed,
    BackendError,
    BackendTimeout,
    BackendTruncated,
    NoServer,
    QueueFull,
    QueueTimeout,
)

IDEMPOTENT = frozenset({"GET", "HEAD", "OPTIONS", "PUT", "DELETE", "PROPFIND", "REPORT", "SEARCH"})
"""RFC 9110 §9.2.2, and the methods registered as idempotent that clients of a proxy use. TRACE is never forwarded."""

_ANOTHER_MAY_DO = (BackendClosed, BackendTimeout, BackendTruncated)
"""Failures of this server. A response that is no HTTP is most likely the application's, and the same everywhere."""
_NO_SERVER_LEFT = (NoServer, QueueFull, QueueTimeout)

FLOOR = 3.0
"""Retries that a quiet backend always has, so that its only request may be repeated (Finagle has 10 a second)."""
MEMORY_SECONDS = 10.0
"""How long a request counts as recent."""
STEP_SECONDS = 0.01
"""A budget fades by steps of at least so long: a busy one would work it out for every request, to no other effect."""


@dataclass(slots=True)
class Budget:
    """How many retries one backend may still have: a bucket that each request fills by `share` and each retry empties
    by one. It holds what `MEMORY_SECONDS` of requests brought, and never less than `FLOOR` after a pause."""

    share: float
    """Retries per request, `retries.budget`. 0 still leaves none: no floor either."""
    tokens: float = FLOOR
    recent: float = 0.0
    """Requests lately, fading over MEMORY_SECONDS; they say how much the bucket holds."""
    at: float = float("-inf")

    def request(self, now: float) -> None:
        """Counts a request that clients sent, not its retries."""
        self._fade(now)
        self.recent = recent = self.recent + 1
        tokens, most = self.tokens + self.share, self.share * recent
        self.tokens = min(tokens, most if most > FLOOR else FLOOR)

    def take(self, now: float) -> bool:
        """Takes the token for one retry; False when there is none."""
        self._fade(now)
        if self.share <= 0 or self.tokens < 1:
            return False
        self.tokens -= 1
        return True

    def _fade(self, now: float) -> None:
        passed = now - self.at
        if passed < STEP_SECONDS:
            return
        self.at = now
        left = 1 - passed / MEMORY_SECONDS if passed < MEMORY_SECONDS else 0.0
        self.recent = recent = self.recent * left
        tokens, most = self.tokens + FLOOR * (1 - left), self.share * recent
        self.tokens = min(tokens, most if most > FLOOR else FLOOR)


def is_safe(method: str, error: BackendError) -> bool:
    """Whether sending the request again cannot make anything happen twice."""
    return error.unsent or (method in IDEMPOTENT and isinstance(error, _ANOTHER_MAY_DO))


def may_retry(
    *,
    method: str,
    error: BackendError,
    request_body_sent: bool,
    reused: bool,
    attempts_left: int,
    budget: Budget,
    now: float,
) -> bool:
    """Whether the attempt that ended with `error` may be made again; if so, the budget has paid for it.

    error: it arose before any byte of the response went to the client; else there is nothing to repeat
    request_body_sent: bytes of the request's body have been read from the client and passed on; they are gone
    reused: the attempt used a kept connection. The race on it is nobody's failure: it takes an attempt, not budget
    """
    if attempts_left <= 0 or request_body_sent or isinstance(error, _NO_SERVER_LEFT):
        return False
    if not is_safe(method, error):
        return False
    if reused and isinstance(error, BackendClosed):
        return True
    return budget.take(now)
