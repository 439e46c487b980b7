"""Faults of form do not hide the others, and nobody is blamed for what a fault of form has taken away."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from terminator.config.load import examine

GOOD = """\
version: 1
listeners:
  - {name: https, bind: "127.0.0.1:8443"}
  - {name: other, bind: "127.0.0.1:8444"}
tls: {unknown_sni: a.example}
hosts:
  - names: [a.example]
    certificates: [{chain: a.pem, key: a.key}]
    routes:
      - {path: /, backend: web}
      - {path: /api, backend: api}
  - names: [b.example]
    certificates: [{chain: b.pem, key: b.key}]
    routes: [{path: /, backend: web, headers: {set: {X-Id: "{request.id}"}}}]
backends:
  web: {servers: ["127.0.0.1:8000"]}
  api: {servers: ["127.0.0.1:8001"]}
request_id: {header: X-Id-Of-Request}
"""


@pytest.fixture
def faults(tmp_path) -> Callable[..., list[tuple[str, str]]]:
    def find(*changes: tuple[str, str]) -> list[tuple[str, str]]:
        """Line number and key of each fault of GOOD with these changes."""
        text = GOOD
        for old, new in changes:
            assert text.count(old) == 1, old
            text = text.replace(old, new)
        (tmp_path / "t.yaml").write_text(text)
        _, problems = examine(str(tmp_path / "t.yaml"))
        return [(problem.place.line, problem.key) for problem in problems]

    return find


def test_without_changes_there_is_nothing_to_find(faults):
    assert faults() == []


CROSS = "backend: api}", "backend: apo}", (11, "hosts[0].routes[1].backend")


@pytest.mark.parametrize(
    ("old", "new", "place", "key"),
    [
        ("version: 1", "version: 2", 1, "version"),
        ("version: 1", "version: 1\ntimeouts: {drain: 5}", 2, "timeouts.drain"),
        ("version: 1", "version: 1\nlog: 5", 2, "log"),
        ("version: 1", "version: 1\nzork: 5", 2, "zork"),
        ("127.0.0.1:8443", "127.0.0.1", 3, "listeners[0].bind"),
        ("name: other, ", "", 4, "listeners[1].name"),
        ("{unknown_sni: a.example}", "{profile: nwe}", 5, "tls.profile"),
        ("names: [a.example]", "names: [3]", 7, "hosts[0].names[0]"),
        ("{chain: a.pem, key: a.key}", "{chain: a.pem}", 8, "hosts[0].certificates[0].key"),
        ("{path: /, backend: web}", "{path: /, backend: web, methods: GET}", 10, "hosts[0].routes[0].methods"),
        ("{path: /, backend: web}", "{path: /, bakend: web}", 10, "hosts[0].routes[0].bakend"),
        ('["127.0.0.1:8000"]', '["127.0.0.1"]', 16, "backends.web.servers[0]"),
        ('{servers: ["127.0.0.1:8000"]}', "5", 16, "backends.web"),
    ],
)
def test_a_fault_of_form_is_told_alone_and_hides_no_other(faults, old, new, place, key):
    lines = new.count("\n")
    *change, (line, cross) = CROSS
    assert faults((old, new)) == [(place, key)]
    assert faults((old, new), tuple(change)) == sorted([(place, key), (line + lines, cross)])


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ("backends:", "backens:", "backens"),
        ("request_id: {", "request_ids: {", "request_ids"),
        ("request_id: {header: X-Id-Of-Request}", "request_id: 5", "request_id"),
    ],
)
def test_what_everything_else_names_is_blamed_alone(faults, old, new, key):
    assert [found for _, found in faults((old, new))] == [key]


def test_several_faults_of_one_entry_are_all_told(faults):
    changes = (
        ('{servers: ["127.0.0.1:8000"]}', "{servers: [], health_check: {paht: /}, retries: {attempt: 1}}"),
        CROSS[:2],
    )
    assert faults(*changes) == [
        CROSS[2],
        (16, "backends.web.servers"),
        (16, "backends.web.health_check.paht"),
        (16, "backends.web.retries.attempt"),
    ]


def test_several_faults_of_a_list_of_texts_are_all_told(faults):
    change = ("version: 1", "version: 1\ninclude: [[], []]")
    assert [key for _, key in faults(change)] == ["include[0]", "include[1]"]


def test_a_whole_list_may_be_wrong(faults):
    assert faults(("  - {name: https", "  x:\n  - {name: https")) != []
    assert faults(("hosts:\n  - names: [a.example]", "hosts: 5\nx:\n  - names: [a.example]"))[0] == (6, "hosts")
