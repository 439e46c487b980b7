"""HTTP/1.0 on either side: clients that do not know chunks, backends that close when they are done."""

from __future__ import annotations

import pytest
from harness.backends import ok


def test_a_client_of_http10_gets_its_answer_and_the_end(start, answering):
    daemon = start(answering(ok(b"old")).address)
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        response = client.receive_response()
        assert response.body == b"old"
        assert response.head.start_line.startswith("HTTP/1.1 200")
        assert client.ending() == "clean"
    assert daemon.wait_for("http.request")["network.protocol.version"] == "1.0"


def test_keep_alive_of_http10_is_not_taken_up(start, answering):
    """RFC 9112 §9.3: a proxy does not persist on it, since an older proxy may have passed the field on blindly."""
    daemon = start(answering(ok(b"old")).address)
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        response = client.receive_response()
        assert (response.body, response.head["connection"]) == (b"old", "close")
        assert client.ending() == "clean"


def test_a_chunked_response_reaches_it_without_chunks(start, answering):
    chunked = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n4\r\ndefg\r\n0\r\n\r\n"
    daemon = start(answering(chunked).address)
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\nConnection: keep-alive\r\n\r\n")
        head = client.receive_head()
        assert "transfer-encoding" not in head
        assert "content-length" not in head
        assert client.receive_exactly(7) == b"abcdefg"
        assert client.ending() == "clean"


@pytest.mark.parametrize("length", ["Content-Length: 3\r\n", ""])
def test_a_backend_of_http10_serves_a_connection_that_goes_on(start, answering, length):
    def answer(_):
        return f"HTTP/1.0 200 OK\r\n{length}Connection: close\r\n\r\nold".encode()

    backend = answering(answer)
    daemon = start(backend.address)
    with daemon.connect() as client:
        for _ in range(3):
            client.request()
            response = client.receive_response()
            assert response.body == b"old"
            assert response.head.start_line == "HTTP/1.1 200 OK"
    assert backend.connections == 3
