"""`terminator check`: the exit codes, what is told where, and every fault of a certificate at its line."""

from __future__ import annotations

import argparse
import datetime as dt
import json
from pathlib import Path
from typing import Any

import pytest
import trustme

from terminator.cli import check
from terminator.config.load import DEFAULT_PATH

CONFIG = """\
version: 1
listeners:
  - {name: https, bind: "[::]:443"}
hosts:
  - names: [shop.example]
    certificates: [{chain: shop.pem, key: shop.key}]
    routes:
      - {path: /, backend: web}
backends:
  web: {servers: ["127.0.0.1:8000"]}
"""


class Site:
    """A folder with a configuration and the certificates it names."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = trustme.CA()
        self.config = folder / "t.yaml"
        self.config.write_text(CONFIG)
        self.issue("shop", "shop.example")

    def issue(self, name: str, *names: str, days: float = 90, signed_by: trustme.CA | None = None) -> None:
        now = dt.datetime.now(dt.UTC)
        leaf = (signed_by or self.authority).issue_cert(*names, not_after=now + dt.timedelta(days=days))
        self.write(f"{name}.pem", b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        self.write(f"{name}.key", leaf.private_key_pem.bytes())

    def write(self, name: str, content: bytes, mode: int = 0o600) -> None:
        path = self.folder / name
        path.write_bytes(content)
        path.chmod(mode)

    def change(self, before: str, after: str) -> None:
        text = self.config.read_text()
        assert before in text
        self.config.write_text(text.replace(before, after))


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.chdir(tmp_path)
    return Site(tmp_path)


def run(*arguments: str) -> int:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    return check.run(parser.parse_args(arguments))


def as_json(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, dict[str, Any]]:
    code = run("t.yaml", "--format", "json", *arguments)
    out, err = capsys.readouterr()
    assert err == ""
    return code, json.loads(out)


def test_all_is_well(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("t.yaml", "--strict") == 0
    assert capsys.readouterr() == ("t.yaml: valid\n", "")


def test_the_default_file_is_the_services(capsys: pytest.CaptureFixture[str]) -> None:
    parser = argparse.ArgumentParser()
    check.add_arguments(parser)
    assert parser.parse_args([]).file == DEFAULT_PATH == "/etc/terminator/terminator.yaml"
    assert parser.parse_args(["x"]).file == "x"


def test_a_faulty_file_is_told_on_stderr(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change("backend: web", "backend: wbe")
    assert run("t.yaml") == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == (
        "error: t.yaml:8:28: hosts[0].routes[0].backend: there is no backend `wbe`; did you mean `web`?\n"
        "    8 |       - {path: /, backend: wbe}\n"
        "      |                            ^^^\n"
        "t.yaml: invalid, 1 error\n"
    )


def test_a_warning_is_no_error_unless_strict(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change("backends:\n", "backends:\n  spare: {servers: ['a:1']}\n")
    assert run("t.yaml") == 0
    out, err = capsys.readouterr()
    assert out == "t.yaml: valid, 1 warning\n"
    assert err.startswith("warning: t.yaml:10:3: backends.spare: no route uses this backend\n")
    assert run("t.yaml", "--strict") == 4


def test_a_missing_file(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("no.yaml") == 2
    assert "error: no.yaml:1:1: cannot be read: no such file or directory" in capsys.readouterr().err


def test_json(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change("backends:\n", "backends:\n  spare: {servers: ['a:1']}\n")
    code, told = as_json(capsys, "--strict")
    assert code == 4
    assert told["file"] == "t.yaml"
    assert told["valid"] is True
    assert told["files"] == [f"{site.folder}/t.yaml"]
    assert told["errors"] == []
    assert told["warnings"] == [
        {"file": "t.yaml", "line": 10, "column": 3, "key": "backends.spare", "message": "no route uses this backend"}
    ]
    (host,) = told["hosts"]
    assert (host["host"], host["names"]) == ("shop.example", ["shop.example"])
    (certificate,) = host["certificates"]
    assert certificate["chain"] == f"{site.folder}/shop.pem"
    assert certificate["names"] == ["shop.example"]
    assert certificate["key_type"] == "ecdsa"
    assert certificate["days_left"] == pytest.approx(90, abs=0.2)
    assert host["tls"]["versions"] == "TLS 1.2 to 1.3"


def test_verbose_shows_what_the_files_come_to(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change(
        "      - {path: /,",
        "      - {path: /old, redirect: {to: /new}}\n      - {path: /no, respond: {}}\n      - {path: /,",
    )
    assert run("t.yaml", "-v") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"file      {site.folder}/t.yaml"
    assert lines[1] == "listener  https: [::]:443"
    assert lines[2] == "host      shop.example"
    words = [line[12:23].strip() for line in lines[3:11]]
    assert words == ["profile", "versions", "TLS 1.3", "TLS 1.2", "order", "groups", "ALPN", "tickets"]
    assert lines[4].endswith(" TLS 1.2 to 1.3")
    assert "ECDHE-ECDSA-AES128-GCM-SHA256" in lines[6]
    assert lines[11].strip().startswith("ecdsa 256, serial ")
    assert lines[11].endswith(f"days left: {site.folder}/shop.pem")
    assert [line.strip() for line in lines[12:15]] == ["/old -> redirect /new", "/no -> respond 200", "/ -> web"]
    assert lines[15:] == ["backend   web: 127.0.0.1:8000", "t.yaml: valid"]


# ------------------------------------------------------------------------------------------------- certificates


def error(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    code, told = as_json(capsys)
    assert code == 2
    assert told["hosts"] == []
    (found,) = told["errors"]
    return f"{found['line']}:{found['column']} {found['key']}", found["message"]


def test_a_missing_certificate(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    (site.folder / "shop.pem").unlink()
    place, message = error(capsys)
    assert place == "6:20 hosts[0].certificates[0]"
    assert message.startswith(f"host shop.example: {site.folder}/shop.pem: ")


def test_a_key_of_another_certificate(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    chain = (site.folder / "shop.pem").read_bytes()
    site.issue("shop", "shop.example")
    site.write("shop.pem", chain)
    assert "does not belong to the key" in error(capsys)[1]


def test_garbage(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write("shop.key", b"-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")
    assert f"{site.folder}/shop.key" in error(capsys)[1]


def test_every_host_is_looked_at(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change(
        "backends:\n", CONFIG[CONFIG.index("  - names") : CONFIG.index("backends")].replace("shop", "x") + "backends:\n"
    )
    (site.folder / "shop.key").unlink()
    code, told = as_json(capsys)
    assert code == 2
    assert [fault["key"] for fault in told["errors"]] == ["hosts[0].certificates[0]", "hosts[1].certificates[0]"]


def test_client_authorities_and_patterns_of_the_shared_policy(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.config.write_text(CONFIG + "tls: {client_auth: {mode: require, ca: no.pem}}\n")
    place, message = error(capsys)
    assert place == "11:7 tls.client_auth"
    assert f"{site.folder}/no.pem" in message


def warnings(capsys: pytest.CaptureFixture[str]) -> list[str]:
    code, told = as_json(capsys)
    assert code == 0
    return [f"{one['line']}:{one['column']} {one['key']}: {one['message']}" for one in told["warnings"]]


def test_suites_that_no_certificate_fits_are_warned_of(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change("    routes:", "    tls: {ciphers: [ECDHE-RSA-AES128-GCM-SHA256]}\n    routes:")
    code, told = as_json(capsys)
    assert code == 0
    [warning] = told["warnings"]
    assert warning["key"] == "hosts[0].tls.ciphers"
    assert warning["message"] == "no suite below TLS 1.3 fits a certificate of the host (ecdsa)"


def test_an_expired_certificate_serves_and_is_warned_of(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.issue("shop", "shop.example", days=-1)
    (told,) = warnings(capsys)
    assert told.startswith(f"6:28 hosts[0].certificates[0].chain: {site.folder}/shop.pem: the certificate (serial ")
    assert " expired on " in told


def test_a_certificate_that_expires_soon(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.issue("shop", "shop.example", days=6)
    (told,) = warnings(capsys)
    assert "the certificate expires in 6.0 days" in told


def test_a_name_that_is_not_covered(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change("[shop.example]", '[shop.example, "*.shop.example"]')
    (told,) = warnings(capsys)
    assert "does not cover *.shop.example" in told


def test_a_key_that_others_may_read(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    (site.folder / "shop.key").chmod(0o644)
    (told,) = warnings(capsys)
    assert told.startswith(f"6:43 hosts[0].certificates[0].key: {site.folder}/shop.key: the private key is readable")


def test_an_incomplete_order_of_the_chain(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    intermediate = site.authority.create_child_ca().create_child_ca()
    site.issue("shop", "shop.example", signed_by=intermediate)
    blocks = (site.folder / "shop.pem").read_bytes().split(b"-----END CERTIFICATE-----\n")[:-1]
    assert len(blocks) == 3
    site.write(
        "shop.pem", b"".join(block + b"-----END CERTIFICATE-----\n" for block in (blocks[0], blocks[2], blocks[1]))
    )
    assert any("out of order" in told for told in warnings(capsys))


def test_two_certificates_of_one_kind(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.issue("other", "shop.example")
    site.change("shop.key}]", "shop.key}, {chain: other.pem, key: other.key}]")
    (told,) = warnings(capsys)
    assert told.startswith("6:5 hosts[0].certificates: several ecdsa certificates")


# ---------------------------------------------------------------------------------------- policy and this machine


@pytest.mark.parametrize(
    ("before", "line", "place", "told"),
    [
        ("    routes:", "    tls: {ciphers: [NO-SUCH]}\n    routes:", "7:11 hosts[0].tls.ciphers", "NO-SUCH"),
        ("hosts:", "tls: {groups: [P-257]}\nhosts:", "4:7 tls.groups", "P-257"),
        ("hosts:", "tls: {ticket_secret_file: no}\nhosts:", "4:27 tls.ticket_secret_file", "/no"),
        ("hosts:", "tls: {ticket_secret_file: short}\nhosts:", "4:27 tls.ticket_secret_file", "at least 32 bytes"),
    ],
)
def test_what_tls_cannot_do(
    site: Site, capsys: pytest.CaptureFixture[str], before: str, line: str, place: str, told: str
) -> None:
    site.write("short", b"secret\n")
    site.change(before, line)
    found, message = error_with_hosts(capsys)
    assert found == place
    assert told in message


def error_with_hosts(capsys: pytest.CaptureFixture[str]) -> tuple[str, str]:
    code, told = as_json(capsys)
    assert code == 2
    (found,) = told["errors"]
    return f"{found['line']}:{found['column']} {found['key']}", found["message"]


def test_one_policy_is_complained_of_once(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.issue("x", "x.example")
    second = CONFIG[CONFIG.index("  - names") : CONFIG.index("backends")].replace("shop", "x")
    site.change("backends:\n", second + "tls: {groups: [P-257]}\nbackends:\n")
    assert error_with_hosts(capsys)[0] == "13:7 tls.groups"


def test_a_good_ticket_secret(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.write("secret", b"s" * 32 + b"\n")
    site.change("version: 1\n", "version: 1\ntls: {ticket_secret_file: secret}\n")
    assert run("t.yaml", "--strict") == 0


def test_a_key_log_is_warned_of_and_needs_its_folder(site: Site, capsys: pytest.CaptureFixture[str]) -> None:
    site.change("version: 1\n", "version: 1\ntls: {key_log_file: none/keys}\n")
    code, told = as_json(capsys, "--strict")
    assert code == 4
    assert {warning["key"] for warning in told["warnings"]} == {"tls.key_log_file"}
    loud, missing = (warning["message"] for warning in told["warnings"])
    assert loud.startswith("DEBUGGING ONLY")
    assert missing == f"there is no folder {site.folder}/none"


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("user: no-such-user-here", "11:7 user: this machine has no user of this name"),
        ("user: root\ngroup: no-such-group", "12:8 group: this machine has no group of this name"),
        ("log: {requests: no/such/r.log}", "11:17 log.requests: there is no folder {}/no/such"),
        ("log: {requests: r.log}", None),
    ],
)
def test_what_this_machine_lacks(site: Site, capsys: pytest.CaptureFixture[str], line: str, told: str | None) -> None:
    site.config.write_text(f"{CONFIG}{line}\n")
    assert warnings(capsys) == ([told.format(site.folder)] if told else [])
