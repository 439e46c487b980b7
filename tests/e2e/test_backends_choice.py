"""Which server gets a request, how many it gets at once, and who waits: seen from outside, over all workers."""

from __future__ import annotations

import contextlib

import pytest
from harness.backends import ok
from harness.daemon import eventually


def test_least_connections_counts_the_requests_of_all_workers(start, played):
    """Ten requests, each held: were each worker to count its own only, one server would get more than half."""
    one, two = played(), played()
    daemon = start(one.address, two.address, workers=3, backend={"balance": "least_connections"})
    with contextlib.ExitStack() as clients:
        held = []
        for number in range(10):
            client = clients.enter_context(daemon.connect())
            client.request(f"/{number}")
            eventually(lambda wanted=number + 1: arrivals(held, one, two) == wanted)
        assert [sum(1 for backend, _ in held if backend is each) for each in (one, two)] == [5, 5]
        for _, behind in held:
            behind.receive_request()
            behind.send(ok())


def arrivals(held, *backends):
    for backend in backends:
        with contextlib.suppress(TimeoutError):
            held.append((backend, backend.accept(0.01)))
    return len(held)


def test_a_backup_serves_only_while_no_other_can(start, answering, played):
    main, backup = played(), answering(ok(b"backup"))
    main_address = main.address
    main.close()
    daemon = start(
        main_address,
        {"address": backup.address, "backup": True},
        backend={"passive_check": {"fail_count": 1, "down_for": "200ms"}},
    )
    with daemon.connect() as client:
        client.request("/")
        assert client.receive_response().body == b"backup"
    event = daemon.wait_for("http.request")
    assert event["backend.server"] == backup.address


def test_the_queue_waits_and_says_when_it_is_full_or_too_slow(start, played):
    backend = played()
    daemon = start(
        {"address": backend.address, "max_connections": 1}, backend={"queue": {"length": 1, "timeout": "400ms"}}
    )
    with daemon.connect() as first, daemon.connect() as second, daemon.connect() as third:
        first.request("/first")
        behind = backend.accept()
        behind.receive_request()
        for client in (second, third):
            client.request("/waiting")
        for client in (second, third):  # one finds the queue full, the time of the other passes
            response = client.receive_response()
            assert response.status == 503
            assert response.head["Retry-After"].isdigit()
        daemon.wait_for("http.request", {"url.path": "/waiting"}, count=2)
        reasons = {event["error.type"] for event in daemon.all("http.request", {"url.path": "/waiting"})}
        assert reasons == {"backend_queue_full", "backend_queue_timeout"}
        second.request("/again")
        behind.send(ok(b"first"))
        assert first.receive_response().body == b"first"
        assert behind.receive_request().head.target == "/again"  # on the connection that came free
        behind.send(ok(b"again"))
        assert second.receive_response().body == b"again"
    assert not backend.has_waiting()


def test_the_same_key_stays_with_its_server(start, answering):
    backends = [answering(ok(b"%d" % number)) for number in range(4)]
    daemon = start(
        *(each.address for each in backends),
        workers=2,
        backend={"balance": "consistent_hash", "hash_key": "header:X-User"},
    )
    homes = {}
    for _ in range(3):
        for user in ("anna", "ben", "cleo", "dora", "emil"):
            with daemon.connect() as client:
                client.request("/", X_User=user)
                homes.setdefault(user, set()).add(client.receive_response().body)
    assert all(len(home) == 1 for home in homes.values())
    assert len(set.union(*homes.values())) > 1


def test_the_budget_bounds_what_an_outage_costs(start, answering):
    """Both servers die on each request: without a budget 60 requests would become 180."""
    dead = [answering(b"") for _ in range(2)]
    daemon = start(*(each.address for each in dead), backend={"passive_check": {"fail_count": 0}})
    with daemon.connect() as client:
        for _ in range(60):
            client.request("/")
            assert client.receive_response().status == 502
    tries = sum(len(each.requests) for each in dead)
    assert 60 < tries <= 60 + 60 * 0.2 + 4


@pytest.mark.parametrize("balance", ["round_robin", "random_two"])
def test_weights_share_the_requests_out(start, answering, balance):
    light, heavy = answering(ok(b"light")), answering(ok(b"heavy"))
    daemon = start(
        {"address": light.address, "weight": 1}, {"address": heavy.address, "weight": 4}, backend={"balance": balance}
    )
    with daemon.connect() as client:
        for _ in range(50):
            client.request("/")
            client.receive_response()
    assert 0.5 < len(heavy.requests) / 50 < 0.95


def test_a_recovered_server_starts_slowly(start, answering):
    """Right after its recovery it has a twentieth of its share at first: of 20 requests it gets a few at most."""
    sound = answering(ok(b"sound"))
    well = []
    sick = answering(lambda request: ok() if well else b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    daemon = start(
        sound.address,
        sick.address,
        backend={"health_check": {"interval": "100ms", "timeout": "100ms", "rise": 1, "fall": 1}, "slow_start": "10m"},
    )
    daemon.wait_for("backend.state", {"backend.state": "down"})
    well.append(True)
    daemon.wait_for("backend.state", {"backend.state": "up"})
    before = sum(request.head.target == "/work" for request in sick.requests)
    with daemon.connect() as client:
        for _ in range(20):
            client.request("/work")
            assert client.receive_response().status == 200
    assert sum(request.head.target == "/work" for request in sick.requests) - before <= 3
