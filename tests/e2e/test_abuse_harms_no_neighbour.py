"""All attacks of bench/abuse.py at once for a few seconds: the well-behaved client beside them sees no error.

The script itself runs for ten minutes and judges latency too, which a busy test machine cannot (docs/security.md)."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parents[2] / "bench" / "abuse.py"


@pytest.mark.slow
def test_a_well_behaved_client_beside_all_attacks(port):
    command = [sys.executable, str(SCRIPT), "--quiet", "1", "--seconds", "6", "--ratio", "0", "--port", str(port())]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100)
    assert done.returncode == 0, done.stdout + done.stderr
    assert " 0 errors" in done.stdout
