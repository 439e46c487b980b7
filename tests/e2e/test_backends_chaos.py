"""The short form of bench/chaos.py: servers killed, hung, slowed and restored under load. No GET fails while one of
them is well, and no POST is ever sent twice."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

CHAOS = Path(__file__).parent.parent.parent / "bench" / "chaos.py"


def test_clients_see_no_failure_while_one_server_is_well(tmp_path):
    told = tmp_path / "told.json"
    command = [sys.executable, CHAOS, "--seconds", "8", "--rate", "50", "--proxies", "terminator", "--json", told]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(told.read_text())["results"]
    assert result["gets"] > 50
    assert (result["gets_failed"], result["posts_twice"]) == (0, 0)
