"""A server given by name is found by all its addresses, and its name is asked for anew after `resolve`."""

from __future__ import annotations

from harness.backends import ok


def test_a_name_with_an_address_that_refuses_is_reached_by_the_other(start, answering):
    """localhost is ::1 and 127.0.0.1; the backend listens on one of them only."""
    backend = answering(ok(b"found"))
    port = backend.address.rpartition(":")[2]
    daemon = start(f"localhost:{port}", backend={"resolve": "1s"})
    with daemon.connect() as client:
        client.request("/")
        assert client.receive_response().body == b"found"


def test_a_name_that_is_unknown_is_answered_502(start):
    daemon = start("no-such-name.invalid:80")
    with daemon.connect() as client:
        client.request("/")
        assert client.receive_response().status == 502
    assert "cannot be resolved" in daemon.wait_for("http.request")["error.message"]
