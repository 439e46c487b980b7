"""A ClientHello in any number of records and pieces; what is refused, and as whose mistake."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.wire.client_hello import (
    MAX_BYTES,
    MAX_EXTENSIONS,
    ClientHello,
    HelloError,
    NeedMore,
    parse,
)
from terminator.wire.offer import Offer


def u16s(*values: int) -> bytes:
    return b"".join(value.to_bytes(2, "big") for value in values)


def sized(data: bytes, width: int = 2) -> bytes:
    return len(data).to_bytes(width, "big") + data


def extension(kind: int, data: bytes) -> bytes:
    return u16s(kind) + sized(data)


def sni(name: bytes) -> bytes:
    return extension(0, sized(b"\x00" + sized(name)))


def alpn(*names: bytes) -> bytes:
    return extension(16, sized(b"".join(sized(name, 1) for name in names)))


def body(
    extensions: bytes | None = b"",
    *,
    version: int = 0x0303,
    session_id: bytes = b"",
    ciphers: tuple[int, ...] = (0x1301,),
    compression: bytes = b"\x00",
) -> bytes:
    fixed = u16s(version) + bytes(32) + sized(session_id, 1) + sized(u16s(*ciphers)) + sized(compression, 1)
    return fixed if extensions is None else fixed + sized(extensions)


def message(hello: bytes) -> bytes:
    return b"\x01" + sized(hello, 3)


def record(fragment: bytes, *, kind: int = 22, version: int = 0x0301) -> bytes:
    return bytes([kind]) + u16s(version) + sized(fragment)


def fragmented(data: bytes, size: int) -> bytes:
    return b"".join(record(data[start : start + size]) for start in range(0, len(data), size))


def real_hello(name: str | None = "www.example.com", *, alpn_names: tuple[str, ...] = ("h2", "http/1.1")) -> bytes:
    """What this machine's OpenSSL sends."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    context.set_alpn_protocols(list(alpn_names))
    outgoing = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), outgoing, server_hostname=name)
    with pytest.raises(ssl.SSLWantReadError):
        connection.do_handshake()
    return outgoing.read()


FULL = (
    extension(0x1A1A, b"")
    + sni(b"Shop.Example.")
    + extension(43, sized(u16s(0x2A2A, 0x0304, 0x0303), 1))
    + extension(10, sized(u16s(0x3A3A, 0x11EC, 0x001D, 0x0017, 0x7777)))
    + extension(13, sized(u16s(0x0403, 0x0804)))
    + alpn(b"\x4a\x4a", b"h2", b"http/1.1")
    + extension(41, b"whatever")
)
FULL_BODY = body(FULL, session_id=b"s" * 32, ciphers=(0x5A5A, 0x1301, 0xC02B))


def test_every_field_of_a_hello() -> None:
    data = record(message(FULL_BODY))
    assert parse(data) == ClientHello(
        server_name="shop.example",
        offer=Offer(
            legacy_version=0x0303,
            versions=(0x2A2A, 0x0304, 0x0303),
            ciphers=(0x5A5A, 0x1301, 0xC02B),
            groups=(0x3A3A, 0x11EC, 0x001D, 0x0017, 0x7777),
            signature_algorithms=(0x0403, 0x0804),
            alpn=(b"\x4a\x4a", b"h2", b"http/1.1"),
            extensions=(0x1A1A, 0, 43, 10, 13, 16, 41),
        ),
        length=len(data),
    )


@pytest.mark.parametrize("name", ["www.example.com", None])
def test_the_hello_of_openssl(name: str | None) -> None:
    data = real_hello(name)
    hello = parse(data)
    assert isinstance(hello, ClientHello)
    offer = hello.offer
    assert (hello.server_name, offer.alpn, hello.length) == (name, (b"h2", b"http/1.1"), len(data))
    assert offer.versions[0] == 0x0304
    assert 0x1301 in offer.ciphers
    assert 0x001D in offer.groups


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (b"shop.example", "shop.example"),
        (b"SHOP.Example", "shop.example"),
        (b"shop.example.", "shop.example"),
        (b"shop.example..", "shop.example."),
        (b"192.0.2.1", "192.0.2.1"),
        (b"[2001:db8::1]", "[2001:db8::1]"),
        (b"under_score.example", "under_score.example"),
        (b"xn--bcher-kva.example", "xn--bcher-kva.example"),
        (b"a" * 255, "a" * 255),
    ],
)
def test_server_names(sent: bytes, read: str) -> None:
    hello = parse(record(message(body(sni(sent)))))
    assert isinstance(hello, ClientHello)
    assert hello.server_name == read


# --------------------------------------------------------------------------------------------- pieces and records


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100, 10_000])
def test_any_fragmentation_reads_the_same(size: int) -> None:
    """RFC 8446 §5.1: a message may be split over several records."""
    whole = parse(record(message(FULL_BODY)))
    data = fragmented(message(FULL_BODY), size)
    split = parse(data + b"the rest of the connection")
    assert isinstance(whole, ClientHello)
    assert isinstance(split, ClientHello)
    assert split.length == len(data)
    assert (split.server_name, split.offer) == (whole.server_name, whole.offer)


@pytest.mark.parametrize("size", [1, 2, 3, 4, 5, 7, 100, 10_000])
def test_byte_by_byte_it_never_asks_for_more_than_will_come(size: int) -> None:
    """SO_RCVLOWAT is set by `missing_bytes`: to ask for too much would be to wait for ever."""
    data = fragmented(message(FULL_BODY), size)
    for have in range(len(data)):
        answer = parse(data[:have])
        assert isinstance(answer, NeedMore), have
        assert 0 < answer.missing_bytes <= len(data) - have
    assert isinstance(parse(data), ClientHello)


def test_it_is_whole_in_few_steps_when_asked_for_what_it_needs() -> None:
    data = fragmented(message(FULL_BODY), 100)
    have, steps = 0, 0
    while isinstance(answer := parse(data[:have]), NeedMore):
        have += answer.missing_bytes
        steps += 1
    assert steps < 8


def test_what_follows_is_left_alone() -> None:
    """Early data (RFC 8446 §4.2.10) and a middlebox's change_cipher_spec may come with the hello."""
    data = record(message(FULL_BODY))
    hello = parse(data + record(b"\x01", kind=20) + record(b"early", kind=23))
    assert isinstance(hello, ClientHello)
    assert hello.length == len(data)


# --------------------------------------------------------------------------------------------------------- refusals

SSL2 = b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10" + bytes(37)

REFUSED = {
    "GET": (b"GET / HTTP/1.1\r\n", "plain_http"),
    "POST": (b"POST /a HTTP/1.1\r\n", "plain_http"),
    "HTTP/2 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "plain_http"),
    "CONNECT": (b"CONNECT shop.example:443 HTTP/1.1\r\n", "http_proxy_request"),
    "SSH": (b"SSH-2.0-OpenSSH_9.2\r\n", "not_tls"),
    "SMTP": (b"EHLO me\r\n", "not_tls"),
    "PROXY v1": (b"PROXY TCP4 192.0.2.1 192.0.2.2 1 2\r\n", "not_tls"),
    "PROXY v2": (b"\r\n\r\n\x00\r\nQUIT\n\x21\x11\x00\x0c", "not_tls"),
    "newline": (b"\r\n", "not_tls"),
    "zeros": (bytes(20), "not_tls"),
    "RDP": (b"\x03\x00\x00\x13\x0e\xe0\x00\x00", "not_tls"),
    "handshake byte alone": (b"\x16\x00\x00\x00\x10\x01\x00\x00\x0c", "not_tls"),
    "lower-case method": (b"get / HTTP/1.1\r\n", "not_tls"),
    "high bit": (b"\xff\xfe\xfd\xfc\xfb\xfa", "not_tls"),
    "SSL 2.0": (b"\x80\x2e\x01\x00\x02" + bytes(20), "unsupported_version"),
    "SSL 2.0 form for TLS": (SSL2, "unsupported_version"),
    "alert first": (record(b"\x02\x28", kind=21), "malformed_hello"),
    "data first": (record(b"hello", kind=23), "malformed_hello"),
    "change_cipher_spec first": (record(b"\x01", kind=20), "malformed_hello"),
    "ServerHello": (record(b"\x02" + sized(bytes(40), 3)), "malformed_hello"),
    "HelloRequest": (record(b"\x00\x00\x00\x00"), "malformed_hello"),
    "empty record": (record(b"") + record(message(FULL_BODY)), "malformed_hello"),
    "empty record amid": (record(message(FULL_BODY)[:9]) + record(b"") + record(b"xxxxx"), "malformed_hello"),
    "empty record amid its header": (record(b"\x01") + record(b"") + record(b"xxxxx"), "malformed_hello"),
    "alert amid": (record(message(FULL_BODY)[:9]) + record(b"\x01\x00", kind=21), "malformed_hello"),
    "alert amid its header": (record(b"\x01") + record(b"\x01\x00", kind=21), "malformed_hello"),
    "alert begins amid": (record(message(FULL_BODY)[:9]) + b"\x15", "malformed_hello"),
    "record beyond 2^14": (b"\x16\x03\x01\x40\x01\x01\x00\x3f\xfd" + bytes(20), "malformed_hello"),
    "fragment beyond 2^14": (b"\x16\x03\x01\x40\x01\x01\x00\x4f\xfd" + bytes(20), "malformed_hello"),
    "two messages": (record(message(FULL_BODY) + b"\x14\x00\x00\x00"), "malformed_hello"),
    "one fragment too much": (
        record(message(FULL_BODY)[:99]) + record(message(FULL_BODY)[99:] + b"x"),
        "malformed_hello",
    ),
    "announced beyond the limit": (b"\x16\x03\x01\x20\x00\x01\x10\x00\x00", "hello_too_large"),
    "too many records": (fragmented(message(body(extension(21, bytes(2000)))), 1), "hello_too_large"),
    "empty body": (record(message(b"")), "malformed_hello"),
    "cut in the random": (record(message(FULL_BODY[:20])), "malformed_hello"),
    "cut in the ciphers": (record(message(FULL_BODY[:70])), "malformed_hello"),
    "cut in the extensions": (record(message(FULL_BODY[:-3])), "malformed_hello"),
    "longer than its extensions": (record(message(FULL_BODY + b"xx")), "malformed_hello"),
    "one byte after compression": (record(message(body(None) + b"\x00")), "malformed_hello"),
    "long session id": (record(message(body(session_id=b"s" * 33))), "malformed_hello"),
    "no ciphers": (record(message(body(ciphers=()))), "malformed_hello"),
    "no compression": (record(message(body(compression=b""))), "malformed_hello"),
    "odd ciphers": (record(message(u16s(0x0303) + bytes(33) + sized(b"xyz") + b"\x01\x00\x00\x00")), "malformed_hello"),
    "extension twice": (record(message(body(extension(23, b"") * 2))), "malformed_hello"),
    "extension cut": (record(message(body(u16s(23, 5) + b"xx"))), "malformed_hello"),
    "extension header cut": (record(message(body(b"\x00\x17\x00"))), "malformed_hello"),
    "too many extensions": (
        record(message(body(b"".join(extension(n, b"") for n in range(1000, 1001 + MAX_EXTENSIONS))))),
        "malformed_hello",
    ),
    "extension cut by what follows": (record(message(body(u16s(23, 5) + b"xx"))) + b"following", "malformed_hello"),
    "empty name": (record(message(body(sni(b"")))), "malformed_hello"),
    "name a dot": (record(message(body(sni(b".")))), "malformed_hello"),
    "name with a zero": (record(message(body(sni(b"shop.example\x00.evil")))), "malformed_hello"),
    "name with a space": (record(message(body(sni(b"shop example")))), "malformed_hello"),
    "name with a newline": (record(message(body(sni(b"shop\n")))), "malformed_hello"),
    "name in UTF-8": (record(message(body(sni("bücher.example".encode())))), "malformed_hello"),
    "name too long": (record(message(body(sni(b"a" * 256)))), "malformed_hello"),
    "name of another type": (record(message(body(extension(0, sized(b"\x01" + sized(b"shop")))))), "malformed_hello"),
    "two names": (
        record(message(body(extension(0, sized(b"\x00" + sized(b"a.example") + b"\x00" + sized(b"b.example")))))),
        "malformed_hello",
    ),
    "empty server_name": (record(message(body(extension(0, b"")))), "malformed_hello"),
    "server_name of wrong length": (
        record(message(body(extension(0, sized(b"\x00" + sized(b"a")) + b"x")))),
        "malformed_hello",
    ),
    "server_name list of wrong length": (
        record(message(body(extension(0, b"\x00\x01\x00" + sized(b"shop"))))),
        "malformed_hello",
    ),
    "empty ALPN": (record(message(body(extension(16, sized(b""))))), "malformed_hello"),
    "ALPN with an empty name": (record(message(body(alpn(b"h2", b"")))), "malformed_hello"),
    "ALPN name cut": (record(message(body(extension(16, sized(b"\x05h2"))))), "malformed_hello"),
    "ALPN list of wrong length": (record(message(body(extension(16, b"\x00\x09\x02h2")))), "malformed_hello"),
    "odd groups": (record(message(body(extension(10, sized(b"\x00\x1d\x00"))))), "malformed_hello"),
    "empty groups": (record(message(body(extension(10, sized(b""))))), "malformed_hello"),
    "groups of wrong length": (record(message(body(extension(10, b"\x00\x09\x00\x1d")))), "malformed_hello"),
    "empty versions": (record(message(body(extension(43, b"\x00")))), "malformed_hello"),
    "versions without length": (record(message(body(extension(43, b"")))), "malformed_hello"),
    "empty signature algorithms": (record(message(body(extension(13, b"")))), "malformed_hello"),
}


@pytest.mark.parametrize(("data", "reason"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_whole_and_at_every_later_length(data: bytes, reason: str) -> None:
    """Once refused, more bytes do not help; before that, it asks for at least one more."""
    with pytest.raises(HelloError) as refused:
        parse(data)
    assert refused.value.reason == reason
    assert str(refused.value).isprintable()
    for end in range(len(data)):
        answer = verdict(data[:end])
        if isinstance(answer, HelloError):
            assert answer.reason == refused.value.reason
        else:
            assert isinstance(answer, NeedMore)
            assert answer.missing_bytes > 0


def test_a_hello_that_is_refused_for_its_size_is_told_to_be_larger_than_the_limit() -> None:
    with pytest.raises(HelloError, match="takes 65544 bytes on the wire; 65536 are accepted"):
        parse(b"\x16\x03\x01\x40\x00\x01\x00\xff\xff")


def test_the_size_limit_is_the_callers() -> None:
    hello = message(body(extension(21, bytes(3000))))
    for data in (record(hello), fragmented(hello, 1000), fragmented(hello, 3)):
        assert isinstance(parse(data, max_bytes=len(data)), ClientHello)
        with pytest.raises(HelloError, match="accepted") as refused:
            parse(data, max_bytes=len(data) - 1)
        assert refused.value.reason == "hello_too_large"


def test_a_hello_may_be_as_large_as_the_limit() -> None:
    room = MAX_BYTES - 5 * 4 - 4 - 47
    data = fragmented(message(body(extension(21, bytes(room)))), 1 << 14)
    assert len(data) == MAX_BYTES
    assert isinstance(parse(data), ClientHello)


def test_there_may_be_as_many_extensions_as_the_limit() -> None:
    kinds = tuple(range(1000, 1000 + MAX_EXTENSIONS))
    hello = parse(record(message(body(b"".join(extension(kind, b"") for kind in kinds)))))
    assert isinstance(hello, ClientHello)
    assert hello.offer.extensions == kinds


def test_the_first_byte_of_http_is_not_judged_too_early() -> None:
    for text in (b"", b"G", b"GE", b"GET", b"P", b"PR", b"PRO", b"O", b"C"):
        assert isinstance(parse(text), NeedMore), text


# ---------------------------------------------------------------------------------------------------- properties

u16 = st.integers(0, 0xFFFF)
label = st.text("abcdefghijklmnopqrstuvwxyz0123456789-", min_size=1, max_size=20)


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    parts: dict[int, bytes] = {}
    if draw(st.booleans()):
        parts[0] = sized(b"\x00" + sized(".".join(draw(st.lists(label, min_size=1, max_size=4))).encode()))
    if draw(st.booleans()):
        parts[43] = sized(u16s(*draw(st.lists(u16, min_size=1, max_size=8))), 1)
    for kind in (10, 13):
        if draw(st.booleans()):
            parts[kind] = sized(u16s(*draw(st.lists(u16, min_size=1, max_size=300))))
    if draw(st.booleans()):
        names = draw(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5))
        parts[16] = sized(b"".join(sized(name, 1) for name in names))
    for kind in draw(st.lists(u16.filter(lambda kind: kind not in (0, 10, 13, 16, 43)), unique=True, max_size=6)):
        parts[kind] = draw(st.binary(max_size=30))
    kinds = draw(st.permutations(list(parts)))
    return body(
        b"".join(extension(kind, parts[kind]) for kind in kinds),
        session_id=draw(st.binary(max_size=32)),
        ciphers=tuple(draw(st.lists(u16, min_size=1, max_size=300))),
        compression=draw(st.binary(min_size=1, max_size=3)),
    )


@given(bodies(), st.integers(1, 400), st.binary(max_size=10))
def test_fragments_and_trailing_data_change_nothing(hello: bytes, size: int, trailing: bytes) -> None:
    whole = parse(record(message(hello)))
    assert isinstance(whole, ClientHello)
    data = fragmented(message(hello), max(size, -(-len(hello) // 1000)))
    split = parse(data + trailing)
    assert isinstance(split, ClientHello)
    assert (split.server_name, split.offer) == (whole.server_name, whole.offer)
    assert len(whole.offer.ja4) == 36


@given(st.sampled_from([b"", b"\x16\x03\x01", b"\x16\x03\x01\x00\x30\x01\x00\x00\x2c"]), st.binary(max_size=80))
def test_noise_is_judged_or_asks_for_more(start: bytes, noise: bytes) -> None:
    judge(start + noise)


@given(bodies(), st.data())
def test_a_damaged_hello_is_judged_and_never_crashes(hello: bytes, data: st.DataObject) -> None:
    damaged = bytearray(record(message(hello)))
    for _ in range(data.draw(st.integers(1, 4))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] = data.draw(st.integers(0, 255))
    judge(bytes(damaged))


def judge(data: bytes) -> None:
    answer = verdict(data)
    if isinstance(answer, HelloError):
        assert str(answer).isprintable()
    elif isinstance(answer, NeedMore):
        assert answer.missing_bytes > 0
    else:
        assert 0 < answer.length <= len(data)
        assert all(text.isprintable() for text in texts(answer))


def verdict(data: bytes) -> ClientHello | NeedMore | HelloError:
    try:
        return parse(data)
    except HelloError as error:
        return error


def texts(hello: ClientHello) -> Iterator[str]:
    yield hello.server_name or ""
    offer = hello.offer
    yield from (offer.versions_text, offer.groups_text, offer.ciphers_hex, offer.alpn_text, offer.ja4)
