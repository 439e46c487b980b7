"""How long a daemon with thousands of certificates takes to start, and to reload with nothing and with one changed.

    python bench/many_hosts.py [--hosts 5000] [--workers 2] [--reloads 10]

Makes one certificate per host (P-256, from an authority of its own) in a temporary folder, runs `terminator run` on
them, and prints seconds: start to readiness, and each reload as its caller waits for it. Several of a kind show whether
memory comes to rest.
"""

# ruff: noqa: T201 -- a command that prints its table

from __future__ import annotations

import argparse
import datetime as dt
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from stage import free_port

from terminator.service.admin_client import NotReachable, ask

START_SECONDS = 600
NOW = dt.datetime.now(dt.UTC)


class Authority:
    def __init__(self) -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "many hosts")])

    def issue(self, folder: Path, name: str) -> dict[str, str]:
        """A new certificate for `name`, as files."""
        key = ec.generate_private_key(ec.SECP256R1())
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)]))
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(NOW - dt.timedelta(hours=1))
            .not_valid_after(NOW + dt.timedelta(days=90))
            .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        chain_file, key_file = folder / f"{name}.pem", folder / f"{name}.key"
        chain_file.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        key_file.touch(mode=0o600)
        key_file.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return {"chain": str(chain_file), "key": str(key_file)}


def wait_until_ready(daemon: subprocess.Popen[bytes], admin: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if daemon.poll() is not None:
            raise SystemExit(f"the daemon ended with exit code {daemon.returncode}")
        try:
            if ask("GET", "/readyz", admin)[0] == 200:
                return
        except NotReachable:
            pass
        time.sleep(0.02)
    raise SystemExit(f"not ready within {START_SECONDS} s")


def reload(admin: str, expected: str) -> float:
    began = time.perf_counter()
    _, answer = ask("POST", "/reload", admin)
    took = time.perf_counter() - began
    if answer["outcome"] != expected:
        raise SystemExit(f"expected {expected}: {json.dumps(answer)[:500]}")
    return took


def resident_mib(pid: int) -> float:
    """Proportional memory of a process and its children."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    total = 0
    for each in (str(pid), *children):
        lines = Path(f"/proc/{each}/smaps_rollup").read_text().splitlines()
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--hosts", type=int, default=5000)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--reloads", type=int, default=10, help="of each kind (default: %(default)s)")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="terminator-") as name:
        folder, authority = Path(name), Authority()
        names = [f"host{number}.test" for number in range(args.hosts)]
        hosts = [
            {
                "names": [host],
                "certificates": [authority.issue(folder, host)],
                "routes": [{"path": "/", "respond": {"body": "x"}}],
            }
            for host in names
        ]
        admin = str(folder / "admin.sock")
        config = {
            "version": 1,
            "workers": args.workers,
            "listeners": [{"name": "https", "bind": f"127.0.0.1:{free_port()}"}],
            "hosts": hosts,
            "admin": {"socket": admin},
            "log": {"handshakes": "off", "requests": "off", "lifecycle": "off"},
        }
        file = folder / "terminator.yaml"
        file.write_text(yaml.dump(config, Dumper=getattr(yaml, "CSafeDumper", yaml.SafeDumper)))
        text = file.read_text()
        began = time.perf_counter()
        daemon = subprocess.Popen([sys.executable, "-m", "terminator", "run", "--config", str(file)])
        try:
            wait_until_ready(daemon, admin)
            print(f"{args.hosts} hosts, {args.workers} workers, load average {os.getloadavg()[0]:.1f}")
            print(f"start                   {time.perf_counter() - began:6.2f} s   {resident_mib(daemon.pid):.0f} MiB")
            for _ in range(args.reloads):
                print(
                    f"reload, none changed    {reload(admin, 'unchanged'):6.2f} s   {resident_mib(daemon.pid):.0f} MiB"
                )
            for number in range(args.reloads):
                authority.issue(folder, names[number])
                print(f"reload, one changed     {reload(admin, 'ok'):6.2f} s   {resident_mib(daemon.pid):.0f} MiB")
            for number in range(args.reloads):
                file.write_text(f"{text}timeouts: {{drain: {number + 5}s}}\n")
                print(f"reload, other settings  {reload(admin, 'ok'):6.2f} s   {resident_mib(daemon.pid):.0f} MiB")
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait(60)


if __name__ == "__main__":
    main()
