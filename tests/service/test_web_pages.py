"""What browsers and monitoring say, and who of them is answered."""

from __future__ import annotations

import pytest

from terminator.service.web_pages import refusal

OWN = frozenset({"web1.internal.example"})
FIREFOX = [
    (b"user-agent", b"Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"),
    (b"accept", b"text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
    (b"accept-language", b"en-US,en;q=0.5"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
    (b"upgrade-insecure-requests", b"1"),
]
DISGUISED = [(b"user-agent", b"Prometheus/3.0"), (b"accept-language", b""), (b"accept", b"text/plain")]
"""All that a page's script can change and leave out."""
PROMETHEUS = [
    (b"user-agent", b"Prometheus/3.0.1"),
    (b"accept", b"application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"),
    (b"accept-encoding", b"gzip"),
    (b"x-prometheus-scrape-timeout-seconds", b"10"),
]
CURL = [(b"user-agent", b"curl/7.88.1"), (b"accept", b"*/*")]
SAFE = [
    b"127.0.0.1:9145",
    b"192.0.2.7",
    b"[::1]:9145",
    b"[2001:db8::7]",
    b"localhost",
    b"localhost:9145",
    b"LOCALHOST.:9145",
    b"admin.localhost:9145",
    b"terminator:9145",
    b"web1.internal.example:9145",
    b"Web1.Internal.Example",
]
STRANGE = [
    b"evil.example:9145",
    b"127.0.0.1.evil.example",
    b"localhost.evil.example:9145",
    b"web1.internal.example.evil.example",
    b"web1.evil.example",
    b"127.0.0.1x.example",
    b"[::1].evil.example",
    b"[evil.example]",
    b"1.2.3",
]


@pytest.mark.parametrize("browser", [FIREFOX, DISGUISED], ids=["plain", "disguised"])
@pytest.mark.parametrize("host", SAFE)
def test_a_browser_may_ask_by_what_no_stranger_can_name(browser: list[tuple[bytes, bytes]], host: bytes) -> None:
    assert refusal("GET", [(b"host", host), *browser], OWN) is None
    assert refusal("HEAD", [*browser, (b"host", host)], OWN) is None


@pytest.mark.parametrize("browser", [FIREFOX, DISGUISED], ids=["plain", "disguised"])
@pytest.mark.parametrize("host", STRANGE)
def test_a_page_whose_name_leads_here_gets_nothing(browser: list[tuple[bytes, bytes]], host: bytes) -> None:
    said = refusal("GET", [(b"host", host), *browser], OWN)
    assert said is not None
    assert "IP address" in said


@pytest.mark.parametrize("client", [PROMETHEUS, CURL], ids=["Prometheus", "curl"])
@pytest.mark.parametrize("host", [*SAFE, b"anything.example:9145"])
def test_monitoring_asks_by_the_name_that_it_knows(client: list[tuple[bytes, bytes]], host: bytes) -> None:
    assert refusal("GET", [(b"host", host), *client], OWN) is None
    assert refusal("POST", [(b"host", host), *client], OWN) is None


@pytest.mark.parametrize("browser", [FIREFOX, DISGUISED, [(b"origin", b"null")], [(b"sec-fetch-site", b"same-origin")]])
def test_no_command_comes_from_a_browser(browser: list[tuple[bytes, bytes]]) -> None:
    """`ssh -L 9145:/run/terminator/admin.sock` brings a browser to the socket that takes commands."""
    assert refusal("POST", [(b"host", b"localhost:9145"), *browser], OWN) is not None


def test_no_host_is_no_name() -> None:
    assert refusal("GET", FIREFOX, OWN) is None
