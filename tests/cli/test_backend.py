"""`terminator backend` as a command; what it does is shown end to end (test_backends_maintenance)."""

from __future__ import annotations

import pytest

from terminator.cli import main


@pytest.mark.parametrize("arguments", [[], ["b"], ["b", "127.0.0.1:1"], ["b", "127.0.0.1:1", "stop"]])
def test_usage(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as left:
        main(["backend", *arguments])
    assert left.value.code == 2


def test_without_a_daemon(tmp_path: object, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["backend", "b", "127.0.0.1:1", "drain", "--socket", f"{tmp_path}/none.sock"]) == 3
    assert "is the daemon running" in capsys.readouterr().err
