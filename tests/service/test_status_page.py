"""The status page: what it shows, that it holds to its own policy, and how it fares in a real browser."""

from __future__ import annotations

import base64
import hashlib
import http.server
import re
import shutil
import subprocess
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from terminator.service.history import History
from terminator.service.status_page import HEADERS, View, drifting_hosts, render
from terminator.telemetry.board import Board
from terminator.telemetry.totals import totals

BROWSER = next(filter(None, map(shutil.which, ("chromium-headless-shell", "chromium", "chromium-browser"))), None)
NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
EVIL = '"><script>document.title="owned"</script><img src=x onerror=alert(1)>'
VOID = {"meta", "rect", "line", "circle", "polyline", "input"}


def filled_board() -> Board:
    board = Board(1)
    row = board.writer(0)
    for outcome, resumed in (("established", "yes"), ("established", "no"), ("failed", "none")):
        labels = {"host": "shop.example", "version": "1.3", "resumed": resumed, "outcome": outcome}
        row.counter("terminator_tls_handshakes_total", **labels).inc(50)
    row.counter("terminator_tls_handshake_failures_total", listener="https", reason="timeout").inc(50)
    for phase in ("first_byte", "hello", "select", "flight", "client", "total"):
        for _ in range(100):
            row.histogram("terminator_tls_handshake_duration_seconds", listener="https", phase=phase).observe(0.02)
    row.counter("terminator_backend_requests_total", backend="web", server="127.0.0.1:8000").inc(10)
    row.gauge("terminator_connections", state="idle").set(3)
    return board


def status(**changes: Any) -> dict[str, Any]:
    reload = {
        "outcome": "refused",
        "dry_run": False,
        "trigger": "signal",
        "at": "2026-11-21T11:59:00+00:00",
        "generation": 1,
        "duration_ms": 12.5,
        "error_type": "config_invalid",
        "errors": [f"a.yaml:1:1: {EVIL}\n  1 | x"],
        "warnings": [],
        "changes": [{"kind": "host", "action": "added", "name": "b", "text": "host b.example: added"}],
        "needs_restart": ["workers: runs with 1, configured is 2"],
    }
    return {
        "version": "0.1.0",
        "pid": 7,
        "state": "serving",
        "started": "2026-11-21T10:00:00+00:00",
        "config": "/etc/terminator.yaml",
        "generation": 1,
        "generation_since": "2026-11-21T10:00:00+00:00",
        "connections": 3,
        "connections_by_generation": {"1": 3},
        "workers": [
            {
                "worker": 0,
                "state": "serving",
                "pid": 8,
                "since": "2026-11-21T10:00:00+00:00",
                "connections": 3,
                "connections_by_generation": {"1": 3},
            },
            {
                "worker": 1,
                "state": "waiting",
                "pid": None,
                "since": None,
                "connections": 0,
                "connections_by_generation": {},
            },
        ],
        "listeners": [{"name": "https", "address": "[::]:443", "tls": True}],
        "reloads": {"attempts": 1, "good": 0, "last_good": None, "last": reload, "history": [reload]},
        "certificates": [
            certificate("shop.example", 60.0),
            certificate("old.example", -2.5),
            certificate("soon.example", 5.0),
        ],
        "warnings": ["host shop.example: something"],
        "switched_off": [],
        "backends": [backend(0, "up"), backend(1, "up")],
        "failures": [
            {
                "at": NOW.timestamp() - 5,
                "class": "timeout",
                "phase": "first_byte",
                "client": "203.0.113.7",
                "server_name": EVIL,
                "message": EVIL,
            }
        ],
        **changes,
    }


def certificate(host: str, days: float) -> dict[str, Any]:
    return {
        "host": host,
        "file": f"/etc/{host}.pem",
        "serial": "0a1b",
        "key_type": "ecdsa",
        "not_after": "2026-12-01T00:00:00+00:00",
        "days_left": days,
    }


def backend(worker: int, state: str, **other: Any) -> dict[str, Any]:
    known = {"backend": "web", "server": "127.0.0.1:8000", "in_flight": 2, "idle_connections": 1, "weight": 1}
    return {"worker": worker, "state": state, **known, **other}


def view(told: dict[str, Any] | None = None, drifting: frozenset[str] = frozenset()) -> View:
    board = filled_board()
    history = History()
    history.add(totals(Board(1), 0.0), NOW.timestamp() - 30)
    return View(told, totals(board, 30.0), history, drifting, NOW)


class Checked(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def checked(html: str) -> Checked:
    parser = Checked()
    parser.feed(html)
    parser.close()
    assert not parser.open
    return parser


def test_everything_is_told() -> None:
    html = render(view(status(), frozenset({"shop.example"})))
    for part in (
        "serving",
        "last reload",
        "refused",
        "Handshake latency by phase",
        "first_byte",
        "Failed handshakes",
        "timeout",
        "203.0.113.7",
        "Certificates",
        "2.5 days ago",
        "differs; reload",
        "Backends",
        "127.0.0.1:8000",
        "Workers",
        "waiting",
        "host b.example: added",
        "needs a restart: workers",
        "host shop.example: something",
    ):
        assert part in html, part
    assert html.index("old.example") < html.index("soon.example"), "what expires first stands first"


def test_what_clients_sent_is_text() -> None:
    parser = checked(render(view(status())))
    names = [tag for tag, _ in parser.tags]
    assert names.count("script") == 1
    assert "img" not in names


def test_an_example_that_was_opened_is_the_same_after_newer_ones() -> None:
    """The script opens again what has the same key."""
    rows = [{"at": float(at), "class": "timeout", "conn_id": f"c{at}", "message": f"message {at}"} for at in (1, 2, 3)]
    keys = []
    for last in (2, 3):
        page = render(view(status(failures=rows[last - 2 : last])))
        keys.append(dict(re.findall(r'data-key="(timeout [^"]*)".*?message: (message \d)', page, re.DOTALL)))
    assert keys == [
        {"timeout c1": "message 1", "timeout c2": "message 2"},
        {"timeout c2": "message 2", "timeout c3": "message 3"},
    ]


def test_it_is_accessible_by_structure() -> None:
    parser = checked(render(view(status())))
    names = [tag for tag, _ in parser.tags]
    assert names.count("h1") == names.count("main") == names.count("header") == names.count("footer") == 1
    headings = [int(tag[1]) for tag in names if re.fullmatch(r"h\d", tag)]
    assert all(later - earlier <= 1 for earlier, later in pairwise(headings))
    assert dict(parser.tags[names.index("html")][1])["lang"] == "en"
    for tag, attributes in parser.tags:
        if tag == "svg":
            assert attributes.get("aria-label") or attributes.get("aria-hidden") == "true"
        if tag == "th":
            assert attributes["scope"] == "col"
    identifiers = [attributes["id"] for _, attributes in parser.tags if "id" in attributes]
    assert len(identifiers) == len(set(identifiers))


def test_the_policy_allows_exactly_what_the_page_holds() -> None:
    policy = dict(HEADERS)["Content-Security-Policy"]
    html = render(view(status()))

    def digest(tag: str) -> str:
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", html, re.DOTALL)
        return base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()

    assert f"style-src 'sha256-{digest('style')}'" in policy
    assert f"script-src 'sha256-{digest('script')}'" in policy
    assert policy.startswith("default-src 'none';")
    assert "unsafe" not in policy
    assert "frame-ancestors 'none'" in policy
    for tag, attributes in checked(html).tags:
        assert "style" not in attributes, tag
        assert not any(name.startswith("on") for name in attributes)
        assert "src" not in attributes
        assert tag != "link"


def test_a_master_that_does_not_answer() -> None:
    html = render(view(None))
    checked(html)
    assert "The master does not answer" in html
    assert 'role="alert"' in html
    assert "Handshake latency by phase" in html


def test_a_daemon_just_started() -> None:
    empty = View(
        status(
            reloads={"attempts": 0, "good": 0, "last_good": None, "last": None, "history": []}, backends=[], failures=[]
        ),
        totals(Board(1), 0.0),
        History(),
        frozenset(),
        NOW,
    )
    html = render(empty)
    checked(html)
    assert html.count("None since the start") == 2


def test_thousands_of_certificates_and_backends_make_no_endless_page() -> None:
    many = status(
        certificates=[certificate(f"h{number}.example", number) for number in range(5000)],
        backends=[backend(0, "up", server=f"10.0.{number >> 8}.{number & 255}:80") for number in range(3000)],
        warnings=[f"warning {number}" for number in range(5000)],
    )
    html = render(view(many))
    assert len(html) < 400_000
    assert "and 4,900 more" in html
    assert "h99.example" in html
    assert "h100.example" not in html


def test_drifting_hosts() -> None:
    assert set(drifting_hosts([(("a",), 1.0), (("b",), 0.0)])) == {"a"}


# ---------------------------------------------------------------------------------------------------- in a browser


@pytest.fixture
def serving() -> Iterator[Callable[[Callable[[int], bytes]], str]]:
    """Serves pages with the page's own headers; each request is told its number."""
    servers: list[tuple[http.server.ThreadingHTTPServer, threading.Thread]] = []

    def serve(content: Callable[[int], bytes]) -> str:
        count = 0

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                nonlocal count
                if self.path != "/":
                    self.send_error(404)
                    return
                count += 1
                body = content(count)
                self.send_response(200)
                for name, value in (*HEADERS, ("Content-Type", "text/html; charset=utf-8")):
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_: object) -> None:
                pass

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        servers.append((server, thread))
        return f"http://127.0.0.1:{server.server_address[1]}/"

    yield serve
    for server, thread in servers:
        server.shutdown()
        thread.join()
        server.server_close()


def browse(url: str, *options: str) -> str:
    assert BROWSER is not None
    command = [BROWSER, "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", *options, url]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert "Content Security Policy" not in done.stderr, done.stderr
    return done.stdout


needs_browser = pytest.mark.skipif(BROWSER is None, reason="no Chromium here (Debian: chromium-headless-shell)")


@needs_browser
def test_with_scripts_it_renews_itself_under_its_policy(serving: Callable[[Callable[[int], bytes]], str]) -> None:
    url = serving(lambda number: render(view(status(version=f"0.1.{number}"))).encode())
    dom = browse(url, "--dump-dom", "--virtual-time-budget=12000")
    assert re.search(r"0\.1\.[2-9]", dom), "the first page was replaced"
    assert "renew every 5 seconds" in dom
    assert "owned" not in re.findall(r"<title>(.*?)</title>", dom)[0]


@needs_browser
def test_without_its_script_it_is_whole(serving: Callable[[Callable[[int], bytes]], str]) -> None:
    url = serving(lambda number: re.sub("<script>.*?</script>", "", render(view(status())), flags=re.DOTALL).encode())
    dom = browse(url, "--dump-dom")
    assert "Handshake latency by phase" in dom
    assert dom.count("<svg") >= 3
    assert "<noscript>" in dom
    assert "http-equiv" in dom


@needs_browser
@pytest.mark.parametrize(("size", "dark"), [("1200,1600", False), ("390,2400", True)])
def test_it_is_drawn_in_both_schemes_and_on_a_phone(
    size: str, dark: bool, serving: Callable[[Callable[[int], bytes]], str], tmp_path: Path
) -> None:
    """A picture comes out and its ground is the scheme's; whether it pleases, a person has to say."""
    url = serving(lambda number: render(view(status())).encode())
    picture = tmp_path / "page.png"
    # Without scripts, so that this too is seen to suffice.
    scheme = ["--blink-settings=preferredColorScheme=0"] if dark else []
    browse(url, f"--screenshot={picture}", f"--window-size={size}", "--hide-scrollbars", *scheme)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 20_000
