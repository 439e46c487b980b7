"""What is generated from the model is current, complete, and says the same as the loader."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from terminator.config.reference import json_schema, json_schema_text, markdown
from terminator.config.shape import sections
from terminator.wire.variables import KNOWN_VARIABLES

ROOT = Path(__file__).parents[2]
SHIPPED = sorted(set((ROOT / "config").glob("*.yaml")) - {ROOT / "config" / "prometheus-rules.yaml"})

validator = jsonschema.Draft202012Validator(json_schema())


def refused(data: Any) -> list[str]:
    return [error.json_path for error in validator.iter_errors(data)]


def test_the_shipped_schema_is_current() -> None:
    shipped = (ROOT / "config/terminator.schema.json").read_text()
    assert shipped == json_schema_text(), "run: terminator schema > config/terminator.schema.json"


def test_the_documented_reference_is_current() -> None:
    page = (ROOT / "docs/configuration.md").read_text()
    assert page.endswith(f"terminator schema --format markdown -->\n\n{markdown()}"), (
        "copy its output to the page's end"
    )


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())
    assert json_schema()["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    assert "$id" not in json_schema_text()
    assert json.loads(json_schema_text()) == json_schema()


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_the_schema_accepts_a_shipped_file(path: Path) -> None:
    assert refused(yaml.safe_load(path.read_text())) == []


def test_every_shipped_file_tells_editors_its_schema() -> None:
    for path in SHIPPED:
        assert path.read_text().startswith("# yaml-language-server: $schema=./terminator.schema.json\n"), path.name


def test_every_key_has_a_description_in_the_schema() -> None:
    schema = json_schema()
    for section in {section for _, section in sections()}:
        described = schema if section.__name__ == "Config" else schema["$defs"][section.__name__]
        assert described["description"]
        assert described["additionalProperties"] is False
        for name, about in described["properties"].items():
            target = schema["$defs"].get(about.get("$ref", "").rpartition("/")[2], {})
            assert about.get("description") or target.get("description"), f"{section.__name__}.{name}"


SAME = [
    ("workers: 4", True),
    ("workers: 0", False),
    ("workers: ${N:-4}", True),
    ("workers: '4'", False),
    ("user: null", True),
    ("xyzzy: 1", False),
    ("timeouts: {drain: 10s}", True),
    ("timeouts: {drain: 0}", True),
    ("timeouts: {drain: 10}", False),
    ("timeouts: {drain: 1m30s}", True),
    ("timeouts: {drain: '${N:-4}s'}", True),
    ("limits: {request_head: 32KiB}", True),
    ("limits: {request_head: 32K}", False),
    ("limits: {headers: 0}", False),
    ("reload: {watch: true}", True),
    ("reload: {watch: 'yes'}", False),
    ("reload: {watch: '${N:-true}'}", None),  # quoted it stays text for the loader; the schema cannot see quotes
    ("tls: {profile: modern}", True),
    ("tls: {profile: moden}", False),
    ('tls: {min_version: "1.2"}', True),
    ("tls: {min_version: 1.2}", False),
    ("ja4_header: X-JA4", True),
    ("ja4_header: X JA4", False),
    ("log: {requests: requests.log}", True),
    ("log: {failures: {sample: 0.5}}", True),
    ("log: {failures: {sample: 1.5}}", False),
    ("request_id: {trusted: [10.0.0.0/8]}", True),
    ("request_id: {trusted: 10.0.0.0/8}", False),
]


@pytest.mark.parametrize(("line", "valid"), SAME)
def test_the_schema_and_the_loader_agree(
    faults: Callable[..., list[str]], minimal: str, line: str, valid: bool | None
) -> None:
    text = f"{minimal}{line}\n"
    assert (not refused(yaml.safe_load(text))) is (valid is not False)
    if valid is not None:
        assert (not faults(text)) is valid


@pytest.mark.parametrize(
    ("before", "after", "valid"),
    [
        ('"127.0.0.1:8000"', '{address: "127.0.0.1:8000", weight: 2}', True),
        ('"127.0.0.1:8000"', "{weight: 2}", False),
        ('"127.0.0.1:8000"', "", False),
        ("  web:", "  'a b':", False),
        (", key: k.pem", "", False),
        (": web}", ": web, headers: {set: {X-A: b}}}", True),
        (": web}", ": web, headers: {set: {'X A': b}}}", False),
        (": web}", ": web, methods: [get]}", False),
        ("version: 1\n", "", False),
    ],
)
def test_the_schema_sees_into_lists_and_mappings(minimal: str, before: str, after: str, valid: bool) -> None:
    assert before in minimal
    assert (not refused(yaml.safe_load(minimal.replace(before, after)))) is valid


def test_defaults_stand_in_the_schema_as_one_would_write_them() -> None:
    definitions = json_schema()["$defs"]
    assert definitions["Timeouts"]["properties"]["tunnel_idle"]["default"] == "1h"
    assert definitions["Limits"]["properties"]["request_head"]["default"] == "32KiB"
    for section in definitions.values():
        for about in section.get("properties", {}).values():
            if "default" in about:
                own = {**about, "$defs": definitions}
                assert list(jsonschema.Draft202012Validator(own).iter_errors(about["default"])) == []


def test_the_reference_names_every_key_and_every_variable() -> None:
    text = markdown()
    for place, section in sections():
        assert f"`{place}`" in text or place == ""
        for name in section.model_fields:
            assert f"| `{name}` |" in text
    for name in KNOWN_VARIABLES:
        assert f"| `{{{name}}}` |" in text
    assert "| `drain` | duration | `30s` |" in text
    assert "| `chain` | path | required |" in text
