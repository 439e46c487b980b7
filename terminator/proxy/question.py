"""A request that somebody might send, made from a URL as curl would: what `explanation` is asked about."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import quote

from terminator.routing.hostnames import normalise
from terminator.wire.framing import Malformed
from terminator.wire.request_head import parse_authority

_URL = re.compile(r"(?:(https?)://)?([^/?#]+)(/[^?#]*)?(\?[^#]*)?(?:#.*)?", re.IGNORECASE)
_PORTS = {"https": 443, "http": 80}


@dataclass(frozen=True, slots=True)
class Question:
    """The connection and the request asked about."""

    scheme: str
    port: int
    authority: str
    target: str
    method: str = "GET"
    headers: tuple[tuple[str, str], ...] = ()
    """Further fields; a Host among them replaces the URL's."""
    sni: str | None = None
    """None: the client sends none."""
    client: str = ""
    """Address of the client, "" when it is left open."""

    @property
    def raw_head(self) -> bytes:
        host = () if any(name.lower() == "host" for name, _ in self.headers) else (("Host", self.authority),)
        lines = [f"{name}: {value}\r\n" for name, value in (*host, *self.headers)]
        return f"{self.method} {self.target} HTTP/1.1\r\n{''.join(lines)}\r\n".encode()


def question(
    url: str,
    *,
    method: str = "GET",
    headers: Iterable[tuple[str, str]] = (),
    sni: str | None = None,
    client: str = "",
) -> Question:
    """The question that a URL and options ask. sni: "" for none, None for what a client sends for this URL.

    Nothing in the path is resolved or encoded: what is asked is what was written. Raises ValueError, which says what
    is wrong with the URL, the name or the address.
    """
    found = _URL.fullmatch(url)
    if found is None:
        raise ValueError(f"{url!r} is not a URL; write for example https://shop.example/cart?id=1")
    scheme, authority, path, query = (found[1] or "https").lower(), found[2], found[3] or "/", found[4] or ""
    if not (path + query).isascii():
        raise ValueError(f"the target is not ASCII; write {quote(path + query, safe='/%?=&;:@!$()*+,~-._')}")
    if not authority.isascii():
        normalise(authority.partition(":")[0])  # says which A-label to write
    try:
        _, name, port = parse_authority(authority.encode())
    except Malformed as error:
        raise ValueError(f"{authority!r} is no host: {error}") from None
    if sni is None:
        sni = "" if _is_address(name) else name  # RFC 6066 §3: no literal addresses
    return Question(
        scheme=scheme,
        port=port or _PORTS[scheme],
        authority=authority,
        target=path + query,
        method=method,
        headers=tuple(headers),
        sni=normalise(sni) if sni else None,
        client=str(ipaddress.ip_address(client)) if client else "",
    )


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
