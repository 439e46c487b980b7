"""`tls.key_log_file` is for debugging: it says so loudly wherever one looks, and nobody else may read the file."""

from __future__ import annotations

import stat

from harness.backends import ok
from harness.commands import terminator


def test_the_key_log_is_told_of_loudly_and_is_for_the_owner_alone(start, folder, answering, get):
    path = folder / "keys.log"
    daemon = start(answering(ok()).address, tls={"key_log_file": str(path)})
    told = daemon.wait_for("server.notice", {"server.topic": "config_warning"})
    assert told["level"] == "warning"
    assert "key_log_file: DEBUGGING ONLY" in told["message"]
    assert get(daemon, "https://a.test/").status == 200
    secrets = [line.split()[2] for line in path.read_text().splitlines() if not line.startswith("#")]
    assert secrets
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    for arguments in (["check", str(daemon.config_file)], ["reload", "--config", str(daemon.config_file)]):
        done = terminator(*arguments)
        assert done.returncode == 0
        assert "DEBUGGING ONLY" in done.stderr
    # And nowhere else: not in what it logs, not in what it prints.
    everything = str(daemon.events) + "".join(daemon.output["stdout"] + daemon.output["stderr"])
    assert not [secret for secret in secrets if secret in everything]


def test_without_it_no_secret_is_written(start, folder, answering, get):
    daemon = start(answering(ok()).address)
    assert get(daemon, "https://a.test/").status == 200
    daemon.stop()
    for file in daemon.folder.rglob("*"):
        assert not file.is_file() or b"TRAFFIC_SECRET" not in file.read_bytes()


def test_a_key_log_that_others_may_read_is_not_written(start, folder, answering, get):
    path = folder / "keys.log"
    path.touch(0o644)
    daemon = start(answering(ok()).address, tls={"key_log_file": str(path)})
    assert "others can neither read" in daemon.wait_for("server.notice", {"server.topic": "key_log"})["message"]
    assert get(daemon, "https://a.test/").status == 200
    assert path.read_text() == ""
