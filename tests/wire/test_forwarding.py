"""The fields that are sent on, both ways, and what a client cannot make us say."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from terminator.errors import BackendInvalid, BadRequest
from terminator.wire import request_head, response_head
from terminator.wire.forwarding import (
    ClientCertificate,
    ClientSide,
    interim_fields,
    request_fields,
    response_fields,
    trailers,
)
from terminator.wire.request_head import RequestHead
from terminator.wire.response_head import ResponseHead

CLIENT = ClientSide("192.0.2.7", 40000, "https", 8443)
PEER = dataclasses.replace(CLIENT, trusted=True)
CERTIFICATE = ClientCertificate(b"abc", (), "CN=alice", "CN=ca", "0A", "ff")
OURS = [
    (b"via", b"1.1 terminator"),
    (b"x-forwarded-for", b"192.0.2.7"),
    (b"x-real-ip", b"192.0.2.7"),
    (b"x-forwarded-proto", b"https"),
    (b"x-forwarded-port", b"8443"),
    (b"x-forwarded-host", b"shop.example:8443"),
    (b"forwarded", b'for=192.0.2.7;proto=https;host="shop.example:8443"'),
]


def request(*lines: bytes, method: bytes = b"GET", version: bytes = b"1.1") -> RequestHead:
    raw = [method + b" / HTTP/" + version, b"Host: shop.example:8443", *lines, b"", b""]
    return request_head.parse(b"\r\n".join(raw), max_fields=100)


def response(*lines: bytes, line: bytes = b"1.1 200 OK", method: str = "GET") -> ResponseHead:
    raw = b"\r\n".join([b"HTTP/" + line, *lines, b"", b""])
    return response_head.parse(raw, request_method=method, max_fields=100)


def values(fields: list[tuple[bytes, bytes]], name: bytes) -> list[bytes]:
    return [value for key, value in fields if key == name]


# ---------------------------------------------------------------------------------------------------- the request


def test_a_request() -> None:
    fields = request_fields(request(b"Accept: */*", b"Cookie: a=b", b"Connection: keep-alive"), CLIENT)
    assert fields == [(b"host", b"shop.example:8443"), (b"accept", b"*/*"), (b"cookie", b"a=b"), *OURS]


def test_what_a_client_says_of_itself_is_replaced() -> None:
    lies = [
        b"X-Forwarded-For: 1.1.1.1", b"X-Real-IP: 1.1.1.1", b"X-Forwarded-Proto: http", b"X-Forwarded-Host: evil",
        b"X-Forwarded-Port: 1", b"X-Forwarded-Prefix: /x", b"X-Forwarded-Server: x", b"X-Forwarded-Anything: x",
        b"Forwarded: for=1.1.1.1", b"X_Forwarded_For: 1.1.1.1", b"X-Forwarded_For: 1.1.1.1", b"X.Real.Ip: 1.1.1.1",
        b"Client-Cert: :AA==:", b"client_cert_chain: x", b"X-Client-Cert-Verified: true", b"X_Client_Cert_Subject: a",
        b"Proxy: http://evil",
    ]  # fmt: skip
    assert request_fields(request(*lies), CLIENT) == [(b"host", b"shop.example:8443"), *OURS]


def test_a_client_cannot_have_our_fields_removed() -> None:
    fields = request_fields(
        request(b"Connection: X-Forwarded-For, Forwarded, X-Real-IP, X-Client-Cert-Subject"), CLIENT
    )
    assert fields == [(b"host", b"shop.example:8443"), *OURS]


def test_via_is_appended() -> None:
    fields = request_fields(request(b"Via: 1.0 a, 1.1 b", version=b"1.0"), CLIENT)
    assert values(fields, b"via") == [b"1.0 a, 1.1 b", b"1.0 terminator"]


def test_ipv6() -> None:
    fields = request_fields(request(), dataclasses.replace(CLIENT, address="2001:db8::7"))
    assert values(fields, b"x-forwarded-for") == [b"2001:db8::7"]
    assert values(fields, b"forwarded") == [b'for="[2001:db8::7]";proto=https;host="shop.example:8443"']


def test_an_unknown_address_is_not_invented() -> None:
    fields = request_fields(request(b"X-Real-IP: 1.1.1.1"), dataclasses.replace(CLIENT, address=""))
    assert values(fields, b"x-forwarded-for") == values(fields, b"x-real-ip") == []
    assert values(fields, b"forwarded") == [b'for=unknown;proto=https;host="shop.example:8443"']


def test_a_trusted_peer_is_kept_and_appended_to() -> None:
    said = [
        b"X-Forwarded-For: 203.0.113.1", b"X-Forwarded-For: 198.51.100.1", b"X-Real-IP: 203.0.113.1",
        b"X-Forwarded-Proto: http", b"X-Forwarded-Host: front.example", b"X-Forwarded-Prefix: /front",
        b"Forwarded: for=203.0.113.1", b"Client-Cert: :AA==:", b"X_Forwarded_For: 9.9.9.9",
    ]  # fmt: skip
    fields = request_fields(request(*said), PEER)
    assert values(fields, b"x-forwarded-for") == [b"203.0.113.1, 198.51.100.1, 192.0.2.7"]
    assert values(fields, b"x-real-ip") == [b"203.0.113.1"]
    assert values(fields, b"x-forwarded-proto") == [b"http"]
    assert values(fields, b"x-forwarded-host") == [b"front.example"]
    assert values(fields, b"x-forwarded-port") == [b"8443"]
    assert values(fields, b"x-forwarded-prefix") == [b"/front"]
    assert values(fields, b"forwarded") == [b'for=203.0.113.1, for=192.0.2.7;proto=https;host="shop.example:8443"']
    assert values(fields, b"client-cert") == values(fields, b"x_forwarded_for") == []


def test_a_trusted_peer_that_says_nothing() -> None:
    assert sorted(request_fields(request(), PEER)) == sorted([(b"host", b"shop.example:8443"), *OURS])


def test_a_stripped_prefix_is_told() -> None:
    for client in (CLIENT, PEER):
        fields = request_fields(request(b"X-Forwarded-Prefix: /other"), client, prefix="/api")
        assert values(fields, b"x-forwarded-prefix") == [b"/api"]


def test_a_verified_certificate_is_told() -> None:
    side = dataclasses.replace(CLIENT, certificate=CERTIFICATE)
    fields = request_fields(request(b"Client-Cert: :AA==:", b"X-Client-Cert-Subject: CN=root"), side)
    assert values(fields, b"client-cert") == [b":YWJj:"]
    assert values(fields, b"x-client-cert-subject") == [b"CN=alice"]


def test_own_fields_replace_the_clients() -> None:
    side = dataclasses.replace(CLIENT, claims=("X-Request-ID",), ja4="t13", ja4_header="X-JA4")
    head = request(b"X-Request-Id: mine", b"X_Request_ID: mine", b"X-JA4: mine", b"x_ja4: mine")
    fields = request_fields(head, side, own=[(b"X-Request-ID", b"ours")])
    assert values(fields, b"x-request-id") == [b"ours"]
    assert values(fields, b"x-ja4") == [b"t13"]
    assert len(fields) == 1 + len(OURS) + 2


def test_authority_for_a_request_without_host() -> None:
    head = request_head.parse(b"GET / HTTP/1.0\r\n\r\n", max_fields=9)
    with pytest.raises(ValueError, match="needs an authority"):
        request_fields(head, CLIENT)
    fields = request_fields(head, CLIENT, authority="shop.example")
    assert fields[0] == (b"host", b"shop.example")
    assert values(fields, b"x-forwarded-host") == [b"shop.example"]


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (request(b"Content-Length: 007", method=b"POST"), [(b"content-length", b"7")]),
        (request(b"Content-Length: 0", method=b"POST"), [(b"content-length", b"0")]),
        (request(b"Transfer-Encoding: CHUNKED", method=b"PUT"), [(b"transfer-encoding", b"chunked")]),
        (
            request(b"Expect: 100-Continue", b"Content-Length: 5", method=b"PUT"),
            [(b"expect", b"100-continue"), (b"content-length", b"5")],
        ),
        (
            request(b"Connection: Upgrade, X-A", b"Upgrade: websocket", b"X-A: 1", b"Keep-Alive: 3"),
            [(b"upgrade", b"websocket"), (b"connection", b"upgrade")],
        ),
        (request(b"TE: trailers", b"Connection: te"), [(b"te", b"trailers"), (b"connection", b"TE")]),
        (request(b"TE: deflate", b"Connection: te"), []),
        (request(b"TE: trailers"), []),
    ],
)
def test_fields_of_the_connection_are_written_anew(head: RequestHead, expected: list[Any]) -> None:
    fields = request_fields(head, CLIENT)
    assert fields == [(b"host", b"shop.example:8443"), *OURS, *expected]


# --------------------------------------------------------------------------------------------------- the response


def test_a_response() -> None:
    head = response(b"Server: x", b"Content-Length: 05", b"Connection: X-Hop", b"X-Hop: 1", b"Keep-Alive: timeout=5")
    assert response_fields(head, request(), date=b"now") == [
        (b"server", b"x"),
        (b"via", b"1.1 terminator"),
        (b"date", b"now"),
        (b"content-length", b"5"),
    ]


def test_the_backends_date_stands() -> None:
    assert values(response_fields(response(b"Date: then"), request(), date=b"now"), b"date") == [b"then"]


def test_hsts_replaces_the_backends() -> None:
    head = response(b"Strict-Transport-Security: max-age=0")
    assert values(response_fields(head, request()), b"strict-transport-security") == [b"max-age=0"]
    assert values(response_fields(head, request(), hsts=b"max-age=9"), b"strict-transport-security") == [b"max-age=9"]


CHUNKED = (b"transfer-encoding", b"chunked")
CLOSE = (b"connection", b"close")
FIVE = (b"content-length", b"5")


@pytest.mark.parametrize(
    ("head", "asked", "expected"),
    [
        (response(b"Transfer-Encoding: chunked"), request(), [CHUNKED]),
        (response(), request(), [CHUNKED]),
        (response(), request(version=b"1.0"), [CLOSE]),
        (response(b"Content-Length: 5"), request(b"Connection: close"), [FIVE, CLOSE]),
        (response(b"Content-Length: 5", method="HEAD"), request(method=b"HEAD"), [FIVE]),
        (response(b"Content-Length: 5", line=b"1.1 304 Not Modified"), request(), [FIVE]),
        (response(b"Content-Length: 5", line=b"1.1 204 No Content"), request(), []),
        (response(b"Content-Length: 5", b"Content-Length: 5"), request(), [FIVE]),
        (response(b"Content-Length: 5", b"Connection: close"), request(), [FIVE]),
    ],
)
def test_framing_towards_the_client(head: ResponseHead, asked: RequestHead, expected: list[Any]) -> None:
    assert response_fields(head, asked) == [(b"via", b"1.1 terminator"), *expected]


def test_close_is_said_when_asked_for() -> None:
    assert response_fields(response(b"Content-Length: 5"), request(), close=True)[-1] == CLOSE


def test_interim_fields() -> None:
    assert interim_fields(response(b"Link: </a>", b"Connection: x", line=b"1.1 103 Early Hints")) == [
        (b"link", b"</a>")
    ]
    switch = response(b"Connection: upgrade, x", b"Upgrade: websocket", b"X: 1", line=b"1.1 101 Switching Protocols")
    assert interim_fields(switch) == [(b"connection", b"upgrade"), (b"upgrade", b"websocket")]


# ------------------------------------------------------------------------------------------------------- trailers


def test_trailers_that_pass() -> None:
    assert trailers([(b"Grpc-Status", b"0"), (b"digest", b" sha-256=:x: ")]) == [
        (b"grpc-status", b"0"),
        (b"digest", b"sha-256=:x:"),
    ]


@pytest.mark.parametrize(
    "name",
    [b"Content-Length", b"transfer-encoding", b"Host", b"Authorization", b"Cookie", b"Set-Cookie", b"content-type",
     b"If-Match", b"Cache-Control", b"Connection", b"TE", b"Trailer", b"X-Forwarded-For", b"x_forwarded_for",
     b"Client-Cert", b"X-Client-Cert-Subject", b"Forwarded", b"Content_Length", b"Sec-Fetch-Site"],
)  # fmt: skip
def test_trailers_that_are_dropped(name: bytes) -> None:
    """RFC 9110 §6.5.1, and what only we say of a client."""
    assert trailers([(name, b"x")]) == []


@pytest.mark.parametrize(
    "line", [(b"a b", b"c"), (b"", b"c"), (b"a", b"b\x01"), (b"a", b"b\r\nc: d"), (b"a" * 257, b"")]
)
def test_trailers_that_are_refused(line: tuple[bytes, bytes]) -> None:
    with pytest.raises(BadRequest):
        trailers([line])
    with pytest.raises(BackendInvalid):
        trailers([line], BackendInvalid)
