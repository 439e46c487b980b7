"""One client connection carries many requests, in order, and ends when somebody says so."""

from __future__ import annotations

from harness.backends import ok


def echo_target(request):
    return ok(request.head.target.encode())


def test_one_connection_carries_many_requests(start, answering):
    backend = answering(echo_target)
    daemon = start(backend.address)
    with daemon.connect() as client:
        for number in range(20):
            client.request(f"/{number}")
            assert client.receive_response().body == b"/%d" % number
    assert backend.connections == 1
    event = daemon.wait_for("http.request", {"url.path": "/19"})
    assert event["backend.reused"] is True
    assert len(daemon.all("tls.handshake")) == 1
    assert len({event["conn.id"] for event in daemon.all("http.request")}) == 1


def test_pipelined_requests_are_answered_in_order(start, answering):
    daemon = start(answering(echo_target).address)
    with daemon.connect() as client:
        client.send(b"".join(b"GET /%d HTTP/1.1\r\nHost: a.test\r\n\r\n" % number for number in range(50)))
        for number in range(50):
            assert client.receive_response().body == b"/%d" % number


def test_a_pipelined_post_keeps_its_body(start, answering):
    daemon = start(answering(lambda request: ok(request.head.target.encode() + b" " + request.body)).address)
    post = b"POST /%d HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\n\r\nbody%d"
    with daemon.connect() as client:
        client.send(b"".join(post % (number, number) for number in range(5)))
        for number in range(5):
            assert client.receive_response().body == b"/%d body%d" % (number, number)


def test_connection_close_by_the_client_ends_it_cleanly(start, answering):
    daemon = start(answering(echo_target).address)
    with daemon.connect() as client:
        client.request(Connection="close")
        assert client.receive_response().head["connection"] == "close"
        assert client.ending() == "clean"


def test_connection_close_by_the_backend_does_not_end_the_clients(start, answering):
    backend = answering(ok(b"bye", Connection="close"))
    daemon = start(backend.address)
    with daemon.connect() as client:
        for _ in range(3):
            client.request()
            response = client.receive_response()
            assert response.body == b"bye"
            assert "connection" not in response.head
    assert backend.connections == 3


def test_nothing_after_connection_close_is_answered(start, answering):
    backend = answering(echo_target)
    daemon = start(backend.address)
    with daemon.connect() as client:
        first = b"GET /first HTTP/1.1\r\nHost: a.test\r\nConnection: close\r\n\r\n"
        client.send(first + b"GET /second HTTP/1.1\r\nHost: a.test\r\n\r\n")
        assert client.receive_response().body == b"/first"
        assert client.receive_rest() == b""
    assert [request.head.target for request in backend.requests] == ["/first"]


def test_an_idle_connection_is_closed_after_client_idle(start, answering):
    daemon = start(answering(echo_target).address, timeouts={"client_idle": "500ms"})
    with daemon.connect() as client:
        client.request()
        client.receive_response()
        assert client.ending() == "clean"


def test_many_connections_share_few_to_the_backend(start, answering):
    backend = answering(echo_target)
    daemon = start(backend.address)
    for _ in range(10):
        with daemon.connect() as client:
            client.request()
            client.receive_response()
    assert backend.connections == 1
