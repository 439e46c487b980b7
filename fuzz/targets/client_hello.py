"""ClientHello: any bytes are a hello, a refusal, or a demand for more; and how they are cut changes nothing."""

from __future__ import annotations

import ssl
from collections.abc import Iterator

from terminator.wire.client_hello import ClientHello, HelloError, NeedMore, parse


def seeds() -> Iterator[bytes]:
    for name in (None, "shop.example"):
        for highest in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            hello = _hello(name, highest)
            yield hello
            yield _in_two_records(hello)
    yield b"GET / HTTP/1.1\r\n"
    yield b"CONNECT a:443 HTTP/1.1\r\n"
    yield b"\x80\x2e\x01\x03\x01\x00\x15\x00\x00\x00\x10"


def check(data: bytes) -> None:
    try:
        hello = parse(data)
    except HelloError as error:
        assert str(error)
        return
    if isinstance(hello, NeedMore):
        assert hello.missing_bytes > 0
        return
    assert 0 < hello.length <= len(data)
    assert parse(data[: hello.length]) == hello, "bytes behind the hello bear on it"
    for cut in {0, 1, 5, hello.length // 2, hello.length - 1}:
        part = parse(data[:cut])
        assert isinstance(part, NeedMore), "a part of a hello is taken for the whole"
        assert cut + part.missing_bytes <= hello.length, "more is waited for than will come"
    _use(hello)


def _use(hello: ClientHello) -> None:
    """All that logs and fingerprints derive from it."""
    assert hello.server_name is None or hello.server_name == hello.server_name.lower()
    offer = hello.offer
    texts = (offer.ja4, offer.versions_text, offer.groups_text, offer.ciphers_hex, offer.alpn_text)
    assert all(text.isascii() and text.isprintable() for text in texts)
    assert isinstance(offer.post_quantum, bool)


def _hello(name: str | None, highest: ssl.TLSVersion) -> bytes:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.maximum_version = highest
    context.set_alpn_protocols(["h2", "http/1.1"])
    out = ssl.MemoryBIO()
    try:
        context.wrap_bio(ssl.MemoryBIO(), out, server_hostname=name).do_handshake()
    except ssl.SSLWantReadError:
        pass
    return out.read()


def _in_two_records(hello: bytes) -> bytes:
    body = hello[5:]
    first, second = body[:100], body[100:]
    return b"".join(b"\x16\x03\x01" + len(part).to_bytes(2, "big") + part for part in (first, second))
