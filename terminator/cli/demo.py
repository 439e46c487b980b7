"""`terminator demo`: a certificate made on the spot, a sample backend, the daemon before it, and its log to watch."""

from __future__ import annotations

import argparse
import datetime as dt
import errno
import http.server
import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from pathlib import Path
from types import FrameType

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from terminator.errors import StartError

HELP = "Serve https://localhost with certificates of its own before a sample backend, and show every handshake."

STOP_SECONDS = 10.0


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--port", type=_port, default=8443, help="port on 127.0.0.1 (default: %(default)s)")


def run(args: argparse.Namespace) -> int:
    """Serves until Ctrl-C or SIGTERM; everything it made is gone afterwards."""
    _assert_free(args.port)
    signal.signal(signal.SIGTERM, _as_keyboard_interrupt)
    with (
        tempfile.TemporaryDirectory(prefix="terminator-demo-") as name,
        http.server.ThreadingHTTPServer(("127.0.0.1", 0), SampleBackend) as backend,
    ):
        folder = Path(name)
        threading.Thread(target=backend.serve_forever, daemon=True).start()
        make_certificates(folder)
        config = folder / "terminator.yaml"
        config.write_text(CONFIG.format(port=args.port, backend_port=backend.server_port))
        try:
            return _serve(config, WELCOME.format(folder=folder, port=args.port))
        finally:
            backend.shutdown()


def _serve(config: Path, welcome: str) -> int:
    """Runs the daemon in the foreground of this command; its exit code, or 0 when it was asked to stop."""
    # In a session of its own, so that Ctrl-C reaches it once, from here: a second signal would cut its drain short.
    daemon = subprocess.Popen(
        [sys.executable, "-m", "terminator", "run", "--config", str(config)], start_new_session=True
    )
    try:
        print(welcome, flush=True)
        return daemon.wait()
    except KeyboardInterrupt:
        daemon.terminate()
        return daemon.wait(STOP_SECONDS)
    finally:
        if daemon.poll() is None:
            daemon.kill()
            daemon.wait()


CONFIG = """\
version: 1
workers: 1
listeners:
  - {{name: https, bind: "127.0.0.1:{port}"}}
hosts:
  - names: [localhost]
    certificates:
      - {{chain: localhost.pem, key: localhost.key}}
    routes:
      - {{path: /, backend: sample}}
backends:
  sample:
    servers: ["127.0.0.1:{backend_port}"]
timeouts: {{drain: 3s}}
log: {{format: text}}
admin: {{socket: admin.sock}}
"""

WELCOME = """\
terminator serves https://localhost:{port} with a certificate made a moment ago. In another terminal:

    curl --cacert {folder}/ca.pem https://localhost:{port}/

and to see what a failed handshake tells:

    curl https://localhost:{port}/                          # does not trust the certificate
    curl --cacert {folder}/ca.pem --tls-max 1.1 https://localhost:{port}/
    curl https://127.0.0.1:{port}/                          # sends no server name
    curl http://localhost:{port}/                           # speaks no TLS

Configuration: {folder}/terminator.yaml. Ctrl-C stops everything and removes it. The log follows.
"""


class SampleBackend(http.server.BaseHTTPRequestHandler):
    """Answers with the request that reached it, so that one sees what the proxy adds and removes."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._tell(b"")

    def do_POST(self) -> None:
        self._tell(self.rfile.read(int(self.headers.get("Content-Length", 0))))

    def _tell(self, body: bytes) -> None:
        lines = ["This is the sample backend. What reached it:", "", self.requestline]
        lines += [f"{name}: {value}" for name, value in self.headers.items()]
        answer = "\n".join(lines).encode() + b"\n\n" + body
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; charset=utf-8")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Says nothing: the proxy's log is the one to watch."""


def make_certificates(folder: Path) -> None:
    """Writes ca.pem, localhost.pem (leaf, then CA) and localhost.key; the CA's key is never written."""
    now = dt.datetime.now(dt.UTC)
    ca_key, key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    ca_name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "terminator demo, for this run only")])
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])

    def certificate(subject: x509.Name, public_key: ec.EllipticCurvePublicKey) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(ca_name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(hours=1))
            .not_valid_after(now + dt.timedelta(days=30))
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
        )

    def usage(*, signs_certificates: bool) -> x509.KeyUsage:
        return x509.KeyUsage(
            digital_signature=not signs_certificates,
            key_cert_sign=signs_certificates,
            crl_sign=signs_certificates,
            content_commitment=False,
            key_encipherment=False,
            data_encipherment=False,
            key_agreement=False,
            encipher_only=False,
            decipher_only=False,
        )

    ca = (
        certificate(ca_name, ca_key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage(signs_certificates=True), critical=True)
        .sign(ca_key, hashes.SHA256())
    )
    leaf = (
        certificate(name, key.public_key())
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(ca_key, hashes.SHA256())
    )
    ca_pem, leaf_pem = (one.public_bytes(serialization.Encoding.PEM) for one in (ca, leaf))
    (folder / "ca.pem").write_bytes(ca_pem)
    (folder / "localhost.pem").write_bytes(leaf_pem + ca_pem)
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with open(os.open(folder / "localhost.key", os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
        file.write(key_pem)


def _port(text: str) -> int:
    if text.isascii() and text.isdigit() and 1 <= int(text) <= 65535:
        return int(text)
    raise argparse.ArgumentTypeError(f"{text!r} is not a port number from 1 to 65535")


def _assert_free(port: int) -> None:
    """StartError with a way out when the port cannot be had; the daemon binds it a moment later."""
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        why = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be used ({error.strerror})"
        raise StartError(f"port {port} {why}; choose another one with --port") from error


def _as_keyboard_interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt
