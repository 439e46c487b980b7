"""pydantic's complaints in words: one table for the sentences, one test that none was forgotten."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terminator.config.model import Config
from terminator.config.sentences import PATTERNS

Faults = Callable[..., list[str]]

DURATION = "write for example 500ms, 10s, 1m30s or 12h"
SIZE = "write for example 512B, 32KiB, 10MiB or 1GB"
NUMBER = "expected `auto` or a whole number, found"
PROFILE = "expected `modern`, `intermediate` or `old`, found the text"
VERSION = "expected `1.0`, `1.1`, `1.2` or `1.3`, found"
NOTHING = "found nothing; give it one or remove the key"

TOP = [
    ("version: 2", "expected `1`, found the number `2`"),
    ("version: '1'", "expected `1`, found the text `1`; did you mean `1`?"),
    ("workers: 0", "must be at least 1"),
    ("workers: 513", "may be at most 512"),
    ("workers: aut", f"{NUMBER} the text `aut`; did you mean `auto`?"),
    ("workers: 1.5", f"{NUMBER} the number `1.5`"),
    ("workers: '3'", f"{NUMBER} the text `3`; write 3, without quotes or leading zeros"),
    ("workers: 08", f"{NUMBER} the text `08`; write 8, without quotes or leading zeros"),
    ("workers: []", f"{NUMBER} a list"),
    ("user: 7", 'expected text, found the number `7`; put it in quotes: "7"'),
    ("user: true", 'expected text, found true or false `true`; put it in quotes: "true"'),
    ("backends: []", "expected a mapping, found a list"),
    ("backends:", f"expected a mapping, {NOTHING}"),
    ("limits: 5", "expected a mapping, found the number `5`"),
    ("limits: {headers: }", f"expected a whole number, {NOTHING}"),
    ("timeouts: {drain: }", "has no value; give it one or remove the key"),
    ("timeouts: {drain: 10}", f"a duration needs its unit; {DURATION}; did you mean 10s?"),
    ("timeouts: {drain: -1}", f"a duration needs its unit; {DURATION}"),
    ("timeouts: {drain: ten}", f"not a duration; {DURATION}"),
    ("timeouts: {handshake: 0}", "must be more than 0"),
    ("tls: {ticket_rotation: 1s}", "must be at least 1m"),
    ("limits: {request_head: 12}", f"a size needs its unit; {SIZE}; did you mean 12B?"),
    ("limits: {request_head: 1B}", "must be at least 1KiB"),
    ("limits: {request_head: 1GiB}", "may be at most 1MiB"),
    ("log: {failures: {sample: 2}}", "may be at most 1"),
    ("log: {failures: {sample: .nan}}", "may be at most 1"),
    ("log: {failures: {sample: x}}", "expected a number, found the text `x`"),
    ("log: {requests: ''}", "a path may not be empty"),
    ("reload: {watch: on}", "expected true or false, found the text `on`; YAML 1.2 writes true"),
    ("reload: {watch: No}", "expected true or false, found the text `No`; YAML 1.2 writes false"),
    ("tls: {profile: Modern}", f"{PROFILE} `Modern`; did you mean `modern`?"),
    ("tls: {profile: x}", f"{PROFILE} `x`"),
    ("tls: {min_version: 1.2}", f'{VERSION} the number `1.2`; put it in quotes: "1.2"'),
    ("tls: {alpn: h2}", "expected a list, found the text `h2`; write a list: [h2]"),
    ("tls: {alpn: [h2]}", "expected `http/1.1` or `http/1.0`, found the text `h2`"),
    ("admin: {bind: 9145}", "expected an address as text, for example 127.0.0.1:8000, found the number `9145`"),
    ("request_id: {trusted: [x]}", "needs at least 2 characters"),
    ("ja4_header: a b", "not the name of a header field (RFC 9110 §5.1)"),
]  # fmt: skip


@pytest.mark.parametrize(("line", "sentence"), TOP)
def test_sentences(faults: Faults, minimal: str, line: str, sentence: str) -> None:
    key = line.partition(":")[0]
    text = "".join(kept + "\n" for kept in minimal.splitlines() if not kept.startswith(f"{key}:"))
    if key == "backends":
        text = text[: text.index("  web:")]
    told = faults(f"{line}\n{text}")
    assert [fault.partition(": ")[2].partition(": ")[2] for fault in told] == [sentence]


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("listners: []", "listners: unknown key; did you mean `listeners`?"),
        ("upstreams: {}", "upstreams: unknown key; did you mean `backends`?"),
        ("profile: modern", "profile: unknown key; did you mean `tls.profile`?"),
        ("refuse_worse: true", "refuse_worse: unknown key; did you mean `reload.refuse_worse`?"),
        ("xyzzy: 1", "xyzzy: unknown key"),
        ("limits: {conections: 1}", "limits.conections: unknown key; did you mean `connections`?"),
        ("reload: {xyzzy: 1}", "reload.xyzzy: unknown key; here stand refuse_worse, watch"),
        ("'a b': 1", '["a b"]: unknown key'),
    ],
)
def test_unknown_keys(faults: Faults, minimal: str, line: str, told: str) -> None:
    column = 10 if "{" in line and "[]" not in line and "{}" not in line else 1
    assert faults(f"{line}\n{minimal}") == [f"1:{column}: {told}"]


PLACES = [
    ("key: k.pem", "kee: k.pem", "6:20: hosts[0].certificates[0].key: is required"),
    ("key: k.pem", "kee: k.pem", "6:35: hosts[0].certificates[0].kee: unknown key; did you mean `key`?"),
    ("servers:", "server:", "10:3: backends.web.servers: is required"),
    ("servers:", "server:", "10:9: backends.web.server: unknown key; did you mean `servers`?"),
    ("[www.example]", "[]", "5:5: hosts[0].names: needs at least 1 entry"),
    ("[www.example]", "w.example", "5:12: hosts[0].names: expected a list, found the text `w.example`; write a list: "),
    ("  web:", "  'a b':", '10:3: backends["a b"]: a name begins with a letter or digit'),
    ('"127.0.0.1:8000"', "8000", "10:19: backends.web.servers[0]: expected an address as text"),
    ('"127.0.0.1:8000"', "x", "10:19: backends.web.servers[0]: the address has no port; write host:port"),
    ('"127.0.0.1:8000"', "{address: x}", "10:29: backends.web.servers[0].address: the address has no port"),
    (": web}", ": web, methods: [get]}", "8:43: hosts[0].routes[0].methods[0]: a method is written in capitals"),
    (
        ": web}",
        ': web, headers: {set: {X: "a\\nb"}}}',
        "8:52: hosts[0].routes[0].headers.set.X: a header field holds no",
    ),
    (": web}", ": web, headers: {set: {'a b': c}}}", '8:49: hosts[0].routes[0].headers.set["a b"]: not the name of a'),
    ("hosts:\n", "hosts: 5\nx:\n", "4:8: hosts: expected a list, found the number `5`"),
    ("hosts:\n", "hosts: 5\nx:\n", "5:1: x: unknown key"),
]


@pytest.mark.parametrize(("before", "after", "told"), PLACES)
def test_places_and_keys(faults: Faults, minimal: str, before: str, after: str, told: str) -> None:
    assert before in minimal
    found = faults(minimal.replace(before, after))
    assert any(fault.startswith(told) for fault in found), found


def test_a_fault_told_by_the_variable_is_not_told_again(faults: Faults, minimal: str) -> None:
    told = faults(minimal + "workers: ${NO}\nlimits: {headers: '${NO}'}\n")
    assert len(told) == 2
    assert all("is not set" in fault for fault in told)


def test_every_pattern_of_the_model_has_words() -> None:
    def patterns(node: object) -> set[str]:
        if isinstance(node, dict):
            own = {node["pattern"]} if isinstance(node.get("pattern"), str) else set()
            return own.union(node.get("patternProperties", {}), *map(patterns, node.values()))
        return set().union(*map(patterns, node)) if isinstance(node, list) else set()

    units = {pattern for pattern in patterns(Config.model_json_schema()) if pattern.startswith("^(0|")}
    assert patterns(Config.model_json_schema()) - units == set(PATTERNS)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.sampled_from(["auto", "1s", "a:1"]),
    lambda inner: (
        st.lists(inner, max_size=2)
        | st.dictionaries(st.sampled_from(["name", "servers", "x", "tls", "set", "address"]), inner, max_size=2)
    ),
    max_leaves=6,
)
KEYS = [*sorted(Config.model_fields), "limits.headers", "tls.profile", "log.failures", "admin.bind"]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.sampled_from(KEYS), values), min_size=1, max_size=3))
def test_no_jargon_for_any_value(faults: Faults, minimal: str, changes: list[tuple[str, object]]) -> None:
    text = minimal
    for key, value in changes:
        top, _, below = key.partition(".")
        lines = [line for line in text.splitlines() if not line.startswith(f"{top}:")]
        if top in ("listeners", "hosts", "backends", "version"):
            continue
        text = "\n".join(lines) + f"\n{top}: " + json.dumps({below: value} if below else value) + "\n"
    for fault in faults(text):
        assert "Input should" not in fault
        assert "Value error" not in fault
        assert "instance of" not in fault
