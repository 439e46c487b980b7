"""A TLS ClientHello on the wire: what the client asks for and offers, or how many bytes are still missing.

It is read before OpenSSL sees it, because host, certificate and TLS policy depend on it. Strict where two readers could
differ (lengths that do not add up, an extension twice, something behind the hello in its record), indifferent to values
it does not know. OpenSSL parses the same bytes again, so nothing here replaces its checks.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from struct import Struct
from typing import Final, Literal

from terminator.record import record
from terminator.wire.offer import SERVER_NAME, Offer, OfferError, printable, read_offer

MAX_BYTES = 65536
"""Go takes 64 KiB, OpenSSL 128; real hellos stay below 2 KiB, with post-quantum key shares below 4."""
MAX_RECORDS = 1024
"""Each record costs us time, also when it holds one byte; nobody needs more than one per byte of an ordinary hello."""
MAX_EXTENSIONS = 256
"""Clients send 10 to 20, and some 60 are assigned."""

HelloFault = Literal[
    "not_tls", "plain_http", "http_proxy_request", "unsupported_version", "malformed_hello", "hello_too_large"
]


class HelloError(Exception):
    """These bytes do not begin with an acceptable ClientHello, and more of them would not help."""

    def __init__(self, reason: HelloFault, detail: str) -> None:
        super().__init__(detail)
        self.reason: HelloFault = reason


@dataclass(frozen=True, slots=True)
class NeedMore:
    """Undecided: at least so many more bytes are needed. Never more than a conforming sender is about to send."""

    missing_bytes: int


@record
class ClientHello:
    """RFC 8446 §4.1.2."""

    server_name: str | None
    """SNI in lower case without its trailing dot; None when the client sent none (RFC 6066 §3)."""
    offer: Offer
    length: int
    """Bytes of the records that hold the hello; what follows them is not ours to judge."""


def parse(data: bytes, *, max_bytes: int = MAX_BYTES) -> ClientHello | NeedMore:
    """Reads the ClientHello at the beginning of `data`, in however many records; bytes behind it are left alone.

    Raises `HelloError`, as early as the bytes allow: an announced length beyond `max_bytes` is refused unread.
    """
    size = len(data)
    if size < 9:
        return _unusual_start(data, max_bytes)
    kind, version, record_bytes, message, high, low = _start(data)
    if kind != HANDSHAKE or version != 3 or message != CLIENT_HELLO:
        return _unusual_start(data, max_bytes)
    hello_bytes = high << 16 | low
    if hello_bytes + 4 != record_bytes:
        return _parse_fragments(data, hello_bytes, max_bytes) if record_bytes >= 4 else _tiny_start(data, max_bytes)
    end = 5 + record_bytes
    if end > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes {end} bytes on the wire; {max_bytes} are accepted")
    if record_bytes > MAX_RECORD_BYTES:
        raise HelloError("malformed_hello", f"a record of {record_bytes} bytes (RFC 8446 §5.1: at most 2^14)")
    if size < end:
        return NeedMore(end - size)
    return _parse_body(data, 9, end, end)


# ------------------------------------------------------------------------------------------------------- records


def _parse_fragments(data: bytes, hello_bytes: int, max_bytes: int) -> ClientHello | NeedMore:
    """A hello that does not fill exactly one record (RFC 8446 §5.1: fragments of any size, none empty)."""
    end = hello_bytes + 9
    if end > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes {end} bytes on the wire; {max_bytes} are accepted")
    message_bytes = hello_bytes + 4
    fragments: list[bytes] = []
    gathered, start, size = 0, 0, len(data)
    while gathered < message_bytes:
        if len(fragments) == MAX_RECORDS:
            raise HelloError("hello_too_large", f"the ClientHello comes in more than {MAX_RECORDS} records")
        if size - start < 5:
            if start < size and data[start] != HANDSHAKE:
                raise HelloError("malformed_hello", "another record amid the ClientHello")
            return _missing(start + 5 + message_bytes - gathered, size, max_bytes)
        if data[start] != HANDSHAKE or data[start + 1] != 3:
            raise HelloError("malformed_hello", "another record amid the ClientHello")
        record_bytes = data[start + 3] << 8 | data[start + 4]
        if not 0 < record_bytes <= MAX_RECORD_BYTES:
            raise HelloError("malformed_hello", f"a record of {record_bytes} bytes (RFC 8446 §5.1: 1 to 2^14)")
        gathered += record_bytes
        if gathered > message_bytes:
            raise HelloError("malformed_hello", "something follows the ClientHello in its record")
        end = start + 5 + record_bytes
        if end > size:
            rest = message_bytes - gathered
            return _missing(end + (5 + rest if rest else 0), size, max_bytes)
        fragments.append(data[start + 5 : end])
        start = end
    if start > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes {start} bytes; {max_bytes} are accepted")
    return _parse_body(b"".join(fragments), 4, message_bytes, start)


def _missing(needed: int, size: int, max_bytes: int) -> NeedMore:
    if needed > max_bytes:
        raise HelloError("hello_too_large", f"the ClientHello takes at least {needed} bytes; {max_bytes} are accepted")
    return NeedMore(needed - size)


def _unusual_start(data: bytes, max_bytes: int) -> ClientHello | NeedMore:
    """The first bytes when they are too few, or no ClientHello: whose language is this?"""
    if not data:
        return NeedMore(9)
    first = data[0]
    if first == HANDSHAKE:
        if len(data) > 1 and data[1] != 3:
            raise HelloError("not_tls", f"not TLS: begins with {data[:8].hex(' ')}")
        if len(data) > 4 and data[3] << 8 | data[4] == 0:
            raise HelloError("malformed_hello", "an empty handshake record (RFC 8446 §5.1)")
        if len(data) > 5 and data[5] != CLIENT_HELLO:
            raise HelloError("malformed_hello", f"handshake message {data[5]} where a ClientHello is due")
        if len(data) >= 5 and data[3] << 8 | data[4] < 4:
            return _tiny_start(data, max_bytes)
        return NeedMore(9 - len(data))
    if first in RECORD_TYPES:
        if len(data) < 3:
            return NeedMore(3 - len(data))
        if data[1] == 3:
            raise HelloError("malformed_hello", f"a record of type {RECORD_TYPES[first]} where a ClientHello is due")
    if first & 0x80:
        # The SSL 2.0 form carries no extensions, hence no name to choose a host by; RFC 8446 §D.5 forbids it.
        if len(data) < 5:
            return NeedMore(5 - len(data))
        if data[2] == CLIENT_HELLO and (data[3] == 3 or data[3:5] == b"\x00\x02"):
            raise HelloError("unsupported_version", "a ClientHello in SSL 2.0 form (RFC 8446 §D.5)")
    if data.startswith(b"CONNECT "):
        raise HelloError("http_proxy_request", "an HTTP CONNECT: the client takes this port for a forward proxy")
    if data.startswith(HTTP_METHODS):
        raise HelloError("plain_http", "an HTTP request without TLS")
    if any(method.startswith(data) for method in HTTP_METHODS):
        return NeedMore(1)
    raise HelloError("not_tls", f"not TLS: begins with {printable(data[:16])}")


def _tiny_start(data: bytes, max_bytes: int) -> ClientHello | NeedMore:
    """The first record holds less than the message's own four byte header: gather these first."""
    header, start = b"", 0
    while len(header) < 4:
        if len(data) - start < 6:
            return NeedMore(start + 6 - len(data))
        if data[start] != HANDSHAKE or data[start + 1] != 3:
            raise HelloError("malformed_hello", "another record amid the ClientHello")
        record_bytes = data[start + 3] << 8 | data[start + 4]
        if record_bytes == 0:
            raise HelloError("malformed_hello", "an empty handshake record (RFC 8446 §5.1)")
        header += data[start + 5 : start + 5 + min(record_bytes, 4 - len(header))]
        start += 5 + record_bytes
        if start > len(data) and len(header) < 4:
            return NeedMore(start - len(data))
    return _parse_fragments(data, int.from_bytes(header[1:4], "big"), max_bytes)


# ------------------------------------------------------------------------------------------------------- message


def _parse_body(data: bytes, start: int, end: int, length: int) -> ClientHello:
    """The ClientHello structure in data[start:end], all of which it must fill."""
    try:
        session_bytes = data[start + 34]
        ciphers_at = start + 37 + session_bytes
        cipher_bytes = data[ciphers_at - 2] << 8 | data[ciphers_at - 1]
        compression_at = ciphers_at + cipher_bytes
        compression_bytes = data[compression_at]
    except IndexError:
        raise HelloError("malformed_hello", "the ClientHello is too short for its fields") from None
    at = compression_at + 1 + compression_bytes
    if at > end or session_bytes > 32 or cipher_bytes < 2 or cipher_bytes & 1 or not compression_bytes:
        raise HelloError("malformed_hello", "lengths within the ClientHello do not add up")
    # An SSL 3.0 or TLS 1.0 client may end before its extensions (RFC 8446 §4.1.2).
    extensions = _extensions(data, at, end) if at < end else {}
    try:
        offer = read_offer(data[start] << 8 | data[start + 1], data[ciphers_at:compression_at], extensions)
    except OfferError as error:
        raise HelloError("malformed_hello", str(error)) from None
    named = extensions.get(SERVER_NAME)
    return ClientHello(None if named is None else _server_name(named), offer, length)


def _extensions(data: bytes, at: int, end: int) -> dict[int, bytes]:
    """The extensions in data[at:end], behind their length: body by type, in their order."""
    if at + 2 > end or at + 2 + (data[at] << 8 | data[at + 1]) != end:
        raise HelloError("malformed_hello", "the extensions do not fill the rest of the ClientHello")
    at += 2
    found: dict[int, bytes] = {}
    for count in range(MAX_EXTENSIONS + 1):  # noqa: B007 — it is compared behind the loop
        if at + 4 > end:
            break
        kind, size = _two_u16(data, at)
        at += 4 + size
        found[kind] = data[at - size : at]
    else:
        raise HelloError("malformed_hello", "too many extensions")
    if len(found) != count:
        raise HelloError("malformed_hello", "an extension stands twice (RFC 8446 §4.2)")
    if at != end:
        raise HelloError("malformed_hello", "an extension is cut off")
    return found


def _server_name(body: bytes) -> str:
    """RFC 6066 §3: a list in which exactly one name stands, of type host_name."""
    size = len(body)
    if size < 6 or _list_of_one(body) != (size - 2, HOST_NAME, size - 5):
        raise HelloError("malformed_hello", "the server_name extension is not one host name")
    raw = body[5:]
    if size > 5 + MAX_NAME_BYTES or NAME_BYTES(raw) is None:
        raise HelloError("malformed_hello", f"the server_name is no host name: {printable(raw[:64])}")
    return raw.decode("ascii").lower().removesuffix(".")


_start: Final = Struct(">BBxHBBH").unpack_from
"""Of a record and the handshake message in it: type, version and length; type and length."""
_two_u16: Final = Struct(">HH").unpack_from
_list_of_one: Final = Struct(">HBH").unpack_from
NAME_BYTES: Final = re.compile(rb"[!-\-/-~][!-~]*").fullmatch  # visible ASCII, not beginning with a dot
HOST_NAME, MAX_NAME_BYTES = 0, 255

HANDSHAKE, CLIENT_HELLO = 22, 1
MAX_RECORD_BYTES = 1 << 14
RECORD_TYPES: Final = {20: "change_cipher_spec", 21: "alert", 23: "application_data", 24: "heartbeat"}

HTTP_METHODS: Final = tuple(
    method.encode() + b" "
    for method in (
        *("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE", "CONNECT"),  # RFC 9110 §9, RFC 5789
        *("PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "REPORT", "SEARCH"),  # WebDAV
        "PRI",  # RFC 9113 §3.4: HTTP/2 with prior knowledge
    )
)
