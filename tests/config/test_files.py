"""Files: bytes that are no configuration, and `include`."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from terminator.config.files import MAX_FILE_BYTES, gather
from terminator.config.load import load

Faults = Callable[..., list[str]]

NOT_SET = "the environment variable NO is not set; give a default: ${NO:-value}"
UNIT = "a duration needs its unit; write for example 500ms, 10s, 1m30s or 12h; did you mean 5s?"


@pytest.mark.parametrize(
    ("data", "told"),
    [
        (b"a: caf\xe9\n", "1:7: byte 0xe9 is not UTF-8; save the file as UTF-8"),
        (b"\xff\xfea\0:\0", "1:1: the file is UTF-16; save it as UTF-8"),
        (b"\xfe\xff\0a", "1:1: the file is UTF-16; save it as UTF-8"),
        (b"a: 1\nb: \0", "2:4: a character that has no place in YAML (U+0000); inside quotes write an escape"),
        (b"a: \x1b[31m", "1:4: a character that has no place in YAML (U+001B); inside quotes write an escape"),
        (
            b"a: 1\nb: x\xef\xbb\xbfy",
            "2:5: a character that has no place in YAML (U+FEFF); inside quotes write an escape",
        ),
        (b"- a\n- b\n", "1:1: a configuration is a mapping: lines of `key: value`"),
        (b"just text", "1:1: a configuration is a mapping: lines of `key: value`"),
        (b"a" * (MAX_FILE_BYTES + 1), "1:1: larger than 16 MiB"),
    ],
    ids=["latin1", "utf16le", "utf16be", "nul", "escape", "late-bom", "list", "scalar", "size"],
)
def test_bytes_that_are_no_configuration(faults: Faults, data: bytes, told: str) -> None:
    assert faults(data)[0] == told


def test_a_byte_order_mark_at_the_start_is_no_fault(faults: Faults, minimal: str) -> None:
    assert faults(b"\xef\xbb\xbf" + minimal.encode()) == []


@pytest.mark.parametrize("text", ["", "# nothing\n", "---\n", "~\n"])
def test_an_empty_file_lacks_everything(faults: Faults, text: str) -> None:
    assert faults(text) == ["1:1: version: is required", "1:1: listeners: is required", "1:1: hosts: is required"]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    tree = gather(str(tmp_path / "no.yaml"), {})
    assert [problem.line for problem in tree.problems] == [
        f"{tmp_path}/no.yaml:1:1: cannot be read: no such file or directory"
    ]
    assert not tree.whole
    assert gather(str(tmp_path), {}).problems[0].message == "cannot be read: is a directory"


def test_standard_input(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, minimal: str) -> None:
    reading, writing = os.pipe()
    os.write(writing, minimal.encode())
    os.close(writing)
    keep = os.dup(0)
    os.dup2(reading, 0)
    try:
        monkeypatch.chdir(tmp_path)
        loaded = load("-", {})
    finally:
        os.dup2(keep, 0)
        os.close(keep)
        os.close(reading)
    assert loaded.files == ()
    assert loaded.config.hosts[0].certificates[0].chain == f"{tmp_path}/c.pem"
    assert loaded.locate("version") == "<stdin>:1:10"


# ------------------------------------------------------------------------------------------------------ include


def test_lists_append_in_lexical_order_and_mappings_merge(
    examined: Callable[..., Any], minimal: str, tmp_path: Path
) -> None:
    host = (
        "hosts: [{{names: [{0}.example], certificates: [{{chain: {0}.pem, key: k}}], "
        "routes: [{{path: /, backend: {0}}}]}}]\n"
    )
    others = {
        f"conf.d/{name}.yaml": host.format(name) + f"backends: {{{name}: {{servers: ['127.0.0.1:1']}}}}\n"
        for name in ("b", "a", "c")
    }
    loaded, _ = examined(minimal + "include: [conf.d/*.yaml]\n", others)
    assert [host.names[0] for host in loaded.config.hosts] == ["www.example", "a.example", "b.example", "c.example"]
    assert list(loaded.config.backends) == ["web", "a", "b", "c"]
    assert loaded.config.hosts[1].certificates[0].chain == f"{tmp_path}/conf.d/a.pem"  # from its own file
    assert loaded.files == tuple(
        f"{tmp_path}/{name}" for name in ("t.yaml", "conf.d/a.yaml", "conf.d/b.yaml", "conf.d/c.yaml")
    )
    assert loaded.locate("hosts[2].names[0]") == f"{tmp_path}/conf.d/b.yaml:1:18"
    assert loaded.config.include == ["conf.d/*.yaml"]


@pytest.mark.parametrize(
    ("include", "others", "told"),
    [
        ("[conf.d/*.yaml]", {}, []),  # a pattern may match nothing
        ("[a.yaml]", {}, ["11:11: include: cannot be read: no such file or directory"]),
        ("[conf.d]", {"conf.d/x": ""}, ["11:11: include: cannot be read: is a directory"]),
        ("['conf.d/*']", {"conf.d/x/y": ""}, []),  # folders that a pattern matches are passed over
        ("[a.yaml]", {"a.yaml": ""}, []),
        ("[a.yaml, a.yaml, '*.yaml']", {"a.yaml": ""}, ["11:27: include: includes this file itself"]),
        ("[a.yaml]", {"a.yaml": "include: [b.yaml]", "b.yaml": "version: 1"}, []),
        ("[a.yaml]", {"a.yaml": "include: [t.yaml]"}, ["a.yaml:1:11: include: includes a file that leads here"]),
        ("[a.yaml]", {"a.yaml": "include: [a.yaml]"}, ["a.yaml:1:11: include: includes this file itself"]),
        ("['${NO}.yaml']", {}, [f"11:12: include[0]: {NOT_SET}"]),
        ("['${DIR}/a.yaml']", {"d/a.yaml": ""}, []),
        ("a.yaml", {}, ["11:10: include: expected a list, found the text `a.yaml`; write a list: [a.yaml]"]),
        ("[1]", {}, ['11:11: include[0]: expected text, found the number `1`; put it in quotes: "1"']),
        ("['']", {}, ["11:11: include: a path may not be empty"]),
        ("[a.yaml]", {"a.yaml": "version: 1\nuser: x"}, []),  # the same value twice is no conflict
        ("[a.yaml]", {"a.yaml": "version: 2"}, ["a.yaml:1:1: version: 1:1 already says otherwise"]),
        ("[a.yaml]", {"a.yaml": "backends: []"}, ["a.yaml:1:1: backends: 9:1 already says otherwise"]),
        (
            "[a.yaml, b.yaml]",
            {"a.yaml": "limits: {headers: 7}", "b.yaml": "limits: {headers: 8, connections: 5}"},
            ["b.yaml:1:10: limits.headers: a.yaml:1:10 already says otherwise"],
        ),
        (
            "[a.yaml, b.yaml]",
            {"a.yaml": "{", "b.yaml": "]"},
            [
                "a.yaml:1:1: the file ends inside a `{` or a `[`",
                "b.yaml:1:1: a value is missing here, or must be quoted",
            ],
        ),
        ("[a.yaml]", {"a.yaml": "timeouts: {drain: 5}"}, [f"a.yaml:1:19: timeouts.drain: {UNIT}"]),
    ],
)
def test_include(faults: Faults, minimal: str, include: str, others: dict[str, str], told: list[str]) -> None:
    assert faults(minimal + f"include: {include}\n", others, DIR="d") == told


def test_eight_levels_are_followed_and_no_more(faults: Faults, minimal: str) -> None:
    others = {f"{n}.yaml": f"include: [{n + 1}.yaml]" for n in range(20)}
    told = faults(minimal + "include: [0.yaml]\n", others)
    assert told == ["7.yaml:1:11: include: includes nest deeper than 8 files"]


def test_what_an_unreadable_file_may_hold_is_not_missed(faults: Faults) -> None:
    text = "version: 1\nworkers: 0\ninclude: [a.yaml]\n"  # no listeners, no hosts: they may stand in a.yaml
    assert faults(text, {"a.yaml": "listeners: ["}) == [
        "2:10: workers: must be at least 1",
        "a.yaml:1:12: the file ends inside a `{` or a `[`",
    ]


def test_an_anchor_is_not_changed_by_what_is_merged_into_one_of_its_places(
    examined: Callable[..., Any], minimal: str
) -> None:
    text = minimal + "limits: &x {headers: 7}\ninclude: [a.yaml]\n"
    text = text.replace("hosts:\n", "timeouts: &t {drain: 5s}\nhosts:\n")
    loaded, problems = examined(text, {"a.yaml": "timeouts: {handshake: 3s}\nlimits: {connections: 9}\n"})
    assert not problems
    assert (loaded.config.timeouts.drain, loaded.config.timeouts.handshake) == (5.0, 3.0)
    assert (loaded.config.limits.headers, loaded.config.limits.connections) == (7, 9)


def test_a_relative_name_stays_relative_in_messages(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, minimal: str
) -> None:
    (tmp_path / "sub/conf.d").mkdir(parents=True)
    (tmp_path / "sub/t.yaml").write_text(minimal + "include: [conf.d/*]\n")
    (tmp_path / "sub/conf.d/a").write_text("x: 1")
    monkeypatch.chdir(tmp_path)
    assert [p.line for p in gather("sub/t.yaml", {}).problems] == []
    assert str(gather("sub/t.yaml", {}).root.entries["x"].key) == "sub/conf.d/a:1:1"


def test_a_file_name_that_is_not_utf8_can_be_told(tmp_path: Path) -> None:
    path = os.fsencode(tmp_path) + b"/\xff.yaml"
    with open(path, "w") as file:
        yaml.safe_dump({"version": 2}, file)
    for problem in gather(os.fsdecode(path), {}).problems:
        str(problem).encode()
    assert gather(os.fsdecode(path), {}).root.entries["version"].key.source.name.endswith("?.yaml")
