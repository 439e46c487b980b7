"""PROXY header: any bytes are a header, a refusal, or a demand for more; and how they are cut changes nothing."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterator

from terminator.wire.client_hello import NeedMore
from terminator.wire.proxy_header import MAX_V2_BYTES, ProxyHeaderError, TlsFacts, could_be, encode_v2, parse


def seeds() -> Iterator[bytes]:
    yield b"PROXY TCP4 192.0.2.1 198.51.100.1 56324 443\r\n"
    yield b"PROXY TCP6 2001:db8::1 2001:db8::2 56324 443\r\n"
    yield b"PROXY UNKNOWN\r\n"
    facts = TlsFacts(
        version="TLSv1.3",
        cipher="TLS_AES_128_GCM_SHA256",
        client_certificate=True,
        client_verified=True,
        client_cn="cn",
        alpn=b"http/1.1",
    )
    yield encode_v2(None, None)
    yield encode_v2(("192.0.2.1", 1), ("192.0.2.2", 2), authority="a.example", unique_id=b"id", tls=facts)
    yield encode_v2(("2001:db8::1", 1), ("2001:db8::2", 2), checksum=True)


def check(data: bytes) -> None:
    try:
        header = parse(data)
    except ProxyHeaderError as error:
        assert str(error)
        return
    assert could_be(data)
    if isinstance(header, NeedMore):
        assert header.missing_bytes > 0
        assert len(data) < MAX_V2_BYTES, "a header without bound"
        return
    assert 0 < header.length <= min(len(data), MAX_V2_BYTES)
    assert parse(data[: header.length]) == header, "bytes behind the header bear on it"
    for cut in {0, 1, 8, header.length // 2, header.length - 1}:
        part = parse(data[:cut])
        assert isinstance(part, NeedMore), "a part of a header is taken for the whole"
        assert cut + part.missing_bytes <= header.length, "more is waited for than will come"
    for endpoint in (header.source, header.destination):
        if endpoint is not None:
            ipaddress.ip_address(endpoint[0])
            assert 0 <= endpoint[1] <= 65535
    if header.source is not None and header.destination is not None:
        again = parse(encode_v2(header.source, header.destination))
        assert not isinstance(again, NeedMore)
        assert again.source is not None
        assert again.source[1] == header.source[1]
