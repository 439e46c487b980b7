"""The loader whole: every fault at once, nothing else than a value or ConfigError, and fast."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from terminator.config.load import examine, load
from terminator.config.model import Config
from terminator.config.section import Section
from terminator.config.shape import sections, shape_of
from terminator.config.values import SystemdSocket, TcpAddress, UnixAddress, duration_text, size_text
from terminator.errors import ConfigError

_CONFIG = Path(__file__).parents[2] / "config"
SHIPPED = sorted(set(_CONFIG.glob("*.yaml")) - {_CONFIG / "prometheus-rules.yaml"})  # the one for Prometheus


ALL_AT_ONCE = """\
version: 1
workers: aut
listners: []
listeners:
  - name: https
    bind: 0.0.0.0
    tls: on
hosts:
  - names: [shop.example]
    certificates:
      - {chain: shop.pem, keyy: shop.key}
    tls: {profile: moden}
    routes:
      - {path: /, backend: "${BACKEND}"}
timeouts:
\tdrain: 5
"""

GOLDEN = """\
t.yaml:2:10: workers: expected `auto` or a whole number, found the text `aut`; did you mean `auto`?
    2 | workers: aut
      |          ^^^
t.yaml:3:1: listners: unknown key; did you mean `listeners`?
    3 | listners: []
      | ^^^^^^^^
t.yaml:6:11: listeners[0].bind: the address has no port; write host:port, for example 127.0.0.1:8000
    6 |     bind: 0.0.0.0
      |           ^^^^^^^
t.yaml:7:10: listeners[0].tls: expected true or false, found the text `on`; YAML 1.2 writes true
    7 |     tls: on
      |          ^^
t.yaml:11:9: hosts[0].certificates[0].key: is required
   11 |       - {chain: shop.pem, keyy: shop.key}
      |         ^
t.yaml:11:27: hosts[0].certificates[0].keyy: unknown key; did you mean `key`?
   11 |       - {chain: shop.pem, keyy: shop.key}
      |                           ^^^^
t.yaml:12:20: hosts[0].tls.profile: expected `modern`, `intermediate` or `old`, found the text `moden`; did you mean `modern`?
   12 |     tls: {profile: moden}
      |                    ^^^^^
t.yaml:14:29: hosts[0].routes[0].backend: the environment variable BACKEND is not set; give a default: ${BACKEND:-value}
   14 |       - {path: /, backend: "${BACKEND}"}
      |                             ^^^^^^^^^^
t.yaml:16:10: timeouts.drain: a duration needs its unit; write for example 500ms, 10s, 1m30s or 12h; did you mean 5s?
   16 |   drain: 5
      |          ^"""  # noqa: E501


def test_all_faults_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(ALL_AT_ONCE.replace("\t", "  "))
    with pytest.raises(ConfigError) as caught:
        load("t.yaml", {})
    assert str(caught.value) == GOLDEN
    assert len(caught.value.problems) == 9


def test_a_file_that_is_no_yaml_has_one_fault(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("t.yaml").write_text(ALL_AT_ONCE)
    with pytest.raises(ConfigError) as caught:
        load("t.yaml", {"BACKEND": "web"})
    assert str(caught.value) == ("t.yaml:16:1: a tab; YAML is indented with spaces\n   16 | \tdrain: 5\n      | ^")


def test_what_is_loaded(tmp_path: Path, minimal: str) -> None:
    (tmp_path / "t.yaml").write_text(minimal)
    loaded = load(str(tmp_path / "t.yaml"), {})
    assert loaded.config.hosts[0].names == ["www.example"]
    assert loaded.config.timeouts.drain == 30.0
    assert loaded.files == (str(tmp_path / "t.yaml"),)
    assert loaded.findings == loaded.warnings == ()
    assert loaded.problem("hosts[0].certificates[0].key", "is gone").line == (
        f"{tmp_path}/t.yaml:6:40: hosts[0].certificates[0].key: is gone"
    )


@pytest.mark.parametrize(
    ("path", "place"),
    [
        ("hosts[0].certificates[0].chain", "6:28"),
        (("hosts", 0, "certificates", 0, "chain"), "6:28"),
        ("hosts[0].certificates[0]", "6:20"),
        ("hosts[0].hsts", "5:5"),  # not written: its host
        ("timeouts.drain", "1:1"),
        ("backends.web.servers[0].weight", "10:19"),
        ("nonsense[9]", "1:1"),
        ("", "1:1"),
    ],
)
def test_locate(tmp_path: Path, minimal: str, path: Any, place: str) -> None:
    (tmp_path / "t.yaml").write_text(minimal)
    assert load(str(tmp_path / "t.yaml"), {}).locate(path) == f"{tmp_path}/t.yaml:{place}"


def test_the_environment_of_the_process_is_the_default(
    tmp_path: Path, minimal: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "t.yaml").write_text(minimal + "workers: ${TERMINATOR_TEST_WORKERS}\n")
    monkeypatch.setenv("TERMINATOR_TEST_WORKERS", "3")
    assert load(str(tmp_path / "t.yaml")).config.workers == 3


@pytest.mark.parametrize(
    ("line", "value"),
    [
        ("workers: ${V}", 7),  # unquoted: read as if it stood there
        ("user: '${V}'", "7"),
        ("workers: ${NO:-auto}", "auto"),
        ("limits: {request_head: '${V}KiB'}", 7 * 1024),
        ("reload:\n  watch: ${NO:-true}", True),
    ],
)
def test_variables_of_all_types(examined: Callable[..., Any], minimal: str, line: str, value: Any) -> None:
    loaded, problems = examined(f"{minimal}{line}\n", V="7")
    assert not problems
    key = line.partition(":")[0]
    found = getattr(loaded.config, key)
    assert (
        next(getattr(found, name) for name in found.model_fields_set) if isinstance(found, Section) else found
    ) == value


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_file_is_valid_without_a_warning(path: Path) -> None:
    loaded, problems = examine(str(path), {})
    assert [problem.line for problem in problems] == []
    assert loaded is not None
    # full.yaml names every key, and this one is never without its warning.
    told = [finding.key for finding in loaded.findings]
    assert told == (["tls.key_log_file"] if path.name == "full.yaml" else [])


def test_the_full_file_has_every_key_and_every_default() -> None:
    data = yaml.safe_load((Path(SHIPPED[0]).parent / "full.yaml").read_text())
    loaded = load(str(SHIPPED[0].parent / "full.yaml"), {})
    seen: dict[type[Section], set[str]] = {}
    changed: list[str] = []

    def walk(value: Any, place: str) -> None:
        if isinstance(value, Section):
            seen.setdefault(type(value), set()).update(value.model_fields_set)
            for name in value.model_fields_set:
                field = type(value).model_fields[name]
                held = getattr(value, name)
                if not field.is_required() and field.default not in (None, [], {}) and held != field.default:
                    changed.append(f"{place}.{name}")
                walk(held, f"{place}.{name}")
        elif isinstance(value, dict):
            for below in value.values():
                walk(below, place)
        elif isinstance(value, list):
            for below in value:
                walk(below, place)

    walk(loaded.config, "")
    missing = [
        f"{section.__name__}.{name}"
        for section in {section for _, section in sections()}
        for name in set(section.model_fields) - seen[section]
        if not (section.__name__ == "TlsPolicy" and name in seen[type(loaded.config.tls)])
    ]
    assert missing == []
    assert data["version"] == 1
    examples = {"admin", "client_auth", "tls", "proxy_protocol", "profile", "mode", "passive_check", "body", "headers"}
    assert {path.rpartition(".")[2] for path in changed} <= examples | {"response_headers", "timeouts", "strip_prefix"}


def test_two_thousand_routes_take_well_under_a_second(tmp_path: Path, minimal: str) -> None:
    lines = "".join(
        f"      - path: /r{n}/x\n        backend: web\n        headers: {{set: {{X-R: '{{host}}'}}}}\n"
        for n in range(2000)
    )
    (tmp_path / "t.yaml").write_text(minimal.replace("backends:", lines + "backends:"))
    started = time.process_time()
    loaded = load(str(tmp_path / "t.yaml"), {})
    assert time.process_time() - started < 0.8  # 0.12 s on the machine where it was written
    assert len(loaded.config.hosts[0].routes) == 2001


# ------------------------------------------------------------------------------------------------- any text at all

LINES = """\
version: 1
listeners:
  - {name: a, bind: ':1'}
hosts:
  - names: [a.b]
    routes:
      - {path: /, backend: x}
backends:
  x: {servers: ['a:1']}
include: ['*.yaml']
"""
TOKENS = ("&a ", "*a", "<<: ", "${A}", "${", "$$", "!t ", "? ", ": ", "- ", *"{}[]'\"\t\0\n ", "|\n")
fragments = st.sampled_from([*LINES.splitlines(keepends=True), *TOKENS])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(st.lists(fragments | st.text(max_size=4), max_size=25).map("".join) | st.binary(max_size=60))
def test_any_file_is_a_configuration_or_refused_in_words(tmp_path: Path, text: str | bytes) -> None:
    path = tmp_path / "t.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
    loaded, problems = examine(str(path), {"A": "x"})
    assert (loaded is None) == bool(problems)
    for problem in problems:
        assert str(problem).startswith(f"{path}:")
        str(problem).encode()


SECRET_KEYS = [
    *("version", "user", "workers", "ja4_header", "tls.profile", "tls.unknown_sni", "timeouts.drain", "limits.headers"),
    *(f"hosts.0.{key}" for key in ("names.0", "routes.0.path", "routes.0.backend", "routes.0.redirect.to")),
    *("listeners.0.bind", "listeners.0.name", "request_id.trusted.0", "backends.web.servers.0"),
]


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.sampled_from(SECRET_KEYS),
        min_size=1,
        unique=True,
    ),
    st.text(alphabet="abcxyz0123456789:.,-_/{}[] %*", min_size=6, max_size=12),
)
def test_what_a_variable_became_is_never_told(tmp_path: Path, minimal: str, keys: list[str], middle: str) -> None:
    secret = f"S3CR{middle}T5"
    data = yaml.safe_load(minimal)
    for key in keys:
        *steps, last = key.split(".")
        at = data
        for step in steps:
            following = [*steps, last][steps.index(step) + 1]
            empty: Any = [None] if following == "0" else {}
            at = at[int(step)] if step.isdigit() else at.setdefault(step, empty)
        at[int(last) if last.isdigit() else last] = "${SECRET}"
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(data))
    loaded, problems = examine(str(tmp_path / "t.yaml"), {"SECRET": secret})
    told = "\n".join(str(problem) for problem in (*problems, *(loaded.findings if loaded else ())))
    assert "S3CR" not in told
    assert "T5" not in told


# ------------------------------------------------------------------------------ valid ones come back as they were


def values_of(section: type[Section]) -> st.SearchStrategy[dict[str, Any]]:
    """What an operator may write for the keys of a section that need no name elsewhere."""
    required: dict[str, st.SearchStrategy[Any]] = {}
    optional: dict[str, st.SearchStrategy[Any]] = {}
    for name, field in section.model_fields.items():
        shape = shape_of(field)
        low, high = shape.limit("ge"), shape.limit("le")
        found: st.SearchStrategy[Any]
        if shape.unit == "duration":
            found = st.integers(max(1, int(low or 1)), 10**6).map(lambda n: duration_text(float(n)))
        elif shape.unit == "size":
            found = st.integers(int(low or 0), int(high or 10**9)).map(size_text)
        elif shape.choices and str not in shape.types:
            found = st.sampled_from(shape.choices)
        elif bool in shape.types:
            found = st.booleans()
        elif int in shape.types:
            found = st.integers(low or 0, high or 10**6)
        elif float in shape.types:
            found = st.floats(low or 0, high or 1)
        elif shape.section is not None:
            found = values_of(shape.section)
        else:
            continue
        (required if field.is_required() else optional)[name] = found
    return st.fixed_dictionaries(required, optional=optional)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(values_of(Config))
def test_a_valid_configuration_is_read_as_it_was_written(tmp_path: Path, minimal: str, values: dict[str, Any]) -> None:
    base = yaml.safe_load(minimal)
    values.pop("request_id", None)
    values.get("tls", {}).pop("client_auth", None)
    data = {**values, **base}
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(data))
    loaded, problems = examine(str(tmp_path / "t.yaml"), {})
    assert [problem.line for problem in problems] == []
    assert loaded is not None

    def compare(written: dict[str, Any], read: Any) -> None:
        for key, value in written.items():
            held = getattr(read, key)
            unit = shape_of(type(read).model_fields[key]).unit
            if isinstance(value, dict) and isinstance(held, Section):
                compare(value, held)
            elif unit == "duration":
                assert duration_text(held) == value
            elif unit == "size":
                assert size_text(held) == value
            elif not isinstance(value, (dict, list)):
                assert held == value

    compare(values, loaded.config)
    (tmp_path / "again.yaml").write_text(yaml.safe_dump(written(loaded.config)))
    assert load(str(tmp_path / "again.yaml"), {}).config == loaded.config


def written(value: Any, unit: str | None = None) -> Any:
    """A read configuration as one would write it."""
    if isinstance(value, Section):
        return {
            name: written(getattr(value, name), shape_of(type(value).model_fields[name]).unit)
            for name in value.model_fields_set
        }
    if isinstance(value, dict):
        return {key: written(below) for key, below in value.items()}
    if isinstance(value, list):
        return [written(below) for below in value]
    if unit is not None and value is not None:
        return duration_text(value) if unit == "duration" else size_text(value)
    return str(value) if isinstance(value, (TcpAddress, UnixAddress, SystemdSocket)) else value
