"""docs/logs.md says what the event types say, and its jq recipes answer on a real log."""

from __future__ import annotations

import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest

from terminator.config.model import Log
from terminator.telemetry.events import ConfigReload, HttpRequest, TlsHandshake, log_names
from terminator.telemetry.journal import Journal
from terminator.telemetry.logs_page import event_types, main, renewed
from terminator.telemetry.text_format import text_line

PAGE = Path(__file__).parent.parent.parent / "docs" / "logs.md"
JQ = [line for line in PAGE.read_text().splitlines() if line.startswith("jq ")]
JOURNALCTL = [line for line in PAGE.read_text().splitlines() if line.startswith("journalctl ")]


def test_the_page_is_current() -> None:
    """Renew it with `python -m terminator.telemetry.logs_page docs/logs.md`."""
    assert renewed(PAGE.read_text()) == PAGE.read_text()


def test_renewing_replaces_the_reference_alone(tmp_path: Path) -> None:
    page = tmp_path / "logs.md"
    page.write_text(PAGE.read_text().replace("negotiated cipher suite", "stale"))
    main(str(page))
    assert page.read_text() == PAGE.read_text()
    with pytest.raises(ValueError, match="markers"):
        renewed("# Another page")


def test_every_key_is_described() -> None:
    page = PAGE.read_text()
    for kind in event_types():
        assert f"### {kind.event}\n" in page
        for _, name, meaning in log_names(kind):
            assert f"| `{name}` |" in page
            assert meaning


def test_equivalents_are_keys_that_exist() -> None:
    keys = {name for kind in event_types() for _, name, _ in log_names(kind)}
    tables = PAGE.read_text().partition("## Equivalents")[2].partition("## Events")[0]
    named = re.findall(r"`([a-z][a-z0-9_]*(?:\.[a-z0-9_]+)+)`", "".join(re.findall(r"^\|[^|]*\|(.*)\|$", tables, re.M)))
    assert len(named) > 40
    assert set(named) - keys - {"tls.handshake"} == set()


@pytest.fixture
def logs(tmp_path: Path) -> Path:
    where = Log.model_validate(
        {name: str(tmp_path / f"{name}.log") for name in ("handshakes", "requests", "lifecycle")}
    )
    journal = Journal(where, worker=0)
    for number in range(20):
        journal.emit(
            TlsHandshake(
                conn_id=f"0-{number}",
                listener="https",
                established=number > 3,
                resumed=number % 2 == 0,
                offered_versions="1.2",
                client_address="203.0.113.7",
                server_name="shop.example",
                handshake_ms=float(number),
                error_type=None if number > 3 else "no_shared_cipher",
            )
        )
        journal.emit(
            HttpRequest(conn_id=f"0-{number}", listener="https", backend="api", status=200, response_ms=float(number))
        )
    journal.emit(ConfigReload(outcome="refused", errors=["terminator.yaml:1:1: wrong"]))
    journal.close()
    return tmp_path


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("command", JQ, ids=range(len(JQ)))
def test_a_jq_recipe_answers(logs: Path, command: str) -> None:
    done = subprocess.run(["bash", "-c", command], cwd=logs, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("command", JOURNALCTL, ids=range(len(JOURNALCTL)))
def test_a_recipe_for_the_journal_answers(logs: Path, command: str) -> None:
    """With the lines as `journalctl -o cat` would give them, among those of others."""
    journalctl, _, rest = command.partition(" | ")
    assert "-o cat" in journalctl
    lines = f"Started terminator.service.\n{(logs / 'lifecycle.log').read_text()}"
    done = subprocess.run(["bash", "-c", rest], input=lines, capture_output=True, text=True, timeout=30)
    assert (done.returncode, done.stderr) == (0, "")
    assert "terminator.yaml:1:1: wrong" in done.stdout


def test_the_recipes_for_others_name_what_exists() -> None:
    """Neither Loki nor Vector is at hand: their keys are those of the log, in their spelling, and the TOML is TOML."""
    keys = {"time", "level", "event", *(name for kind in event_types() for _, name, _ in log_names(kind))}
    page = PAGE.read_text()
    vector = tomllib.loads(page.partition("```toml\n")[2].partition("```")[0])
    program = vector["transforms"]["terminator_events"]["source"]
    named = set(re.findall(r'del\(\."?([\w.]+)"?\)', program))
    assert named == {"time", "url.query"}
    assert named <= keys
    assert vector["transforms"]["terminator_events"]["inputs"] == list(vector["sources"])
    loki = page.partition("In LogQL")[2].partition("```text\n")[2].partition("```")[0]
    labels = set(re.findall(r"(?:unwrap|\||by \()\s*(\w+)", loki.replace("| unwrap", "unwrap"))) - {"json"}
    assert labels == {"timing_handshake_ms", "host", "error_type", "tls_established"}
    assert labels <= {re.sub(r"\W", "_", key) for key in keys}


def test_the_text_example_is_what_is_written() -> None:
    import orjson

    page = PAGE.read_text()
    line = next(line for line in page.splitlines() if line.startswith('{"time"'))
    shown = page.partition("```text\n")[2].partition("\n")[0].removesuffix(" …")
    assert text_line(orjson.loads(line)).decode().startswith(shown)
