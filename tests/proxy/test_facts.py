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
            origin = origin_of(accepted, peer)
            assert (origin.address, origin.port) == client.getsockname()
            assert origin.server_port == server.getsockname()[1]


def test_ipv4_through_an_ipv6_socket_is_ipv4() -> None:
    with socket.socket(socket.AF_INET6) as sock:
        sock.bind(("::1", 0))
        assert origin_of(sock, ("::ffff:192.0.2.1", 5, 0, 0)).address == "192.0.2.1"


def test_a_unix_peer_has_no_address() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX)
    with ours, theirs:
        assert origin_of(ours, "") == Origin("", 0, 443)


@pytest.mark.parametrize(("address", "inside"), [("10.1.2.3", True), ("11.0.0.1", False), ("fd00::1", False)])
def test_within_networks(address: str, inside: bool) -> None:
    assert Origin(address, 1, 443).within([ipaddress.ip_network("10.0.0.0/8")]) is inside
