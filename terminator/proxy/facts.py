"""What is known of a client connection once its handshake is done; every exchange on it reads this."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Sequence
from dataclasses import dataclass

from terminator.config import model
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.tls.handshake_facts import HandshakeFacts
from terminator.wire.client_side import ClientCertificate, ClientSide, plain_address

IpNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a connection comes from. A unix socket has no address: "" and 0."""

    address: str
    """IPv4 as such even when the socket speaks IPv6."""
    port: int
    server_port: int
    """The port the client connected to."""

    def within(self, networks: Sequence[IpNetwork]) -> bool:
        """Whether the peer is in one of these networks. A unix socket is: only who may open its file gets there."""
        if not self.address:
            return True
        parsed = ipaddress.ip_address(self.address)
        return any(parsed in network for network in networks)


def origin_of(sock: socket.socket, peer: object) -> Origin:
    """The origin that `accept` tells of."""
    if not isinstance(peer, tuple) or sock.family == socket.AF_UNIX:
        return Origin("", 0, 443)
    try:
        server_port = sock.getsockname()[1]
    except OSError:
        server_port = 443  # reset already; the next read will say so
    return Origin(plain_address(peer[0]), peer[1], server_port)


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
    facts: HandshakeFacts
    idle_since: float
    """When the last response ended, or the handshake, by the loop's clock in seconds."""
    deadline: Deadline | None = None
    """Of the exchange under way, so that a departure can end it."""
    gone: bool = False
    """Its end has been seen."""
