"""Connecting to servers by address, by name and by path; failures say why."""

from __future__ import annotations

import resource
import socket
from pathlib import Path

import pytest
import trio

from terminator.config.values import TcpAddress, UnixAddress
from terminator.errors import ConnectFailed, OutOfResources
from terminator.transport.connect import RememberingResolver, connect


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_connects_by_address_and_by_name(host: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        sock = await connect(TcpAddress(host, server.getsockname()[1]))
        with sock, server.accept()[0] as peer:
            assert sock.getblocking() is False
            assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
            sock.send(b"hello")
            assert peer.recv(10) == b"hello"


async def test_connects_to_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "web.sock")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen()
        with await connect(UnixAddress(path)):
            server.accept()[0].close()


async def test_a_refusal_says_which_server_and_why() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        port = unused.getsockname()[1]
        with pytest.raises(ConnectFailed, match=rf"127\.0\.0\.1:{port}: Connection refused"):
            await connect(TcpAddress("127.0.0.1", port))


async def test_a_missing_unix_socket_is_a_refusal(tmp_path: Path) -> None:
    with pytest.raises(ConnectFailed, match="No such file"):
        await connect(UnixAddress(str(tmp_path / "none.sock")))


async def test_a_name_that_does_not_resolve_is_a_refusal() -> None:
    with pytest.raises(ConnectFailed, match=r"no-such-name\.invalid"):
        await connect(TcpAddress("no-such-name.invalid", 80))


async def test_a_full_queue_of_a_unix_socket_is_said(tmp_path: Path) -> None:
    path = str(tmp_path / "full.sock")
    held = []
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(path)
        server.listen(0)
        with pytest.raises(ConnectFailed, match="queue of connections is full"):  # noqa: PT012
            for _ in range(50):
                held.append(await connect(UnixAddress(path)))
    for sock in held:
        sock.close()


async def test_the_resolver_remembers_answers_for_a_while(mock_clock: trio.testing.MockClock) -> None:
    resolver = RememberingResolver(30)
    first = await resolver.getaddrinfo(b"127.0.0.1", 80)
    assert await resolver.getaddrinfo(b"127.0.0.1", 80) is first
    mock_clock.jump(31)
    assert await resolver.getaddrinfo(b"127.0.0.1", 80) is not first


async def test_names_have_lifetimes_of_their_own(mock_clock: trio.testing.MockClock) -> None:
    resolver = RememberingResolver(30)
    resolver.lifetimes = {("127.0.0.1", 80): 5.0}
    short, long = [await resolver.getaddrinfo(b"127.0.0.1", port) for port in (80, 81)]
    mock_clock.jump(6)
    assert await resolver.getaddrinfo(b"127.0.0.1", 80) is not short
    assert await resolver.getaddrinfo(b"127.0.0.1", 81) is long


async def test_the_resolver_uses_the_last_answer_when_a_name_stops_resolving(
    mock_clock: trio.testing.MockClock,
) -> None:
    resolver = RememberingResolver(30)
    question = (b"no-such-name.invalid", 80, 0, 0, 0, 0)
    answer = await resolver.getaddrinfo(b"127.0.0.1", 80)
    resolver._answers[question] = (trio.current_time(), answer)
    mock_clock.jump(31)
    assert await resolver.getaddrinfo(b"no-such-name.invalid", 80) is answer


async def test_want_of_descriptors_is_our_own_fault() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with socket.create_server(("127.0.0.1", 0)) as server:
        address = TcpAddress(*server.getsockname())
        resource.setrlimit(resource.RLIMIT_NOFILE, (3, hard))
        try:
            with pytest.raises(OutOfResources):
                await connect(address)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
        (await connect(address)).close()
