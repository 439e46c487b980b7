"""The keys of session tickets: one secret, a key for each host and period (RFC 5077 §5.5, RFC 8446 §4.6.1). Pure.

The master alone has the secret. From it comes one secret per period, which is all that workers are given: whoever
breaks into one later cannot read what was resumed in an earlier period. From that come the keys, one per host and
rule of admission, so that a ticket of host A means nothing to host B, nor to A once it asks for client certificates or
refuses the old ticket's protocol; a renewed certificate changes nothing. Periods are counted from the epoch: machines
that share the secret agree on the keys without a word.

OpenSSL holds one key per context. With the turn of a period the tickets of the last one are refused, which costs
these clients one full handshake and no error.
"""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass, field

MIN_SECRET_BYTES = 32
KEY_BYTES = 80


@dataclass(frozen=True, slots=True)
class Tickets:
    """The keys of one period, for workers; picklable."""

    period: int
    secret: bytes = field(repr=False)

    def key(self, host: str, admission: str) -> bytes:
        """The 80 bytes for the host's context: name, HMAC key and AES key. Takes some 5 µs."""
        return _expand(self.secret, b"key", host.encode(), admission.encode(), length=KEY_BYTES)


@dataclass(frozen=True, slots=True)
class TicketSecret:
    """What all keys come from; stays in the master.

    secret: at least 32 bytes, random, or read from `ticket_secret_file` (one trailing line end is not part of it)
    rotation_seconds: length of a period
    """

    secret: bytes = field(repr=False)
    rotation_seconds: float

    def __post_init__(self) -> None:
        if len(self.secret) < MIN_SECRET_BYTES:
            raise ValueError(
                f"a ticket secret needs at least {MIN_SECRET_BYTES} bytes, this one has {len(self.secret)}"
            )
        if self.rotation_seconds <= 0:
            raise ValueError("a period has a length")

    def tickets(self, now: float) -> Tickets:
        """The keys in force at `now`, in seconds of Unix time."""
        period = int(now // self.rotation_seconds)
        # HKDF-Extract makes any secret of enough entropy, a line of hex too, one of 32 even bytes.
        extracted = hmac.digest(b"terminator session tickets", self.secret, hashlib.sha256)
        # The length is bound as well: periods of another length would else meet under the same number.
        length = f"{self.rotation_seconds:.6f}".encode()
        return Tickets(period, _expand(extracted, b"period", length, str(period).encode(), length=32))

    def next_rotation(self, now: float) -> float:
        """Unix time at which the next period begins; always later than `now`."""
        return (now // self.rotation_seconds + 1) * self.rotation_seconds


def secret_of_file(data: bytes) -> bytes:
    """The secret in a file's bytes: without the line end that an editor or `openssl rand -base64` leaves.

    Binary secrets are taken whole, unless they end by chance in a line end on every machine alike.
    """
    return data.removesuffix(b"\n").removesuffix(b"\r")


def _expand(secret: bytes, label: bytes, *context: bytes, length: int) -> bytes:
    """HKDF-Expand with SHA-256 (RFC 5869 §2.3); the parts of the context are kept apart by their lengths."""
    info = b"terminator " + label + b"".join(len(part).to_bytes(4, "big") + part for part in context)
    block, output, counter = b"", b"", 0
    while len(output) < length:
        counter += 1
        block = hmac.digest(secret, block + info + bytes([counter]), hashlib.sha256)
        output += block
    return output[:length]
