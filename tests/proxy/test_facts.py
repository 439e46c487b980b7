"""Where a connection comes from, by its socket and its peer."""

from __future__ import annotations

import ipaddress
import socket

import pytest

from terminator.proxy.facts import Origin, origin_of


def test_a_tcp_peer() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        accepted, peer = server.accept()
        with accepted:
            origin = origin_of(peer, 8443)
            assert (origin.address, origin.port) == client.getsockname()
            assert (origin.server_address, origin.server_port) == (None, 8443)


def test_ipv4_through_an_ipv6_socket_is_ipv4() -> None:
    assert origin_of(("::ffff:192.0.2.1", 5, 0, 0), 443).address == "192.0.2.1"


def test_a_unix_peer_has_no_address() -> None:
    assert origin_of("", 443) == Origin("", 0, 443)


@pytest.mark.parametrize(("address", "inside"), [("10.1.2.3", True), ("11.0.0.1", False), ("fd00::1", False)])
def test_within_networks(address: str, inside: bool) -> None:
    assert Origin(address, 1, 443).within([ipaddress.ip_network("10.0.0.0/8")]) is inside
