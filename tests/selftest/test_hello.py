from __future__ import annotations

import pytest

from terminator.selftest.hello import (
    EVERY_GROUP,
    EVERY_OLDER_SUITE,
    GROUPS,
    SSL3,
    TLS12,
    TLS13,
    TLS13_SUITES,
    Answer,
    Offer,
    answer_in,
    client_hello,
    ssl2_hello,
)
from terminator.tls.alerts import alert_record
from terminator.wire.client_hello import ClientHello, HelloError, parse

RANDOM = bytes(range(64))


@pytest.mark.parametrize("version", [SSL3, 0x0301, 0x0302, TLS12, TLS13])
def test_hellos_are_read_as_they_are_meant(version: int) -> None:
    offer = Offer("a.test", version, (0xC02F, 0x0005), (23, 29), alpn=("h2", "http/1.1"))
    data = client_hello(offer, RANDOM)
    hello = parse(data)
    assert isinstance(hello, ClientHello)
    assert (hello.server_name, max(hello.offer.versions), hello.offer.groups) == ("a.test", version, (23, 29))
    assert hello.offer.ciphers[:2] == (0xC02F, 0x0005)
    assert hello.offer.alpn == (b"h2", b"http/1.1")
    assert data[11:76] == RANDOM[:32] + b"\x20" + RANDOM[32:]


def test_a_hello_may_offer_everything_and_name_nobody() -> None:
    hello = parse(client_hello(Offer(None, TLS12, EVERY_OLDER_SUITE, EVERY_GROUP), RANDOM))
    assert isinstance(hello, ClientHello)
    assert hello.server_name is None
    assert len(hello.offer.ciphers) == len(set(hello.offer.ciphers)) == len(EVERY_OLDER_SUITE) + 1
    assert set(GROUPS.values()) <= set(hello.offer.groups)
    assert not set(TLS13_SUITES.values()) & set(hello.offer.ciphers)


def test_ssl2_is_recognised() -> None:
    with pytest.raises(HelloError) as refusal:
        parse(ssl2_hello(bytes(16)))
    assert refusal.value.reason == "unsupported_version"


def server_hello(version: int, cipher: int, *extensions: bytes) -> bytes:
    more = b"".join(extensions)
    body = min(version, TLS12).to_bytes(2, "big") + bytes(32) + b"\x20" + bytes(32) + cipher.to_bytes(2, "big") + b"\0"
    body += len(more).to_bytes(2, "big") + more if more else b""
    message = b"\x02" + len(body).to_bytes(3, "big") + body
    return b"\x16\x03\x03" + len(message).to_bytes(2, "big") + message


@pytest.mark.parametrize(
    ("data", "answer"),
    [
        (alert_record("handshake_failure"), Answer("alert", alert="handshake_failure")),
        (b"\x15\x03\x01\x00\x02\x02\xee", Answer("alert", alert="alert 238")),
        (server_hello(TLS12, 0xC02F), Answer("agreed", version=TLS12, cipher=0xC02F)),
        (
            server_hello(TLS13, 0x1301, b"\x00\x2b\x00\x02\x03\x04", b"\x00\x33\x00\x02\x00\x1d"),
            Answer("agreed", version=TLS13, cipher=0x1301, group=29),
        ),
    ],
    ids=["alert", "unknown-alert", "tls-1.2", "tls-1.3"],
)
def test_answers_are_read_whole_and_byte_by_byte(data: bytes, answer: Answer) -> None:
    assert answer_in(data) == answer
    assert answer_in(data + b"more") == answer
    for end in range(len(data)):
        assert answer_in(data[:end]) is None


@pytest.mark.parametrize(
    "data", [b"HTTP/1.1 400 Bad Request\r\n", b"\x16\x03\x03\x00\x06\x01\x00\x00\x02\x00\x00", b"\x16\x99", b"\x00"]
)
def test_what_is_no_answer_in_tls(data: bytes) -> None:
    assert answer_in(data) == Answer("other", data=data)


def test_a_server_hello_that_ends_early() -> None:
    found = answer_in(b"\x16\x03\x03\x00\x08\x02\x00\x00\x04\x03\x03\x00\x00")
    assert found is not None
    assert found.kind == "other"


def test_words() -> None:
    assert str(Answer("agreed", version=TLS13, cipher=0x1301, group=29)) == "TLS 1.3 with suite 0x1301, group 29"
    assert str(Answer("alert", alert="decode_error")) == "decode_error"
    assert str(Answer("closed")) == "closed without a word"
    assert str(Answer("silent")) == "no answer, and not closed"
    assert "HTTP" in str(Answer("other", data=b"HTTP/1.1 200 OK"))
    assert [Answer(kind).refused for kind in ("alert", "closed", "silent", "agreed", "other")] == [True, True] + [
        False
    ] * 3
