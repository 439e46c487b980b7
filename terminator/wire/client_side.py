"""What we know of a client and say to backends in every request: worked out once per connection, as bytes.

The names of all that we say are claimed: a client's own fields of these names are removed (see `forwarding`).
"""

from __future__ import annotations

import base64
import ipaddress
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal
from urllib.parse import quote

from terminator.record import record

Field = tuple[bytes, bytes]

# Meant for one connection, never sent on (RFC 9110 §7.6.1). HTTP2-Settings belongs to the upgrade to h2c that we never
# pass on; Proxy-Authorization and its kin to a forward proxy in between. `Proxy` is no field of HTTP: CGI programs take
# it for the variable HTTP_PROXY and send their own requests through it (CVE-2016-5385).
HOP_BY_HOP = frozenset(
    b"connection proxy-connection keep-alive te transfer-encoding upgrade http2-settings proxy-authenticate "
    b"proxy-authentication-info proxy-authorization proxy".split()
)

_CLAIMED = HOP_BY_HOP | frozenset(
    b"host content-length expect forwarded x-real-ip client-cert client-cert-chain".split()
)
CLAIMED_PREFIXES = (b"x-forwarded-", b"x-client-cert-")

_TO_HYPHEN = bytes(byte if chr(byte).isalnum() and byte < 128 else 0x2D for byte in range(256))

_VISIBLE = "".join(map(chr, range(0x20, 0x7F))).replace("%", "")


def comparable(name: bytes) -> bytes:
    """A lower-case name as CGI would mix it up: every byte but letters and digits is a hyphen."""
    return name.translate(_TO_HYPHEN)


@dataclass(frozen=True, slots=True)
class ClientCertificate:
    """A client certificate that the handshake has verified."""

    der: bytes
    chain_der: tuple[bytes, ...]
    """Certificates after the client's own, in order, as far as known (RFC 9440 §2.3)."""
    subject: str
    """RFC 4514 text, as are all names here; it may hold any character."""
    issuer: str
    serial: str
    """Upper-case hex."""
    sha256: str
    """SHA-256 of the DER, hex."""

    def fields(self) -> list[Field]:
        """Client-Cert and Client-Cert-Chain (RFC 9440), and the readable ones. What is not visible ASCII in a name is
        written as percent-encoded UTF-8, `%` itself too."""
        fields = [(b"client-cert", _byte_sequence(self.der))]
        if self.chain_der:
            fields.append((b"client-cert-chain", b", ".join(map(_byte_sequence, self.chain_der))))
        readable = (
            ("subject", self.subject),
            ("issuer", self.issuer),
            ("serial", self.serial),
            ("sha256", self.sha256),
            ("verified", "true"),
        )
        fields += [(f"x-client-cert-{key}".encode(), visible(value).encode("ascii")) for key, value in readable]
        return fields


@record
class ClientSide:
    """One client connection as its backends shall know it."""

    address: str
    """IP address of the client, from the PROXY header if that is trusted; "" if unknown (a unix socket)."""
    port: int
    scheme: Literal["https", "http"]
    server_port: int
    """The port the client connected to."""
    trusted: bool = False
    """The peer is a proxy of ours: what it says about its client is kept."""
    certificate: ClientCertificate | None = None
    ja4: str | None = None
    ja4_header: str | None = None
    """Name of the field that tells the JA4 fingerprint; the client's own is removed even when there is none to tell."""
    claims: Iterable[str] = ()
    """Names of further fields that are ours to say in each request (the request id)."""

    claimed: frozenset[bytes] = field(init=False, repr=False)
    """Names of single fields, as `comparable`, that a client cannot send to a backend."""
    fixed: tuple[Field, ...] = field(init=False, repr=False)
    """What stands in every request, save the fields that depend on the request or on the peer's trust."""
    forwarded_for: bytes = field(init=False, repr=False)
    """The address for X-Forwarded-For, b"" if unknown."""
    said: tuple[Field, ...] = field(init=False, repr=False)
    """Of an untrusted peer: its address, if known, the scheme, and the port."""
    forwarded: bytes = field(init=False, repr=False)
    """The beginning of our element of Forwarded, up to and including `host="`."""

    def __post_init__(self) -> None:
        fixed = self.certificate.fields() if self.certificate is not None else []
        if self.ja4_header and self.ja4:
            fixed.append((self.ja4_header.lower().encode("ascii"), self.ja4.encode("ascii")))
        forwarded_for, forwarded, said = _named(self.address, self.scheme, self.server_port)
        fill = object.__setattr__  # frozen it is for all others
        fill(self, "claimed", _claimed(tuple(self.claims), self.ja4_header))
        fill(self, "fixed", tuple(fixed))
        fill(self, "forwarded_for", forwarded_for)
        fill(self, "said", said)
        fill(self, "forwarded", forwarded)


@lru_cache(maxsize=16)
def _claimed(names: tuple[str, ...], ja4_header: str | None) -> frozenset[bytes]:
    """With further names of ours, which come from the configuration."""
    ours = (*names, ja4_header) if ja4_header else names
    return _CLAIMED.union(comparable(name.lower().encode("ascii")) for name in ours)


@lru_cache(maxsize=8192)
def _named(client: str, scheme: str, server_port: int) -> tuple[bytes, bytes, tuple[Field, ...]]:
    """`forwarded_for`, `forwarded` and `said` of a client's address."""
    address = plain_address(client)
    node = f'"[{address}]"' if ":" in address else address or "unknown"
    text = address.encode("ascii")
    said = [(b"x-forwarded-for", text), (b"x-real-ip", text)] if text else []
    said += [(b"x-forwarded-proto", scheme.encode("ascii")), (b"x-forwarded-port", b"%d" % server_port)]
    return text, f'for={node};proto={scheme};host="'.encode("ascii"), tuple(said)


@lru_cache(maxsize=8192)
def plain_address(address: str) -> str:
    """An IP address in its canonical text: IPv4 as such even when the socket speaks IPv6, and without a zone, which
    means nothing to another machine. "" for what is no address."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return str(mapped or parsed)


def visible(text: str) -> str:
    """Text as visible ASCII: anything else, and `%`, is percent-encoded UTF-8."""
    return quote(text, safe=_VISIBLE, errors="surrogatepass")


def _byte_sequence(der: bytes) -> bytes:
    """A Byte Sequence of Structured Fields (RFC 9651 §3.3.5)."""
    return b":" + base64.b64encode(der) + b":"
