"""Every event is counted where it belongs, in memory that does not grow with the log."""

from __future__ import annotations

import random
import tracemalloc

import pytest
from synthetic import OLD, clock, day, failure, handshake, request

from terminator.report import software
from terminator.report import tally as module
from terminator.report.sketch import merged
from terminator.report.tally import Tally, network_of


def tallied(*events: dict[str, object], offers: bool = False) -> Tally:
    tally = Tally(offers=offers)
    for event in events:
        tally.add(event)
    return tally


def test_handshakes_by_version_resumption_key_and_host() -> None:
    tally = tallied(
        handshake(0),
        handshake(1, tls_protocol_version="1.2", certificate_key="rsa"),
        handshake(2, tls_resumed=True, certificate_key=None, flight=0.3),
        handshake(3, host="b.example"),
    )
    assert {key: group.count for key, group in tally.groups.items()} == {
        ("1.3", False, "ecdsa", "shop.example"): 1,
        ("1.2", False, "rsa", "shop.example"): 1,
        ("1.3", True, None, "shop.example"): 1,
        ("1.3", False, "ecdsa", "b.example"): 1,
    }
    resumed = tally.groups["1.3", True, None, "shop.example"]
    assert resumed.phases["flight"].largest == 0.3
    assert merged(group.phases["handshake"] for group in tally.groups.values()).count == 4
    assert tally.first.endswith("09:00:00.000000Z")
    assert tally.last.endswith("09:00:03.000000Z")
    assert (tally.negotiated, tally.post_quantum) == ({"X25519MLKEM768": 4}, {True: 4})


def test_failures_by_class_phase_reason_and_client() -> None:
    tally = tallied(
        failure(0, "no_shared_cipher", error_openssl="NO_SHARED_CIPHER", tls_client_ja4=OLD[0]),
        failure(1, "no_shared_cipher", tls_client_ja4=OLD[0]),
        failure(2, "timeout", "first_byte", tls_client_ja4=None, log_sample=0.1),
    )
    assert {kind: each.count for kind, each in tally.failures.items()} == {"no_shared_cipher": 2, "timeout": 10}
    assert tally.failed == 12
    assert tally.failures["no_shared_cipher"].openssl == {"NO_SHARED_CIPHER": 1}
    assert tally.failures["timeout"].phases == {"first_byte": 10}
    (ja4, client), *others = tally.clients.items()
    assert not others
    assert (ja4, client.count, client.failures) == (OLD[0], 2, {"no_shared_cipher": 2})


def test_requests_by_route_status_and_server() -> None:
    tally = tallied(
        request(0, 10.0),
        request(1, 20.0, http_response_status__code=502, error_type="backend_closed", backend_retries=2),
        request(2, 30.0, backend_reused=False, timing_connect__ms=3.0),
        request(3, route=None, host=None, backend=None, http_response_status__code=400, error_type="bad_request"),
    )
    assert tally.routes["shop.example", "/api"].statuses == {200: 2, 502: 1}
    assert tally.routes["-", "-"].errors == {"bad_request": 1}
    server = tally.servers["api", "127.0.0.1:8001"]
    assert (server.count, server.reused, server.retries) == (3, 2, 2)
    assert server.errors == {"backend_closed": 1}
    assert (server.connect_ms.count, server.connect_ms.largest) == (1, 3.0)
    slices = tally.timeline.slices()
    assert sum(each.requests for _, each in slices) == 4
    assert sum(each.server_errors for _, each in slices) == 1


def test_a_sampled_line_counts_for_as_many_in_every_table() -> None:
    tally = tallied(failure(0, "timeout", "hello", error_openssl="X", log_sample=0.1), failure(1, "timeout"))
    found = tally.failures["timeout"]
    assert (found.count, found.phases, found.openssl) == (11, {"hello": 10, "handshake": 1}, {"X": 10})
    ((_, client),) = tally.clients.items()
    assert (client.count, client.failures) == (11, {"timeout": 11})


@pytest.mark.parametrize("order", [1, -1])
def test_what_a_client_calls_itself_is_joined_to_its_fingerprint(order: int) -> None:
    """Whether its handshakes are read before its requests or after them."""
    events = [
        handshake(0, conn_id="c1", tls_client_ja4="one"),
        handshake(1, conn_id="c2", tls_client_ja4="two"),
        request(2, conn_id="c2", user__agent_original="curl/8.5.0"),
        request(4, conn_id="c1"),
        request(5, conn_id="unknown"),
    ]
    tally = tallied(*events[::order])
    software = {ja4: dict(client.software) for ja4, client in tally.clients.items()}
    assert software == {"one": {"Chrome 131": 1}, "two": {"curl/8.5.0": 1}}


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("203.0.113.7", "203.0.113.0/24"),
        ("2001:db8:1:2:3::4", "2001:db8:1::/48"),
        ("not an address", "not an address"),
    ],
)
def test_networks(address: str, network: str) -> None:
    assert network_of(address) == network


def test_other_events() -> None:
    tally = tallied(
        {
            "event": "tunnel.closed",
            "time": "2026-11-21T09:00:00Z",
            "tunnel.closed_by": "client",
            "timing.tunnel_ms": 5.0,
        },
        {"event": "config.reload", "time": "2026-11-21T09:00:00Z", "reload.outcome": "ok"},
        {"event": "server.log_dropped", "time": "2026-11-21T09:00:00Z", "log.dropped": 7},
        {"event": "server.ready", "time": "2026-11-21T09:00:00Z"},
    )
    assert (tally.tunnels, tally.lost_lines) == ({"client": 1}, 7)
    assert tally.lifecycle == {"config.reload": 1, "server.ready": 1}
    assert tally.reloads[0]["reload.outcome"] == "ok"


@pytest.mark.parametrize(
    "event",
    [
        {"event": "tls.handshake"},
        {"event": "tls.handshake", "time": "never", "tls.established": True},
        handshake(0, timing_handshake__ms="slow"),
        failure(0, log_sample=0),
        {"event": "http.request", "time": 5},
        {"event": ["x"], "time": None},
        {"event": "tunnel.closed"},
        handshake(0, host=5),
        handshake(0, timing_client__ms=-1.0),
        handshake(0, timing_client__ms=1e300),
        handshake(0, time="\x1b[2J"),
        handshake(0, time="0001-01-01T00:00:00.000000Z"),
        failure(0, log_sample=1e-300),
        failure(0, tls_client_ja4=["x"]),
        request(0, http_response_status__code="200"),
        request(0, http_response_status__code=10**9),
        {"event": "config.reload", "time": clock(0), "reload.outcome": "ok", "reload.changes": [{}]},
    ],
)
def test_what_is_not_as_it_should_be_is_counted_and_harms_nothing(event: dict[str, object]) -> None:
    tally = tallied(event, handshake(1))
    assert tally.events == 2
    assert tally.malformed + tally.lifecycle.total() == 1


def test_memory_does_not_grow_with_the_log(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every line of a new network, client, offer, host, route and connection: ten times the lines, the same memory."""
    monkeypatch.setattr(software, "MAX_JOINED", 100)
    for place, name in ((module, "network_of"), (software, "product")):  # without their caches, which are bounded too
        monkeypatch.setattr(place, name, getattr(place, name).__wrapped__)

    def measure(count: int) -> int:
        rng = random.Random(1)
        tally = Tally(offers=True)
        tracemalloc.start()
        for number in range(count):
            at = number * 0.01
            tally.add(
                handshake(
                    at,
                    conn_id=str(number),
                    client_address=f"10.{number >> 8 & 255}.{number & 255}.1",
                    tls_client_ja4=f"ja4 {number}",
                    tls_client_offered__ciphers=f"{number:08x}",
                    host=f"h{number}",
                    client=rng.lognormvariate(3, 2),
                )
            )
            tally.add(request(at, conn_id=str(number), user__agent_original=f"agent/{number}", route=f"/{number}"))
        used, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert len(tally.groups) <= module.MAX_GROUPS + 4
        assert len(tally.routes) <= module.MAX_ROUTES + 1
        return used

    for name in ("MAX_NETWORKS", "MAX_CLIENTS", "MAX_OFFERS", "MAX_ROUTES", "MAX_GROUPS"):
        monkeypatch.setattr(module, name, 100)
    assert measure(4000) < measure(1000) * 1.5


def test_a_day_adds_up() -> None:
    events = list(day(2000, 3))
    tally = tallied(*events)
    made = [event for event in events if event["event"] == "tls.handshake"]
    assert sum(group.count for group in tally.groups.values()) + tally.failed == len(made)
    assert sum(route.count for route in tally.routes.values()) == len(events) - len(made)
    assert sum(network.count for _, network in tally.networks.items()) == len(made) - tally.failed
    assert tally.malformed == 0
