"""A response cut short by the backend is seen as cut short by the client: never completed, never ended cleanly."""

from __future__ import annotations

import http.client
import ssl

import pytest
from harness.conversation import Conversation

LONG = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\npartial"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\npartial\r\n"


@pytest.fixture
def cut_short(start, played):
    """Plays a response that ends amid its body; the client's conversation, its head read."""

    def play(response: bytes, leave: str) -> Conversation:
        backend = played()
        daemon = start(backend.address)
        client = daemon.connect()
        client.request("/cut")
        behind = backend.accept()
        behind.receive_request()
        behind.send(response)
        assert client.receive_head().status == 200
        assert b"partial" in client.receive_until(b"partial")
        getattr(behind, leave)()
        play.daemon = daemon
        return client

    return play


@pytest.mark.parametrize("leave", ["close", "reset"])
@pytest.mark.parametrize("response", [LONG, CHUNKED], ids=["length", "chunked"])
def test_the_connection_ends_without_close_notify(cut_short, response, leave):
    with cut_short(response, leave) as client:
        if response is CHUNKED:
            assert client.receive_exactly(2) == b"\r\n"
        assert client.ending() in ("truncated", "reset")
    event = cut_short.daemon.wait_for("http.request", {"url.path": "/cut"})
    assert event["error.type"] == "backend_truncated"
    assert event["http.response.status_code"] == 200
    assert event["http.response.body.size"] == 7


def test_a_close_delimited_response_that_is_reset_is_cut_too(cut_short):
    with cut_short(b"HTTP/1.1 200 OK\r\n\r\npartial", "reset") as client:
        assert b"0\r\n\r\n" not in client.receive_rest()


@pytest.mark.parametrize("answer", [LONG, CHUNKED], ids=["length", "chunked"])
def test_curl_and_http_client_notice(start, answering, get, certificates, answer):
    def cut(_):
        return answer.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n", 1)

    daemon = start(answering(cut).address)
    result = get(daemon, "https://a.test/")
    assert result.exit_code in (18, 56), result.complaint  # partial file, or failure in receiving
    connection = http.client.HTTPConnection("127.0.0.1", daemon.ports["https"])
    connection.sock = daemon.connect().sock
    connection.request("GET", "/", headers={"Host": "a.test"})
    with pytest.raises((http.client.IncompleteRead, ssl.SSLError, ConnectionResetError)):
        connection.getresponse().read()
    connection.close()
