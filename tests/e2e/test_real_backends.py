"""The servers that people run behind a proxy: gunicorn, `python -m http.server`, nginx, and a unix socket."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from harness.backends import gunicorn, http_server, nginx, ok


@pytest.fixture
def client(certificates):
    """An httpx client factory: its requests name a.test and go to the daemon."""
    clients = []

    def make(daemon):
        # httpx has no --connect-to: the URL names the address, SNI and Host the host
        made = httpx.Client(
            base_url=f"https://127.0.0.1:{daemon.ports['https']}",
            verify=certificates.client_context(),
            headers={"Host": "a.test"},
            timeout=30,
        )
        made.event_hooks["request"].append(lambda request: request.extensions.update(sni_hostname="a.test"))
        clients.append(made)
        return made

    yield make
    for made in clients:
        made.close()


@pytest.mark.parametrize("worker", ["sync", "gthread"])
def test_gunicorn_sees_the_client_and_the_whole_body(start, client, port, folder, cleanup, worker):
    address = cleanup.enter_context(gunicorn(f"127.0.0.1:{port()}", folder, worker=worker))
    http = client(start(address))
    body = os.urandom(3_000_000)
    for _ in range(3):
        told = http.post("/echo?x=%2F&y", content=body).raise_for_status().json()
        assert (told["body_bytes"], told["body_sha256"]) == (len(body), hashlib.sha256(body).hexdigest())
        environ = told["environ"]
        assert environ["QUERY_STRING"] == "x=%2F&y"
        assert environ["HTTP_HOST"] == "a.test"
        assert environ["HTTP_X_FORWARDED_FOR"] == "127.0.0.1"
        assert environ["HTTP_X_FORWARDED_PROTO"] == "https"
        # gunicorn takes the scheme from X-Forwarded-Proto of a loopback peer: Django's request.is_secure() holds
        assert environ["wsgi.url_scheme"] == "https"
    assert len(http.get("/stream").raise_for_status().text.splitlines()) == 1000
    assert len(http.get("/big").raise_for_status().content) == 1 << 20
    assert http.get("/old").status_code == 304
    assert http.head("/big").headers["content-length"] == str(1 << 20)
    assert http.get("/after").status_code == 200


def test_gunicorn_takes_a_chunked_upload(start, client, port, folder, cleanup):
    address = cleanup.enter_context(gunicorn(f"127.0.0.1:{port()}", folder, worker="gthread"))
    http = client(start(address))
    pieces = (b"%d," % number for number in range(10_000))
    told = http.post("/", content=pieces).raise_for_status().json()
    assert told["body_bytes"] == len(b"".join(b"%d," % number for number in range(10_000)))


def test_gunicorn_on_a_unix_socket(start, client, folder, cleanup):
    address = cleanup.enter_context(gunicorn(f"unix:{folder}/gunicorn.sock", folder, worker="gthread"))
    daemon = start(address)
    assert client(daemon).get("/").raise_for_status().json()["environ"]["HTTP_X_FORWARDED_PROTO"] == "https"
    assert daemon.wait_for("http.request")["backend.server"] == address


def test_a_unix_backend(start, answering, folder, get):
    backend = answering(ok(b"unix"), folder / "backend.sock")
    assert get(start(backend.address), "https://a.test/").body == b"unix"


@pytest.mark.parametrize("options", [(), ("--protocol", "HTTP/1.1")], ids=["HTTP/1.0", "HTTP/1.1"])
def test_http_server_serves_files(start, client, port, folder, cleanup, options):
    files = folder / "files"
    files.mkdir()
    content = os.urandom(2_000_000)
    (files / "big").write_bytes(content)
    (files / "empty").write_bytes(b"")
    http = client(start(cleanup.enter_context(http_server(port(), files, *options))))
    for _ in range(3):
        assert http.get("/big").raise_for_status().content == content
        assert http.get("/empty").raise_for_status().content == b""
        assert http.head("/big").headers["content-length"] == str(len(content))
        assert http.get("/missing").status_code == 404
        assert "big" in http.get("/").raise_for_status().text
        redirect = http.get("/../files", follow_redirects=False)
        assert redirect.status_code in (301, 400, 404)
    assert http.post("/", content=b"x").status_code == 501


@pytest.mark.skipif(not shutil.which("nginx"), reason="nginx is not installed")
def test_nginx_serves_ranges_compression_and_validators(start, client, port, folder, cleanup):
    files = folder / "nginx"
    files.mkdir()
    (files / "text").write_text("compress me " * 10_000)
    http = client(start(cleanup.enter_context(nginx(port(), files))))
    plain = http.get("/text", headers={"Accept-Encoding": "identity"})
    assert plain.text == "compress me " * 10_000
    compressed = http.get("/text", headers={"Accept-Encoding": "gzip"})
    assert compressed.headers["content-encoding"] == "gzip"
    assert compressed.headers["transfer-encoding"] == "chunked"
    assert compressed.text == plain.text
    part = http.get("/text", headers={"Range": "bytes=0-7", "Accept-Encoding": "identity"})
    assert (part.status_code, part.text) == (206, "compress")
    assert http.get("/text", headers={"If-None-Match": plain.headers["etag"]}).status_code == 304


def test_httpx_streams_and_works_in_parallel(start, client, answering):
    daemon = start(answering(lambda request: ok(json.dumps(request.head.target).encode())).address)
    http = client(daemon)
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda number: http.get(f"/{number}").json(), range(200)))
    assert answers == [f"/{number}" for number in range(200)]
    assert len(daemon.all("tls.handshake")) <= 20
