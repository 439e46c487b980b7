"""What a reload would change, in words: (the change to the configuration, the texts)."""

from __future__ import annotations

import textwrap
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terminator.config.load import load
from terminator.config.model import Config
from terminator.service.difference import difference, needs_restart

BASE = """
version: 1
workers: 2
listeners:
  - {name: https, bind: "127.0.0.1:8443"}
  - {name: http, bind: "127.0.0.1:8080", tls: false}
hosts:
  - names: [a.test, b.test]
    certificates: [{chain: /a.pem, key: /a.key}]
    routes:
      - {path: /api, backend: web}
      - {path: /, backend: web}
  - names: [c.test]
    certificates: [{chain: /c.pem, key: /c.key}]
    tls: {profile: intermediate}
    routes: [{path: /, backend: web}]
backends:
  web: {servers: ["127.0.0.1:8000"]}
timeouts: {drain: 5s}
"""


@pytest.fixture
def config(tmp_path: Path) -> Any:
    def make(*replacements: tuple[str, str]) -> Config:
        text = BASE
        for old, new in replacements:
            assert old in text, old
            text = text.replace(old, new)
        file = tmp_path / "terminator.yaml"
        file.write_text(textwrap.dedent(text))
        return load(str(file)).config

    return make


def pair(sha256: str = "1", *, key_type: str = "ecdsa", digest: str = "", file: str = "/a.pem") -> Any:
    info = SimpleNamespace(
        sha256=sha256, serial=f"5e{sha256}", key_type=key_type, not_after=datetime(2027, 1, 2, 3, 4, tzinfo=UTC)
    )
    return SimpleNamespace(info=info, digest=digest or sha256, chain_file=file)


def materials(config: Config, **pairs: tuple[Any, ...]) -> dict[str, Any]:
    names = [host.names[0] for host in config.hosts]
    return {
        name: SimpleNamespace(pairs=pairs.get(name.partition(".")[0], (pair(),)), authorities=None) for name in names
    }


@pytest.mark.parametrize(
    ("replacements", "texts"),
    [
        pytest.param([], [], id="nothing"),
        pytest.param(
            [("drain: 5s", "drain: 6s, handshake: 3s")],
            ["timeouts.handshake: 10 → 3", "timeouts.drain: 5 → 6"],
            id="settings",
        ),
        pytest.param(
            [('http, bind: "127.0.0.1:8080"', 'http, bind: "127.0.0.1:8081"')],
            ["listener http: bind: 127.0.0.1:8080 → 127.0.0.1:8081"],
            id="listener changed",
        ),
        pytest.param(
            [("{name: http, bind", "{name: other, bind")],
            ["listener other: added (127.0.0.1:8080)", "listener http: removed (127.0.0.1:8080)"],
            id="listener renamed",
        ),
        pytest.param(
            [("[a.test, b.test]", "[a.test, d.test]")],
            ["host a.test: names: [a.test, b.test] → [a.test, d.test]"],
            id="names",
        ),
        pytest.param(
            [("[c.test]", "[d.test]")],
            [
                "host d.test: added, 1 route",
                "host d.test: /a.pem: serial 5e1 (ecdsa, until 2027-01-02 03:04 UTC) added",
                "host c.test: removed",
            ],
            id="another first name is another host",
        ),
        pytest.param(
            [("{path: /api, backend: web}", "{path: /api, redirect: {to: /x}}")],
            ["host a.test: route path=/api changed"],
            id="route changed",
        ),
        pytest.param(
            [("{path: /api, backend: web}", "{exact: /api, methods: [GET], backend: web}")],
            [
                "host a.test: route exact=/api methods=[GET] added (web)",
                "host a.test: route path=/api removed (web)",
            ],
            id="what a route matches is its name",
        ),
        pytest.param(
            [("profile: intermediate", "profile: modern")],
            ["host c.test: tls.profile: intermediate → modern"],
            id="policy of a host",
        ),
        pytest.param(
            [("tls: {profile: intermediate}", "tls: {}")],
            [],
            id="what is written out or the default is the same",
        ),
        pytest.param(
            [('["127.0.0.1:8000"]', '["127.0.0.1:8000", "127.0.0.1:8001"], balance: least_connections')],
            None,
            id="backend",
        ),
        pytest.param([("workers: 2", "workers: 3")], [], id="what needs a restart is no change"),
    ],
)
def test_the_difference_in_words(config: Any, replacements: list[tuple[str, str]], texts: list[str] | None) -> None:
    old, new = config(), config(*replacements)
    found = [change.text for change in difference(old, new, materials(old), materials(new))]
    if texts is None:
        (text,) = found
        assert text.startswith("backend web: servers: ")
        assert "balance: round_robin → least_connections" in text
    else:
        assert found == texts


def test_a_top_level_policy_is_one_change_and_not_one_per_host(config: Any) -> None:
    old, new = config(), config(("timeouts:", "tls: {min_version: '1.3'}\ntimeouts:"))
    found = [change.text for change in difference(old, new, materials(old), materials(new))]
    assert found == ["tls.min_version: none → 1.3"]


@pytest.mark.parametrize(
    ("old_pairs", "new_pairs", "texts"),
    [
        ((pair("1"),), (pair("1"),), []),
        (
            (pair("1"),),
            (pair("2"),),
            ["serial 5e1 (ecdsa, until 2027-01-02 03:04 UTC) → serial 5e2 (ecdsa, until 2027-01-02 03:04 UTC)"],
        ),
        (
            (pair("1"),),
            (pair("1"), pair("3", key_type="rsa")),
            ["serial 5e3 (rsa, until 2027-01-02 03:04 UTC) added"],
        ),
        (
            (pair("1"), pair("3", key_type="rsa")),
            (pair("3", key_type="rsa"),),
            ["serial 5e1 (ecdsa, until 2027-01-02 03:04 UTC) removed"],
        ),
        (
            (pair("1"),),
            (pair("1", digest="other intermediates"),),
            ["same certificate serial 5e1 (ecdsa, until 2027-01-02 03:04 UTC), other chain or key bytes"],
        ),
    ],
)
def test_certificates_by_serial_and_expiry(config: Any, old_pairs: Any, new_pairs: Any, texts: list[str]) -> None:
    old = config()
    changes = difference(old, old, materials(old, a=old_pairs), materials(old, a=new_pairs))
    assert [change.text for change in changes] == [f"host a.test: /a.pem: {text}" for text in texts]
    assert {change.kind for change in changes} <= {"certificate"}


def test_other_client_authorities_are_a_change(config: Any) -> None:
    old = config()
    before, after = materials(old), materials(old)
    after["a.test"].authorities = SimpleNamespace(digest="x")
    assert [c.text for c in difference(old, old, before, after)] == [
        "host a.test: client authorities or revocation lists changed"
    ]


def test_what_needs_a_restart_is_named_with_both_values(config: Any) -> None:
    new = config(("workers: 2", "workers: 3\nuser: nobody"))
    assert needs_restart(config(), new) == [
        "workers: runs with 2, configured is 3",
        "user: runs with none, configured is nobody",
    ]
    assert needs_restart(new, new) == []
