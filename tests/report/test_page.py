"""The report as a page: well-formed, loads nothing, runs nothing, and what strangers sent is text in it."""

from __future__ import annotations

import base64
import hashlib
import re
from html import unescape
from html.parser import HTMLParser
from typing import Any

from synthetic import OLD, day, failure, handshake

from terminator.report.compare import compare
from terminator.report.page import page
from terminator.report.preview import parse_policy, preview
from terminator.report.summary import comparison_summary, preview_summary, summary
from terminator.report.tally import Tally
from terminator.tls.proofs import prove

VOID = {"meta", "rect", "line", "circle", "polyline", "br", "link", "input"}


class Checked(HTMLParser):
    """Fails on tags that do not match; gathers tags, attributes and images."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.images: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag == "svg":
            known = dict(attrs)
            self.images.append(known.get("aria-label") or ("hidden" if "aria-hidden" in known else ""))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> closes nothing"
        assert self.open.pop() == tag


def checked(html: str) -> Checked:
    parser = Checked()
    parser.feed(html)
    parser.close()
    assert not parser.open
    assert "script" not in parser.tags
    loading = [value for name, value in parser.attributes if name in ("src", "href", "srcset") or name.startswith("on")]
    assert not loading
    assert not re.search(r"url\(|@import", html)
    assert all(parser.images), "every plot has a name or is hidden from those who do not see"
    return parser


def value_of(events: Any) -> dict[str, Any]:
    tally = Tally(offers=True)
    for event in events:
        tally.add(event)
    value = summary(tally, top=10)
    value["source"] = {"files": ["log"], "window": "", "lines": 10, "unreadable": 2}
    value["preview"] = preview_summary(
        "profile=modern", preview(tally, {"*": parse_policy(["profile=modern"])}, prove()), 10
    )
    return value


def test_a_report() -> None:
    html = page(value_of(day(500, 1)))
    parser = checked(html)
    assert ("http-equiv", "Content-Security-Policy") in parser.attributes
    assert parser.tags.count("svg") > 5
    for part in ("Over time", "Where handshakes spend their time", "Slowest networks", "Failed handshakes", "Backends"):
        assert part in html
    assert parser.tags.count("h1") == 1
    assert len(html) < 200_000


def test_its_policy_allows_its_style_and_nothing_else() -> None:
    html = page(value_of(day(50, 1)))
    found = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', html)
    style = re.search(r"<style>(.*?)</style>", html, re.DOTALL)
    assert found is not None
    assert style is not None
    policy = unescape(found[1])
    hashed = base64.b64encode(hashlib.sha256(style[1].encode()).digest()).decode()
    assert policy == f"default-src 'none'; style-src 'sha256-{hashed}'; base-uri 'none'; form-action 'none'"
    assert html.index("Content-Security-Policy") < html.index("<title>")
    assert " style=" not in html, "no attribute would pass the policy"


def test_a_report_on_nothing_or_little() -> None:
    for events in ([], [handshake()], [failure()]):
        checked(page(value_of(events)))


def test_a_comparison() -> None:
    sides = []
    for seed, slower in ((1, 1.0), (2, 2.0)):
        tally = Tally()
        for event in day(500, seed, slower=slower):
            tally.add(event)
        sides.append(tally)
    value = comparison_summary(("before", "after"), compare(*sides))
    value["reports"] = [summary(tally, top=5) for tally in sides]
    html = page(value)
    checked(html)
    assert "Content-Security-Policy" in html
    assert "May be chance" in html
    assert "What differs" in html


def test_what_strangers_sent_is_text() -> None:
    evil = '"><script>alert(1)</script><img src=x onerror=alert(1)>\x07'
    html = page(
        value_of(
            [
                failure(0, evil, tls_client_ja4=evil, error_openssl=evil, server_name=evil),
                handshake(1, host=evil, tls_client_ja4=evil, client_address=evil, tls_client_offered__versions="1.2"),
                *({**handshake(2), "client.address": evil} for _ in range(12)),
                handshake(3, tls_client_ja4=OLD[0]),
            ]
        )
    )
    parser = checked(html)
    assert "img" not in parser.tags
    assert "\x07" not in html
