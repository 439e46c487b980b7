"""The installed service under a real systemd: start by socket, reload, renewal, crash, watchdog, restart, stop.

One container serves all tests of this file, in their order; each leaves the service running as it found it. It is this
machine's own tree with the output of `make install` in it, and so its systemd: 252 on Debian 12. `make test-trixie`
runs the same in Debian 13.
"""

from __future__ import annotations

import datetime as dt
import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import trustme

HERE = Path(__file__).parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE))

from container import Container, install, why_not  # noqa: E402

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(180),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
    pytest.mark.xdist_group("container"),
]

NAME = "www.example.com"
CERTS = "etc/terminator/certs"
CONFIG = {
    "version": 1,
    "workers": 2,
    "listeners": [
        {"name": "https", "bind": "systemd:https"},
        {"name": "http", "bind": "systemd:http", "tls": False, "acme_webroot": "/var/lib/terminator/acme"},
        {"name": "own", "bind": "127.0.0.1:8443"},
    ],
    "hosts": [
        {
            "names": [NAME],
            "certificates": [{"chain": f"certs/{NAME}/fullchain.pem", "key": f"certs/{NAME}/privkey.pem"}],
            "routes": [{"path": "/", "backend": "app"}],
        }
    ],
    "backends": {"app": {"servers": ["127.0.0.1:8000"]}},
    "timeouts": {"drain": "15s"},
    "log": {"requests": "/var/log/terminator/requests.log"},
    "admin": {"socket": "/run/terminator/admin.sock", "bind": "127.0.0.1:9145"},
}
# Waiting is shortened; nothing else is changed.
DROP_IN = "[Service]\nWatchdogSec=4\nTimeoutStopSec=3\n"


class Machine:
    """The container with the installed service, and what the tests ask of it."""

    def __init__(self, container: Container, folder: Path) -> None:
        self.box = container
        self.run = container.run
        self.authority = trustme.CA()
        self._folder = folder

    def prepare(self) -> None:
        root = self.box.root
        install(self.box)
        self.configure()
        drop_in = root / "etc/systemd/system/terminator.service.d/test.conf"
        drop_in.parent.mkdir(parents=True)
        drop_in.write_text(DROP_IN)
        shutil.copy(HERE / "backend.py", root / "opt/backend.py")
        shutil.copy(HERE / "load.py", root / "opt/load.py")
        self.authority.cert_pem.write_to_path(str(root / "opt/ca.pem"))

    def set_up(self) -> None:
        self.run("systemd-sysusers", "/usr/lib/sysusers.d/terminator.conf")
        self.run("systemd-tmpfiles", "--create", "/usr/lib/tmpfiles.d/terminator.conf")
        self.issue("/root/first")
        self.hook("/root/first")
        self.run("systemd-run", "--unit=app", "/usr/bin/python3", "/opt/backend.py", "8000")

    def configure(self, **changes: Any) -> None:
        (self.box.root / "etc/terminator/terminator.yaml").write_text(json.dumps({**CONFIG, **changes}))

    def issue(self, folder: str, days: int = 90) -> None:
        """A new certificate and key, as an ACME client leaves them: in a folder that only root can enter."""
        expires = dt.datetime.now(dt.UTC) + dt.timedelta(days=days)
        leaf = self.authority.issue_cert(NAME, not_after=expires)
        inside = self.box.root / folder.lstrip("/")
        inside.mkdir(parents=True, exist_ok=True, mode=0o700)
        (inside / "fullchain.pem").write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        (inside / "privkey.pem").write_bytes(leaf.private_key_pem.bytes())

    def hook(self, folder: str) -> subprocess.CompletedProcess[str]:
        command = ("/opt/terminator/hooks/install-pair", NAME, f"{folder}/fullchain.pem", f"{folder}/privkey.pem")
        return self.run(*command, check=False)

    def fetch(self, path: str = "/", port: int = 443) -> str:
        """The status of one request."""
        where = ("--cacert", "/opt/ca.pem", "--resolve", f"{NAME}:{port}:127.0.0.1")
        url = f"https://{NAME}:{port}{path}"
        return self.run("curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", *where, url, check=False).stdout

    def serial(self) -> str:
        certs = self.run("/opt/terminator/bin/terminator", "certs", "--format", "json").stdout
        return str(json.loads(certs)["hosts"][0]["certificates"][0]["serial"])

    def show(self, key: str) -> str:
        return self.run("systemctl", "show", "-P", key, "terminator.service").stdout.strip()

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        self.run("journalctl", "--sync", check=False)
        lines = self.run("journalctl", "-u", "terminator", "-o", "json", "--no-pager", *matches).stdout.splitlines()
        return [json.loads(line) for line in lines]

    def until(self, what: Callable[[], bool], why: str, seconds: float = 30) -> None:
        end = time.monotonic() + seconds
        while not what():
            if time.monotonic() > end:
                log = "\n".join(str(line.get("MESSAGE"))[:300] for line in self.journal()[-30:])
                raise AssertionError(f"{why}: not within {seconds} s\n{log}")
            time.sleep(0.1)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    folder = tmp_path_factory.mktemp("container")
    with Container(folder) as container:
        container.mount()
        machine = Machine(container, folder)
        machine.prepare()
        container.boot()
        machine.set_up()
        yield machine


def test_the_first_connection_starts_it_by_its_socket(machine: Machine) -> None:
    machine.run("systemctl", "start", "terminator.socket", "terminator-http.socket")
    assert machine.show("ActiveState") == "inactive"
    assert machine.fetch() == "200", "\n".join(str(line.get("MESSAGE")) for line in machine.journal())
    assert machine.show("ActiveState") == "active"
    assert machine.fetch(port=8443) == "200", "the listener that it binds itself"
    status = machine.show("StatusText")
    assert status.startswith("Serving 3 listeners, 1 certificate, the first expires in 90 days"), status
    (machine.box.root / "var/lib/terminator/acme/.well-known/acme-challenge").mkdir(parents=True)
    (machine.box.root / "var/lib/terminator/acme/.well-known/acme-challenge/token").write_text("proof")
    challenge = machine.run("curl", "-sS", "http://127.0.0.1/.well-known/acme-challenge/token", "-H", f"Host: {NAME}")
    assert challenge.stdout == "proof"


def test_no_process_of_it_is_root_or_has_a_capability(machine: Machine) -> None:
    pids = machine.run("systemctl", "show", "-P", "ControlGroup", "terminator.service").stdout.strip()
    procs = machine.run("cat", f"/sys/fs/cgroup{pids}/cgroup.procs").stdout.split()
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
    machine.configure(backends={"app": {"servers": ["127.0.0.1:8000"], "balance": "random_two"}})
    machine.run("systemctl", "reload", "terminator.service")
    assert "generation 2" in machine.show("StatusText")
    assert machine.fetch() == "200"
    machine.configure()
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=HUP", "terminator.service")
    machine.until(lambda: "generation 3" in machine.show("StatusText"), "a reload by SIGHUP")


def test_a_bad_reload_fails_says_why_and_the_old_state_serves_on(machine: Machine) -> None:
    machine.configure(backends={})
    done = machine.run("systemctl", "reload", "terminator.service", check=False)
    assert done.returncode != 0
    assert machine.fetch() == "200"
    assert (machine.show("ActiveState"), machine.show("SubState")) == ("active", "running")
    status = machine.run("systemctl", "status", "--no-pager", "-l", "terminator.service").stdout
    assert "refused" in next(line for line in status.splitlines() if "Status:" in line)
    assert any("hosts[0].routes[0].backend" in str(line["MESSAGE"]) for line in machine.journal())
    machine.configure()
    machine.run("systemctl", "reload", "terminator.service")


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


def test_a_killed_worker_is_replaced_and_nobody_is_refused(machine: Machine) -> None:
    main = machine.show("MainPID")
    load = machine.box.start("python3", "/opt/load.py", "3", "/opt/ca.pem", NAME, "443")
    worker = machine.run("pgrep", "-P", main, "terminator-w").stdout.split()[0]
    machine.run("kill", "-KILL", worker)
    counts = json.loads(load.communicate(timeout=60)[0])
    assert counts["443 ok"] > 20
    assert not [outcome for outcome in counts if "refused" in outcome.lower()]
    assert machine.show("MainPID") == main
    (entry,) = machine.journal("EVENT=server.worker_exited")
    assert (entry["PRIORITY"], entry["ERROR_MESSAGE"]) == ("3", "killed by SIGKILL")
    machine.run("curl", "-sS", "-k", "--tls-max", "1.2", "https://127.0.0.1/", check=False)  # no SNI: refused
    machine.until(lambda: len(machine.journal("EVENT=tls.handshake", "PRIORITY=5")) > 0, "a failure with its fields")
    assert all("ERROR_TYPE" in entry and "CONN_ID" in entry for entry in machine.journal("EVENT=tls.handshake"))


def test_logs_are_reopened_for_logrotate(machine: Machine) -> None:
    log = machine.box.root / "var/log/terminator/requests.log"
    machine.until(lambda: log.exists() and log.stat().st_size > 0, "requests are logged")
    log.rename(log.with_suffix(".log.1"))
    machine.run("systemctl", "kill", "--kill-whom=main", "--signal=USR1", "terminator.service")
    machine.until(log.exists, "the file is there again")
    machine.fetch("/after")
    machine.until(lambda: "/after" in log.read_text(), "it is written to")


def test_a_restart_under_load_refuses_no_connection(machine: Machine) -> None:
    """On the socket unit's port, and on the one that the daemon bound itself and gave to the manager to keep."""
    load = machine.box.start("python3", "/opt/load.py", "6", "/opt/ca.pem", NAME, "443", "8443")
    before = machine.show("MainPID")
    time.sleep(1)  # the load shall stand on both sides of the restart
    machine.run("systemctl", "restart", "terminator.service")
    counts = json.loads(load.communicate(timeout=60)[0])
    assert machine.show("MainPID") != before
    assert {outcome.split(" ", 1)[1] for outcome in counts} == {"ok"}, counts
    assert set(counts) == {"443 ok", "8443 ok"}, counts
    print(counts)


def test_a_master_that_stands_still_is_restarted_by_the_watchdog(machine: Machine) -> None:
    before = machine.show("MainPID")
    machine.run("kill", "-STOP", before)
    machine.until(lambda: machine.show("NRestarts") == "1" and machine.show("SubState") == "running", "a restart")
    assert machine.show("MainPID") != before
    assert machine.fetch() == "200"
    assert machine.fetch(port=8443) == "200"


def test_a_port_that_is_taken_is_told_with_its_error_number(machine: Machine) -> None:
    machine.run("systemctl", "stop", "terminator.service")
    holder = machine.box.start("python3", "/opt/backend.py", "8443")
    machine.until(lambda: ":8443" in machine.run("ss", "-ltn").stdout, "the port is taken")
    try:
        assert machine.run("systemctl", "start", "terminator.service", check=False).returncode != 0
        assert machine.show("StatusErrno") == "98"
        assert "8443" in machine.show("StatusText")
    finally:
        machine.run("pkill", "-f", "backend.py 8443", check=False)
        holder.communicate(timeout=10)
        machine.run("systemctl", "stop", "terminator.service")
        machine.run("systemctl", "reset-failed", "terminator.service", check=False)
    machine.run("systemctl", "start", "terminator.socket", "terminator-http.socket", "terminator.service")
    assert machine.fetch() == "200"


def test_stopping_lets_a_response_end_however_short_the_stop_timeout(machine: Machine) -> None:
    """TimeoutStopSec is 3 s here and the response takes 5: EXTEND_TIMEOUT_USEC makes the manager wait for the drain."""
    where = ("--cacert", "/opt/ca.pem", "--resolve", f"{NAME}:443:127.0.0.1")
    slow = machine.box.start("curl", "-sS", *where, "-w", "%{http_code}", "-o", "/dev/null", f"https://{NAME}/slow")
    machine.until(lambda: "1 connection" in _status(machine), "the request is under way")
    begun = time.monotonic()
    machine.run("systemctl", "stop", "terminator.service")
    took = time.monotonic() - begun
    assert slow.communicate(timeout=10)[0] == "200"
    assert took > 3
    assert machine.show("Result") == "success"
    assert any("server.stop" in str(line["MESSAGE"]) for line in machine.journal())


def test_certbot_issues_and_renews_through_port_80(machine: Machine) -> None:
    """certbot itself against pebble, the ACME test server, both inside: HTTP-01 by `acme_webroot`, then the hook."""
    if machine.run("which", "certbot", "pebble", check=False).returncode != 0:
        pytest.skip("needs certbot and pebble (Debian packages of these names)")
    leaf = machine.authority.issue_cert("localhost")
    opt = machine.box.root / "opt"
    (opt / "pebble.pem").write_bytes(leaf.cert_chain_pems[0].bytes())
    (opt / "pebble.key").write_bytes(leaf.private_key_pem.bytes())
    server = {
        "listenAddress": "127.0.0.1:14000",
        "managementListenAddress": "127.0.0.1:15000",
        "certificate": "/opt/pebble.pem",
        "privateKey": "/opt/pebble.key",
        "httpPort": 80,
        "tlsPort": 443,
    }
    (opt / "pebble.json").write_text(json.dumps({"pebble": server}))
    with (machine.box.root / "etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 localhost {NAME}\n")
    machine.run("systemctl", "start", "terminator.socket", "terminator-http.socket", "terminator.service")
    at_once = ("--setenv=PEBBLE_VA_NOSLEEP=1", "--setenv=PEBBLE_WFE_NONCEREJECT=0")
    machine.run("systemd-run", "--unit=pebble", *at_once, "/usr/bin/pebble", "-config", "/opt/pebble.json")
    machine.until(lambda: ":14000" in machine.run("ss", "-ltn").stdout, "pebble listens")
    certbot = ("env", "REQUESTS_CA_BUNDLE=/opt/ca.pem", "certbot", "-n", "--server", "https://localhost:14000/dir")
    webroot = ("--webroot", "-w", "/var/lib/terminator/acme", "-d", NAME, "--agree-tos", "-m", "admin@example.com")
    before = machine.serial()
    machine.run(*certbot, "certonly", *webroot, "--deploy-hook", "/opt/terminator/hooks/certbot")
    issued = machine.serial()
    assert issued != before
    machine.run(*certbot, "renew", "--force-renewal", "--no-random-sleep-on-renew")
    assert machine.serial() not in (before, issued)


def test_credentials_may_hold_the_key(machine: Machine) -> None:
    """The documented alternative: LoadCredential= and `${CREDENTIALS_DIRECTORY}` in paths."""
    drop_in = machine.box.root / "etc/systemd/system/terminator.service.d/credentials.conf"
    drop_in.write_text(
        "[Service]\nLoadCredential=chain:/root/second/fullchain.pem\nLoadCredential=key:/root/second/privkey.pem\n"
    )
    (host,) = CONFIG["hosts"]  # type: ignore[misc]
    pair = {"chain": "${CREDENTIALS_DIRECTORY}/chain", "key": "${CREDENTIALS_DIRECTORY}/key"}
    machine.configure(hosts=[{**host, "certificates": [pair]}])  # type: ignore[arg-type]
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "terminator.service")
    assert machine.fetch() == "200"
    machine.run("systemctl", "reload", "terminator.service")
    assert machine.fetch() == "200"
    drop_in.unlink()
    machine.configure()
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "restart", "terminator.service")


def _status(machine: Machine) -> str:
    status = machine.run("/opt/terminator/bin/terminator", "status", "--format", "json").stdout
    return f"{json.loads(status)['connections']} connection"
