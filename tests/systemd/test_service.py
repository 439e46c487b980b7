"""The installed service under a real systemd: start by socket, reload, renewal, crash, watchdog, restart, stop.

One container serves all tests of this file; each begins with a service that serves and can be run alone. It is this
machine's own tree with the output of `make install` in it, and so its systemd: 252 on Debian 12. `make test-trixie`
runs the same in Debian 13.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from container import why_not
from machine import CERTS, CONFIG, NAME, PROGRAM, STOP_SECONDS, UNITS, WATCHDOG_SECONDS, Machine, booted

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(tmp_path_factory) as machine:
        yield machine


@pytest.fixture
def machine(fresh: Machine) -> Machine:
    fresh.settle()
    return fresh


def test_the_first_connection_starts_it_by_its_socket(machine: Machine) -> None:
    machine.run("systemctl", "stop", *UNITS)
    machine.run("systemctl", "start", "terminator.socket", "terminator-http.socket")
    assert machine.show("ActiveState") == "inactive"
    assert machine.fetch() == "200", "\n".join(str(line.get("MESSAGE")) for line in machine.journal())
    # The first worker may have answered before the last one serves, which is when the start is complete.
    machine.until(lambda: machine.show("ActiveState") == "active", "the start is complete")
    assert machine.fetch(port=8443) == "200", "the listener that it binds itself"
    status = machine.show("StatusText")
    assert status.startswith("Serving 3 listeners, 1 certificate, the first expires in 90 days"), status


def test_the_plain_port_answers_challenges_from_a_webroot_it_cannot_write(machine: Machine) -> None:
    webroot = "/var/lib/terminator/acme"
    machine.run("mkdir", "-p", f"{webroot}/.well-known/acme-challenge")
    machine.run("sh", "-c", f"echo proof >{webroot}/.well-known/acme-challenge/token")
    challenge = machine.run("curl", "-sS", "http://127.0.0.1/.well-known/acme-challenge/token", "-H", f"Host: {NAME}")
    assert challenge.stdout == "proof\n"
    for folder in ("/var/lib/terminator", webroot):
        assert machine.run("stat", "-c", "%U:%G %a", folder).stdout == "root:root 755\n"


def test_no_process_of_it_is_root_or_has_a_capability(machine: Machine) -> None:
    group = machine.show("ControlGroup")
    procs = machine.run("cat", f"/sys/fs/cgroup{group}/cgroup.procs").stdout.split()
    assert len(procs) == 4, "master, two workers, admin"
    for pid in procs:
        lines = machine.run("cat", f"/proc/{pid}/status").stdout.splitlines()
        status = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
        assert "0" not in status["Uid"].split()
        assert {status[name] for name in ("CapEff", "CapPrm", "CapBnd", "CapAmb")} == {"0" * 16}
        assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_its_exposure_as_the_manager_sees_it_is_low(machine: Machine) -> None:
    done = machine.run("systemd-analyze", "security", "--threshold=15", "--no-pager", "terminator.service", check=False)
    assert done.returncode == 0, done.stdout
    print(done.stdout.splitlines()[-1])


def test_a_good_reload_is_in_force_when_systemctl_returns(machine: Machine) -> None:
    before = machine.status()["generation"]
    machine.configure(backends={"app": {"servers": ["127.0.0.1:8000"], "balance": "random_two"}})
    machine.run("systemctl", "reload", "terminator.service")
    assert machine.status()["generation"] == before + 1
    assert f"generation {before + 1}" in machine.show("StatusText")
    assert "; reloaded " in machine.show("StatusText")
    assert machine.fetch() == "200"
    machine.configure()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=HUP", "terminator.service")
    machine.until(lambda: f"generation {before + 2}" in machine.show("StatusText"), "a reload by SIGHUP")


def test_a_bad_reload_fails_says_why_and_the_old_state_serves_on(machine: Machine) -> None:
    machine.configure(backends={})
    done = machine.run("systemctl", "reload", "terminator.service", check=False)
    assert done.returncode != 0
    assert machine.fetch() == "200"
    assert (machine.show("ActiveState"), machine.show("SubState")) == ("active", "running")
    status = machine.run("systemctl", "status", "--no-pager", "-l", "terminator.service").stdout
    assert "refused" in next(line for line in status.splitlines() if "Status:" in line)
    assert any("hosts[0].routes[0].backend" in str(line["MESSAGE"]) for line in machine.journal())


def test_a_renewal_by_the_hook_serves_the_new_certificate(machine: Machine) -> None:
    before = machine.serial()
    machine.issue("/root/second")
    done = machine.hook("/root/second")
    assert done.returncode == 0, done.stderr
    assert machine.serial() != before
    key = machine.run("stat", "-L", "-c", "%U:%G %a", f"/{CERTS}/{NAME}/privkey.pem").stdout.strip()
    assert key == "root:terminator 640"


def test_a_refused_renewal_fails_in_the_hook_and_leaves_the_pair_before(machine: Machine) -> None:
    before, link = machine.serial(), machine.run("readlink", f"/{CERTS}/{NAME}").stdout
    machine.issue("/root/expired", days=-1)
    done = machine.hook("/root/expired")
    assert done.returncode != 0
    assert machine.serial() == before
    assert machine.run("readlink", f"/{CERTS}/{NAME}").stdout == link
    assert machine.fetch() == "200"


def test_the_path_unit_reloads_when_a_pair_changes(machine: Machine) -> None:
    """Nothing calls for a reload but `terminator-watch.path`."""
    before = machine.serial()
    machine.run("systemctl", "start", "terminator-watch.path")
    machine.issue("/root/watched")
    assert machine.hook("/root/watched", RELOAD="true").returncode == 0
    machine.until(lambda: machine.serial() != before, "the new certificate is served")


def test_the_path_unit_sees_a_change_during_the_reload(machine: Machine) -> None:
    """The reload has read the second pair and does not end; then there is a third, for which another one follows."""
    end = machine.box.root / "etc/terminator/end"
    machine.drop_in(
        f"ExecReload=\nExecReload={PROGRAM} reload --socket /run/terminator/admin.sock\n"
        "ExecReload=/bin/sh -c 'until [ -e /etc/terminator/end ]; do sleep 0.1; done'\n"
    )
    machine.run("systemctl", "start", "terminator-watch.path")
    try:
        machine.issue("/root/second")
        assert machine.hook("/root/second", RELOAD="true").returncode == 0
        machine.until(lambda: machine.serial() == machine.serial_of("/root/second"), "the second pair is served")
        machine.issue("/root/third")
        assert machine.hook("/root/third", RELOAD="true").returncode == 0
        machine.until(lambda: machine.show("SubState", "terminator-watch.timer") == "running", "another one waits")
        assert machine.show("ActiveState") == "reloading"
    finally:
        end.touch()
    machine.until(lambda: machine.serial() == machine.serial_of("/root/third"), "the third pair is served")
    machine.until(lambda: machine.show("ActiveState") == "active", "the reloads are over")
    end.unlink()


def test_the_path_units_reload_leaves_a_stopped_service_alone(machine: Machine) -> None:
    machine.run("systemctl", "stop", *UNITS)
    machine.run("systemctl", "start", "terminator-watch.service")
    assert machine.show("ActiveState") == "inactive"


def test_a_killed_worker_is_replaced_and_nobody_is_refused(machine: Machine) -> None:
    main, workers = machine.show("MainPID"), machine.workers()
    with machine.load("443") as load:
        machine.run("kill", "-KILL", min(workers))
        machine.until(lambda: len(machine.journal("EVENT=server.worker_started")) == 1, "another worker")
        load.go_on()
    assert not [outcome for outcome in load.outcomes() if "refused" in outcome.lower()]
    assert machine.show("MainPID") == main
    (entry,) = machine.journal("EVENT=server.worker_exited")
    assert (entry["PRIORITY"], entry["ERROR_MESSAGE"]) == ("3", "killed by SIGKILL")


def test_a_failed_handshake_stands_in_the_journal_with_its_fields(machine: Machine) -> None:
    machine.run("curl", "-sS", "-k", "--tls-max", "1.2", "https://127.0.0.1/", check=False)  # no SNI: refused
    machine.until(lambda: len(machine.journal("EVENT=tls.handshake")) > 0, "a failure")
    (entry,) = machine.journal("EVENT=tls.handshake")
    assert (entry["PRIORITY"], entry["ERROR_TYPE"]) == ("5", "unrecognized_name")
    assert entry["CONN_ID"]


def test_logrotate_renames_and_the_new_file_is_written_to(machine: Machine) -> None:
    if machine.run("which", "logrotate", check=False).returncode != 0:
        pytest.skip("needs logrotate (Debian package logrotate)")
    folder = machine.box.root / "var/log/terminator"
    log, rotated = folder / "requests.log", folder / "requests.log.1"
    rotated.unlink(missing_ok=True)
    machine.fetch("/before")
    machine.until(lambda: log.exists() and "/before" in log.read_text(), "requests are logged")
    machine.run("logrotate", "--force", "/etc/logrotate.d/terminator")
    machine.fetch("/after")
    machine.until(lambda: log.exists() and "/after" in log.read_text(), "the new file is written to")
    assert "/before" in rotated.read_text()
    assert "/after" not in rotated.read_text()
    assert machine.run("stat", "-c", "%U:%G %a", "/var/log/terminator/requests.log").stdout.split() == [
        "terminator:terminator",
        "640",
    ]


def test_a_restart_under_load_refuses_no_connection(machine: Machine) -> None:
    """On the socket unit's port, and on the one that the daemon bound itself and gave to the manager to keep."""
    before = machine.show("MainPID")
    with machine.load("443", "8443") as load:
        machine.run("systemctl", "restart", "terminator.service")
        load.go_on()
    assert machine.show("MainPID") != before
    assert set(load.outcomes()) == {"443 ok", "8443 ok"}
    print(load.outcomes())


def test_workers_that_all_stand_still_are_replaced_and_the_service_stays(machine: Machine) -> None:
    """The watchdog's time is longer than the master needs to find, kill and replace them."""
    main, restarts, workers = machine.show("MainPID"), machine.show("NRestarts"), machine.workers()
    machine.run("kill", "-STOP", *workers)
    machine.until(lambda: len(machine.journal("EVENT=server.worker_started")) == len(workers), "others in their place")
    assert machine.fetch() == "200"
    assert not workers & machine.workers()
    assert (machine.show("MainPID"), machine.show("NRestarts")) == (main, restarts)


def test_a_master_that_stands_still_is_restarted_by_the_watchdog(machine: Machine) -> None:
    before, restarts = machine.show("MainPID"), int(machine.show("NRestarts"))
    stopped = time.monotonic()
    machine.run("kill", "-STOP", before)
    machine.until(lambda: int(machine.show("NRestarts")) == restarts + 1, "a restart")
    machine.until(lambda: machine.show("SubState") == "running", "it runs again")
    print(f"{time.monotonic() - stopped:.1f} s, with WatchdogSec={WATCHDOG_SECONDS}")
    assert machine.show("MainPID") != before
    assert machine.fetch() == "200"
    assert machine.fetch(port=8443) == "200"


def test_a_port_that_is_taken_is_told_with_its_error_number(machine: Machine) -> None:
    machine.run("systemctl", "stop", "terminator.service")
    machine.run("systemd-run", "--unit=squatter", "/usr/bin/python3", "/opt/backend.py", "8443")
    try:
        machine.until(lambda: ":8443" in machine.run("ss", "-ltn").stdout, "the port is taken")
        assert machine.run("systemctl", "start", "terminator.service", check=False).returncode != 0
        assert machine.show("StatusErrno") == "98"
        assert "8443" in machine.show("StatusText")
    finally:
        machine.run("systemctl", "stop", "terminator.service", "squatter.service")


def test_an_invalid_configuration_ends_a_start_with_2_and_no_second_try(machine: Machine) -> None:
    machine.run("systemctl", "stop", *UNITS)
    restarts = machine.show("NRestarts")
    machine.configure(backends={})
    assert machine.run("systemctl", "start", "terminator.service", check=False).returncode != 0
    assert (machine.show("ExecMainStatus"), machine.show("ActiveState")) == ("2", "failed")
    assert machine.show("NRestarts") == restarts
    assert "hosts[0].routes[0].backend" in machine.show("StatusText")


def test_stopping_lets_a_response_end_however_short_the_stop_timeout(machine: Machine) -> None:
    """TimeoutStopSec is shorter than the response takes: EXTEND_TIMEOUT_USEC makes the manager wait for the drain."""
    where = ("--cacert", "/opt/ca.pem", "--resolve", f"{NAME}:443:127.0.0.1")
    slow = machine.box.start("curl", "-sS", *where, "-w", "%{http_code}", "-o", "/dev/null", f"https://{NAME}/slow")
    machine.until(lambda: machine.status()["connections"] == 1, "the request is under way")
    begun = time.monotonic()
    machine.run("systemctl", "stop", "terminator.service")
    took = time.monotonic() - begun
    assert slow.communicate(timeout=30)[0] == "200"
    assert took > STOP_SECONDS
    assert machine.show("Result") == "success"
    assert any("server.stop" in str(line["MESSAGE"]) for line in machine.journal())


def test_credentials_may_hold_the_key(machine: Machine) -> None:
    """The documented alternative: LoadCredential= and `${CREDENTIALS_DIRECTORY}` in paths."""
    machine.issue("/root/credentials")
    folder = "/root/credentials"
    machine.drop_in(f"LoadCredential=chain:{folder}/fullchain.pem\nLoadCredential=key:{folder}/privkey.pem\n")
    (host,) = CONFIG["hosts"]  # type: ignore[misc]
    pair = {"chain": "${CREDENTIALS_DIRECTORY}/chain", "key": "${CREDENTIALS_DIRECTORY}/key"}
    machine.configure(hosts=[{**host, "certificates": [pair]}])  # type: ignore[arg-type]
    machine.run("systemctl", "restart", "terminator.service")
    assert machine.fetch() == "200"
    machine.run("systemctl", "reload", "terminator.service")
    assert machine.fetch() == "200"


def test_a_unix_socket_of_a_socket_unit_is_served(machine: Machine) -> None:
    """What a restart would refuse on a socket file that the daemon made itself, a socket unit keeps open."""
    unit = machine.box.root / "etc/systemd/system/terminator-local.socket"
    unit.write_text(
        "[Socket]\nFileDescriptorName=local\nListenStream=/run/terminator-local.sock\nService=terminator.service\n"
    )
    listeners = [*CONFIG["listeners"], {"name": "local", "bind": "systemd:local"}]  # type: ignore[misc]
    machine.run("systemctl", "daemon-reload")
    machine.configure(listeners=listeners)
    machine.run("systemctl", "stop", "terminator.service")
    machine.run("systemctl", "start", "terminator-local.socket", "terminator.service")
    where = ("--cacert", "/opt/ca.pem", "--unix-socket", "/run/terminator-local.sock")
    try:
        assert (
            machine.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *where, f"https://{NAME}/").stdout
            == "200"
        )
        assert "/run/terminator-local.sock" in machine.run(PROGRAM, "status").stdout
    finally:
        machine.run("systemctl", "stop", "terminator.service", "terminator-local.socket")
        unit.unlink()
