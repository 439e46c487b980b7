"""What `http.request` says of a request that came to nothing, and of one that was served."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from terminator.proxy import recording
from terminator.telemetry.alike import RequestAlike, RequestsAlike
from terminator.telemetry.events import HttpRequest


async def test_what_never_came_is_left_out(world: Any, receive_until: Any) -> None:
    async with world(routes=[{"path": "/only", "backend": "web"}]) as w, await w.connect() as client:
        await client.send_all(b"GET /else HTTP/1.1\r\nHost: a.test\r\n\r\n")
        await receive_until(client, b"\r\n\r\n")
    [record] = w.told("http.request")
    assert (record.status, record.host, record.path, record.error_type) == (404, "a.test", "/else", "no_route")
    assert (record.user_agent, record.route, record.backend, record.server, record.retries) == (None,) * 5
    assert (record.queue_ms, record.connect_ms, record.response_ms, record.transfer_ms) == (None,) * 4


async def test_the_times_of_a_request_are_parts_of_its_whole(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET / HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\xe9\r\n\r\n")
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            await receive_until(client, b"ok")
    [record] = w.told("http.request")
    parts = (record.head_ms, record.queue_ms, record.connect_ms, record.response_ms, record.transfer_ms)
    assert all(part >= 0 for part in parts)
    assert sum(parts) <= record.total_ms + 0.01  # each is rounded to a µs
    assert record.user_agent == "t\udce9"
    assert (record.route, record.backend, record.backend_reused) == ("/", "web", False)


async def test_requests_alike_are_told_so_from_the_third_on(world: Any, receive_until: Any) -> None:
    """The first one comes over the ordinary way: there is no kept connection yet. The second is told in full."""
    targets = [b"/1", b"/2", b"/3?x", b"/4"]
    async with world() as w, await w.connect() as client:
        await client.send_all(b"GET %b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\xe9\r\n\r\n" % targets[0])
        async with await w.backend.accept() as behind:
            for number, _ in enumerate(targets, 1):
                await receive_until(behind, b"\r\n\r\n")
                await behind.send_all(
                    b"HTTP/1.1 %d OK\r\nContent-Length: %d\r\n\r\n" % (400 + number, number) + b"x" * number
                )
                await receive_until(client, b"x" * number)
                if number < len(targets):
                    head = b"GET %b HTTP/1.1\r\nHost: a.test\r\nUser-Agent: t\xe9\r\n\r\n" % targets[number]
                    await client.send_all(head)
    sent = [type(event) for event in w.events if event.event == "http.request"]
    assert sent == [HttpRequest, HttpRequest, RequestAlike, RequestAlike]
    told = w.told("http.request")
    assert [(each.path, each.query) for each in told] == [("/1", None), ("/2", None), ("/3", "x"), ("/4", None)]
    assert [(each.status, each.response_bytes) for each in told] == [(401, 1), (402, 2), (403, 3), (404, 4)]
    assert len({(each.conn_id, each.user_agent, each.client_port, each.server) for each in told}) == 1
    assert all(each.total_ms >= each.response_ms + each.transfer_ms - 0.002 for each in told)


@given(st.one_of(st.just(0.0), st.floats(0, 1e-5), st.floats(0, 100), st.floats(0, 1e9)))
def test_a_request_told_alike_has_the_same_times(seconds: float) -> None:
    like = RequestsAlike(HttpRequest(conn_id="c", listener="l"))
    event = RequestAlike(like, ("GET", "/", None), 200, "s", 0, seconds, seconds, seconds, seconds).whole()
    assert {event.idle_ms, event.response_ms, event.transfer_ms, event.total_ms} == {recording._ms(seconds)}
