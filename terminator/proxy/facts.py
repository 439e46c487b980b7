"""What is known of a client connection once its handshake is done; every exchange on it reads this."""

from __future__ import annotations

import ipaddress
import re
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

from terminator.backend.private import PrivateConnections
from terminator.config import model
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.record import record
from terminator.wire.client_side import ClientCertificate, ClientSide, plain_address
from terminator.wire.offer import Offer
from terminator.wire.proxy_header import ProxyHeader, TlsFacts, encode_v2

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@record
class Origin:
    """Where a connection comes from. A unix socket has no address: "" and 0."""

    address: str
    """IPv4 as such even when the socket speaks IPv6."""
    port: int
    server_port: int
    """The port the client connected to."""
    server_address: str | None = None
    """The address it connected to as a proxy in front has told, "" for none; None where the socket knows it."""

    def within(self, networks: Sequence[IpNetwork]) -> bool:
        """Whether the peer is in one of these networks. A unix socket is: only who may open its file gets there."""
        if not self.address:
            return True
        parsed = ipaddress.ip_address(self.address)
        return any(parsed in network for network in networks)


def origin_of(peer: object, server_port: int) -> Origin:
    """The origin that `accept` tells of."""
    if not isinstance(peer, tuple):
        return Origin("", 0, server_port)
    return Origin(plain_address(peer[0]), peer[1], server_port)


def _local_address(sock: socket.socket) -> str:
    """The address that the peer of `sock` connected to, "" for a unix socket."""
    try:
        name = sock.getsockname()
    except OSError:
        return ""  # reset already; the next read will say so
    return plain_address(name[0]) if isinstance(name, tuple) else ""


@dataclass(slots=True, eq=False)
class Client:
    """One client connection that has come through its handshake."""

    id: str
    """`conn.id` of its log lines."""
    listener: model.Listener
    half: ClientHalf
    origin: Origin
    side: ClientSide
    """Its values for the forwarded fields, prebuilt."""
    server_name: str | None
    """SNI, or None when there was none."""
    authentication: tuple[object, ...]
    """The rule for client certificates that it was let in under; see `HostMaterial.authentication`."""
    certificate: ClientCertificate | None
    """The verified client certificate."""
    tls_version: str
    tls_cipher: str
    alpn: str | None
    """The protocol that was agreed on, if any was asked for."""
    offer: Offer | None
    """What the client offered in its hello."""
    deadline: Deadline
    """Of what is under way, so that a departure can end it."""
    idle_since: float
    """When the last response ended, or the handshake, by the loop's clock in seconds."""
    proxied: ProxyHeader | None = None
    """What a trusted proxy in front told of the connection."""
    gone: bool = False
    """Its end has been seen."""
    private: PrivateConnections | None = None
    """Its own connections to backends that are told of each client (`proxy_protocol`); made when first needed."""

    def private_connections(self) -> PrivateConnections:
        if self.private is None:
            self.private = PrivateConnections(self._proxy_header())
        return self.private

    def _proxy_header(self) -> bytes:
        """What a backend is told of this connection (PROXY protocol §2.2). From a unix socket there are no addresses
        to tell, so it is LOCAL then. A proxy in front has named the connection already: the name is kept."""
        origin, certificate, before = self.origin, self.certificate, self.proxied
        server_address = origin.server_address
        if server_address is None:
            server_address = _local_address(self.half.stream.sock)
        known = bool(origin.address and server_address)
        return encode_v2(
            (origin.address, origin.port) if known else None,
            (server_address, origin.server_port) if known else None,
            authority=self.server_name or (before.authority if before is not None else None),
            unique_id=(before.unique_id if before is not None else None) or self.id.encode(),
            tls=TlsFacts(
                version=_OPENSSL_VERSIONS.get(self.tls_version, self.tls_version),
                cipher=self.tls_cipher,
                client_certificate=certificate is not None,
                client_verified=certificate is not None,
                client_cn=common_name(certificate.subject) if certificate is not None else None,
                alpn=self.alpn.encode() if self.alpn else None,
            ),
        )


_OPENSSL_VERSIONS = {"1.2": "TLSv1.2", "1.3": "TLSv1.3", "1.1": "TLSv1.1", "1.0": "TLSv1"}


def common_name(subject: str) -> str | None:
    """The CN of a name in RFC 4514 text; None when it has none."""
    for part in re.split(r"(?<!\\)[,+]", subject):
        kind, _, value = part.strip().partition("=")
        if kind.upper() == "CN":
            return re.sub(
                r"\\([0-9A-Fa-f]{2})|\\(.)", lambda m: bytes.fromhex(m[1]).decode("latin-1") if m[1] else m[2], value
            )
    return None


@lru_cache(maxsize=64)
def parsed_networks(texts: tuple[str, ...]) -> tuple[IpNetwork, ...]:
    """Configured networks, parsed once."""
    return tuple(ipaddress.ip_network(text, strict=False) for text in texts)
