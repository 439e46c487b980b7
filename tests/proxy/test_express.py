"""The express lane against the ordinary way: the same conversations over both, and the backend's bytes, the client's
bytes, the records and the counts are the same. Only how many exchanges the lane took differs, and that is asserted too.
"""

from __future__ import annotations

import contextlib
import dataclasses
import gc
import inspect
import re
import socket
import struct
from collections.abc import Awaitable, Callable
from typing import Any, NamedTuple

import pytest
import trio
import trio.testing

from terminator.backend.group import Lease
from terminator.errors import BackendError
from terminator.proxy.exchange import Exchange
from terminator.proxy.express import Express
from terminator.proxy.relay import Begun, Relay, relay_body
from terminator.telemetry.board import Distribution

GET = b"GET /a HTTP/1.1\r\nHost: a.test\r\nUser-Agent: test\r\nCookie: a=b\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: a.test\r\nContent-Length: 4\r\n\r\nbody"
OK = b"HTTP/1.1 200 OK\r\nServer: test\r\nContent-Length: 2\r\n\r\nok"


class Close:
    """Instead of bytes: the backend closes the connection."""


class Reset:
    """The same, rudely."""


class Pause:
    """Instead of bytes: the backend waits until everybody else waits."""


Said = bytes | type[Close] | type[Reset] | type[Pause]


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


def byte_by_byte(data: bytes) -> list[Said]:
    return [said for at in range(len(data)) for said in (Pause, data[at : at + 1])]


def of_length(content: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(content), content)


def in_pieces(data: bytes) -> list[Said]:
    """Of which the proxy's kernel holds each whole."""
    return [said for at in range(0, len(data), 50_000) for said in (data[at : at + 50_000], Pause)]


PLAIN: tuple[bytes, list[Said]] = (GET, [OK])
CHUNKED_HEAD = b"HTTP/1.1 200 OK\r\nServer: test\r\nTransfer-Encoding: chunked\r\nETag: x\r\n\r\n"
CHUNKED_BODY = b"2\r\nok\r\n0\r\n\r\n"
CHUNKED = CHUNKED_HEAD + CHUNKED_BODY
TRAILERS = b"2\r\nok\r\n0\r\nX-Sum: 1\r\nHost: x\r\nX-More: 2\r\n\r\n"
LONG = b"x" * 100_000
VERY_LONG = bytes(range(256)) * 4096
LOWER_CASE = b"HTTP/1.1 200 OK\r\nserver: test\r\ntransfer-encoding: chunked\r\netag: x\r\n\r\n"
LAST = GET.replace(b"User-Agent: test", b"Connection: close")
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
    Talk("a response in pieces", [PLAIN, (GET, [OK[:30], Pause, OK[30:-1], Pause, OK[-1:]]), PLAIN], 0),
    Talk("an interim response", [PLAIN, (GET, [INTERIM + OK]), (GET, [INTERIM, Pause, OK])], 0),
    Talk("chunks", [PLAIN, (GET, [CHUNKED]), PLAIN, (POST, [CHUNKED]), (POST, [CHUNKED])], 4),
    Talk(
        "chunks in two pieces, at every border",
        [PLAIN, *((GET, [CHUNKED[:at], Pause, CHUNKED[at:]]) for at in range(len(CHUNKED_HEAD), len(CHUNKED)))],
        len(CHUNKED) - len(CHUNKED_HEAD),
    ),
    Talk(
        "chunks whose head comes in pieces",
        [PLAIN, (GET, [CHUNKED[:-20], Pause, CHUNKED[-20:]]), PLAIN, PLAIN],
        1,
    ),
    Talk(
        "chunks byte by byte",
        [PLAIN, (GET, [CHUNKED_HEAD, *byte_by_byte(TRAILERS)]), (GET, [CHUNKED_HEAD, *byte_by_byte(CHUNKED_BODY)])],
        2,
    ),
    Talk(
        "chunks that differ from those written here",
        [PLAIN, *((GET, [CHUNKED_HEAD + body]) for body in (b"02\r\nok\r\n1\r\n!\r\n0\r\n\r\n", b"000\r\n\r\n"))],
        2,
    ),
    Talk("a chunk with an extension", [PLAIN, (GET, [CHUNKED_HEAD + b"2;a=b\r\nok\r\n0\r\n\r\n"]), PLAIN], 2),
    Talk("trailers", [PLAIN, (GET, [CHUNKED_HEAD + TRAILERS]), PLAIN], 2),
    Talk("trailers that come later", [PLAIN, (GET, [CHUNKED_HEAD + TRAILERS[:10], Pause, TRAILERS[10:]]), PLAIN], 2),
    Talk("trailers that are none", [PLAIN, (GET, [CHUNKED_HEAD + TRAILERS[:10] + b" x\r\n\r\n"]), PLAIN], 0),
    Talk("no chunk where one should be", [PLAIN, (GET, [CHUNKED_HEAD + b"2\r\nok\r\nzz\r\n"]), PLAIN], 0),
    Talk("no chunk at all", [PLAIN, (GET, [CHUNKED_HEAD, Pause, b"-1\r\n"]), PLAIN], 0),
    Talk("a chunk longer than its size", [PLAIN, (GET, [CHUNKED_HEAD + b"2\r\noks\r\n"]), PLAIN], 0),
    Talk("chunks that break off", [PLAIN, (GET, [CHUNKED_HEAD + b"5\r\nok", Pause, Close]), PLAIN], 0),
    Talk("chunks that break off at a border", [PLAIN, (GET, [CHUNKED_HEAD, Pause, CHUNKED[-12:-5], Close]), PLAIN], 0),
    Talk("chunks without an end", [PLAIN, (GET, [CHUNKED[:-2], Pause, Close]), PLAIN], 0),
    Talk("nothing behind a head", [PLAIN, (GET, [CHUNKED_HEAD, Pause, Close]), PLAIN], 0),
    Talk("a reset amid chunks", [PLAIN, (GET, [CHUNKED_HEAD + b"5\r\nok", Pause, Reset]), PLAIN], 0),
    Talk("a reset amid a length", [PLAIN, (GET, [OK[:-1], Pause, Reset]), PLAIN], 0),
    Talk("bytes behind chunks", [PLAIN, (GET, [CHUNKED + OK]), PLAIN], 1),
    Talk("bytes behind chunks that come later", [PLAIN, (GET, [CHUNKED[:-3], Pause, CHUNKED[-3:] + b"x"]), PLAIN], 1),
    Talk("bytes behind no chunk", [PLAIN, (GET, [CHUNKED_HEAD + b"0\r\n\r\n\r\n"]), PLAIN], 1),
    Talk("no content in chunks", [PLAIN, (GET, [CHUNKED_HEAD + b"0\r\n\r\n"]), PLAIN], 2),
    Talk("a body in pieces", [PLAIN, (GET, [OK[:-1], Pause, OK[-1:]]), (GET, [OK[:-2], Pause, OK[-2:]]), PLAIN], 3),
    Talk("a body and more in pieces", [PLAIN, (GET, [OK[:-1], Pause, b"k and more"]), PLAIN], 1),
    Talk("more than no content", [PLAIN, (GET, [b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\nok"]), PLAIN], 1),
    Talk("a body of 100 kB", [PLAIN, (GET, [of_length(LONG)]), (GET, [of_length(LONG)]), PLAIN], 3),
    Talk("a body of 1 MiB", [PLAIN, (GET, [of_length(VERY_LONG)]), PLAIN], 2),
    Talk("a body of 1 MiB in pieces", [PLAIN, (GET, in_pieces(of_length(VERY_LONG))), PLAIN], 2),
    Talk("a body of 1 MiB that breaks off", [PLAIN, (GET, [*in_pieces(of_length(VERY_LONG))[:-2], Close]), PLAIN], 0),
    Talk(
        "chunks of 1 MiB in pieces",
        [PLAIN, (GET, in_pieces(CHUNKED_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(VERY_LONG), VERY_LONG))), PLAIN],
        2,
    ),
    Talk("many small chunks", [PLAIN, (GET, [CHUNKED_HEAD + b"1\r\nx\r\n" * 3000 + b"0\r\n\r\n"]), PLAIN], 2),
    Talk("chunks for a client that wants no more", [PLAIN, (LAST, [CHUNKED])], 1),
    Talk("pieces for a client that wants no more", [PLAIN, (LAST, [CHUNKED_HEAD, Pause, CHUNKED_BODY])], 1),
    Talk("a body in pieces for one", [PLAIN, (LAST, [OK[:-1], Pause, OK[-1:]])], 1),
    Talk("a backend that wants no more after chunks", [PLAIN, (GET, [with_field(b"Connection: close", CHUNKED)])], 0),
    Talk("chunks with a date", [PLAIN, (GET, [with_field(b"Date: Sat, 21 Nov 2026 10:00:00 GMT", CHUNKED)])], 1),
    Talk("chunks with names in lower case", [PLAIN, (GET, [CHUNKED.replace(CHUNKED_HEAD, LOWER_CASE)]), PLAIN], 2),
    Talk("chunks of a strict host", [PLAIN, (GET, [CHUNKED]), (GET, [OK])], 2, {}, {"host": {"hsts": "1d"}}),
    Talk("chunks with an id", [PLAIN, (GET, [CHUNKED])], 1, {}, {"request_id": {"header": "X-Request-ID"}}),
    Talk("Chunks", [PLAIN, (GET, [CHUNKED.replace(b"chunked", b"Chunked")]), PLAIN], 0),
    Talk("compressed chunks", [PLAIN, (GET, [CHUNKED.replace(b"chunked", b"gzip, chunked")]), PLAIN], 0),
    Talk("chunks said twice", [PLAIN, (GET, [with_field(b"Transfer-Encoding: chunked", CHUNKED)]), PLAIN], 0),
    Talk("chunks of HTTP/1.0", [PLAIN, (GET, [CHUNKED.replace(b"P/1.1", b"P/1.0")]), PLAIN], 0),
    *(
        Talk(f"chunks without content, {status.decode()}", [PLAIN, (GET, [CHUNKED.replace(b"200", status)]), PLAIN], 0)
        for status in (b"204", b"304")
    ),
    Talk(
        "a backend that falls silent amid chunks",
        [PLAIN, (GET, [CHUNKED_HEAD + b"5\r\nok"]), PLAIN],
        0,
        {},
        {"timeouts": {"body_idle": "50ms"}},
    ),
    Talk(
        "a backend that falls silent amid a length",
        [PLAIN, (GET, [OK[:-2]]), PLAIN],
        0,
        {},
        {"timeouts": {"body_idle": "50ms"}},
    ),
    Talk(
        "a backend that falls silent amid 1 MiB",
        [PLAIN, (GET, in_pieces(of_length(VERY_LONG))[:-2]), PLAIN],
        0,
        {},
        {"timeouts": {"body_idle": "100ms"}},
    ),
    Talk("a response that ends by closing", [PLAIN, (GET, [b"HTTP/1.1 200 OK\r\n\r\nok", Close]), PLAIN], 0),
    Talk("a backend that wants no more", [PLAIN, (GET, [with_field(b"Connection: close"), Close]), PLAIN], 0),
    Talk("bytes behind a response", [PLAIN, (GET, [OK + OK]), PLAIN], 1),
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
            client = await w.connect(strict=True)
            heard = []
            for request, _ in talk.turns:
                await client.send_all(request)
                heard.append(await receive_response(client, request.lstrip().startswith(b"HEAD")))
                await trio.testing.wait_all_tasks_blocked()
                if heard[-1].endswith((CUT, ENDED)):
                    break
                if b"Connection: close" in heard[-1]:
                    heard[-1] += await receive_response(client, False)  # its end, and nothing before
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
                    if said is Reset:
                        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
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
    """All bytes of one response, interim ones before it included; of a truncated one what came, and how it ended."""
    data = b""

    async def until(end: Callable[[], bool]) -> bool:
        nonlocal data
        while not end():
            try:
                more = await stream.receive_some()
            except trio.BrokenResourceError:
                data += CUT
                return False
            if not more:
                data += ENDED
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
            await until(lambda: LAST_CHUNK.search(data) is not None)
    return data


CUT, ENDED = b" (cut)", b" (ended)"
"""Without close_notify, and with it."""

LAST_CHUNK = re.compile(rb"\r\n0\r\n([^\r\n]+\r\n)*\r\n\Z")


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
    "closed amid its body": [OK[:-1], Pause, Close],
    "reset amid its chunks": [CHUNKED[:-10], Pause, Reset],
    "no chunks": [CHUNKED_HEAD, Pause, b"no chunk\r\n"],
    "no HTTP": [b"ICY 200 OK\r\n\r\n"],
    "silent": [],
    "silent amid its chunks": [CHUNKED_HEAD],
}


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("said", FAILURES.values(), ids=FAILURES)
@pytest.mark.parametrize("request_bytes", [GET, POST], ids=["GET", "POST"])
async def test_a_failure_leaves_nothing_for_the_garbage_collector(
    hold: Hold, lane: bool, said: list[Said], request_bytes: bytes
) -> None:
    """Under an outage each failing exchange would else keep its client and its connections until a collection."""
    timeouts = {"backend_response": "50ms", "body_idle": "50ms"}
    talk = Talk("", [(request_bytes, [OK]), (request_bytes, said)], 0, {}, {"timeouts": timeouts})
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
                for begun, rest in ((b"", OK), (b"", OK), (CHUNKED_HEAD, CHUNKED_BODY), (b"", OK)):
                    await receive_until(behind, b"\r\n\r\n")
                    if begun:
                        await behind.send_all(begun)
                        await receive_until(client, b"\r\n\r\n")
                    before = w.traffic.generation
                    w.traffic.generation = dataclasses.replace(before, number=before.number + 1)
                    await behind.send_all(rest)
                    await receive_until(client, rest[-5:])
                    await client.send_all(GET)
                await receive_until(behind, b"\r\n\r\n")
    assert [event.generation for event in w.told("http.request")][:4] == [1, 2, 3, 4]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize(
    ("begun", "heard", "content_bytes"),
    [(CHUNKED_HEAD, b"\r\n\r\n", 0), (CHUNKED[:-3], b"ok\r\n", 2), (OK[:-1], b"\r\n\r\no", 1)],
    ids=["head", "chunk", "length"],
)
async def test_a_client_that_leaves_amid_a_response_ends_it(
    world: Any, receive_until: Any, lane: bool, begun: bytes, heard: bytes, content_bytes: int
) -> None:
    async with world() as w, trio.open_nursery() as nursery:
        w.traffic.has_express_lane = lane
        client = await w.connect()
        backend = Backend(w.backend, [[OK], [begun]])
        nursery.start_soon(backend.run)
        for end in (b"ok", heard):
            await client.send_all(GET)
            await receive_until(client, end)
        await trio.aclose_forcefully(client)
        with trio.fail_after(10):
            while w.traffic.open_connections:
                await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    [answered, left] = w.told("http.request")
    assert (left.error_type, left.status, left.server) == ("client_gone", 200, answered.server)
    assert left.response_bytes == content_bytes
    assert left.response_ms is not None
    assert counts(w.board)["terminator_http_request_errors_total('client_gone',)"] == 1
    assert all(member.in_flight == 0 for member in w.traffic.generation.backends["web"].members)


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
async def test_a_client_that_takes_nothing_is_given_up(world: Any, lane: bool, chunked: bool) -> None:
    """Its response is held up, and the backend with it: neither is read further than a piece."""
    size = 64 << 20
    head = CHUNKED_HEAD + b"%x\r\n" % size if chunked else OK.replace(b"2\r\n\r\nok", b"%d\r\n\r\n" % size)
    sent = 0

    async def behave(behind: trio.SocketStream) -> None:
        nonlocal sent
        await behind.send_all(head)
        with contextlib.suppress(trio.BrokenResourceError):
            while sent < size:
                await behind.send_all(bytes(65536))
                sent += 65536

    async with world(timeouts={"body_idle": "200ms"}) as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client, await served_once(w, client) as behind:
            await client.send_all(GET)
            await receive_head(behind)
            with trio.fail_after(20):
                await behave(behind)
                while len(w.told("http.request")) < 2:
                    await trio.testing.wait_all_tasks_blocked()
    assert sent < size
    stalled = w.told("http.request")[1]
    assert (stalled.error_type, stalled.status) == ("client_stalled", 200)
    assert 0 < stalled.response_bytes < size


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
async def test_a_slow_reader_gets_all_of_it(world: Any, lane: bool, chunked: bool) -> None:
    """It begins only when the backend's response fills all buffers on the way."""
    size = 32 << 20
    content = bytes(range(256)) * (size >> 8)
    said = CHUNKED_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (size, content) if chunked else of_length(content)
    async with world() as w, trio.open_nursery() as nursery:
        w.traffic.has_express_lane = lane
        client = await w.connect()
        async with client, await served_once(w, client) as behind:
            await client.send_all(GET)
            await receive_head(behind)
            nursery.start_soon(behind.send_all, said)
            await trio.testing.wait_all_tasks_blocked(0.05)
            heard = bytearray()
            with trio.fail_after(60):
                while not heard.endswith(b"0\r\n\r\n" if chunked else content[-4096:]) or len(heard) < size:
                    heard += await client.receive_some()
            await client.send_all(GET)
            await receive_head(behind)  # on the same connection
            await behind.send_all(OK)
            assert b"ok" in await client.receive_some()
    body = heard.partition(b"\r\n\r\n")[2]
    assert (unchunked(bytes(body)) if chunked else body) == content
    assert [event.response_bytes for event in w.told("http.request")] == [2, size, 2]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize(
    "head",
    [
        CHUNKED_HEAD + b"20000\r\n",
        OK.replace(b"2\r\n\r\nok", b"200000\r\n\r\n"),
        OK.replace(b"2\r\n\r\nok", b"200000\r\nx-odd: 1\r\n\r\n"),
    ],
    ids=["chunked", "length", "handed over"],
)
async def test_a_response_that_takes_long_does_not_keep_its_beginning(world: Any, lane: bool, head: bytes) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client, await served_once(w, client) as behind:
            await client.send_all(GET)
            await receive_head(behind)
            await behind.send_all(head + LONG[:30_000])
            heard = 0
            with trio.fail_after(10):
                while heard < 30_000:
                    heard += len(await client.receive_some())
            await trio.testing.wait_all_tasks_blocked()
            running = [
                one.cr_frame for one in gc.get_objects() if inspect.iscoroutine(one) and one.cr_frame is not None
            ]
            theirs = [frame for frame in running if frame.f_globals["__name__"].startswith("terminator.")]
            assert any(frame.f_code is relay_body.__code__ for frame in theirs)
            kept = [value for frame in theirs for value in frame.f_locals.values()]
            kept += [value.received for value in kept if isinstance(value, Begun)]
            assert not [value for value in kept if isinstance(value, (bytes, tuple)) and len(repr(value)) > 10_000]


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("chunked", [True, False], ids=["chunked", "length"])
async def test_a_backend_that_has_answered_is_not_to_blame_for_a_slow_reader(
    world: Any, lane: bool, chunked: bool
) -> None:
    """Each response is whole at once. The one that finds no room on its way to the client waits for longer than the
    backend would have had for it."""
    content = LONG[:60_000]
    said = CHUNKED_HEAD + b"%x\r\n%b\r\n0\r\n\r\n" % (len(content), content) if chunked else of_length(content)
    async with world(timeouts={"backend_response": "100ms"}) as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client, await served_once(w, client) as behind:
            asked = 1
            while len(w.told("http.request")) == asked:
                asked += 1
                await client.send_all(GET)
                await receive_head(behind)
                await behind.send_all(said)
                await trio.testing.wait_all_tasks_blocked()
            await trio.sleep(0.4)
            heard = 0
            with trio.fail_after(10):
                while heard < (asked - 1) * len(content) or len(w.told("http.request")) < asked:
                    heard += len(await client.receive_some())
    assert [(event.status, event.error_type) for event in w.told("http.request")] == [(200, None)] * asked


async def served_once(w: Any, client: Any) -> trio.SocketStream:
    """The connection to the backend, once it has served the client's first request."""
    await client.send_all(GET)
    behind: trio.SocketStream = await w.backend.accept()
    await receive_head(behind)
    await behind.send_all(OK)
    assert b"ok" in await receive_response(client, False)
    return behind


async def receive_head(stream: trio.abc.ReceiveStream) -> None:
    data = b""
    with trio.fail_after(10):
        while not data.endswith(b"\r\n\r\n"):
            data += await stream.receive_some()


def unchunked(body: bytes) -> bytes:
    content, at = bytearray(), 0
    while size := int(body[at : body.index(b"\r\n", at)], 16):
        at = body.index(b"\r\n", at) + 2
        content += body[at : at + size]
        at += size + 2
    return bytes(content)


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
async def test_a_drain_amid_a_response_lets_it_end(world: Any, receive_until: Any, lane: bool) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        client = await w.connect(strict=True)
        async with await served_once(w, client) as behind:
            await client.send_all(GET)
            await receive_head(behind)
            await behind.send_all(CHUNKED[:-10])
            assert b"Connection: close" not in await receive_until(client, b"\r\n\r\n")
            w.traffic.drain(30)
            await trio.testing.wait_all_tasks_blocked()
            await behind.send_all(CHUNKED[-10:])
            assert (await receive_until(client, b"0\r\n\r\n")).endswith(b"0\r\n\r\n")
            with trio.fail_after(10):
                assert await client.receive_some() == b""
        await trio.aclose_forcefully(client)


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["plain", "chunked"])
async def test_a_drain_is_told_in_the_response_that_is_under_way(
    world: Any, receive_until: Any, lane: bool, answer: bytes
) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client, await served_once(w, client) as behind:
            await client.send_all(GET)
            await receive_until(behind, b"\r\n\r\n")
            w.traffic.drain(30)
            await behind.send_all(answer)
            assert b"Connection: close\r\n" in await receive_until(client, answer[-5:])
            with trio.fail_after(10):
                assert await client.receive_some() == b""


@pytest.mark.parametrize("lane", [True, False], ids=["lane", "ordinary"])
@pytest.mark.parametrize("answer", [OK, CHUNKED], ids=["plain", "chunked"])
async def test_what_comes_behind_a_body_is_the_next_request(
    world: Any, receive_until: Any, lane: bool, answer: bytes
) -> None:
    async with world() as w:
        w.traffic.has_express_lane = lane
        async with await w.connect() as client, await served_once(w, client) as behind:
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
