"""100 Continue is the backend's to say; other interim responses are passed on (RFC 9110 §10.1.1, §15.2)."""

from __future__ import annotations

from harness.backends import ok

EXPECTING = b"PUT / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n"


def test_the_backend_decides_to_continue(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(EXPECTING)
        behind = backend.accept()
        assert behind.receive_head()["expect"] == "100-continue"
        assert client.is_open()  # nothing was said on the backend's behalf
        behind.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert client.receive_head().status == 100
        client.send(b"hello")
        assert behind.receive_exactly(5) == b"hello"
        behind.send(ok(b"taken"))
        assert client.receive_response().body == b"taken"


def test_the_backend_decides_to_refuse_and_no_body_is_sent(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(EXPECTING)
        behind = backend.accept()
        behind.receive_head()
        behind.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 0\r\n\r\n")
        assert client.receive_response().status == 413
        # The client may still send its body or not: the two could not agree where a next request begins.
        assert client.ending() in ("clean", "reset")


def test_a_client_need_not_wait_for_100(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(EXPECTING + b"hello")
        behind = backend.accept()
        behind.receive_head()
        assert behind.receive_exactly(5) == b"hello"
        behind.send(ok(b"taken"))
        assert client.receive_response().body == b"taken"


def test_curl_expects_and_uploads(start, answering, get, folder):
    (folder / "upload").write_bytes(b"u" * 2_000_000)

    backend = answering(lambda request: ok(str(len(request.body)).encode()))
    daemon = start(backend.address)
    result = get(daemon, "https://a.test/", "-T", str(folder / "upload"), "-H", "Expect: 100-continue")
    assert result.body == b"2000000"


def test_103_is_passed_on_before_the_final_response(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request()
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>; rel=preload\r\n\r\n")
        early = client.receive_head()
        assert (early.status, early["link"]) == (103, "</style.css>; rel=preload")
        behind.send(ok(b"final"))
        assert client.receive_response().body == b"final"
    assert daemon.wait_for("http.request")["http.response.status_code"] == 200


def test_http10_clients_get_no_interim_response(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"GET / HTTP/1.0\r\nHost: a.test\r\n\r\n")
        behind = backend.accept()
        behind.receive_request()
        behind.send(b"HTTP/1.1 103 Early Hints\r\nLink: </style.css>\r\n\r\n" + ok(b"final"))
        response = client.receive_response()
        assert (response.status, response.body) == (200, b"final")


def test_another_expectation_is_refused(start, answering):
    backend = answering(ok())
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.request(Expect="200-maybe")
        assert client.receive_response().status == 417
    assert not backend.requests
