"""`terminator check` finds what is wrong before a start does, all of it at once, with its place."""

from __future__ import annotations

import datetime as dt
import json

import pytest
import yaml
from harness.commands import terminator


@pytest.fixture
def write(folder):
    def write_(config) -> str:
        path = folder / "terminator.yaml"
        path.write_text(config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False))
        return str(path)

    return write_


def test_a_good_file_passes(site, write):
    done = terminator("check", write(site.config("127.0.0.1:8000")))
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""


def test_all_errors_come_at_once_with_line_and_column(site, write):
    config = site.config("127.0.0.1:8000")
    text = yaml.safe_dump(config, sort_keys=False)
    text = text.replace("version: 1\n", "version: 1\nworkres: 2\n").replace("drain: 5s", "drain: 5")
    path = write(text)
    done = terminator("check", path)
    assert done.returncode == 2
    assert f"{path}:2:1: " in done.stderr
    assert "workres" in done.stderr
    assert "workers" in done.stderr  # the suggestion
    assert "timeouts.drain" in done.stderr
    assert "^" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_refuses_what_check_refuses(site, write):
    config = site.config("127.0.0.1:8000", timeouts={"drain": "soon"})
    done = terminator("run", "--config", write(config))
    assert done.returncode == 2
    assert "timeouts.drain" in done.stderr


def test_a_missing_file_is_told(folder):
    done = terminator("check", str(folder / "missing.yaml"))
    assert done.returncode == 2
    assert "missing.yaml" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_key_of_another_certificate_is_an_error(site, write, certificates):
    config = site.config("127.0.0.1:8000")
    config["hosts"][0]["certificates"][0]["key"] = str(certificates.pair("b.test").key)
    done = terminator("check", write(config))
    assert done.returncode == 2
    assert "does not belong to the key" in done.stderr
    assert str(certificates.pair("b.test").key) in done.stderr


@pytest.mark.parametrize("kind", ["expired", "not yet valid", "name", "readable key", "unused backend"])
def test_what_serves_although_it_should_not_is_a_warning(site, write, folder, certificates, kind):
    now = dt.datetime.now(dt.UTC)
    day = dt.timedelta(days=1)
    options = {
        "expired": {"not_before": now - 2 * day, "not_after": now - day},
        "not yet valid": {"not_before": now + day, "not_after": now + 2 * day},
    }.get(kind, {})
    names = ["other.test"] if kind == "name" else ["a.test"]
    pair = certificates.issue(folder / "pair", *names, **options)
    if kind == "readable key":
        pair.key.chmod(0o644)
    config = site.config("127.0.0.1:8000")
    config["hosts"][0]["certificates"] = [pair.as_config()]
    if kind == "unused backend":
        config["backends"]["spare"] = {"servers": ["127.0.0.1:8001"]}
    path = write(config)
    done = terminator("check", path)
    assert done.returncode == 0, done.stderr
    assert "warning" in (done.stdout + done.stderr).lower()
    assert terminator("check", "--strict", path).returncode == 4


def test_json_is_for_programs(site, write):
    done = terminator("check", "--format", "json", write(site.config("127.0.0.1:8000", timeouts={"drain": "soon"})))
    assert done.returncode == 2
    assert json.loads(done.stdout)


def test_the_schema_is_json(site, write):
    schema = json.loads(terminator("schema").stdout)
    assert "hosts" in schema["properties"]


def test_usage_errors_end_with_2():
    assert terminator("nonsense").returncode == 2
    assert terminator("run").returncode == 2
