"""Certificates at the edge of what authorities issue: no common name, very many names, long chains, RSA-4096."""

from __future__ import annotations

import ssl
import sys
from pathlib import Path

import pytest
from harness.backends import ok
from harness.commands import curl, openssl_client

sys.path.insert(0, str(Path(__file__).parents[1] / "tls"))
from workshop import Authority

NAMES = [f"name-{number}.unusual.test" for number in range(700)]
INTERMEDIATES = 8


@pytest.fixture
def host(tmp_path):
    """Host `name-0.unusual.test` with an RSA-4096 and an ECDSA certificate, and the file of their root."""
    root = Authority("Unusual Root")
    authority = root
    for number in range(INTERMEDIATES):
        authority = Authority(f"Unusual Intermediate {number}", authority)
    certificates = []
    for kind in ("rsa4096", "ecdsa"):
        issued = authority.issue(*NAMES, key=kind)
        assert not issued.certificate.subject.rdns
        chain, key = issued.write(tmp_path, kind)
        certificates.append({"chain": chain, "key": key})
    root_file = tmp_path / "root.pem"
    root_file.write_bytes(root.pem)
    routes = [{"path": "/", "backend": "b"}]
    return {"names": NAMES, "certificates": certificates, "routes": routes}, root_file


@pytest.mark.parametrize("version", ["1.2", "1.3"])
def test_every_client_gets_the_whole_chain_for_every_name(start, answering, folder, host, version):
    wanted, root_file = host
    daemon = start(answering(ok()).address, hosts=[wanted])
    context = ssl.create_default_context(cafile=str(root_file))
    context.verify_flags &= ~ssl.VERIFY_X509_STRICT  # which asks for key identifiers from Python 3.13 on
    context.minimum_version = context.maximum_version = {
        "1.2": ssl.TLSVersion.TLSv1_2,
        "1.3": ssl.TLSVersion.TLSv1_3,
    }[version]
    session = None
    for name in (NAMES[0], NAMES[350], NAMES[-1]):
        with daemon.connect(name, context=context) as client:
            assert len(client.sock.getpeercert()["subjectAltName"]) == len(NAMES)
            client.request(host=name)
            assert client.receive_response().status == 200
            session = client.sock.session
    assert session is not None
    assert curl(
        daemon.ports["https"],
        f"https://{NAMES[1]}/",
        f"--tlsv{version}",
        "--tls-max",
        version,
        ca_file=root_file,
        folder=folder,
    ).status == 200  # fmt: skip


@pytest.mark.parametrize(
    ("algorithms", "key"),
    [("ECDSA+SHA256", "ecdsa"), ("RSA-PSS+SHA256:RSA+SHA256", "rsa"), ("ECDSA+SHA256:RSA-PSS+SHA256", "ecdsa")],
)
@pytest.mark.parametrize("version", ["-tls1_2", "-tls1_3"])
def test_the_clients_algorithms_choose_the_key(start, host, algorithms, key, version):
    wanted, root_file = host
    daemon = start(hosts=[wanted])
    options = ["-servername", NAMES[2], "-CAfile", str(root_file), "-verify_return_error", "-sigalgs", algorithms]
    done = openssl_client(daemon.ports["https"], version, *options)
    assert "Verify return code: 0 (ok)" in done.stdout, done.stderr
    assert done.stdout.count(" s:") >= INTERMEDIATES + 1
    event = daemon.wait_for("tls.handshake", {"server.name": NAMES[2]})
    assert event["certificate.key"] == key
