"""Heads as bytes, written anew from parsed values: one form for every message, whatever form it came in.

Both writers are the last gate against header injection: a control byte in any value, wherever it came from, is a
ValueError and never reaches the wire. That is a defect of the caller, not of a client.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from http import HTTPStatus

from terminator.wire.framing import TOKEN

Field = tuple[bytes, bytes]

# Names whose customary case is not simply a capital after each hyphen.
CUSTOMARY = {
    name.lower(): name
    for name in (
        b"Accept-CH",
        b"Content-MD5",
        b"DNT",
        b"ETag",
        b"NEL",
        b"P3P",
        b"Sec-CH-UA",
        b"Sec-CH-UA-Mobile",
        b"Sec-CH-UA-Platform",
        b"Sec-GPC",
        b"Sec-WebSocket-Accept",
        b"Sec-WebSocket-Extensions",
        b"Sec-WebSocket-Key",
        b"Sec-WebSocket-Protocol",
        b"Sec-WebSocket-Version",
        b"SOAPAction",
        b"SourceMap",
        b"TE",
        b"WWW-Authenticate",
        b"X-Client-Cert-SHA256",
        b"X-DNS-Prefetch-Control",
        b"X-Real-IP",
        b"X-Request-ID",
        b"X-UA-Compatible",
        b"X-XSS-Protection",
    )
}
_TOKEN = re.compile(rb"%b+" % TOKEN)
_CONTROLS = bytes([*range(9), *range(10, 32), 127])  # all but the tab


def spelled(fields: Iterable[Field]) -> list[Field]:
    """The same fields with their names in their customary case. ValueError for a name that is no token."""
    return [(spell(name), value) for name, value in fields]


@lru_cache(maxsize=1024)
def spell(name: bytes) -> bytes:
    """`content-type` as `Content-Type`, `etag` as `ETag`. ValueError for what is no token."""
    if not _TOKEN.fullmatch(name):
        raise ValueError("a field name is no token")
    lower = name.lower()
    return CUSTOMARY.get(lower) or b"-".join([part.capitalize() for part in lower.split(b"-")])


def write_request_head(method: str, target: str, fields: Iterable[Field]) -> bytes:
    """Request line, field lines and the empty line (RFC 9112 §3). ValueError when a value would break out of its
    place."""
    _check_method(method)
    if not target or " " in target or "\t" in target:
        raise ValueError("the target is empty or holds whitespace")
    return _head(b"%b %b HTTP/1.1\r\n" % (method.encode("ascii"), target.encode("ascii")), fields)


def write_response_head(status: int, reason: bytes, fields: Iterable[Field]) -> bytes:
    """Status line, field lines and the empty line (RFC 9112 §4). ValueError when a value would break out of its
    place."""
    if not 100 <= status <= 599:
        raise ValueError(f"{status} is no status code")
    return _head(b"HTTP/1.1 %d %b\r\n" % (status, reason), fields)


LAST_CHUNK = b"0\r\n\r\n"


def chunk(data: bytes) -> bytes:
    """A piece of a body as one chunk (RFC 9112 §7.1). `data` may not be empty: that would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data)


def last_chunk(trailers: Iterable[Field]) -> bytes:
    """The end of a chunked body with its trailer fields. ValueError when a value would break out of its place."""
    return _head(b"0\r\n", trailers)


def phrase(status: int) -> str:
    """The registered reason of a status, "" for one that has none."""
    return _PHRASES.get(status, "")


_PHRASES = {status.value: status.phrase for status in HTTPStatus} | {
    413: "Content Too Large",  # as RFC 9110 names them, on every Python version
    414: "URI Too Long",
    416: "Range Not Satisfiable",
    422: "Unprocessable Content",
}


def _head(start_line: bytes, fields: Iterable[Field]) -> bytes:
    lines = [b"%b: %b\r\n" % (spell(name), value) for name, value in fields]
    head = b"%b%b\r\n" % (start_line, b"".join(lines))
    # We wrote two control bytes for each line; one more came from a value. A single pass over the whole head.
    if len(head) - len(head.translate(None, _CONTROLS)) != 2 * (len(lines) + 2):
        raise ValueError("a control byte in a value of the head")
    return head


@lru_cache(maxsize=128)
def _check_method(method: str) -> None:
    if not method.isascii() or not _TOKEN.fullmatch(method.encode("ascii")):
        raise ValueError("the method is no token")
