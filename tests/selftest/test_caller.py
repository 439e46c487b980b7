from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from terminator.config.values import TcpAddress, UnixAddress
from terminator.selftest import caller as module
from terminator.selftest.caller import ENDED_FIRST, SILENCE, Caller, Unreachable
from terminator.selftest.hello import GROUPS, TLS13, TLS13_SUITES, Answer, Offer
from terminator.selftest.target import Door
from terminator.tls.alerts import alert_record
from terminator.wire.proxy_header import parse

Listen = Callable[..., Caller]
OFFER = Offer("a.test", TLS13, TLS13_SUITES.values(), GROUPS.values())


def test_the_first_answer(listen: Listen) -> None:
    def refuse(sock: socket.socket) -> None:
        sock.recv(4096)
        for byte in alert_record("protocol_version"):
            sock.sendall(bytes([byte]))

    assert listen(refuse).ask(OFFER) == Answer("alert", alert="protocol_version")
    assert listen(lambda sock: sock.sendall(b"SSH-2.0-x")).say(b"?") == Answer("other", data=b"SSH-2.0-x")
    assert listen(lambda sock: sock.recv(10)).say(b"?") == Answer("closed")
    silent = listen(lambda sock: sock.recv(10) and sock.recv(10), patience_seconds=0.05)
    assert silent.say(b"?") == Answer("silent")


def test_silence_is_asked_again(listen: Listen, monkeypatch: pytest.MonkeyPatch) -> None:
    """A limit on connections closes without a word, and says nothing of what was asked."""
    monkeypatch.setattr(module, "LIMIT_SECONDS", 0.0)
    seen = []

    def late(sock: socket.socket) -> None:
        sock.recv(4096)
        seen.append(1)
        if len(seen) == 3:
            sock.sendall(alert_record("handshake_failure"))

    assert listen(late).ask(OFFER).alert == "handshake_failure"
    meeting = listen(lambda sock: sock.recv(4096)).meet("a.test", "1.3")
    assert (meeting.refused, meeting.agreed, meeting.status) == (SILENCE, False, None)


def test_nobody_there(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        free = TcpAddress(*taken.getsockname())
    for address in (free, UnixAddress(str(tmp_path / "none.sock"))):
        with pytest.raises(Unreachable, match="listener https: nobody answers"):
            Caller(Door("https", address), 0).say(b"?")


def test_no_faster_than_one_address_may(listen: Listen) -> None:
    quick = listen(lambda sock: sock.sendall(b"x"), per_second=20)
    began = time.monotonic()
    for _ in range(3):
        quick.say(b"?")
    assert time.monotonic() - began >= 2 * 1.25 / 20


@pytest.mark.parametrize("trusted", ["127.0.0.0/8", "192.0.2.0/24"])
def test_a_proxy_header_where_it_is_expected_of_us(listen: Listen, trusted: str) -> None:
    from terminator.proxy.facts import parsed_networks

    seen = []

    def note(sock: socket.socket) -> None:
        seen.append(sock.recv(4096))

    caller = listen(note, trusted=parsed_networks((trusted,)), speaks_proxy=True)
    caller.say(b"")
    caller.say(b"?", preamble=False)
    with caller.connection(preamble=False) as sock:
        assert caller.trusted(sock) == (trusted == "127.0.0.0/8")
    first = seen[0]
    if trusted == "127.0.0.0/8":
        header = parse(first)
        assert header.local  # type: ignore[union-attr]
    else:
        assert first == b""
    assert seen[1] == b"?"


def serving(context: ssl.SSLContext, *answers: bytes) -> Callable[[socket.socket], None]:
    """Answers the requests of each connection one after the other, then ends it."""

    def handler(sock: socket.socket) -> None:
        with context.wrap_socket(sock, server_side=True) as tls:
            for answer in answers:
                tls.recv(4096)
                tls.sendall(answer)
            tls.recv(4096)

    return handler


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_a_meeting(listen: Listen, server_context: ssl.SSLContext, version: str) -> None:
    answer = b"HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 421 Misdirected Request\r\nConnection: close\r\n\r\n"
    caller = listen(serving(server_context, answer))
    meeting = caller.meet("a.test", version)
    assert (meeting.status, meeting.closing, meeting.agreed, meeting.resumed) == (421, True, True, False)
    again = caller.meet("a.test", version, session=meeting.session)
    assert (again.status, again.resumed) == (421, True)


def test_a_second_request_on_the_same_connection(listen: Listen, server_context: ssl.SSLContext) -> None:
    ok, last = b"HTTP/1.1 200 OK\r\n\r\n", b"HTTP/1.1 404 Not Found\r\nConnection: close\r\n\r\n"
    assert listen(serving(server_context, ok, last)).meet("a.test", "1.3", before="a.test").status == 404
    ended = listen(serving(server_context, last)).meet("a.test", "1.3", before="a.test")
    assert (ended.refused, ended.status) == (ENDED_FIRST, None)


def test_an_end_without_an_answer(listen: Listen, server_context: ssl.SSLContext) -> None:
    meeting = listen(serving(server_context)).meet("a.test", "1.3")
    assert (meeting.refused, meeting.agreed) == (SILENCE, True)


@pytest.mark.parametrize("allowed", [True, False])
def test_renegotiation(listen: Listen, allowed: bool) -> None:
    import trustme

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("a.test").configure_cert(context)
    if allowed:
        context.options = (context.options & ~ssl.OP_NO_RENEGOTIATION) | 1 << 8  # SSL_OP_ALLOW_CLIENT_RENEGOTIATION
    else:
        context.options |= ssl.OP_NO_RENEGOTIATION
    told = listen(serving(context)).renegotiate("a.test", "nothing")
    assert told == ("" if allowed else "no renegotiation")
