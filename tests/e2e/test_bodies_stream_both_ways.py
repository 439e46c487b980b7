"""Bodies go on as they come, in every framing, piece by piece."""

from __future__ import annotations

import pytest
from harness.backends import ok


def test_a_request_with_content_length(start, answering):
    backend = answering(lambda request: ok(request.body))
    daemon = start(backend.address)
    body = bytes(range(256)) * 1000
    with daemon.connect() as client:
        client.send(b"PUT /x HTTP/1.1\r\nHost: a.test\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
        assert client.receive_response().body == body
    assert backend.requests[0].head["content-length"] == str(len(body))
    event = daemon.wait_for("http.request")
    assert (event["http.request.body.size"], event["http.response.body.size"]) == (len(body), len(body))


def test_a_chunked_request_arrives_chunked_with_its_trailers(start, answering):
    backend = answering(lambda request: ok(request.body))
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"POST /x HTTP/1.1\r\nHost: a.test\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n")
        client.send(b"5\r\nhello\r\n6;ext=1\r\n world\r\n0\r\nX-Sum: 42\r\n\r\n")
        assert client.receive_response().body == b"hello world"
    request = backend.requests[0]
    assert request.head["transfer-encoding"] == "chunked"
    assert "content-length" not in request.head
    assert request.trailers == (("x-sum", "42"),)


def test_a_chunked_response_arrives_chunked_with_its_trailers(start, answering):
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: X-Sum\r\n\r\n"
    answer += b"3\r\nabc\r\n4\r\ndefg\r\n0\r\nX-Sum: 7\r\n\r\n"
    daemon = start(answering(answer).address)
    with daemon.connect() as client:
        for _ in range(2):  # the connection goes on after it
            client.request()
            response = client.receive_response()
            assert response.body == b"abcdefg"
            assert response.trailers == (("x-sum", "7"),)


def test_a_response_that_ends_with_the_connection_becomes_chunked(start, answering):
    daemon = start(answering(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nuntil the end").address)
    with daemon.connect() as client:
        for _ in range(2):
            client.request()
            response = client.receive_response()
            assert response.head["transfer-encoding"] == "chunked"
            assert response.body == b"until the end"


def test_each_piece_of_a_response_goes_on_at_once(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert client.receive_head().status == 200
        for piece in (b"one", b"two", b"three"):
            behind.send(b"%x\r\n%s\r\n" % (len(piece), piece))
            size = int(client.receive_until(b"\r\n"), 16)
            assert client.receive_exactly(size + 2) == piece + b"\r\n"
        behind.send(b"0\r\n\r\n")
        assert client.receive_until(b"\r\n\r\n") == b"0\r\n\r\n"


def test_each_piece_of_a_request_goes_on_at_once(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 9\r\n\r\n")
        behind = backend.accept()
        assert behind.receive_head()["content-length"] == "9"
        for piece in (b"one", b"two", b"end"):
            client.send(piece)
            assert behind.receive_exactly(3) == piece
        behind.send(ok(b"done"))
        assert client.receive_response().body == b"done"


@pytest.mark.parametrize(("status", "fields"), [("204 No Content", ""), ("304 Not Modified", 'ETag: "x"\r\n')])
def test_responses_that_have_no_body(start, answering, status, fields):
    daemon = start(answering(f"HTTP/1.1 {status}\r\n{fields}\r\n".encode()).address)
    with daemon.connect() as client:
        for _ in range(3):  # the next response starts right behind: nothing was taken for a body, nothing was added
            client.request()
            head = client.receive_response().head
            assert head.start_line == f"HTTP/1.1 {status}"
            assert "transfer-encoding" not in head
            assert "content-length" not in head


def test_head_keeps_the_length_and_has_no_body(start, answering):
    daemon = start(answering(b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\n\r\n").address)
    with daemon.connect() as client:
        for _ in range(3):
            client.request(method="HEAD")
            response = client.receive_response(method="HEAD")
            assert response.head["content-length"] == "1234"
    assert daemon.wait_for("http.request")["http.response.body.size"] == 0


def test_head_of_a_chunked_resource(start, answering):
    daemon = start(answering(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n").address)
    with daemon.connect() as client:
        for _ in range(3):
            client.request(method="HEAD")
            assert client.receive_response(method="HEAD").status == 200


def test_a_get_without_a_body_gets_no_framing(start, answering):
    backend = answering(ok())
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request()
        client.receive_response()
    assert "transfer-encoding" not in backend.requests[0].head
    assert "content-length" not in backend.requests[0].head


def test_an_empty_post_keeps_its_content_length(start, answering):
    backend = answering(ok())
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 0\r\n\r\n")
        client.receive_response()
    assert backend.requests[0].head["content-length"] == "0"
