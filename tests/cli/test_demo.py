"""The demo's certificates hold under strict verification; its backend tells what reached it."""

from __future__ import annotations

import argparse
import http.client
import http.server
import socket
import ssl
import threading
from pathlib import Path

import pytest

from terminator.cli import demo
from terminator.errors import StartError


def test_the_chain_verifies_under_the_strictest_rules(tmp_path: Path) -> None:
    demo.make_certificates(tmp_path)
    server = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    server.load_cert_chain(tmp_path / "localhost.pem", tmp_path / "localhost.key")
    client = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    client.verify_flags |= ssl.VerifyFlags.VERIFY_X509_STRICT
    here, there = socket.socketpair()
    serving = threading.Thread(target=lambda: server.wrap_socket(there, server_side=True).close())
    serving.start()
    with client.wrap_socket(here, server_hostname="localhost") as established:
        names = (established.getpeercert() or {})["subjectAltName"]
    serving.join()
    assert names == (("DNS", "localhost"),)


def test_the_key_is_its_owners_alone(tmp_path: Path) -> None:
    demo.make_certificates(tmp_path)
    assert (tmp_path / "localhost.key").stat().st_mode & 0o077 == 0


@pytest.mark.parametrize(("method", "body"), [("GET", None), ("POST", b"posted")])
def test_the_sample_backend_tells_what_reached_it(method: str, body: bytes | None) -> None:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), demo.SampleBackend) as backend:
        serving = threading.Thread(target=backend.serve_forever)
        serving.start()
        connection = http.client.HTTPConnection("127.0.0.1", backend.server_port)
        connection.request(method, "/path", body, {"X-Told": "yes"})
        answer = connection.getresponse().read()
        connection.close()
        backend.shutdown()
        serving.join()
    assert f"{method} /path HTTP/1.1".encode() in answer
    assert b"X-Told: yes" in answer
    assert answer.endswith(body or b"\n")


def test_a_port_in_use_is_told_with_the_way_out() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(StartError, match=rf"port {port} is in use; choose another one with --port"):
            demo.run(argparse.Namespace(port=port))


@pytest.mark.parametrize("text", ["0", "65536", "-1", "https", "８４"])
def test_a_port_is_a_number_in_range(text: str) -> None:
    parser = argparse.ArgumentParser(exit_on_error=False)
    demo.add_arguments(parser)
    with pytest.raises(argparse.ArgumentError):
        parser.parse_args(["--port", text])
