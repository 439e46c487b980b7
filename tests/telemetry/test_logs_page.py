"""docs/logs.md says what the event types say, and its jq recipes answer on a real log."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from terminator.config.model import Log
from terminator.telemetry.events import HttpRequest, TlsHandshake, log_names
from terminator.telemetry.journal import Journal
from terminator.telemetry.logs_page import event_types, main, renewed
from terminator.telemetry.text_format import text_line

PAGE = Path(__file__).parent.parent.parent / "docs" / "logs.md"
JQ = [line for line in PAGE.read_text().splitlines() if line.startswith("jq ")]


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
    where = Log(handshakes=str(tmp_path / "handshakes.log"), requests=str(tmp_path / "requests.log"), lifecycle="off")
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
    journal.close()
    return tmp_path


@pytest.mark.skipif(shutil.which("jq") is None, reason="jq is not installed")
@pytest.mark.parametrize("command", JQ, ids=range(len(JQ)))
def test_a_jq_recipe_answers(logs: Path, command: str) -> None:
    done = subprocess.run(["bash", "-c", command], cwd=logs, capture_output=True, text=True, timeout=30)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip()
    assert not done.stderr


def test_the_text_example_is_what_is_written() -> None:
    import orjson

    page = PAGE.read_text()
    line = next(line for line in page.splitlines() if line.startswith('{"time"'))
    shown = page.partition("```text\n")[2].partition("\n")[0].removesuffix(" …")
    assert text_line(orjson.loads(line)).decode().startswith(shown)
