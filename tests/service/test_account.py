"""What is told of the state, from facts."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import yaml

from terminator.service import candidate
from terminator.service.account import Reloaded, drifting, drifts, sentence
from terminator.service.attempt import Attempt


def attempt(outcome: Any) -> Attempt:
    at = datetime(2026, 11, 21, 14, 2, 11, tzinfo=UTC)
    return Attempt(outcome=outcome, trigger="signal", at=at, generation=2, duration_ms=1.0, errors=("x",))


def test_reloads_are_counted_and_the_last_one_kept() -> None:
    reloaded = Reloaded()
    for outcome in ("ok", "refused", "unchanged", "failed"):
        reloaded.note(attempt(outcome))
    assert (reloaded.attempts, reloaded.good) == (4, 2)
    assert reloaded.last is not None
    assert reloaded.last.outcome == "failed"
    assert reloaded.last_good == attempt("ok").at


def standing(*days: float) -> Any:
    moment = datetime.now(UTC) + timedelta(minutes=1)
    pairs = tuple(SimpleNamespace(info=SimpleNamespace(not_after=moment + timedelta(days=left))) for left in days)
    candidate = SimpleNamespace(materials={"a": SimpleNamespace(pairs=pairs)})
    return SimpleNamespace(number=2, bound=(1,), candidate=candidate)


@pytest.mark.parametrize(
    ("days", "connections", "text"),
    [
        (
            (30, 60),
            5,
            "Serving 1 listener, 2 certificates, the first expires in 30 days, 5 connections, generation 2",
        ),
        ((-3,), 1, "Serving 1 listener, 1 certificate, the first expired 3 days ago, 1 connection, generation 2"),
    ],
)
def test_the_status_line(days: tuple[float, ...], connections: int, text: str) -> None:
    workforce: Any = SimpleNamespace(connections=connections)
    reloaded = Reloaded()
    assert sentence(standing(*days), workforce, reloaded) == text
    reloaded.note(attempt("refused"))
    assert sentence(standing(*days), workforce, reloaded) == (
        f"{text}; reload refused 14:02:11 UTC, generation 2 serves on: x"
    )


def test_drift_is_named_by_host_file_and_serial() -> None:
    def host(name: str, disk: dict[str, str]) -> dict[str, Any]:
        return {"host": name, "certificates": [{"file": f"/{name}.pem", "serial": "5e", "disk": disk}]}

    body = {
        "hosts": [
            host("a", {"state": "same"}),
            host("b", {"state": "differs", "serial": "6f"}),
            host("c", {"state": "unusable", "error": "/c.key: is empty"}),
        ]
    }
    assert list(drifts(body)) == [
        "host b: /b.pem: serial 5e is served, serial 6f lies on disk; run `terminator reload`",
        "host c: /c.pem: serial 5e is served, what lies on disk cannot be: /c.key: is empty",
    ]


def test_a_host_drifts_when_other_bytes_lie_on_disk(folder: Path, certificates: Any, pair: Any) -> None:
    config = {
        "version": 1,
        "listeners": [{"name": "https", "bind": "127.0.0.1:8443"}],
        "hosts": [
            {
                "names": ["a.test"],
                "certificates": [pair.as_config()],
                "routes": [{"path": "/", "respond": {"body": ""}}],
            }
        ],
    }
    file = folder / "t.yaml"
    file.write_text(yaml.safe_dump(config))
    served = candidate.read(str(file))

    def found() -> set[str]:
        return drifting(served.materials, served.watch.touched())

    assert found() == set()
    pair.chain.write_bytes(pair.chain.read_bytes())
    assert found() == set(), "written again as it was"
    certificates.issue(pair.chain.parent, "a.test")
    assert found() == {"a.test"}
    pair.key.unlink()
    assert found() == {"a.test"}, "what cannot be loaded is not what is served"
