"""Listeners that behave as a test wants them to, sound or not."""

from __future__ import annotations

import contextlib
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

from terminator.config.load import load
from terminator.config.values import TcpAddress
from terminator.selftest.caller import Caller
from terminator.selftest.target import Door, Realm, realm_of
from terminator.tls import proofs
from terminator.tls.openssl import Capabilities

Handler = Callable[[socket.socket], None]


@pytest.fixture(scope="session")
def capabilities() -> Capabilities:
    return proofs.prove()


@pytest.fixture
def listen() -> Iterator[Callable[[Handler], Caller]]:
    """`listen(handler, …)`: a caller of a listener whose connections the handler plays, one after the other."""
    with contextlib.ExitStack() as stack:

        def make(handler: Handler, *, per_second: int = 0, patience_seconds: float = 5.0, **door: Any) -> Caller:
            listening = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def accept() -> None:
                with contextlib.suppress(OSError):
                    while True:
                        sock, _ = listening.accept()
                        with sock, contextlib.suppress(OSError):
                            sock.settimeout(10)
                            handler(sock)

            thread = threading.Thread(target=accept)
            thread.start()
            stack.callback(thread.join)
            stack.callback(listening.shutdown, socket.SHUT_RDWR)  # wakes the accept
            address = TcpAddress(*listening.getsockname())
            return Caller(Door("https", address, **door), per_second, patience_seconds)

        yield make


@pytest.fixture(scope="session")
def server_context() -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("a.test").configure_cert(context)
    return context


LISTENERS = '[{name: https, bind: "127.0.0.1:8443"}]'


@pytest.fixture
def realm(tmp_path: Path, capabilities: Capabilities) -> Callable[..., Realm]:
    """`realm("a.test", ("b.test", "profile: modern"))`: of a configuration with these hosts."""

    def make(
        *hosts: str | tuple[str, str],
        listeners: str = LISTENERS,
        more: str = "",
        addresses: dict[str, str] | None = None,
    ) -> Realm:
        lines = f"version: 1\nlisteners: {listeners}\nhosts:\n"
        for host in hosts:
            names, tls = (host, "") if isinstance(host, str) else host
            lines += f"  - {{names: [{names}], tls: {{{tls}}}, certificates: [{{chain: c, key: k}}],"
            lines += " routes: [{path: /, respond: {status: 200}}]}\n"
        file = tmp_path / "terminator.yaml"
        file.write_text(lines + more)
        return realm_of(load(str(file)).config, addresses or {}, capabilities)

    return make
