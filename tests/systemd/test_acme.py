"""ACME clients against pebble, the ACME test server, all inside the container: HTTP-01 by `acme_webroot`, then hooks.

Each installs a certificate, renews it, and tells of the hook's failure when the reload is refused. acme.sh
is in no package registry: `test_hooks.py` calls its hook in the environment that acme.sh exports.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from container import why_not
from machine import NAME, Machine, booted

pytestmark = [
    pytest.mark.root,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(why_not() is not None, reason=str(why_not())),
]

DIRECTORY = "https://localhost:14000/dir"
WEBROOT = "/var/lib/terminator/acme"


@pytest.fixture(scope="module")
def fresh(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    with booted(tmp_path_factory) as machine:
        need(machine, "pebble")
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
        at_once = ("--setenv=PEBBLE_VA_NOSLEEP=1", "--setenv=PEBBLE_WFE_NONCEREJECT=0")
        machine.run("systemd-run", "--unit=pebble", *at_once, "/usr/bin/pebble", "-config", "/opt/pebble.json")
        machine.until(lambda: ":14000" in machine.run("ss", "-ltn").stdout, "pebble listens")
        yield machine


@pytest.fixture
def machine(fresh: Machine) -> Machine:
    fresh.settle()
    return fresh


def need(machine: Machine, program: str) -> None:
    if machine.run("which", program, check=False).returncode != 0:
        pytest.skip(f"needs {program} (Debian package {program})")


def test_certbot_issues_and_renews_through_port_80(machine: Machine) -> None:
    need(machine, "certbot")
    certbot = ("env", "REQUESTS_CA_BUNDLE=/opt/ca.pem", "certbot", "-n", "--server", DIRECTORY)
    webroot = ("--webroot", "-w", WEBROOT, "-d", NAME, "--agree-tos", "-m", "admin@example.com")
    renew = (*certbot, "renew", "--force-renewal", "--no-random-sleep-on-renew")
    before = machine.serial()
    machine.run(*certbot, "certonly", *webroot, "--deploy-hook", "/opt/terminator/hooks/certbot")
    issued = machine.serial()
    assert issued != before
    machine.run(*renew)
    renewed = machine.serial()
    assert renewed not in (before, issued)

    machine.configure(backends={})
    refused = machine.run(*renew, check=False)
    print(refused.returncode, refused.stdout, refused.stderr)
    assert "error code 1" in refused.stdout + refused.stderr
    assert machine.serial() == renewed
    # What the page on operations says to do once the fault is mended.
    machine.configure()
    machine.run("env", f"RENEWED_LINEAGE=/etc/letsencrypt/live/{NAME}", "/opt/terminator/hooks/certbot")
    assert machine.serial() != renewed


def test_lego_issues_and_renews_through_port_80(machine: Machine) -> None:
    need(machine, "lego")
    lego = ("env", "LEGO_CA_CERTIFICATES=/opt/ca.pem", "lego", "--server", DIRECTORY, "--path", "/root/lego")
    lego += ("--email", "admin@example.com", "--accept-tos", "--domains", NAME, "--http", "--http.webroot", WEBROOT)
    renew = (*lego, "renew", "--days", "9999", "--no-random-sleep", "--renew-hook", "/opt/terminator/hooks/lego")
    before = machine.serial()
    machine.run(*lego, "run", "--run-hook", "/opt/terminator/hooks/lego")
    issued = machine.serial()
    assert issued != before
    machine.run(*renew)
    renewed = machine.serial()
    assert renewed not in (before, issued)

    machine.configure(backends={})
    refused = machine.run(*renew, check=False)
    print(refused.returncode, refused.stdout, refused.stderr)
    assert refused.returncode != 0
    assert machine.serial() == renewed
