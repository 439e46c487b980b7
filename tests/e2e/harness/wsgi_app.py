"""A WSGI application that tells what reached it, as Django and Flask would see it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable
from typing import Any


def application(environ: dict[str, Any], start_response: Callable[..., Any]) -> Iterable[bytes]:
    """`/stream` answers in pieces without a length, `/big` 1 MiB, `/old` 304; everything else tells the request."""
    path = environ["PATH_INFO"]
    if path == "/stream":
        start_response("200 OK", [("Content-Type", "text/plain")])
        return (b"line %d\n" % number for number in range(1000))
    if path == "/big":
        start_response("200 OK", [("Content-Type", "application/octet-stream"), ("Content-Length", str(1 << 20))])
        return [b"x" * (1 << 20)]
    if path == "/old":
        start_response("304 Not Modified", [("ETag", '"1"')])
        return []
    digest, count = hashlib.sha256(), 0
    while piece := environ["wsgi.input"].read(65536):
        digest.update(piece)
        count += len(piece)
    told = {name: value for name, value in environ.items() if isinstance(value, str)}
    body = json.dumps({"environ": told, "body_bytes": count, "body_sha256": digest.hexdigest()}).encode()
    start_response("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
    return [body]
