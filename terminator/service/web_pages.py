"""Keeps web pages of others from asking the admin process through the browser of somebody who can reach it.

Two ways lead from a page to an address that only its visitor reaches. It may *send* there what HTML forms can send; it
does not see the answer, but a command needs none. And after DNS rebinding, when the page's own name leads to our
address, it may *read* as well: to the browser that is the page's own server, and only Host tells us of the page.

Not every strange name can be refused: monitoring asks under the name of the machine that it has in its own list, and we
know of none. But it does not say what browsers say. Of that a page can forge each value and leave out some fields, not
all: Accept-Language goes with every request of a browser (Fetch standard), Origin with every POST. `Sec-Fetch-Site`
would say it plainly, but goes only to addresses that a browser trusts, and plain HTTP is none.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable

Fields = Iterable[tuple[bytes, bytes]]

_SAID_BY_BROWSERS = {b"accept-language", b"cookie", b"origin", b"referer", b"upgrade-insecure-requests"}


def refusal(method: str, fields: Fields, own_names: Collection[str]) -> str | None:
    """Why a request is refused, None if it is not. fields: names in lower case; own_names: of this machine, in lower
    case."""
    said = list(fields)
    if not _is_browsers(said):
        return None
    if method not in ("GET", "HEAD"):
        return "no command is taken from a browser; use the command line"
    host = next((value for name, value in said if name == b"host"), b"").decode("latin-1")
    if _is_safe(_name(host), own_names):
        return None
    return (
        "a browser may ask by an IP address, by localhost or by this machine's host name only, since any web page could"
        f" let a name of its own lead here; {host[:200]!r} is none of these"
    )


def _is_browsers(fields: Fields) -> bool:
    return any(
        name in _SAID_BY_BROWSERS
        or name.startswith(b"sec-")
        or (name == b"user-agent" and value.startswith(b"Mozilla/"))
        for name, value in fields
    )


def _name(host: str) -> str:
    """A Host field's host: without port, brackets and the root's dot, in lower case."""
    if host.startswith("["):
        address, _, port = host[1:].partition("]")
        return address if port[:1] in ("", ":") else host
    return host.partition(":")[0].lower().removesuffix(".")


def _is_safe(name: str, own_names: Collection[str]) -> bool:
    """Whether no stranger can let this name lead here: what he can register has a dot."""
    if "." not in name and ":" not in name:
        return True
    if name.endswith(".localhost") or name in own_names:  # RFC 6761 §6.3
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
