"""Makes what TLS tests need: certificates with any fault, materials, contexts, and whole handshakes in memory."""

from __future__ import annotations

import ssl
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import dsa, ec, ed25519, rsa
from cryptography.x509.oid import AuthorityInformationAccessOID, ExtendedKeyUsageOID, NameOID

from terminator.config.model import ClientAuth, TlsPolicy
from terminator.tls import contexts, material
from terminator.tls.certificates import Shelf
from terminator.tls.material import HostMaterial, Pair
from terminator.tls.openssl import Capabilities
from terminator.tls.tickets import Tickets

NOW = datetime.now(UTC).replace(microsecond=0)
DAY = timedelta(days=1)
EXTENDED_USAGE = {"server": ExtendedKeyUsageOID.SERVER_AUTH, "client": ExtendedKeyUsageOID.CLIENT_AUTH}


def new_key(kind: str) -> Any:
    match kind:
        case "ecdsa":
            return ec.generate_private_key(ec.SECP256R1())
        case "p384":
            return ec.generate_private_key(ec.SECP384R1())
        case "p224":
            return ec.generate_private_key(ec.SECP224R1())
        case "ed25519":
            return ed25519.Ed25519PrivateKey.generate()
        case "dsa":
            return dsa.generate_private_key(2048)
    return rsa.generate_private_key(65537, int(kind.removeprefix("rsa") or 2048))


@dataclass(frozen=True)
class Issued:
    """A certificate with its key and, after it, the intermediates up to the root."""

    certificate: x509.Certificate
    key: Any
    intermediates: tuple[x509.Certificate, ...]

    @property
    def chain_pem(self) -> bytes:
        return b"".join(c.public_bytes(serialization.Encoding.PEM) for c in (self.certificate, *self.intermediates))

    @property
    def key_pem(self) -> bytes:
        pem: bytes = self.key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return pem

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.DER)

    def write(self, folder: Path, name: str = "host") -> tuple[str, str]:
        """Paths of the chain and the key."""
        chain, key = folder / f"{name}.pem", folder / f"{name}.key"
        chain.write_bytes(self.chain_pem)
        key.write_bytes(self.key_pem)
        key.chmod(0o600)
        return str(chain), str(key)


class Authority:
    """A root, or an intermediate below `parent`."""

    def __init__(self, common_name: str, parent: Authority | None = None) -> None:
        self.key = new_key("ecdsa")
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])
        self.parent = parent
        signer = parent or self
        self.certificate = (
            self._builder(self.name, signer.name, self.key, NOW - 1000 * DAY, NOW + 1000 * DAY)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(signer.key, hashes.SHA256())
        )

    @property
    def pem(self) -> bytes:
        return self.certificate.public_bytes(serialization.Encoding.PEM)

    def issue(
        self,
        *names: str,
        key: str | Any = "ecdsa",
        not_before: datetime = NOW - 10 * DAY,
        not_after: datetime = NOW + 80 * DAY,
        subject: Iterable[tuple[Any, str]] = (),
        other_names: Iterable[x509.GeneralName] = (),
        usage: str = "server",
        must_staple: bool = False,
        issuer_url: bool = False,
    ) -> Issued:
        private = new_key(key) if isinstance(key, str) else key
        full = x509.Name([x509.NameAttribute(oid, value) for oid, value in subject])
        builder = self._builder(full, self.name, private, not_before, not_after).add_extension(
            x509.ExtendedKeyUsage([EXTENDED_USAGE[usage]]), critical=False
        )
        alternatives = [*map(x509.DNSName, names), *other_names]
        if alternatives:
            builder = builder.add_extension(x509.SubjectAlternativeName(alternatives), critical=not full.rdns)
        if must_staple:
            builder = builder.add_extension(x509.TLSFeature([x509.TLSFeatureType.status_request]), critical=False)
        if issuer_url:
            access = x509.AccessDescription(
                AuthorityInformationAccessOID.CA_ISSUERS, x509.UniformResourceIdentifier("http://ca.invalid/ca.crt")
            )
            builder = builder.add_extension(x509.AuthorityInformationAccess([access]), critical=False)
        intermediates = []
        above: Authority | None = self
        while above is not None and above.parent is not None:
            intermediates.append(above.certificate)
            above = above.parent
        return Issued(builder.sign(self.key, hashes.SHA256()), private, tuple(intermediates))

    def revocation_list(self, *revoked: Issued, next_update: datetime = NOW + 7 * DAY) -> bytes:
        builder = x509.CertificateRevocationListBuilder().issuer_name(self.name)
        builder = builder.last_update(NOW - 30 * DAY).next_update(next_update)
        for each in revoked:
            entry = x509.RevokedCertificateBuilder().serial_number(each.certificate.serial_number)
            builder = builder.add_revoked_certificate(entry.revocation_date(NOW - DAY).build())
        return builder.sign(self.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    @staticmethod
    def _builder(
        subject: x509.Name, issuer: x509.Name, key: Any, not_before: datetime, not_after: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(not_before)
            .not_valid_after(not_after)
        )


class Workshop:
    """Makes hosts in a folder of its own."""

    def __init__(self, folder: Path, authority: Authority, capabilities: Capabilities) -> None:
        self.folder = folder
        self.authority = authority
        self.capabilities = capabilities
        self._count = 0

    def pair(self, issued: Issued) -> Pair:
        self._count += 1
        return Shelf().pair(*issued.write(self.folder, f"pair{self._count}"))

    def host(
        self,
        name: str = "a.example",
        *issued: Issued,
        ca: bytes | None = None,
        crl: bytes | None = None,
        auth: dict[str, Any] | None = None,
        **policy: Any,
    ) -> HostMaterial:
        """A host's material; with `ca` its clients need certificates (mode `require` unless `auth` says else)."""
        pairs = tuple(self.pair(each) for each in issued or (self.authority.issue(name),))
        authorities = None
        if ca is not None:
            self._count += 1
            ca_path = self.folder / f"ca{self._count}.pem"
            ca_path.write_bytes(ca)
            crl_path = None
            if crl is not None:
                crl_path = self.folder / f"crl{self._count}.pem"
                crl_path.write_bytes(crl)
            authorities = Shelf().authorities(str(ca_path), str(crl_path) if crl_path else None)
            section = {"mode": "require", "ca": str(ca_path), "crl": str(crl_path) if crl_path else None}
            policy["client_auth"] = ClientAuth.model_validate(section | (auth or {}))
        return material.compose(name, (name,), TlsPolicy(**policy), pairs, authorities)

    def context(self, host: HostMaterial, tickets: Tickets | None = None) -> ssl.SSLContext:
        return contexts.build(host, capabilities=self.capabilities, tickets=tickets)

    def client(
        self,
        version: str | None = None,
        certificate: Issued | None = None,
        ciphers: str | None = None,
        alpn: list[str] | None = None,
    ) -> ssl.SSLContext:
        """A client that trusts the hosts' authority, and speaks only `version` ("1.2" or "1.3")."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=self.authority.pem.decode())
        if version is not None:
            context.minimum_version = context.maximum_version = {
                "1.2": ssl.TLSVersion.TLSv1_2,
                "1.3": ssl.TLSVersion.TLSv1_3,
            }[version]
        if ciphers is not None:
            context.set_ciphers(ciphers)
        if alpn is not None:
            context.set_alpn_protocols(alpn)
        if certificate is not None:
            self._count += 1
            context.load_cert_chain(*certificate.write(self.folder, f"client{self._count}"))
        return context


@dataclass
class Conversation:
    """Both ends after a handshake in memory. The session is as the client got it, its ticket included."""

    server: ssl.SSLObject
    client: ssl.SSLObject

    @property
    def session(self) -> ssl.SSLSession:
        session = self.client.session
        assert session is not None
        return session

    @property
    def resumed(self) -> bool:
        return bool(self.server.session_reused)


def converse(
    server: ssl.SSLContext, client: ssl.SSLContext, name: str = "a.example", session: ssl.SSLSession | None = None
) -> Conversation:
    """A whole handshake and one byte each way; what either end raises comes out, the server's word before."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, server_hostname=name, session=session)
    complaint: ssl.SSLError | None = None
    for side in (there, here, there, here):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
        except ssl.SSLError as error:
            if side is here:
                raise
            complaint = error
    if complaint is not None:
        raise complaint
    there.write(b"?")
    assert here.read(1) == b"?"
    here.write(b"!")
    assert there.read(1) == b"!"  # and with it the tickets of TLS 1.3, which come before
    return Conversation(here, there)
