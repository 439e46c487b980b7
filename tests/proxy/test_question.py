from __future__ import annotations

import pytest

from terminator.proxy.question import question


@pytest.mark.parametrize(
    ("url", "scheme", "port", "authority", "target", "sni"),
    [
        ("https://shop.example", "https", 443, "shop.example", "/", "shop.example"),
        ("HTTPS://Shop.Example./x", "https", 443, "Shop.Example.", "/x", "shop.example"),
        ("shop.example/cart?id=1", "https", 443, "shop.example", "/cart?id=1", "shop.example"),
        ("http://shop.example:8080?a", "http", 8080, "shop.example:8080", "/?a", "shop.example"),
        ("https://[::1]:8443/a", "https", 8443, "[::1]:8443", "/a", None),
        ("https://192.0.2.1/", "https", 443, "192.0.2.1", "/", None),
        (
            "https://a.example/public/../admin;x//%2e#part",
            "https",
            443,
            "a.example",
            "/public/../admin;x//%2e",
            "a.example",
        ),
    ],
)
def test_a_url_is_asked_as_it_was_written(
    url: str, scheme: str, port: int, authority: str, target: str, sni: str | None
) -> None:
    asked = question(url)
    assert (asked.scheme, asked.port, asked.authority, asked.target, asked.sni) == (
        scheme,
        port,
        authority,
        target,
        sni,
    )
    assert asked.raw_head == f"GET {target} HTTP/1.1\r\nHost: {authority}\r\n\r\n".encode()


def test_options() -> None:
    asked = question(
        "a.example", method="PUT", headers=[("host", "b.example"), ("X", "ü")], sni="C.example.", client="2001:DB8::1"
    )
    assert asked.raw_head == "PUT / HTTP/1.1\r\nhost: b.example\r\nX: ü\r\n\r\n".encode()
    assert (asked.sni, asked.client) == ("c.example", "2001:db8::1")
    assert question("a.example", sni="").sni is None


@pytest.mark.parametrize(
    ("url", "options", "why"),
    [
        ("", {}, "not a URL"),
        ("https://", {}, "is no host"),
        ("ftp://a.example/", {}, "is no host"),
        ("https://a b/", {}, "is no host"),
        ("https://a.example:0/", {}, "is no host"),
        ("https://bücher.example/", {}, "xn--bcher-kva.example"),
        ("https://a.example/café", {}, "write /caf%C3%A9"),
        ("https://a.example/", {"client": "localhost"}, "IPv4 or IPv6"),
        ("https://a.example/", {"sni": "a b"}, "not a host name"),
    ],
)
def test_what_cannot_be_asked(url: str, options: dict[str, str], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        question(url, **options)  # type: ignore[arg-type]
