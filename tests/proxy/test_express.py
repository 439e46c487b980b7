"""The express lane against the ordinary way: the same conversations over both, and the backend's bytes, the client's
bytes, the records and the counts are the same. Only how many exchanges the lane took differs, and that is asserted too.
"""

from __future__ import annotations

import dataclasses
import gc
import re
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from terminator.backend.group import Lease
from terminator.errors import BackendError
from terminator.proxy.exchange import Exchange
from terminator.proxy.express import Express
from terminator.proxy.relay import Relay
from terminator.telemetry.board import Distribution

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nCookie: a=b\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Length: 2\r\n\r\nok"


class Close:
    """Instead of bytes: the backend closes the connection."""


class Pause:
    """Instead of bytes: the backend waits until everybody else waits."""


Said = bytes | type[Close] | type[Pause]


class Talk(NamedTuple):
    """A conversation on one client connection: each request with what the backend says to it, piece by piece; None
    where it shall not hear of it."""

    name: str
    turns: list[tuple[bytes, list[Said] | None]]
    taken: int
    """Exchanges that the lane serves from beginning to end."""
    route: dict[str, Any] = {}  # noqa: RUF012
    sections: dict[str, Any] = {}  # noqa: RUF012
    more_routes: list[dict[str, Any]] = []  # noqa: RUF012


def to(target: bytes, request: bytes = GET) -> bytes:
    return request.replace(b" /a ", b" " + target + b" ", 1)


def with_field(line: bytes, answer: bytes = OK) -> bytes:
    return answer.replace(b"\r\n", b"\r\n" + line + b"\r\n", 1)


PLAIN: tuple[bytes, list[Said]] = (GET, [OK])
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
INTERIM = b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

TALKS = [
    Talk("the same again", [PLAIN] * 4, 3),
    Talk("other targets", [PLAIN, (to(b"/b?c=1"), [OK]), (to(b"/?"), [OK]), (to(b"/b/c"), [OK])], 3),
    Talk("bodies of one length", [(POST, [OK])] * 3, 2),
    Talk("another method", [PLAIN, (b"DELETE" + GET[3:], [OK]), (b"HEAD" + GET[3:], [OK[:-2]]), PLAIN], 2),
    Talk("other fields", [PLAIN, (GET.replace(b"a=b", b"a=c"), [OK]), (GET.replace(b"a=b", b"a=c"), [OK])], 2),
    Talk("a body of another length", [(POST, [OK]), (POST.replace(b"4", b"5") + b"!", [OK])], 1),
    Talk(
        "a body that is too large", [(POST, [OK]), (POST.replace(b"4", b"5") + b"!", None)], 0, {"request_body": "4B"}
    ),
    Talk(
        "a body that dies with its connection",
        [(POST, [OK]), (b"PUT" + POST[4:].replace(b"4", b"5") + b"!", [Close])],
        0,
    ),
    Talk("paths that are refused or read in two ways", [PLAIN, (to(b"/b/../c"), None), PLAIN, (to(b"//b"), [OK])], 2),
    Talk("an encoded path", [PLAIN, (to(b"/%41"), [OK]), PLAIN], 2),
    Talk("an absolute target", [PLAIN, (to(b"http://a.test/a"), [OK]), PLAIN], 2),
    Talk("an empty line before a request", [PLAIN, (b"\r\n" + GET, [OK]), (b"\r\n" + GET, [OK])], 2),
    Talk("a client that wants no more", [PLAIN, (GET.replace(b"User-Agent: test", b"Connection: close"), [OK])], 1),
    Talk("the host of another connection", [PLAIN, (GET.replace(b"a.test", b"b.test"), None)], 0),
    Talk("statuses", [PLAIN, *((GET, [OK.replace(b"200", code)]) for code in (b"201", b"404", b"500", b"503"))], 4),
    Talk(
        "responses without content",
        [
            PLAIN,
            (GET, [b"HTTP/1.1 204 No Content\r\n\r\n"]),
            PLAIN,
            PLAIN,
            PLAIN,
            (GET, [b"HTTP/1.1 304 Not Modified\r\nContent-Length: 2\r\n\r\n"]),
        ],
        2,
    ),
    Talk(
        "fields of the connection", [PLAIN, (GET, [with_field(b"Connection: keep-alive\r\nKeep-Alive: timeout=5")])], 1
    ),
    Talk(
        "fields that are ours to say", [PLAIN, (GET, [with_field(b"Date: Sat, 21 Nov 2026 10:00:00 GMT\r\nVia: x")])], 1
    ),
    Talk("cookies", [PLAIN, (GET, [with_field(b"Set-Cookie: a=b; Path=/\r\nSet-Cookie: c=d\r\nETag: x")])], 1),
    Talk("a name in lower case", [PLAIN, (GET, [with_field(b"content-type: x")]), PLAIN], 0),
    Talk(
        "names in lower case",
        [PLAIN, (GET, [with_field(b"content-type: x\r\netag: y").replace(b"-L", b"-l").replace(b"C", b"c")])],
        1,
    ),
    Talk("a response in chunks", [PLAIN, (GET, [CHUNKED]), PLAIN, PLAIN, PLAIN], 2),
    Talk("a response in pieces", [PLAIN, (GET, [OK[:30], Pause, OK[30:-1], Pause, OK[-1:]]), PLAIN], 0),
    Talk(
        "a response of 100 kB",
        [PLAIN, (GET, [b"HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\n" + b"x" * 100000])],
        0,
    ),
    Talk("an interim response", [PLAIN, (GET, [INTERIM + OK]), (GET, [INTERIM, Pause, OK])], 0),
    Talk("a response that ends by closing", [PLAIN, (GET, [b"HTTP/1.1 200 OK\r\n\r\nok", Close]), PLAIN], 0),
    Talk("a backend that wants no more", [PLAIN, (GET, [with_field(b"Connection: close"), Close]), PLAIN], 0),
    Talk("bytes behind a response", [PLAIN, (GET, [OK + OK]), PLAIN], 0),
    Talk("a backend that closed its connection", [PLAIN, (GET, [Close]), (GET, [OK])], 1),
    Talk("a POST to one that closed", [(POST, [OK]), (POST, [Close])], 0),
    Talk("a backend that dies amid its head", [PLAIN, (GET, [OK[:20], Pause, Close])], 0),
    Talk("a backend that dies amid its body", [PLAIN, (GET, [OK[:-1], Pause, Close])], 0),
    Talk("nonsense", [PLAIN, (GET, [b"ICY 200 OK\r\n\r\n"]), PLAIN], 0),
    Talk("CL with TE", [PLAIN, (GET, [with_field(b"Transfer-Encoding: chunked")])], 0),
    Talk(
        "a backend that does not answer", [PLAIN, (POST, []), PLAIN], 0, {}, {"timeouts": {"backend_response": "50ms"}}
    ),
    Talk(
        "a plain one that does not answer",
        [(POST, [OK]), (POST, []), (POST, [OK])],
        0,
        {},
        {"timeouts": {"backend_response": "50ms"}},
    ),
    Talk(
        "rules that say the same each time",
        [PLAIN] * 3,
        2,
        {"headers": {"set": {"X-Env": "prod"}, "remove": ["Cookie"], "add": {"X-Two": "2"}}},
    ),
    Talk("rules with variables", [PLAIN, (to(b"/b"), [OK])], 1, {"headers": {"set": {"X-Path": "{path}"}}}),
    Talk("rules for responses", [PLAIN] * 2, 0, {"response_headers": {"set": {"X-Frame-Options": "DENY"}}}),
    Talk("a request id", [PLAIN] * 2, 1, {}, {"request_id": {"header": "X-Request-ID"}}),
    Talk(
        "a request id in the path",
        [(with_field(b"X-Request-ID: mine", GET), [OK])] * 2,
        1,
        {"rewrite": "/{request.id}{path}"},
        {"request_id": {"trusted": ["127.0.0.0/8"]}},
    ),
    Talk(
        "routes by turns",
        [(to(target), [OK]) for target in (b"/a", b"/a", b"/api/a", b"/api/a", b"/a", b"/a")],
        5,
        more_routes=[{"path": "/api/", "backend": "web"}],
    ),
    Talk(
        "fields of the connection, many times",
        [PLAIN, (GET, [with_field(b"\r\n".join([b"Connection: keep-alive"] * 90))]), PLAIN],
        0,
    ),
    Talk("a limit on heads", [PLAIN, (to(b"/" + b"a" * 1100), None)], 0, {}, {"limits": {"request_head": "1KiB"}}),
]


class Outcome(NamedTuple):
    backend: list[bytes]
    """What each of its connections received."""
    client: list[bytes]
    records: list[dict[str, Any]]
    counts: dict[str, float]
    taken: int


Hold = Callable[[Talk, bool], Awaitable[Outcome]]


@pytest.fixture
def hold(world: Any, monkeypatch: pytest.MonkeyPatch) -> Hold:
    """Holds a conversation, with the lane or without it."""
    handed_over = []
    answered = []
    hand_over = Express._hand_over

    def watched(serve: Callable[..., Awaitable[bool | None]]) -> Callable[..., Awaitable[bool | None]]:
        async def watching(self: Express, *args: Any) -> bool | None:
            before = len(handed_over)
            again = await serve(self, *args)
            if again is not None and len(handed_over) == before:
                answered.append(serve.__name__)
            return again

        return watching

    async def watched_hand_over(self: Express, *args: Any) -> bool:
        handed_over.append(self)
        return await hand_over(self, *args)

    monkeypatch.setattr(Express, "serve_alike", watched(Express.serve_alike))
    monkeypatch.setattr(Express, "serve", watched(Express.serve))
    monkeypatch.setattr(Express, "_hand_over", watched_hand_over)

    async def run(talk: Talk, lane: bool) -> Outcome:
        answered.clear()
        routes = [{"path": "/", "backend": "web", **talk.route}, *talk.more_routes]
        async with world(routes=routes, **talk.sections) as w, trio.open_nursery() as nursery:
            w.traffic.has_express_lane = lane
            backend = Backend(w.backend, [said for _, said in talk.turns if said is not None])
            nursery.start_soon(backend.run)
            client = await w.connect()
            heard = []
            for request, _ in talk.turns:
                await client.send_all(request)
                heard.append(await receive_response(client, request.lstrip().startswith(b"HEAD")))
                await trio.testing.wait_all_tasks_blocked()
                if b"Connection: close" in heard[-1] or not heard[-1]:
                    break
            await trio.aclose_forcefully(client)
            with trio.fail_after(10):
                while w.traffic.open_connections:
                    await trio.testing.wait_all_tasks_blocked()
            nursery.cancel_scope.cancel()
            assert all(member.in_flight == 0 for member in w.traffic.generation.backends["web"].members)
            return Outcome(
                [anonymous(bytes(one)) for one in backend.received],
                [anonymous(one) for one in heard],
                [record(event) for event in w.told("http.request")],
                counts(w.board),
                len(answered),
            )

    return run


class Backend:
    """Says what each request is to hear, whatever connection it comes on, and keeps what every connection received."""

    def __init__(self, listener: trio.SocketListener, answers: list[list[Said]]) -> None:
        self._listener = listener
        self._answers = iter(answers)
        self.received: list[bytearray] = []

    async def run(self) -> None:
        async with trio.open_nursery() as nursery:
            while True:
                nursery.start_soon(self._serve, await self._listener.accept())

    async def _serve(self, stream: trio.SocketStream) -> None:
        received = bytearray()
        self.received.append(received)
        async with stream:
            rest = b""
            while True:
                while (end := whole(rest)) is None:
                    more = await stream.receive_some()
                    if not more:
                        return
                    received += more
                    rest += more
                rest = rest[end:]
                for said in next(self._answers, [OK]):
                    if said is Close:
                        return
                    if said is Pause:
                        await trio.testing.wait_all_tasks_blocked()
                    else:
                        await stream.send_all(said)


def whole(data: bytes) -> int | None:
    """Where the first request ends, None while it has not."""
    head, blank, body = data.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: ([0-9]+)", head)
    needed = int(length[1]) if length else 0
    return len(head) + 4 + needed if blank and len(body) >= needed else None


async def receive_response(stream: Any, head_only: bool) -> bytes:
    """All bytes of one response, interim ones before it included; of a truncated one what came."""
    data = b""

    async def until(end: Callable[[], bool]) -> bool:
        nonlocal data
        while not end():
            try:
                more = await stream.receive_some()
            except trio.BrokenResourceError:
                return False  # cut, as a truncated response shall be
            if not more:
                return False
            data += more
        return True

    with trio.fail_after(10):
        start = 0
        while True:
            if not await until(lambda start=start: b"\r\n\r\n" in data[start:]):
                return data
            end = data.index(b"\r\n\r\n", start) + 4
            if not data[start:].startswith(b"HTTP/1.1 1"):
                break
            start = end
        head = data[start:end]
        if head_only or b" 204 " in head or b" 304 " in head:
            return data
        if length := re.search(rb"Content-Length: ([0-9]+)", head):
            await until(lambda: len(data) >= end + int(length[1]))
        else:
            await until(lambda: data.endswith(b"0\r\n\r\n"))
    return data


def anonymous(data: bytes) -> bytes:
    return re.sub(rb"(X-Forwarded-Port|Date|X-Request-ID): [^\r\n]*", rb"\1: -", data)


def record(event: Any) -> dict[str, Any]:
    told = {name: value for name, value in dataclasses.asdict(event).items() if not name.endswith("_ms")}
    for name in ("time", "conn_id", "client_port", "request_id"):
        told.pop(name, None)
    told["has"] = {name for name, value in dataclasses.asdict(event).items() if value is not None}
    return {key: re.sub(r":\d+", ":-", value) if isinstance(value, str) else value for key, value in told.items()}


def counts(board: Any) -> dict[str, float]:
    """All counters and the number of observations of all histograms."""
    return {
        re.sub(r":\d+", ":-", f"{name}{labels}"): value.count if isinstance(value, Distribution) else value
        for name, series in board.snapshot().items()
        for labels, value in series.items()
        if "loop" not in name
    }


@pytest.mark.parametrize("talk", TALKS, ids=lambda talk: talk.name)
async def test_both_ways_are_the_same(hold: Hold, talk: Talk) -> None:
    ordinary, express = await hold(talk, False), await hold(talk, True)
    assert express.client == ordinary.client
    assert express.backend == ordinary.backend
    assert express.records == ordinary.records
    assert express.counts == ordinary.counts
    assert ordinary.taken == 0
    assert express.taken == talk.taken
    assert len(express.records) == len(express.client)


FAILURES: dict[str, list[Said]] = {
    "closed": [Close],
    "closed amid its head": [OK[:20], Pause, Close],
    "no HTTP": [b"ICY 200 OK\r\n\r\n"],
    "silent": [],
}


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("said", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
async def test_a_failure_leaves_nothing_for_the_garbage_collector(
    hold: Hold, lane: bool, said: list[Said], request_bytes: bytes
) -> None:
    """Under an outage each failing exchange would else keep its client and its connections until a collection."""
    talk = Talk("", [(request_bytes, [OK]), (request_bytes, said)], 0, {}, {"timeouts": {"backend_response": "50ms"}})
    gc.collect()
    gc.freeze()
    gc.disable()
    try:
        await hold(talk, lane)
        left = [type(one) for one in gc.get_objects() if isinstance(one, (Lease, Relay, Exchange, BackendError))]
    finally:
        gc.enable()
        gc.unfreeze()
    assert left == []


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
async def test_a_client_that_leaves_ends_the_backend_s_work(world: Any, receive_until: Any, lane: bool) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        client = await w.connect()
        await client.send_all(GET)
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(OK)
            await receive_until(client, b"ok")
            await client.send_all(GET)
            await receive_until(behind, b"\r\n\r\n")
            await trio.aclose_forcefully(client)
            with trio.fail_after(10):
                assert await behind.receive_some() == b""
    [answered, left] = w.told("http.request")
    assert (left.error_type, left.status, left.server) == ("client_gone", None, answered.server)
    assert answered.server is not None
    assert counts(w.board)["terminator_http_request_errors_total('client_gone',)"] == 1


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
async def test_an_exchange_ends_under_the_generation_it_began_under(world: Any, receive_until: Any, lane: bool) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client:
            await client.send_all(GET)
            async with await w.backend.accept() as behind:
                for answer in (OK, OK, CHUNKED, OK):
                    await receive_until(behind, b"\r\n\r\n")
                    before = w.traffic.generation
                    w.traffic.generation = dataclasses.replace(before, number=before.number + 1)
                    await behind.send_all(answer)
                    await receive_until(client, b"ok\r\n0\r\n\r\n" if answer is CHUNKED else b"ok")
                    await client.send_all(GET)
                await receive_until(behind, b"\r\n\r\n")
    assert [event.generation for event in w.told("http.request")][:4] == [1, 2, 3, 4]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
async def test_a_drain_is_told_in_the_response_that_is_under_way(world: Any, receive_until: Any, lane: bool) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client:
            await client.send_all(GET)
            async with await w.backend.accept() as behind:
                await receive_until(behind, b"\r\n\r\n")
                await behind.send_all(OK)
                assert b"Connection: close" not in await receive_until(client, b"ok")
                await client.send_all(GET)
                await receive_until(behind, b"\r\n\r\n")
                w.traffic.drain(30)
                await behind.send_all(OK)
                assert b"Connection: close\r\n" in await receive_until(client, b"ok")
                with trio.fail_after(10):
                    assert await client.receive_some() == b""


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["plain", "chunked"])
async def test_what_comes_behind_a_body_is_the_next_request(
    world: Any, receive_until: Any, lane: bool, answer: bytes
) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client:
            await client.send_all(GET)
            async with await w.backend.accept() as behind:
                await receive_until(behind, b"\r\n\r\n")
                await behind.send_all(OK)
                await receive_until(client, b"ok")
                await client.send_all(POST + GET)
                assert (await receive_until(behind, b"body")).endswith(b"\r\n\r\nbody")
                await behind.send_all(answer)
                await receive_until(client, b"ok\r\n0\r\n\r\n" if answer is CHUNKED else b"ok")
                assert (await receive_until(behind, b"\r\n\r\n")).startswith(b"GET /a HTTP/1.1\r\n")
                await behind.send_all(OK)
                await receive_until(client, b"ok")
    assert [event.request_bytes for event in w.told("http.request")] == [0, 4, 0]


async def test_a_request_in_pieces_is_read_by_the_ordinary_way(world: Any, receive_until: Any) -> None:
    async with world() as w, await w.connect() as client:
        await client.send_all(GET)
        async with await w.backend.accept() as behind:
            await receive_until(behind, b"\r\n\r\n")
            await behind.send_all(OK)
            await receive_until(client, b"ok")
            for piece in (GET[:20], GET[20:-2], GET[-2:] + GET):  # the third brings a second request along
                await client.send_all(piece)
                await trio.testing.wait_all_tasks_blocked()
            for _ in range(2):
                assert (await receive_until(behind, b"\r\n\r\n")).startswith(b"GET /a HTTP/1.1\r\nHost: a.test\r\n")
                await behind.send_all(OK)
                await receive_until(client, b"ok")
    assert [event.status for event in w.told("http.request")] == [200, 200, 200]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
async def test_a_request_counts_for_retries_when_its_head_is_whole(world: Any, receive_until: Any, lane: bool) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client:
            await client.send_all(GET[:20])
            await trio.testing.wait_all_tasks_blocked()
            whole_at = trio.current_time()
            await client.send_all(GET[20:])
            async with await w.backend.accept() as behind:
                await receive_until(behind, b"\r\n\r\n")
                await behind.send_all(OK)
                await receive_until(client, b"ok")
            assert w.traffic.generation.backends["web"].budget.at >= whole_at
