"""Read once, judged as a whole."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml

from terminator.errors import ConfigError
from terminator.service import candidate


@pytest.fixture
def config(pair: Any) -> dict[str, Any]:
    return {
        "version": 1,
        "workers": 2,
        "listeners": [{"name": "https", "bind": "127.0.0.1:8443"}],
        "hosts": [
            {
                "names": ["a.test"],
                "certificates": [pair.as_config()],
                "routes": [{"path": "/", "respond": {"body": "x"}}],
            }
        ],
    }


@pytest.fixture
def read(folder: Path, config: dict[str, Any]) -> Any:
    def make(running: Any = None, **sections: Any) -> candidate.Candidate:
        file = folder / "t.yaml"
        file.write_text(yaml.safe_dump({**config, **sections}))
        return candidate.read(str(file), running)

    return make


def test_read_again_it_is_the_same_and_nothing_is_parsed_twice(read: Any) -> None:
    first = read()
    again = read(first)
    assert again.is_same_as(first)
    assert again.materials["a.test"].pairs[0] is first.materials["a.test"].pairs[0]
    assert again.config is first.config


def test_a_configuration_whose_files_differ_is_parsed_anew(read: Any) -> None:
    first = read()
    again = read(first, timeouts={"drain": "7s"})
    assert (again.config.timeouts.drain, first.config.timeouts.drain) == (7, 30)
    assert again.config is not first.config


def test_a_renewed_certificate_leaves_the_configuration_the_object_that_runs(
    read: Any, certificates: Any, pair: Any
) -> None:
    first = read(read(), workers=5)
    certificates.issue(pair.chain.parent, "a.test")
    again = read(first, workers=5)
    assert again.config is first.config
    assert (again.config.workers, again.restart) == (2, ("workers: runs with 2, configured is 5",))
    assert [change.kind for change in again.changes] == ["certificate"]


def test_a_fault_under_an_unchanged_configuration_is_told_at_its_place(read: Any, pair: Any) -> None:
    first = read()
    pair.key.unlink()
    with pytest.raises(ConfigError, match="does not exist") as caught:
        read(first)
    assert "t.yaml:" in str(caught.value)


def test_a_renewed_certificate_makes_it_another(read: Any, certificates: Any, pair: Any) -> None:
    first = read()
    certificates.issue(pair.chain.parent, "a.test")
    again = read(first)
    assert not again.is_same_as(first)
    assert [change.kind for change in again.changes] == ["certificate"]
    assert candidate.worse(again, first, datetime.now(UTC)) == []


def test_what_needs_a_restart_keeps_the_running_value_and_is_said_each_time(read: Any) -> None:
    first = read()
    second = read(first, workers=5)
    assert (second.config.workers, second.restart) == (2, ("workers: runs with 2, configured is 5",))
    assert second.is_same_as(first)
    assert read(second, workers=5).restart == second.restart


def test_a_worse_certificate_is_named_with_host_and_file(read: Any, certificates: Any, pair: Any) -> None:
    first = read()
    past = datetime.now(UTC) - timedelta(days=1)
    certificates.issue(pair.chain.parent, "a.test", not_after=past)
    (reason, *_) = candidate.worse(read(first), first, datetime.now(UTC))
    assert reason.startswith(f"host a.test: {pair.chain}: ")
    assert "expired" in reason


@pytest.mark.parametrize(
    ("content", "complaint"), [(None, "does not exist"), ("short", "has 5 bytes, at least 32 are needed")]
)
def test_a_ticket_secret_that_is_none_is_told_at_its_place(
    read: Any, folder: Path, content: str | None, complaint: str
) -> None:
    secret = folder / "secret"
    if content is not None:
        secret.write_text(content)
    with pytest.raises(ConfigError, match=complaint) as caught:
        read(tls={"ticket_secret_file": str(secret)})
    assert "t.yaml:" in str(caught.value)
    assert "tls.ticket_secret_file" in str(caught.value)


def test_the_watch_knows_how_the_files_stood_before_they_were_read(read: Any, pair: Any) -> None:
    first = read()
    assert first.watch.touched() == set()
    pair.chain.write_bytes(pair.chain.read_bytes())
    assert first.watch.touched() == {str(pair.chain)}
