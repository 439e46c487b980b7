"""WebSockets go through as a tunnel: any bytes both ways, half-closes kept, an idle timeout of their own."""

from __future__ import annotations

import signal
import socket
import time

import pytest
from harness.backends import WebSocketEcho, ok
from harness.websocket import WebSocket
from websockets.exceptions import ConnectionClosed, InvalidStatus

UPGRADE = (
    b"GET /ws HTTP/1.1\r\nHost: a.test\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)
SWITCHING = (
    b"HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
)


@pytest.fixture
def echo(cleanup):
    server = WebSocketEcho()
    cleanup.callback(server.close)
    return server


@pytest.fixture
def open_websocket(certificates):
    def open_(daemon, path="/ws", **options):
        plain = socket.create_connection(("127.0.0.1", daemon.ports["https"]))
        return WebSocket(plain, f"wss://a.test{path}", certificates.client_context(), **options)

    return open_


def test_messages_are_echoed(start, echo, open_websocket):
    daemon = start(echo.address)
    with open_websocket(daemon, "/chat?room=1", subprotocols=["chat.test"]) as client:
        assert client.subprotocol == "chat.test"
        assert client.recv() == "path /chat?room=1"
        for message in ("text", b"\x00\xff", "", "x" * 3_000_000):
            client.send(message)
            assert client.recv() == message
    assert echo.closed.get(timeout=10) == (1000, "")
    request = daemon.wait_for("http.request")
    assert (request["http.response.status_code"], request["url.path"]) == (101, "/chat")
    tunnel = daemon.wait_for("tunnel.closed")
    assert tunnel["conn.id"] == request["conn.id"]
    assert tunnel["tunnel.client.bytes"] > 1000


def test_many_at_once(start, echo, open_websocket):
    daemon = start(echo.address)
    clients = [open_websocket(daemon) for _ in range(20)]
    for client in clients:
        client.recv()
    for number, client in enumerate(clients):
        client.send(str(number))
    assert [client.recv() for client in clients] == [str(number) for number in range(20)]
    for client in clients:
        client.close()
    daemon.wait_for("tunnel.closed", count=20)


def test_a_backend_may_refuse_the_upgrade(start, answering, open_websocket):
    daemon = start(answering(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno").address)
    with pytest.raises(InvalidStatus, match="403"):
        open_websocket(daemon)
    assert not daemon.all("tunnel.closed")


def test_a_refused_upgrade_leaves_the_connection_usable(start, answering):
    daemon = start(answering(ok(b"plain")).address)
    with daemon.connect() as client:
        for _ in range(2):
            client.send(UPGRADE)
            assert client.receive_response().body == b"plain"


@pytest.mark.parametrize(("answer", "status"), [(ok(), 200), (SWITCHING, 502)])
def test_an_upgrade_with_content_is_neither_asked_for_nor_accepted(start, played, answer, status):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(UPGRADE.replace(b"GET", b"POST").replace(b"\r\n\r\n", b"\r\nContent-Length: 5\r\n\r\nhello"))
        behind = backend.accept()
        request = behind.receive_request()
        assert (request.body, "upgrade" in request.head, "connection" in request.head) == (b"hello", False, False)
        behind.send(answer)
        assert client.receive_response().status == status
    assert not daemon.all("tunnel.closed")


def test_an_upgrade_with_content_of_no_bytes_opens_a_tunnel(start, played):
    """As `kubectl exec` asks."""
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(
            b"POST /exec HTTP/1.1\r\nHost: a.test\r\nConnection: Upgrade\r\nUpgrade: SPDY/3.1\r\n"
            b"Content-Length: 0\r\n\r\n"
        )
        behind = backend.accept()
        assert behind.receive_head()["upgrade"] == "SPDY/3.1"
        behind.send(SWITCHING.replace(b"websocket", b"SPDY/3.1"))
        assert client.receive_head().status == 101
        client.send(b"ping")
        assert behind.receive_exactly(4) == b"ping"
        behind.send(b"pong")
        assert client.receive_exactly(4) == b"pong"


@pytest.fixture
def tunnel(start, played, request):
    """An open tunnel: the daemon, the client's and the backend's conversation."""
    backend = played()
    daemon = start(backend.address, timeouts={"tunnel_idle": getattr(request, "param", "30s")})
    with daemon.connect() as client:
        client.send(UPGRADE)
        behind = backend.accept()
        head = behind.receive_head()
        assert (head["upgrade"], head["connection"].lower()) == ("websocket", "upgrade")
        behind.send(SWITCHING + b"first")
        response = client.receive_head()
        assert (response.status, response["upgrade"]) == (101, "websocket")
        assert client.receive_exactly(5) == b"first"
        yield daemon, client, behind


def test_the_clients_half_close_reaches_the_backend_which_goes_on(tunnel):
    daemon, client, behind = tunnel
    client.send(b"last")
    client.end_output()
    assert behind.receive_exactly(4) == b"last"
    assert behind.ending() == "clean"
    behind.send(b"still here")
    assert client.receive_exactly(10) == b"still here"
    behind.close()
    assert client.ending() == "clean"
    event = daemon.wait_for("tunnel.closed")
    assert (event["tunnel.client.bytes"], event["tunnel.backend.bytes"]) == (4, 15)
    assert event["tunnel.closed_by"] == "client"


def test_the_backends_half_close_reaches_the_client_which_goes_on(tunnel):
    daemon, client, behind = tunnel
    behind.send(b"last")
    behind.end_output()
    assert client.receive_exactly(4) == b"last"
    assert client.ending() == "clean"
    client.send(b"still here")
    assert behind.receive_exactly(10) == b"still here"
    client.close()
    assert behind.ending() in ("clean", "reset")
    assert daemon.wait_for("tunnel.closed")["tunnel.closed_by"] == "backend"


@pytest.mark.parametrize("tunnel", ["2s"], indirect=True)
def test_a_silent_tunnel_is_closed_after_tunnel_idle(tunnel):
    daemon, client, behind = tunnel
    assert client.ending() in ("clean", "truncated")
    assert behind.ending() in ("clean", "reset")
    assert daemon.wait_for("tunnel.closed")["tunnel.closed_by"] == "idle_timeout"


@pytest.mark.parametrize("leave", ["close", "reset"])
def test_a_client_that_vanishes_ends_the_tunnel(tunnel, leave):
    daemon, client, behind = tunnel
    getattr(client, leave)()
    assert behind.ending() in ("clean", "reset")
    behind.close()
    assert daemon.wait_for("tunnel.closed")["tunnel.closed_by"] in ("client", "client_error")


def test_a_backend_that_vanishes_ends_the_tunnel(tunnel):
    daemon, client, behind = tunnel
    behind.reset()
    assert client.ending() in ("truncated", "reset")
    assert daemon.wait_for("tunnel.closed")["tunnel.closed_by"] == "backend_error"


@pytest.mark.parametrize("tunnel", ["2s"], indirect=True)
def test_one_way_traffic_keeps_a_tunnel_alive(tunnel):
    """It outlives tunnel_idle (2 s), though one side never says a word."""
    _, client, behind = tunnel
    begun = time.monotonic()
    while time.monotonic() < begun + 2.5:
        time.sleep(0.05)  # the pace, which may be as uneven as it likes
        behind.send(b"tick")
        assert client.receive_exactly(4) == b"tick"


def test_a_websocket_is_cut_when_the_drain_is_over(start, echo, open_websocket):
    daemon = start(echo.address, timeouts={"drain": "500ms"})
    with open_websocket(daemon) as client:
        client.recv()
        daemon.signal(signal.SIGTERM)
        assert daemon.wait() == 0
        with pytest.raises(ConnectionClosed):
            client.recv(timeout=5)
    assert daemon.wait_for("tunnel.closed")["tunnel.closed_by"] == "drain"
    assert daemon.wait_for("server.stop")["server.connections_cut"] == 1
