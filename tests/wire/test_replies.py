"""The responses that terminator gives itself, as h11 reads them."""

from __future__ import annotations

import h11
import pytest

from terminator import errors
from terminator.errors import BadRequest
from terminator.wire.replies import PLAIN_HTTP_ON_TLS_PORT, content, https_location, redirect_to_https, reply
from terminator.wire.request_head import RequestHead, parse

STATUSES = (308, 400, 404, 408, 413, 414, 417, 421, 431, 500, 501, 502, 503, 504, 505)


def read(raw: bytes, method: str = "GET") -> tuple[h11.Response, bytes]:
    """The response and its body; nothing may follow."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "a")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    response = connection.next_event()
    assert isinstance(response, h11.Response)
    body = b""
    while isinstance(event := connection.next_event(), h11.Data):
        body += event.data
    assert isinstance(event, h11.EndOfMessage)
    assert connection.trailing_data == (b"", False)
    return response, body


def request(target: bytes, host: bytes, method: bytes = b"GET") -> RequestHead:
    return parse(b"%b %b HTTP/1.1\r\nHost: %b\r\n\r\n" % (method, target, host), max_fields=9)


@pytest.mark.parametrize("status", STATUSES)
def test_each_status_is_one_line_of_text(status: int) -> None:
    response, body = read(reply(status, close=True, date=b"now"))
    assert response.status_code == status
    assert response.reason
    assert list(response.headers) == [
        (b"date", b"now"),
        (b"content-type", b"text/plain; charset=utf-8"),
        (b"content-length", b"%d" % len(body)),
        (b"connection", b"close"),
    ]
    assert body.startswith(b"%d %b: " % (status, response.reason))
    assert body.count(b"\n") == 1


def test_every_error_with_a_status_has_its_sentence() -> None:
    kinds = [
        kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, errors.TerminatorError)
    ]
    assert {kind.status for kind in kinds if kind.status} <= set(STATUSES)


def test_head_has_no_body() -> None:
    response, body = read(reply(404, close=False, head_only=True), "HEAD")
    assert body == b""
    assert int(dict(response.headers)[b"content-length"]) > 0


@pytest.mark.parametrize("status", [204, 304])
def test_statuses_without_content(status: int) -> None:
    response, body = read(reply(status, close=False, body=b"ignored"))
    assert (list(response.headers), body) == ([], b"")


def test_a_configured_answer() -> None:
    fields = [(b"X-A", b"1")]
    response, body = read(reply(299, close=False, fields=fields, body=b"{}", content_type=b"application/json"))
    assert (response.status_code, response.reason, body) == (299, b"", b"{}")
    assert (b"x-a", b"1") in list(response.headers)
    assert (b"content-type", b"application/json") in list(response.headers)


def test_injection_is_a_defect() -> None:
    with pytest.raises(ValueError, match="control byte"):
        reply(308, close=False, fields=[(b"location", b"/\r\nSet-Cookie: a=b")])


def test_content() -> None:
    response, body = read(content(b"\0token", close=False, head_only=False, date=b"now"))
    assert (response.status_code, body) == (200, b"\0token")
    assert (b"x-content-type-options", b"nosniff") in list(response.headers)


def test_plain_http_on_the_tls_port() -> None:
    response, body = read(PLAIN_HTTP_ON_TLS_PORT)
    assert response.status_code == 400
    assert b"HTTPS" in body


@pytest.mark.parametrize(
    ("target", "host", "port", "location"),
    [
        (b"/", b"shop.example", 443, b"https://shop.example/"),
        (b"/a%20b?c=d&e", b"Shop.Example.:80", 443, b"https://shop.example/a%20b?c=d&e"),
        (b"/", b"shop.example:8080", 8443, b"https://shop.example:8443/"),
        (b"/", b"[2001:DB8::1]:80", 8443, b"https://[2001:db8::1]:8443/"),
        (b"//evil.example/", b"shop.example", 443, b"https://shop.example//evil.example/"),
        (b"/@evil.example", b"shop.example", 443, b"https://shop.example/@evil.example"),
        (b"http://shop.example/a", b"shop.example", 443, b"https://shop.example/a"),
    ],
)
def test_redirect_to_https(target: bytes, host: bytes, port: int, location: bytes) -> None:
    response, _ = read(redirect_to_https(request(target, host), port=port, close=False, date=b"now"))
    assert response.status_code == 308
    assert dict(response.headers)[b"location"] == location


def test_redirect_of_the_server_as_a_whole() -> None:
    assert https_location(request(b"*", b"shop.example", b"OPTIONS"), 443) == b"https://shop.example"


def test_no_host_no_redirect() -> None:
    with pytest.raises(BadRequest):
        https_location(parse(b"GET / HTTP/1.0\r\n\r\n", max_fields=9), 443)
