"""`explain` says what the proxy does: random configurations and requests, asked of the one and sent through the other.

In one process, with everything below the handshake as it runs in a worker: a client's connection, its exchanges, and
listening backends that repeat what they got.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import trio
import yaml
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from terminator.backend.fleet import Fleet
from terminator.config.load import load
from terminator.errors import BackendClosed, ClientGone, ConfigError
from terminator.proxy.client import serve_requests
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.proxy.explanation import Explanation, explain
from terminator.proxy.facts import Client, Origin
from terminator.proxy.generation import Generation, Plan, build
from terminator.proxy.question import Question
from terminator.proxy.traffic import Traffic
from terminator.telemetry.board import Board, worker_row
from terminator.tls.material import CertificateInfo, Pair, compose
from terminator.tls.openssl import Capabilities
from terminator.transport.alarms import Alarms
from terminator.transport.stream import Stream
from terminator.wire.client_side import ClientSide

NOW = datetime.now(UTC)
CLIENT = "192.0.2.7"
BOARD = Board(worker_row(1), slots=1 << 14, directory_bytes=1 << 18)

NAMES = ["a.test", "*.w.test", "b.test"]
PATHS = ["/", "/api", "/api/", "/a/b", "/admin"]
VALUES = ["{client.address}", "{route}|{path}|{query}", "{method} {uri}", "{host}", "{backend}", "{tls.sni}", "plain"]


def optional(**parts: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    """A mapping with some of these keys."""
    return st.fixed_dictionaries({}, optional=parts)


values = st.sampled_from(VALUES)
conditions = optional(
    methods=st.lists(st.sampled_from(["GET", "POST", "PUT"]), min_size=1, unique=True),
    match_headers=st.fixed_dictionaries({"X-K": st.sampled_from(["1", "2", "*"])}),
    match_query=st.fixed_dictionaries({"q": st.sampled_from(["1", "*"])}),
)
rules = st.fixed_dictionaries(
    {},
    optional={
        "set": st.fixed_dictionaries({"X-Set": values}),
        "add": st.fixed_dictionaries({"X-Add": values}),
        "remove": st.just(["Cookie"]),
    },
)
forwards = st.builds(
    lambda backend, more: {"backend": backend, **more},
    st.sampled_from(["one", "two"]),
    optional(
        rewrite=st.sampled_from(["/new{path}", "/{query}", "/fixed"]),
        headers=rules,
        response_headers=rules,
        request_body=st.just("3B"),
    ),
)
answers = st.one_of(
    st.builds(
        lambda to, status: {"redirect": {"to": to, "status": status}},
        st.sampled_from(["https://{host}{uri}", "/other{path}?{query}"]),
        st.sampled_from([301, 308]),
    ),
    st.builds(lambda status: {"respond": {"status": status, "body": "x"}}, st.sampled_from([200, 403, 503])),
)


@st.composite
def route(draw: st.DrawFn) -> dict[str, Any]:
    action = draw(st.one_of(forwards, answers))
    path = draw(st.sampled_from(PATHS))
    place = {"exact": path} if draw(st.integers(0, 3)) == 0 else {"path": path}
    if "path" in place and path != "/" and "backend" in action and "rewrite" not in action and draw(st.booleans()):
        place["strip_prefix"] = True  # type: ignore[assignment]
    return {**place, **draw(conditions), **action}


def host(names: st.SearchStrategy[str]) -> st.SearchStrategy[Any]:
    return st.tuples(
        names,
        st.lists(route(), min_size=1, max_size=5, unique_by=lambda one: (one.get("path"), one.get("exact"))),
        st.sampled_from([None, "1d"]),
    )


hosts = st.builds(
    lambda first, others: [first, *others],
    host(st.just("a.test")),
    st.lists(host(st.sampled_from(NAMES[1:])), max_size=2, unique_by=lambda one: one[0]),
)
configs = st.tuples(hosts, st.booleans(), st.booleans(), st.booleans())
TARGETS = [
    "/",
    "/api",
    "/api/x?q=1",
    "/apix",
    "/a/b/c?q=2&q=1",
    "/admin;x",
    "//admin",
    "/a/../admin",
    "/%61dmin",
    "/z?../x",
]
requests = st.lists(
    st.builds(
        lambda method, target, host, sni, k, length: (method, target, host, sni, k, length),
        st.sampled_from(["GET", "HEAD", "POST", "PUT", "OPTIONS"]),
        st.sampled_from(TARGETS),
        st.sampled_from(["same"] * 6 + ["b.test", "A.TEST:443", "x.w.test", "other.test", "[::1]"]),
        st.sampled_from(["a.test"] * 5 + ["x.w.test", "b.test", "y.x.w.test", "other.test", None]),
        st.sampled_from([None, "1", "2"]),
        st.sampled_from([0, 2, 5]),
    ),
    min_size=1,
    max_size=6,
)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(configs, requests)
def test_explain_says_what_the_proxy_does(drawn: Any, asked: list[Any]) -> None:
    with tempfile.TemporaryDirectory(prefix="explained-") as name:
        trio.run(compare, Path(name), drawn, asked)


async def compare(folder: Path, drawn: Any, asked: list[Any]) -> None:
    config = configured(folder, drawn)
    events: list[Any] = []
    materials = {
        host.names[0]: compose(host.names[0], tuple(host.names), config.policy(host), (pair(),), None)
        for host in config.hosts
    }
    fleet = Fleet()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    generation = build(Plan(1, config, materials), dict.fromkeys(materials, context), fleet)
    traffic = Traffic(
        worker=0,
        workers=1,
        generation=generation,
        fleet=fleet,
        emit=events.append,
        board=BOARD.writer(worker_row(0)),
        capabilities=Capabilities(),
    )
    async with trio.open_nursery() as nursery:
        for backend in ("one", "two"):
            listener = trio.socket.socket(trio.socket.AF_UNIX)
            await listener.bind(str(folder / backend))
            listener.listen(50)
            nursery.start_soon(repeat, trio.SocketListener(listener), backend)
        for method, target, host, sni, k, length in asked:
            question = Question(
                scheme="https",
                port=443,
                authority=(sni or "a.test") if host == "same" else host,
                target=target,
                method=method,
                headers=(
                    ("Cookie", "c=1"),
                    ("Connection", "close"),
                    *([("X-K", k)] if k else []),
                    *([("Content-Length", str(length))] if method in ("POST", "PUT") else []),
                ),
                sni=sni,
                client=CLIENT,
            )
            told = explain(config, question, lambda chain, key: pair(), NOW)
            await check(
                traffic, generation, question, told, events, b"x" * length if method in ("POST", "PUT") else b""
            )
        nursery.cancel_scope.cancel()
    fleet.close()


def configured(folder: Path, drawn: Any) -> Any:
    chosen, default, ids, ja4 = drawn
    config: dict[str, Any] = {
        "version": 1,
        "listeners": [{"name": "https", "bind": "127.0.0.1:443"}],
        "hosts": [
            {
                "names": [name],
                "certificates": [{"chain": "c.pem", "key": "k.pem"}],
                "routes": routes + [{"path": "/", "backend": "two"}] * all(one.get("path") != "/" for one in routes),
                **({"hsts": hsts} if hsts else {}),
            }
            for name, routes, hsts in chosen
        ],
        "backends": {name: {"servers": [f"unix:{folder}/{name}"]} for name in ("one", "two")},
        "tls": {"unknown_sni": chosen[0][0] if default else "reject"},
        **({"request_id": {}} if ids else {}),
        **({"ja4_header": "X-JA4"} if ja4 else {}),
    }
    file = folder / "terminator.yaml"
    file.write_text(yaml.safe_dump(config))
    try:
        return load(str(file)).config
    except ConfigError:
        assume(False)


def pair() -> Pair:
    info = CertificateInfo(
        serial="2a",
        subject="CN=a.test",
        issuer="CN=ca",
        names=("a.test",),
        not_before=NOW - timedelta(days=10),
        not_after=NOW + timedelta(days=80),
        key_type="ecdsa",
        key_bits=256,
        sha256="00",
        chain_length=1,
        chain_problems=(),
        chain_not_after=None,
    )
    return Pair(chain_file="c", key_file="k", key_mode=0o600, chain_pem=b"", key_pem=b"", info=info, digest="")


async def repeat(listener: trio.SocketListener, name: str) -> None:
    """A backend that answers with what it got: its own name, target and fields."""

    async def serve(stream: trio.SocketStream) -> None:
        received = b""
        while b"\r\n\r\n" not in received:
            more = await stream.receive_some()
            if not more:
                return
            received += more
        head = received.partition(b"\r\n\r\n")[0].decode("latin-1")
        body = json.dumps({"backend": name, "lines": head.split("\r\n")}).encode()
        await stream.send_all(b"HTTP/1.1 200 OK\r\nX-Body: %s\r\nContent-Length: 0\r\nConnection: close\r\n\r\n" % body)

    await trio.serve_listeners(serve, [listener])


async def check(
    traffic: Traffic, generation: Generation, asked: Question, told: Explanation, events: list[Any], body: bytes
) -> None:
    entry, _ = generation.host_for_sni(asked.sni)
    if entry is None:
        assert told.error == "unrecognized_name"
        return
    assert told.host == entry.name
    events.clear()
    ours, theirs = trio.socket.socketpair()
    config = generation.config
    served = Client(
        id="1",
        listener=config.listeners[0],
        half=ClientHalf(Stream(ours._sock, ClientGone, BackendClosed)),  # type: ignore[attr-defined]
        origin=Origin(CLIENT, 5555, 443, "192.0.2.1"),
        side=ClientSide(
            address=CLIENT,
            port=5555,
            scheme="https",
            server_port=443,
            ja4_header=config.ja4_header,
            claims=(config.request_id.header,) if config.request_id is not None else (),
        ),
        server_name=asked.sni,
        authentication=entry.material.authentication,
        certificate=None,
        tls_version="1.3",
        tls_cipher="TLS_AES_128_GCM_SHA256",
        alpn=None,
        offer=None,
        deadline=Deadline(Alarms()),
        idle_since=trio.current_time(),
    )
    async with trio.open_nursery() as nursery:
        await theirs.send(asked.raw_head + body)
        theirs.shutdown(trio.socket.SHUT_WR)
        with trio.fail_after(10):
            await serve_requests(traffic, served)
        served.half.stream.close()
        response = b""
        while more := await theirs.recv(65536):
            response += more
        theirs.close()
        nursery.cancel_scope.cancel()
    head = response.partition(b"\r\n\r\n")[0].decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    event = next(each for each in events if each.event == "http.request")
    context = (asked, told, head, event)
    assert event.error_type == told.error, context
    assert told.error is not None or event.backend == (told.backend.name if told.backend else None), context
    if told.backend is None:
        assert status == told.status, context
    else:
        assert status == 200, context
        sent = json.loads(next(line.partition(": ")[2] for line in head if line.lower().startswith("x-body: ")))
        assert sent["backend"] == told.backend.name
        assert sent["lines"][0] == f"{asked.method} {told.target} HTTP/1.1"
        agree(told.request_added, told.request_removed, sent["lines"], context)
    if told.route is not None:
        won = next(each for each in told.routes if each.won)
        assert won.index == told.route
    agree(told.response_added, (), head, context)


def agree(added: tuple[str, ...], removed: tuple[str, ...], lines: list[str], context: Any) -> None:
    """What was to be added is there, what was to be removed is not; variables that only a connection tells aside."""
    there = {line.lower() for line in lines}
    for line in added:
        if "(" not in line:
            assert line.lower() in there, (line, context)
    for line in removed:
        assert line.lower() not in there, (line, context)


def test_the_property_reaches_every_kind_of_answer() -> None:
    """A test of the test: the table of targets and hosts holds what is forwarded, refused and misdirected."""
    assert {"/a/../admin", "//admin", "/api/x?q=1"} <= set(TARGETS)
    with pytest.raises(AssertionError):
        agree(("X: 1",), (), ["X: 2"], None)
