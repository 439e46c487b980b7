"""A worker's traffic in this process: real configuration, real TLS, real sockets, and every event that was told."""

from __future__ import annotations

import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trio
import trustme

from terminator.backend.fleet import Fleet
from terminator.config.model import Config
from terminator.proxy.acceptor import Listening
from terminator.proxy.generation import Plan, build
from terminator.proxy.traffic import Traffic
from terminator.telemetry.alike import RequestAlike
from terminator.telemetry.board import Board, worker_row
from terminator.telemetry.events import Event
from terminator.tls.contexts import ContextStore
from terminator.tls.material import read_materials
from terminator.tls.proofs import prove


@dataclass
class World:
    """Running traffic with one TLS listener, one plain listener and one backend, which the test plays."""

    traffic: Traffic
    config: Config
    board: Board
    authority: trustme.CA
    https: tuple[str, int]
    http: tuple[str, int]
    backend: trio.SocketListener
    events: list[Event] = field(default_factory=list)

    async def connect(self, server_name: str = "a.test", *, strict: bool = False) -> trio.SSLStream[trio.SocketStream]:
        """strict: an end without close_notify is an error to this client."""
        context = ssl.create_default_context()
        self.authority.configure_trust(context)
        stream = trio.SSLStream(
            await trio.open_tcp_stream(*self.https), context, server_hostname=server_name, https_compatible=not strict
        )
        try:
            await stream.do_handshake()
        except BaseException:
            await trio.aclose_forcefully(stream)
            raise
        return stream

    def told(self, name: str) -> list[Any]:
        told = [event for event in self.events if event.event == name]
        return [event.whole() if isinstance(event, RequestAlike) else event for event in told]


Worlds = Callable[..., AbstractAsyncContextManager[World]]


async def receive_until(stream: trio.abc.ReceiveStream, mark: bytes) -> bytes:
    """Everything up to a mark; whatever came so far when the stream ends before it."""
    data = b""
    with trio.fail_after(10):
        while mark not in data and (more := await stream.receive_some()):
            data += more
    return data


@pytest.fixture
def world(tmp_path: Path) -> Worlds:
    """`async with world(timeouts={...}) as w:` runs traffic until the block ends, and fails on any crash.

    host: what else a.test is configured with"""

    @asynccontextmanager
    async def run(
        routes: list[dict[str, Any]] | None = None, host: dict[str, Any] | None = None, **sections: Any
    ) -> AsyncIterator[World]:
        authority = trustme.CA()
        issued = authority.issue_cert("a.test", "b.test")
        chain, key = tmp_path / "chain.pem", tmp_path / "key.pem"
        chain.write_bytes(b"".join(part.bytes() for part in issued.cert_chain_pems))
        key.write_bytes(issued.private_key_pem.bytes())
        [backend] = await trio.open_tcp_listeners(0, host="127.0.0.1")
        files = [{"chain": str(chain), "key": str(key)}]
        config = Config.model_validate(
            {
                "version": 1,
                "workers": 1,
                "listeners": [
                    {"name": "https", "bind": "127.0.0.1:443"},
                    {"name": "http", "bind": "127.0.0.1:80", "tls": False, "acme_webroot": str(tmp_path)},
                ],
                "hosts": [
                    {
                        "names": ["a.test"],
                        "certificates": files,
                        "routes": routes or [{"path": "/", "backend": "web"}],
                        **(host or {}),
                    },
                    {"names": ["b.test"], "certificates": files, "routes": [{"path": "/", "backend": "web"}]},
                ],
                "backends": {"web": {"servers": [f"127.0.0.1:{backend.socket.getsockname()[1]}"]}},
                **sections,
            }
        )
        board = Board(worker_row(1))
        events: list[Any] = []
        materials = read_materials(config)
        store = ContextStore(prove())
        store.commit(store.prepare(materials))
        fleet = Fleet()
        traffic = Traffic(
            worker=0,
            workers=1,
            generation=build(Plan(1, config, materials), store.contexts, fleet),
            fleet=fleet,
            emit=events.append,
            board=board.writer(worker_row(0)),
            capabilities=store.capabilities,
        )
        sockets = [socket.create_server(("127.0.0.1", 0)) for _ in config.listeners]
        for sock in sockets:
            sock.setblocking(False)
        places = [sock.getsockname() for sock in sockets]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(
                traffic.run,
                [Listening(one.name, sock, one) for one, sock in zip(config.listeners, sockets, strict=True)],
            )
            yield World(traffic, config, board, authority, places[0], places[1], backend, events)
            traffic.drain(0)
        await backend.aclose()
        crashes = [event for event in events if event.event == "server.crash"]
        assert not crashes, crashes[0].stack

    return run


@pytest.fixture(name="receive_until")
def _receive_until() -> Callable[[trio.abc.ReceiveStream, bytes], Any]:
    return receive_until
