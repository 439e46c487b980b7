"""Who gets in with which client certificate, and what the backend is told: every case, fresh and with an old session.

Each case has a host of its own for each mode. In a first act all is well everywhere, and every client comes in and
keeps its session. Then the trouble begins: authorities and lists are exchanged by a reload, certificates and lists
expire. In the second act every client comes with its session, and without.
"""

from __future__ import annotations

import base64
import hashlib
import socket
import ssl
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import NameOID
from harness.backends import AnsweringBackend, ok
from harness.commands import curl, openssl_client, terminator
from harness.conversation import Head
from harness.daemon import Daemon, eventually

sys.path.insert(0, str(Path(__file__).parents[1] / "tls"))
from workshop import Authority, Issued

CASES = ("none", "wrong-ca", "expired", "revoked", "crl-expired", "valid")
MODES = ("request", "require")
VERSIONS = {"1.2": ssl.TLSVersion.TLSv1_2, "1.3": ssl.TLSVersion.TLSv1_3}
FORGED = {
    "Client-Cert": ":Zm9yZ2Vk:",
    "Client-Cert-Chain": ":Zm9yZ2Vk:",
    "Client_Cert": ":Zm9yZ2Vk:",
    "X-Client-Cert-Subject": "CN=forged",
    "X-Client-Cert-Issuer": "CN=forged",
    "X-Client-Cert-Serial": "F0F0",
    "X-Client-Cert-Sha256": "forged",
    "X-Client-Cert-Verified": "forged",
    "x-client-cert-anything": "forged",
    "X_Client_Cert_Verified": "forged",
}

CLASS = {
    "wrong-ca": "client_cert_invalid",
    "expired": "client_cert_expired",
    "revoked": "client_cert_revoked",
    "crl-expired": "client_crl_expired",
}
"""What the log calls a failure; `none` fails with client_cert_missing where a certificate is required."""
RESUMING = {"none": {"request"}, "expired": set(MODES), "crl-expired": set(MODES), "valid": set(MODES)}
"""Where the old session still resumes, and is looked at anew. Elsewhere the reload has ended it."""


@dataclass
class Visit:
    """One connection with a request that carries forged fields. `seen` is what the backend received, if anything."""

    resumed: bool
    status: int | None
    seen: Head | None
    session: ssl.SSLSession | None
    address: str
    """The client's; each visit has its own."""


class Play:
    """Daemon, hosts, certificates and clients."""

    def __init__(self, port: int, certificates: Any, folder: Path, backend: AnsweringBackend) -> None:
        self.certificates, self.folder, self.backend = certificates, folder, backend
        self.root = Authority("Clients' Root")
        self.middle = Authority("Clients' Middle", self.root)
        self.other = Authority("Another Root")
        self.alice = self.issue("alice")
        self.contexts: dict[tuple[str, str], ssl.SSLContext] = {}
        self.visits = 0
        config = {
            "version": 1,
            "workers": 1,
            "listeners": [{"name": "https", "bind": f"127.0.0.1:{port}"}],
            "hosts": [self.host(case, mode) for case in CASES for mode in MODES],
            "backends": {"b": {"servers": [backend.address]}},
            "admin": {"socket": str(folder / "a.sock")},
        }
        self.daemon = Daemon(config, folder, certificates.client_context())

    def host(self, case: str, mode: str) -> dict[str, Any]:
        """Where no certificate comes, none is required before the trouble begins."""
        auth = {"mode": mode if case != "none" else "request", "ca": f"{case}.{mode}.ca"}
        (self.folder / auth["ca"]).write_bytes(self.root.pem)
        if case != "none":
            auth["crl"] = f"{case}.{mode}.crl"
            (self.folder / auth["crl"]).write_bytes(self.crl())
        names = [self.name(case, mode) for case in CASES for mode in MODES]
        return {
            "names": [self.name(case, mode)],
            "certificates": [self.certificates.pair(*names).as_config()],
            "tls": {"client_auth": auth},
            "routes": [{"path": "/", "backend": "b"}],
        }

    @staticmethod
    def name(case: str, mode: str) -> str:
        return f"{case}.{mode}.test"

    def issue(self, common_name: str, **options: Any) -> Issued:
        subject = [(NameOID.ORGANIZATION_NAME, "Ops, Inc"), (NameOID.COMMON_NAME, common_name)]
        return self.middle.issue(usage="client", subject=subject, **options)

    def crl(self, *revoked: Issued, **options: Any) -> bytes:
        return self.middle.revocation_list(*revoked, **options)

    def context(self, case: str, version: str, certificate: Issued | None) -> ssl.SSLContext:
        """Kept, because a session is offered only by the context that got it."""
        context = self.certificates.client_context()
        context.minimum_version = context.maximum_version = VERSIONS[version]
        if certificate is not None:
            context.load_cert_chain(*certificate.write(self.folder, f"client-{case}-{version}"))
        self.contexts[case, version] = context
        return context

    def visit(self, case: str, mode: str, version: str, session: ssl.SSLSession | None = None) -> Visit:
        before = len(self.backend.requests)
        # Ports are used again soon: among a hundred visits two would have the same.
        self.visits += 1
        address = f"127.1.{self.visits // 250}.{self.visits % 250 + 1}"
        plain = socket.create_connection(("127.0.0.1", self.daemon.ports["https"]), 10, source_address=(address, 0))
        resumed, status = False, None
        name = self.name(case, mode)
        try:
            with self.contexts[case, version].wrap_socket(plain, server_hostname=name, session=session) as tls:
                resumed = bool(tls.session_reused)
                lines = [f"GET /{case} HTTP/1.1", f"Host: {name}", "Connection: close"]
                lines += [f"{field}: {value}" for field, value in FORGED.items()]
                tls.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
                answer = b""
                while piece := tls.recv(65536):
                    answer += piece
                status = int(answer[9:12]) if answer else None
                session = tls.session
        except (ssl.SSLError, ConnectionError):
            pass  # refused; the log tells how
        new = self.backend.requests[before:]
        assert len(new) <= 1
        return Visit(resumed, status, new[0].head if new else None, session, address)

    def reload(self) -> None:
        # A list that has expired is worse than one that has not, which a reload refuses unless it is told.
        done = terminator("reload", "--accept-worse", "--config", str(self.daemon.config_file))
        assert done.returncode == 0, done.stdout + done.stderr

    def first_act(self) -> dict[tuple[str, str, str], ssl.SSLSession]:
        sessions = {}
        for case in CASES:
            for version in VERSIONS:
                self.context(case, version, self.alice if case != "none" else None)
                for mode in MODES:
                    if case not in ("expired", "crl-expired"):
                        sessions[case, mode, version] = self.first_visit(case, mode, version)
        return sessions | self.sessions_before_the_end()

    def first_visit(self, case: str, mode: str, version: str) -> ssl.SSLSession:
        visit = self.visit(case, mode, version)
        assert visit.status == 200, (case, mode, version)
        assert visit.session is not None
        return visit.session

    def sessions_before_the_end(self) -> dict[tuple[str, str, str], ssl.SSLSession]:
        """Sessions by a certificate and under lists that expire in a moment; longer, if this machine is too slow."""
        seconds = 2
        while True:
            seconds *= 2
            end = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=seconds)
            brief = self.issue("brief", not_after=end)
            for mode in MODES:
                (self.folder / f"crl-expired.{mode}.crl").write_bytes(self.crl(next_update=end))
            self.reload()
            sessions: dict[tuple[str, str, str], ssl.SSLSession] = {}
            for version in VERSIONS:
                self.context("expired", version, brief)
                for mode in MODES:
                    for case in ("expired", "crl-expired"):
                        visit = self.visit(case, mode, version)
                        if visit.status == 200 and visit.session is not None:
                            sessions[case, mode, version] = visit.session
            if len(sessions) == 8:
                break
            assert seconds < 60
        self.end = end
        return sessions

    def trouble(self) -> None:
        for mode in MODES:
            (self.folder / f"wrong-ca.{mode}.ca").write_bytes(self.other.pem)
            (self.folder / f"revoked.{mode}.crl").write_bytes(self.crl(self.alice))
        for host in self.daemon.config["hosts"]:
            if host["names"] == [self.name("none", "require")]:
                host["tls"]["client_auth"]["mode"] = "require"
        self.daemon.config_file.write_text(yaml.safe_dump(self.daemon.config, sort_keys=False))
        self.reload()
        eventually(lambda: datetime.now(UTC) > self.end + timedelta(seconds=1), 90)


@dataclass
class Acts:
    play: Play
    fresh: dict[tuple[str, str, str], Visit]
    resumed: dict[tuple[str, str, str], Visit]


@pytest.fixture(scope="module")
def acts(certificates: Any, port: Callable[[], int]) -> Iterator[Acts]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="terminator-")))
        backend = AnsweringBackend(ok())
        stack.callback(backend.close)
        play = Play(port(), certificates, folder, backend)
        stack.callback(play.daemon.stop)
        play.daemon.start()
        sessions = play.first_act()
        play.trouble()
        keys = [(case, mode, version) for case in CASES for mode in MODES for version in VERSIONS]
        resumed = {key: play.visit(*key, session=sessions[key]) for key in keys}
        fresh = {key: play.visit(*key) for key in keys}
        yield Acts(play, fresh, resumed)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("how", ["fresh", "resumed"])
@pytest.mark.parametrize("case", CASES)
def test_who_comes_in_and_what_the_backend_is_told(acts: Acts, case: str, how: str, version: str, mode: str) -> None:
    visit = (acts.fresh if how == "fresh" else acts.resumed)[case, mode, version]
    failure = "client_cert_missing" if (case, mode) == ("none", "require") else CLASS.get(case)
    record = acts.play.daemon.wait_for("tls.handshake", {"client.address": visit.address})
    assert (record["host"], record.get("error.type")) == (Play.name(case, mode), failure)
    assert record["tls.established"] == (failure is None)
    old_session_counts = how == "resumed" and mode in RESUMING.get(case, ())
    # Who it was stands in the log, also of a certificate that did not verify.
    subject = {"none": None, "expired": r"CN=brief,O=Ops\, Inc"}.get(case, r"CN=alice,O=Ops\, Inc")
    assert record.get("tls.client.subject") == subject
    assert record.get("tls.client.issuer") == (None if case == "none" else "CN=Clients' Middle")
    if failure is not None:
        assert (visit.status, visit.seen) == (None, None)  # neither the client nor the backend saw a request through
        # What we refuse ourselves, behind OpenSSL, is refused without an alert.
        assert ("tls.alert.sent" in record) == (not old_session_counts)
        return
    assert visit.status == 200
    assert record["tls.resumed"] == visit.resumed == old_session_counts
    assert visit.seen is not None
    told = {name: value for name, value in visit.seen.fields if "client" in name and "cert" in name.replace("_", "-")}
    assert told == (expected_fields(acts.play, resumed=visit.resumed) if case == "valid" else {})


def expected_fields(play: Play, *, resumed: bool) -> dict[str, str]:
    serial = f"{play.alice.certificate.serial_number:X}"
    fields = {
        "client-cert": byte_sequence(play.alice.der),
        "x-client-cert-subject": r"CN=alice,O=Ops\, Inc",
        "x-client-cert-issuer": "CN=Clients' Middle",
        "x-client-cert-serial": serial.zfill(len(serial) + len(serial) % 2),
        "x-client-cert-sha256": hashlib.sha256(play.alice.der).hexdigest(),
        "x-client-cert-verified": "true",
    }
    if not resumed:  # a ticket carries no chain
        fields["client-cert-chain"] = byte_sequence(play.middle.certificate.public_bytes(serialization.Encoding.DER))
    return fields


def byte_sequence(der: bytes) -> str:
    """RFC 8941 §3.3.5."""
    return f":{base64.b64encode(der).decode()}:"


# ------------------------------------------------------------------------------------------------- other clients

SHOWN = ("none", "wrong-ca", "revoked", "valid")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", SHOWN)
def test_curl_agrees(acts: Acts, case: str, version: str, mode: str) -> None:
    play = acts.play
    url = f"https://{Play.name(case, mode)}/"
    before = len(play.backend.requests)
    options = [f"--tlsv{version}", "--tls-max", version]
    if case != "none":
        stem = play.folder / f"client-{case}-{version}"
        options += ["--cert", f"{stem}.pem", "--key", f"{stem}.key"]
    done = curl(play.daemon.ports["https"], url, *options, ca_file=play.certificates.ca_file, folder=play.folder)
    let_in = acts.fresh[case, mode, version].status == 200
    assert (done.exit_code == 0) == let_in
    seen = play.backend.requests[before:]
    assert len(seen) == let_in
    if case == "valid":
        assert {n: v for n, v in seen[0].head.fields if "cert" in n} == expected_fields(play, resumed=False)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("case", SHOWN)
def test_openssl_agrees(acts: Acts, case: str, version: str, mode: str) -> None:
    """And, where it gets in, with the session that it got."""
    play, name = acts.play, Play.name(case, mode)
    session = play.folder / f"session-{case}-{version}-{mode}"
    options = [f"-tls{version.replace('.', '_')}", "-servername", name, "-ign_eof"]
    if case != "none":
        stem = play.folder / f"client-{case}-{version}"
        options += ["-cert", f"{stem}.pem", "-key", f"{stem}.key", "-cert_chain", f"{stem}.pem"]
    request = f"GET / HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n".encode()
    let_in = acts.fresh[case, mode, version].status == 200
    first = openssl_client(play.daemon.ports["https"], *options, "-sess_out", str(session), typed=request)
    assert ("HTTP/1.1 200 OK" in first.stdout) == let_in
    if let_in:
        again = openssl_client(play.daemon.ports["https"], *options, "-sess_in", str(session), typed=request)
        assert "Reused, TLSv" in again.stdout
        assert "HTTP/1.1 200 OK" in again.stdout
