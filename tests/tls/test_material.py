"""Reading a configuration's files: once, all errors together, nothing parsed twice; digests that mean what they say."""

from __future__ import annotations

import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from workshop import Authority, Issued

from terminator.config.model import ClientAuth, Config, TlsPolicy
from terminator.errors import ConfigError
from terminator.tls import files
from terminator.tls.material import HostMaterial, Place, read_materials


def config(folder: Path, *hosts: dict[str, Any], **top: Any) -> Config:
    return Config.model_validate(
        {
            "version": 1,
            "listeners": [{"name": "https", "bind": "127.0.0.1:8443"}],
            "hosts": [{"routes": [{"path": "/", "respond": {}}]} | host for host in hosts],
            **top,
        }
    )


def host(folder: Path, name: str, issued: Issued, **more: Any) -> dict[str, Any]:
    chain, key = issued.write(folder, name)
    return {"names": [name], "certificates": [{"chain": chain, "key": key}]} | more


def test_hosts_come_in_order_with_their_policy(tmp_path: Path, authority: Authority) -> None:
    one = host(tmp_path, "a.example", authority.issue("a.example"), tls={"profile": "modern"})
    two = host(tmp_path, "b.example", authority.issue("b.example"))
    found = read_materials(config(tmp_path, one, two))
    assert list(found) == ["a.example", "b.example"]
    assert found["a.example"].policy.profile == "modern"
    assert found["b.example"].pairs[0].info.names == ("b.example",)
    assert found["a.example"].not_after == found["a.example"].pairs[0].info.not_after
    assert pickle.loads(pickle.dumps(found)) == found
    assert b"PRIVATE" not in repr(found).encode()


def test_all_errors_come_together_with_place_host_and_file(tmp_path: Path, authority: Authority) -> None:
    good = host(tmp_path, "a.example", authority.issue("a.example"))
    (tmp_path / "garbage").write_bytes(b"x")
    certificates = [
        {"chain": f"{tmp_path}/none", "key": f"{tmp_path}/none"},
        {"chain": f"{tmp_path}/garbage", "key": f"{tmp_path}/garbage"},
    ]
    bad = {"names": ["b.example"], "certificates": certificates}
    auth = {"mode": "require", "ca": f"{tmp_path}/ca", "allow": ["nonsense"]}
    strict = host(tmp_path, "c.example", authority.issue("c.example"), tls={"client_auth": auth})

    def locate(place: Place) -> str:
        return "f.yaml:" + ".".join(map(str, place))

    with pytest.raises(ConfigError) as refusal:
        read_materials(config(tmp_path, good, bad, strict), locate=locate)
    starts = [
        f"f.yaml:hosts.1.certificates.0: host b.example: {tmp_path}/none: the certificate chain does not exist",
        f"f.yaml:hosts.1.certificates.1: host b.example: {tmp_path}/garbage: the certificate chain holds no PEM",
        f"f.yaml:hosts.2.tls.client_auth: host c.example: {tmp_path}/ca: the list of client authorities does not exist",
        "f.yaml:hosts.2.tls.client_auth.allow: host c.example: client_auth.allow: 'nonsense' does not begin with",
    ]
    for problem, start in zip(refusal.value.problems, starts, strict=True):
        assert problem.startswith(start)


def test_an_inherited_rule_is_blamed_where_it_stands(tmp_path: Path, authority: Authority) -> None:
    one = host(tmp_path, "a.example", authority.issue("a.example"))
    with pytest.raises(ConfigError, match=r"^tls\.client_auth: host a\.example: client_auth needs `ca`"):
        read_materials(
            config(tmp_path, one, tls={"client_auth": {"mode": "request"}}), locate=lambda p: ".".join(map(str, p))
        )


def test_each_file_is_read_once(tmp_path: Path, authority: Authority, monkeypatch: pytest.MonkeyPatch) -> None:
    issued = authority.issue("a.example", "b.example")
    one, two = host(tmp_path, "a.example", issued), host(tmp_path, "a.example", issued)
    two["names"] = ["b.example"]
    opened = []
    real = files.os.open
    monkeypatch.setattr(files.os, "open", lambda path, *rest: opened.append(path) or real(path, *rest))
    read_materials(config(tmp_path, one, two))
    assert sorted(opened) == sorted([f"{tmp_path}/a.example.pem", f"{tmp_path}/a.example.key"])


def test_a_second_read_parses_only_what_changed(tmp_path: Path, authority: Authority) -> None:
    setting = config(tmp_path, *(host(tmp_path, f"{x}.example", authority.issue(f"{x}.example")) for x in "abc"))
    first = read_materials(setting)
    authority.issue("b.example").write(tmp_path, "b.example")
    second = read_materials(setting, first)
    for name in first:
        same = name != "b.example"
        assert (first[name].pairs[0].info is second[name].pairs[0].info) is same
        assert (first[name].digest == second[name].digest) is same
        assert first[name].admission == second[name].admission


# ------------------------------------------------------------------------------------------------------- digests


def one_host(tmp_path: Path, authority: Authority, issued: Issued, name: str = "a.example", **top: Any) -> HostMaterial:
    return read_materials(config(tmp_path, host(tmp_path, name, issued), **top))[name]


@pytest.mark.parametrize(
    ("tls", "context_changes", "admission_changes"),
    [
        ({}, False, False),
        ({"ticket_rotation": "1h"}, False, False),
        ({"unknown_sni": "a.example"}, False, False),
        ({"tickets": False}, True, False),
        ({"alpn": ["http/1.1"]}, True, False),
        ({"groups": ["P-256"]}, True, False),
        ({"key_log_file": "/tmp/keys"}, True, False),
        ({"profile": "modern"}, True, True),
        ({"min_version": "1.3"}, True, True),
        ({"ciphers": ["ECDHE-RSA-AES128-GCM-SHA256"]}, True, True),
        ({"client_auth": {"mode": "request", "ca": "CA"}}, True, True),
        ({"client_auth": {"mode": "require", "ca": "CA"}}, True, True),
    ],
)
def test_what_changes_a_context_and_what_ends_its_tickets(
    tmp_path: Path, authority: Authority, tls: dict[str, Any], context_changes: bool, admission_changes: bool
) -> None:
    """A ticket must not outlive a stricter rule, and must outlive everything else."""
    (tmp_path / "CA").write_bytes(authority.pem)
    if "client_auth" in tls:
        tls = {"client_auth": tls["client_auth"] | {"ca": str(tmp_path / "CA")}}
    issued = authority.issue("a.example")
    before = one_host(tmp_path, authority, issued)
    after = one_host(tmp_path, authority, issued, tls=tls)
    assert (before.digest != after.digest) is context_changes
    assert (before.admission != after.admission) is admission_changes


def test_client_rules_are_told_apart(tmp_path: Path, authority: Authority, client_authority: Authority) -> None:
    issued = authority.issue("a.example")
    (tmp_path / "ca").write_bytes(client_authority.pem)
    (tmp_path / "ca2").write_bytes(client_authority.pem + authority.pem)
    (tmp_path / "crl").write_bytes(client_authority.revocation_list())

    def rule(**auth: Any) -> HostMaterial:
        section = {"mode": "require", "ca": f"{tmp_path}/ca"} | auth
        return one_host(tmp_path, authority, issued, tls={"client_auth": section})

    rules = [rule(), rule(mode="request"), rule(depth=2), rule(ca=f"{tmp_path}/ca2"), rule(crl=f"{tmp_path}/crl")]
    assert len({material.admission for material in rules}) == 5
    assert len({material.authentication for material in rules}) == 5
    patterned = rule(allow=["CN=a"])
    assert patterned.digest == rules[0].digest, "patterns are looked at after the handshake, the context stays"
    assert patterned.authentication != rules[0].authentication


def test_a_host_is_part_of_its_digest(tmp_path: Path, authority: Authority) -> None:
    issued = authority.issue("a.example", "b.example")
    one, two = (one_host(tmp_path, authority, issued, name) for name in ("a.example", "b.example"))
    assert one.digest != two.digest


def test_workers_do_without_the_certificate_library() -> None:
    program = (
        "import sys; import terminator.tls.material, terminator.tls.contexts, terminator.tls.client_certificates; "
        "sys.exit('cryptography' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", program], check=False, timeout=60).returncode == 0


def test_a_mode_of_none_reads_no_authorities(tmp_path: Path, authority: Authority) -> None:
    auth = ClientAuth.model_validate({"mode": "none", "ca": f"{tmp_path}/nothing"})
    assert auth.ca is not None
    found = one_host(tmp_path, authority, authority.issue("a.example"), tls={"client_auth": {"ca": auth.ca}})
    assert (found.authorities, found.authentication) == (None, ("none",))
    assert found.policy == TlsPolicy.model_construct(**(TlsPolicy().__dict__ | {"client_auth": auth}))
