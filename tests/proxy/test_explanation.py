from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from terminator.config import model
from terminator.config.load import load
from terminator.errors import CertificateError
from terminator.proxy.explanation import Explanation, explain
from terminator.proxy.question import question
from terminator.tls.material import CertificateInfo, Pair

NOW = datetime(2026, 7, 1, tzinfo=UTC)

CONFIG = """
version: 1
listeners:
  - {name: https, bind: "[::]:443"}
  - {name: other, bind: "127.0.0.1:8443"}
  - {name: http, bind: "[::]:80", tls: false, acme_webroot: /acme}
tls: {unknown_sni: %s}
hosts:
  - names: [shop.example, "*.shop.example"]
    certificates: [{chain: /shop.pem, key: /shop.key}]
    hsts: 1d
    routes:
      - {path: /, backend: web}
      - path: /api/
        backend: api
        strip_prefix: true
        methods: [GET, PUT]
        headers: {set: {X-Who: "{client.address} {tls.version} {route}"}, remove: [cookie]}
        response_headers: {set: {X-Served: "{backend}"}, remove: [server]}
      - {path: /old, redirect: {to: "https://{host}/new{path}?{query}", status: 301}}
      - {exact: /health, respond: {status: 204}, response_headers: {add: {X-H: "1"}}}
      - {path: /re, backend: api, rewrite: "/written{path}"}
  - names: ["*.wild.example"]
    certificates: [{chain: /missing.pem, key: /missing.key}]
    routes: [{path: /only, backend: web}]
backends:
  web: {servers: ["127.0.0.1:8000", {address: "127.0.0.1:8001", weight: 2, backup: true, max_connections: 9}]}
  api: {servers: ["127.0.0.1:9000"], balance: consistent_hash, hash_key: "header:X-User"}
request_id: {}
ja4_header: X-JA4
"""


@pytest.fixture
def config(tmp_path: Path) -> model.Config:
    return configured(tmp_path, "reject")


def configured(folder: Path, unknown_sni: str) -> model.Config:
    (folder / "terminator.yaml").write_text(CONFIG % unknown_sni)
    return load(str(folder / "terminator.yaml")).config


def read_pair(chain: str, key: str) -> Pair:
    if "missing" in chain:
        raise CertificateError(f"{chain}: there is no such file")
    info = CertificateInfo(
        serial="2a",
        subject="CN=shop.example",
        issuer="CN=ca",
        names=("shop.example",),
        not_before=NOW - timedelta(days=10),
        not_after=NOW + timedelta(days=80),
        key_type="ecdsa",
        key_bits=256,
        sha256="00",
        chain_length=1,
        chain_problems=(),
        chain_not_after=None,
    )
    return Pair(chain_file=chain, key_file=key, key_mode=0o600, chain_pem=b"", key_pem=b"", info=info, digest="")


def told(config: model.Config, url: str, **options: Any) -> Explanation:
    return explain(config, question(url, **options), read_pair, NOW)


@pytest.mark.parametrize(
    ("url", "options", "status", "error", "outcome"),
    [
        ("https://shop.example/x?y", {}, None, None, "forwarded to backend web as GET /x?y"),
        ("https://a.shop.example/x", {}, None, None, "forwarded to backend web as GET /x"),
        ("https://shop.example/api/x?y", {}, None, None, "forwarded to backend api as GET /x?y"),
        ("https://shop.example/api", {"method": "PUT"}, None, None, "forwarded to backend api as PUT /"),
        ("https://shop.example/api/x", {"method": "POST"}, None, None, "forwarded to backend web as POST /api/x"),
        ("https://shop.example/re/%61?q", {}, None, None, "forwarded to backend api as GET /written/re/%61?q"),
        ("https://shop.example/old/a?b", {}, 301, None, "redirected with 301 to https://shop.example/new/old/a?b"),
        ("https://shop.example/health", {}, 204, None, "answered 204 with a fixed response"),
        ("https://shop.example/a/../b", {}, 400, "bad_request", "dot segment"),
        ("https://shop.example//api", {}, 400, "bad_request", "backends may read the path as //api"),
        ("https://shop.example/x", {"headers": [("A B", "c")]}, 400, "bad_request", "answered 400"),
        ("https://shop.example/x", {"headers": [("A", "c" * 40000)]}, 431, "head_too_large", "32768 bytes"),
        ("https://shop.example/" + "x" * 40000, {}, 414, "uri_too_long", "32768 bytes"),
        ("https://shop.example/x", {"method": "TRACE"}, 501, "method_not_implemented", "answered 501"),
        ("https://shop.example/x", {"sni": "b.wild.example"}, 421, "misdirected", "not served under the SNI"),
        ("https://shop.example/x", {"headers": [("Host", "nope.example")]}, 421, "misdirected", "'nope.example'"),
        ("https://a.wild.example/x", {}, 404, "no_route", "no route of *.wild.example matches GET /x"),
        ("https://nope.example/", {}, None, "unrecognized_name", "no host answers to nope.example"),
        ("https://192.0.2.1/", {}, None, "unrecognized_name", "sends no SNI"),
        ("http://shop.example/x?y", {}, 308, None, "redirected with 308 to https://shop.example/x?y"),
        ("http://shop.example/.well-known/acme-challenge/t", {}, None, None, "/acme/.well-known/acme-challenge/t"),
        ("http://shop.example/x", {"headers": [("Host", "a b")]}, 400, "bad_request", "answered 400"),
        ("https://shop.example:80/", {}, None, "not_tls", "speaks plain HTTP"),
        ("http://shop.example:443/", {}, 400, "plain_http", "speaks TLS only"),
    ],
)
def test_what_becomes_of_a_request(
    config: model.Config, url: str, options: dict[str, Any], status: int | None, error: str | None, outcome: str
) -> None:
    story = told(config, url, **options)
    assert (story.status, story.error) == (status, error)
    assert outcome in story.outcome


def test_the_whole_story_of_a_forwarded_request(config: model.Config) -> None:
    story = told(
        config,
        "https://a.shop.example:8443/api/x?y",
        client="192.0.2.7",
        headers=[("Cookie", "a=b"), ("X-Forwarded-For", "1.2.3.4"), ("X-JA4", "mine"), ("Accept", "*/*")],
    )
    assert story.listeners == ("other (127.0.0.1:8443)",)
    assert (story.sni, story.host, story.pattern) == ("a.shop.example", "shop.example", "*.shop.example")
    assert story.policy is not None
    (certificate,) = story.certificates
    assert (certificate.serial, certificate.key_type, certificate.days_left) == ("2a", "ecdsa 256", 80.0)
    assert any("*.shop.example" in problem for problem in certificate.problems)
    assert [(one.index, one.won, one.why) for one in story.routes] == [
        (3, False, "the path is not /health"),
        (1, True, "the most specific of the routes that match"),
        (2, False, "the path is not under /old/"),
        (4, False, "the path is not under /re/"),
        (0, False, "shorter than /api/ of route 1"),
    ]
    assert (story.route, story.target) == (1, "/x?y")
    assert set(story.request_added) == {
        "Via: 1.1 terminator",
        "X-Forwarded-For: 192.0.2.7",
        "X-Real-IP: 192.0.2.7",
        "X-Forwarded-Proto: https",
        "X-Forwarded-Host: a.shop.example:8443",
        "X-Forwarded-Port: 8443",
        "X-Forwarded-Prefix: /api",
        'Forwarded: for=192.0.2.7;proto=https;host="a.shop.example:8443"',
        "X-Request-ID: (request.id)",
        "X-Ja4: (tls.ja4)",
        "X-Who: 192.0.2.7 (tls.version) /api",
    }
    assert set(story.request_removed) == {"Cookie: a=b", "X-Forwarded-For: 1.2.3.4", "X-Ja4: mine"}
    assert set(story.response_added) == {
        "Via: 1.1 terminator",
        "Strict-Transport-Security: max-age=86400",
        "X-Served: api",
    }
    assert story.response_removed == ("Server",)
    assert story.backend is not None
    assert (story.backend.name, story.backend.balance) == ("api", "consistent_hash by header:X-User")


def test_servers_and_answers_of_our_own(config: model.Config) -> None:
    backend = told(config, "https://shop.example/").backend
    assert backend is not None
    assert [(one.address, one.weight, one.backup, one.max_connections) for one in backend.servers] == [
        ("127.0.0.1:8000", 1, False, 0),
        ("127.0.0.1:8001", 2, True, 9),
    ]
    story = told(config, "https://shop.example/health")
    assert story.response_added == ("Strict-Transport-Security: max-age=86400", "X-H: 1")
    assert story.backend is None
    assert told(config, "https://shop.example/old").response_added[1].startswith("Location: https://shop.example/new")


def test_a_certificate_that_cannot_be_read_is_told_and_the_rest_too(config: model.Config) -> None:
    story = told(config, "https://a.wild.example/only")
    assert story.certificates[0].problems == ("/missing.pem: there is no such file",)
    assert story.outcome == "forwarded to backend web as GET /only"


@pytest.mark.parametrize("default", ['"*.wild.example"', "Shop.example"])
def test_the_host_of_unknown_names(tmp_path: Path, default: str) -> None:
    config = configured(tmp_path, default)
    for url in ("https://nope.example/only", "https://192.0.2.1/only"):
        story = told(config, url)
        assert story.host == ("*.wild.example" if "wild" in default else "shop.example")
        assert story.pattern is None
        assert story.outcome == "forwarded to backend web as GET /only"
    named = told(config, "https://shop.example/", sni="nope.example")
    assert named.status == (421 if "wild" in default else None)


def test_a_port_where_nothing_listens_is_supposed_to_be_mapped(config: model.Config) -> None:
    story = told(config, "https://shop.example:9999/")
    assert story.notes == ["supposing that the request comes in at https ([::]:443): no listener has port 9999"]
    assert "X-Forwarded-Port: 9999" in story.request_added


def test_without_any_listener_of_the_kind_the_story_ends(tmp_path: Path) -> None:
    text = (CONFIG % "reject").replace('  - {name: http, bind: "[::]:80", tls: false, acme_webroot: /acme}\n', "")
    text = text.replace('"127.0.0.1:8443"', '"systemd:other"').replace('{name: https, bind: "[::]:443"}', "")
    text = text.replace("  - \n", "")
    (tmp_path / "terminator.yaml").write_text(text)
    config = load(str(tmp_path / "terminator.yaml")).config
    assert told(config, "http://shop.example/").outcome == "nothing listens for http on port 80"
    assert told(config, "https://shop.example/").notes == [
        "supposing that the request comes in at other (systemd:other): its port is not in the configuration"
    ]
