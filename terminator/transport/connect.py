"""How a connection to a backend server is opened: unix sockets and addresses directly, names by Happy Eyeballs.

Names are resolved in a thread and remembered for a while, so that neither the loop nor every new connection waits for
the resolver; trio then tries all addresses by RFC 8305.
"""

from __future__ import annotations

import errno
import ipaddress
import os
import socket
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import trio

from terminator.config.values import Address, TcpAddress, UnixAddress
from terminator.errors import ConnectFailed, OutOfResources

PATIENCE_SECONDS = 2.0
"""How long a connection waits for a name to be resolved anew while its last answer is known."""

_OWN_FAULTS = {errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS, errno.EADDRNOTAVAIL}


async def connect(address: Address) -> socket.socket:
    """A connected non-blocking socket with TCP_NODELAY. Raises `ConnectFailed`, `OutOfResources` if the want is
    ours; the caller sets the deadline."""
    try:
        if isinstance(address, UnixAddress):
            return await _connect(socket.AF_UNIX, address.path)
        if (family := _literal_family(address.host)) is not None:
            return await _connect(family, (address.host, address.port))
        return await _connect_name(address)
    except OSError as error:
        failure = OutOfResources if error.errno in _OWN_FAULTS else ConnectFailed
        raise failure(f"{address}: {_words(error)}") from error


async def _connect(family: socket.AddressFamily, target: Any) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK | socket.SOCK_CLOEXEC)
    try:
        if family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        code = sock.connect_ex(target)
        if code in (errno.EINPROGRESS, errno.EINTR):
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code:  # EAGAIN on a unix socket means that its queue is full: the server does not keep up
            raise OSError(code, errno.errorcode.get(code, str(code)))
    except BaseException:
        sock.close()
        raise
    return sock


async def _connect_name(address: TcpAddress) -> socket.socket:
    stream = await trio.open_tcp_stream(address.host, address.port)
    sock = socket.socket(fileno=stream.socket.detach())
    sock.setblocking(False)
    return sock


@lru_cache(maxsize=4096)
def _literal_family(host: str) -> socket.AddressFamily | None:
    try:
        version = ipaddress.ip_address(host).version
    except ValueError:
        return None
    return socket.AF_INET6 if version == 6 else socket.AF_INET


def _words(error: OSError) -> str:
    if error.errno == errno.EAGAIN:
        return "the server's queue of connections is full"
    if isinstance(error.__cause__, BaseExceptionGroup):  # trio: one error per address tried
        return "; ".join(sorted({str(e.strerror or e) for e in error.__cause__.exceptions if isinstance(e, OSError)}))
    if isinstance(error, socket.gaierror):
        return f"the name cannot be resolved ({error.strerror})"
    return os.strerror(error.errno) if error.errno else str(error)


class RememberingResolver(trio.abc.HostnameResolver):
    """Resolves names in trio's thread pool and remembers each answer.

    Failures are not remembered. When a name no longer resolves, or not within `PATIENCE_SECONDS`, its last answer is
    used on: a resolver that is down should not take the service with it. While one connection asks anew, the others
    use the last answer.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        """How long an answer is used for names that `lifetimes` does not tell of."""
        self.lifetimes: Mapping[tuple[str, int], float] = {}
        """Seconds for (lower-case host, port)."""
        self._answers: dict[tuple[Any, ...], tuple[float, list[Any]]] = {}

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,
        proto: int = 0,
        flags: int = 0,
    ) -> Any:
        question = (host, port, family, type, proto, flags)
        known = self._answers.get(question)
        if known is None:
            answer = await trio.to_thread.run_sync(socket.getaddrinfo, *question, abandon_on_cancel=True)
            self._answers[question] = (trio.current_time(), answer)
            return answer
        asked_at, answer = known
        if trio.current_time() - asked_at >= self._lifetime(host, port):
            self._answers[question] = (trio.current_time(), answer)
            with trio.move_on_after(PATIENCE_SECONDS):
                try:
                    answer = await trio.to_thread.run_sync(socket.getaddrinfo, *question, abandon_on_cancel=True)
                except OSError:
                    return answer
                self._answers[question] = (trio.current_time(), answer)
        return answer

    def _lifetime(self, host: bytes | None, port: bytes | str | int | None) -> float:
        name = (host or b"").decode("latin-1").lower()
        return self.lifetimes.get((name, port), self.seconds) if isinstance(port, int) else self.seconds

    async def getnameinfo(self, sockaddr: Any, flags: int) -> tuple[str, str]:
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)
