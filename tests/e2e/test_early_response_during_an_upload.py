"""A backend may answer before it has read the whole request; the client gets that answer at once."""

from __future__ import annotations

import threading

from harness.backends import ok


def test_the_answer_comes_while_the_body_is_on_its_way(start, played):
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        behind = backend.accept()
        behind.receive_head()
        behind.send(b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno")
        response = client.receive_response()
        assert (response.status, response.body) == (403, b"no")
        assert response.head["connection"] == "close"
        assert client.ending() in ("clean", "reset")
    assert daemon.wait_for("http.request")["http.response.status_code"] == 403


def test_the_answer_survives_a_backend_that_closes_at_once(start, played):
    """The rest of the upload meets a closed connection; that is no reason to lose the answer."""
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 50000000\r\n\r\n")
        behind = backend.accept()
        behind.receive_head()
        behind.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno")
        behind.close()
        response = client.receive_response()
        assert (response.status, response.body) == (413, b"no")


def test_a_client_that_goes_on_with_its_upload_gets_all_of_a_long_answer(start, played):
    """Closing with bytes of the body unread would reset the connection: what the kernel still holds would be lost."""
    backend, answer = played(), b"e" * 400_000
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 1000000\r\n\r\n" + b"x" * 1000)
        behind = backend.accept()
        behind.receive_head()
        behind.receive_exactly(1000)
        behind.send(b"HTTP/1.1 413 Content Too Large\r\nContent-Length: 400000\r\nConnection: close\r\n\r\n" + answer)
        behind.close()
        assert daemon.wait_for("http.request")["http.response.body.size"] == len(answer)
        client.send(b"x" * 1000)
        response = client.receive_response()
        assert (response.status, response.body) == (413, answer)
        assert client.ending() == "clean"


def test_curl_sees_the_answer(start, played, get, folder):
    (folder / "upload").write_bytes(b"u" * 20_000_000)
    backend = played()
    daemon = start(backend.address)

    def refuse() -> None:
        behind = backend.accept()
        behind.receive_head()
        behind.receive_exactly(100_000)
        behind.send(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 3\r\nConnection: close\r\n\r\nwho")
        behind.close()

    thread = threading.Thread(target=refuse)
    thread.start()
    result = get(daemon, "https://a.test/", "-T", str(folder / "upload"), "-H", "Expect:")
    thread.join()
    assert (result.status, result.body) == (401, b"who")


def test_a_response_that_waits_for_the_rest_gets_it(start, played):
    """An echo that starts to answer early and reads on: both directions run at once."""
    backend = played()
    daemon = start(backend.address)
    with daemon.connect() as client:
        client.send(b"POST / HTTP/1.1\r\nHost: a.test\r\nContent-Length: 6\r\n\r\n")
        behind = backend.accept()
        behind.receive_head()
        behind.send(b"HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\n")
        assert client.receive_head().status == 200
        for piece in (b"ab", b"cd", b"ef"):
            client.send(piece)
            assert behind.receive_exactly(2) == piece
            behind.send(piece.upper())
            assert client.receive_exactly(2) == piece.upper()
        client.request("/next")
        assert behind.receive_request().head.target == "/next"
        behind.send(ok(b"kept"))
        assert client.receive_response().body == b"kept"
