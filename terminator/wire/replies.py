"""The responses that terminator gives itself: whole, small, and without a word of what the client sent.

Each is a head and one line of text that says what a client may know: never why in detail, which is the log's, and
nothing about backends, files or versions.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from terminator.errors import BadRequest
from terminator.wire.request_head import RequestHead
from terminator.wire.writing import phrase, write_response_head

Field = tuple[bytes, bytes]

TEXT = b"text/plain; charset=utf-8"

_SENTENCES = {
    308: "This address has moved permanently.",
    400: "The request is not valid HTTP/1.1.",
    404: "Nothing is served under this address.",
    408: "The request did not arrive in time.",
    413: "The request's content is larger than this server accepts.",
    414: "The address is longer than this server accepts.",
    417: "This server meets no expectation other than 100-continue.",
    421: "This host is not served on this connection; connect anew for it.",
    431: "The request's header fields are larger than this server accepts.",
    500: "The server failed unexpectedly.",
    501: "This method is not supported here.",
    502: "The server behind this one gave no valid answer.",
    503: "The service is unavailable at the moment.",
    504: "The server behind this one did not answer in time.",
    505: "Only HTTP/1.1 and HTTP/1.0 are spoken here.",
}


def reply(
    status: int,
    *,
    close: bool,
    head_only: bool = False,
    date: bytes | None = None,
    fields: Iterable[Field] = (),
    body: bytes | None = None,
    content_type: bytes = TEXT,
) -> bytes:
    """A whole response, head and body.

    close:     says `Connection: close`; the caller closes. Wanted wherever the framing of the request is lost
    head_only: the request was HEAD: everything but the body
    date:      now, as IMF-fixdate
    fields:    further fields, names in any case; ValueError for one that holds a control byte
    body:      default one line of text for the status; a 204 or 304 has none whatever is given
    """
    content = _sentence(status) if body is None else body
    lines = [] if date is None else [(b"date", date)]
    lines += fields
    if status in (204, 304):
        content = b""
    else:
        lines.append((b"content-type", content_type))
        lines.append((b"content-length", b"%d" % len(content)))
    if close:
        lines.append((b"connection", b"close"))
    head = write_response_head(status, phrase(status).encode("ascii"), lines)
    return head if head_only else head + content


def content(
    body: bytes, *, close: bool, head_only: bool, date: bytes | None, content_type: bytes = b"application/octet-stream"
) -> bytes:
    """A whole 200 response with these bytes, never to be taken for anything but its content type."""
    nosniff = [(b"x-content-type-options", b"nosniff")]
    return reply(200, close=close, head_only=head_only, date=date, fields=nosniff, body=body, content_type=content_type)


def redirect_to_https(head: RequestHead, *, port: int, close: bool, date: bytes | None) -> bytes:
    """A whole 308 response to a request on a plain listener; see `https_location`, whose BadRequest it raises. 308 for
    every method, as Caddy does it: unlike 301 it never turns a POST into a GET (RFC 9110 §15.4.9)."""
    location = [(b"location", https_location(head, port))]
    return reply(308, close=close, head_only=head.method == "HEAD", date=date, fields=location)


@lru_cache(maxsize=64)
def _sentence(status: int) -> bytes:
    text = _SENTENCES.get(status, "")
    return f"{status} {phrase(status)}: {text}".rstrip(": ").encode("ascii") + b"\n"


def https_location(head: RequestHead, port: int) -> bytes:
    """Where a plain listener sends a request: the same target on https, which listens at `port`.

    The host is the one that `request_head` has validated; it holds nothing that could end the authority part, so the
    redirect leads to no other host than the client asked for. Raises BadRequest when it asked for none.
    """
    if not head.hostname:
        raise BadRequest("no Host to redirect to (RFC 9112 §3.2)")
    host = f"[{head.hostname}]" if ":" in head.hostname else head.hostname
    authority = host if port == 443 else f"{host}:{port}"
    target = "" if head.target == "*" else head.target
    return f"https://{authority}{target}".encode("ascii")


PLAIN_HTTP_ON_TLS_PORT = reply(
    400,
    close=True,
    body=b"400 Bad Request: this port speaks HTTPS, and the request came in plain HTTP. Use https:// instead.\n",
)
"""For a client that speaks plain HTTP where TLS is expected."""
