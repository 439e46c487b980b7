"""A host's material to its `SSLContext`: certificates, policy, client authorities, tickets; nothing is read from disk.

Every host has a context of its own, and a connection is wrapped in it from its first byte (the ClientHello is read
before): so the host's versions and client certificates are enforced, which a switch in `sni_callback` would silently
not do, and a session of one host does not resume on another, because tickets are under keys of that host alone and
the cache of session ids is off.
"""

from __future__ import annotations

import os
import ssl
import stat
import warnings
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from terminator.errors import CertificateError, ConfigError
from terminator.tls import openssl, policy, shown
from terminator.tls.material import HostMaterial, Materials
from terminator.tls.memory import load_pair_bytes, path_of
from terminator.tls.openssl import Capabilities
from terminator.tls.tickets import Tickets

Context = ssl.SSLContext
"""What a host's connections are wrapped in; opaque above this folder."""

VERIFY_FLAGS = ssl.VERIFY_X509_TRUSTED_FIRST | ssl.VERIFY_X509_PARTIAL_CHAIN
"""The same on every Python. PARTIAL_CHAIN: what the operator put in `ca` is an anchor, be it a root or an intermediate.
STRICT, which Python 3.13 adds to default contexts, is off: it refuses client authorities made before RFC 5280's key
identifiers were usual, and those are exactly what companies have."""

# RFC 7919 appendix A.1, ffdhe2048: what the guideline names for the DHE suites of `intermediate` and `old`.
_FFDHE2048 = b"""-----BEGIN DH PARAMETERS-----
MIIBCAKCAQEA//////////+t+FRYortKmq/cViAnPTzx2LnFg84tNpWp4TZBFGQz
+8yTnc4kmz75fS/jY2MMddj2gbICrsRhetPfHtXV/WVhJDP1H18GbtCFY2VVPe0a
87VXE15/V8k1mE8McODmi3fipona8+/och3xWKE2rec1MKzKT0g6eXq8CrGCsyT7
YdEIqUuyyOP7uWrat2DX9GgdT0Kj3jlN9K5W7edjcrsZCwenyO4KbXCeAvzhzffi
7MA0BM0oNC9hkXL+nOmFg/+OTxIy7vKBg8P+OxtMb61zO7X8vC7CIAXFjvGDfRaD
ssbzSibBsu/6iGtCOGEoXJf//////////wIBAg==
-----END DH PARAMETERS-----
"""

_NO_COMPRESSED_CERTIFICATES = 1 << 33
"""SSL_OP_NO_RX_CERTIFICATE_COMPRESSION of OpenSSL 3.2, without meaning before: strangers shall feed no decompressor."""

_VERSION = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


def build(
    material: HostMaterial,
    *,
    capabilities: Capabilities,
    tickets: Tickets | None = None,
    log_keys: bool = False,
) -> ssl.SSLContext:
    """The context of one host. Takes about 1 ms; the result is never changed but for its ticket key. log_keys: opens
    the key log, if the host has one; see `ContextStore.log_keys` for why not everybody may.

    Raises ConfigError for a policy that this OpenSSL cannot do, CertificateError for what it does not load.
    """
    resolved = policy.resolve(material.policy, capabilities)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _set_protocol(context, resolved)
    if capabilities.groups and resolved.groups:
        openssl.set_groups(context, resolved.group_string)
    if material.policy.alpn:
        context.set_alpn_protocols(list(material.policy.alpn))
    for pair in material.pairs:
        try:
            load_pair_bytes(context, pair.chain_pem, pair.key_pem)
        except ssl.SSLError as error:
            reason = error.reason or str(error)
            raise CertificateError(f"{pair.chain_file}: OpenSSL does not take the certificate: {reason}") from error
    if resolved.finite_field and any(pair.info.key_type == "rsa" for pair in material.pairs):
        with path_of(_FFDHE2048) as path:
            context.load_dh_params(path)
    if capabilities.given_chain:
        openssl.serve_given_chain(context)
    _set_client_authentication(context, material, capabilities)
    _set_resumption(context, material, capabilities, tickets)
    if log_keys and material.key_log_file is not None:
        _log_keys(context, material.key_log_file)
    return context


def _log_keys(context: ssl.SSLContext, path: str) -> None:
    """Into a file that nobody else may read: OpenSSL would make one that everybody may."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            mode = os.fstat(descriptor).st_mode
        finally:
            os.close(descriptor)
        if not stat.S_ISREG(mode) or mode & 0o077:
            raise CertificateError(
                f"{path}: the key log must be a file that others can neither read nor write; chmod 600"
            )
        context.keylog_filename = path
    except OSError as error:
        raise CertificateError(f"{path}: the key log cannot be written: {error.strerror}") from error


@dataclass(frozen=True, slots=True)
class Prepared:
    """The contexts of a generation that is not in force yet. `fresh` names the hosts whose context had to be built."""

    materials: Materials
    contexts: Mapping[str, ssl.SSLContext]
    fresh: tuple[str, ...]
    tickets: Tickets | None


class ContextStore:
    """The contexts in force, by the host's first name. A host whose material is unchanged keeps its object.

    The master makes the first one before it forks, so that workers share the memory, and, where ticket keys cannot be
    set, OpenSSL's own random ones.
    """

    def __init__(self, capabilities: Capabilities, tickets: Tickets | None = None) -> None:
        """tickets: the keys of the present period; None leaves each context its own random key."""
        self.capabilities = capabilities
        self._tickets = tickets if capabilities.ticket_keys else None
        self._materials: Materials = {}
        self._logs_keys = False
        self.contexts: Mapping[str, ssl.SSLContext] = {}

    def log_keys(self) -> None:
        """From now on, where it is configured, keys are logged. For a worker, once it has been forked: descriptors are
        closed in a child, and what OpenSSL had opened before it would write to whatever takes the number then, be it
        somebody's connection. Raises CertificateError for a file that cannot be used.
        """
        self._logs_keys = True
        for host, material in self._materials.items():
            if material.key_log_file is not None:
                _log_keys(self.contexts[host], material.key_log_file)

    def prepare(self, materials: Materials) -> Prepared:
        """Builds what changed aside; nothing in force is touched.

        Raises ConfigError with one text per host that cannot be built. May run in a thread: OpenSSL's part, most of the
        0.7 ms per context, is without the interpreter's lock.
        """
        tickets = self._tickets
        contexts: dict[str, ssl.SSLContext] = {}
        fresh: list[str] = []
        problems: list[str] = []
        for host, material in materials.items():
            known = self._materials.get(host)
            if known is not None and known.digest == material.digest:
                contexts[host] = self.contexts[host]
                continue
            try:
                contexts[host] = build(
                    material, capabilities=self.capabilities, tickets=tickets, log_keys=self._logs_keys
                )
                fresh.append(host)
            except ConfigError as error:
                problems += [f"host {host}: {problem}" for problem in error.problems]
            except CertificateError as error:
                problems.append(f"host {host}: {error}")
        if problems:
            raise ConfigError(problems)
        return Prepared(dict(materials), contexts, tuple(fresh), tickets)

    def commit(self, prepared: Prepared) -> None:
        """Puts what was prepared in force. It must be the last that was prepared, after the last commit."""
        self._materials, self.contexts = prepared.materials, prepared.contexts
        if self._tickets is not None and prepared.tickets != self._tickets:  # a period ended meanwhile
            self._set_keys(prepared.fresh, self._tickets)

    def rotate(self, tickets: Tickets) -> None:
        """From now on tickets are issued and accepted under these keys alone; some 10 µs per host."""
        if self.capabilities.ticket_keys:
            self._tickets = tickets
            self._set_keys(self.contexts, tickets)

    def _set_keys(self, hosts: Iterable[str], tickets: Tickets) -> None:
        for host in hosts:
            material = self._materials[host]
            if material.policy.tickets:
                openssl.set_ticket_keys(self.contexts[host], tickets.key(host, material.admission))


def _set_protocol(context: ssl.SSLContext, resolved: policy.ResolvedPolicy) -> None:
    with warnings.catch_warnings():
        # Python deprecates TLS 1.0 and 1.1; the operator who set them is told by `check` and `explain`.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSION[resolved.min_version]
    context.maximum_version = _VERSION[resolved.max_version]
    context.set_ciphers(resolved.cipher_string)
    on = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_DH_USE | ssl.OP_SINGLE_ECDH_USE
    on |= _NO_COMPRESSED_CERTIFICATES
    # An end of the connection without close_notify must be seen as what it may be: a truncation.
    off = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if resolved.server_order:
        on |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        off |= ssl.OP_CIPHER_SERVER_PREFERENCE
    # As plain numbers: the complement of an `ssl.Options` knows only the bits that Python has a name for.
    context.options = ssl.Options(int(context.options | on) & ~int(off))


def _set_client_authentication(context: ssl.SSLContext, material: HostMaterial, capabilities: Capabilities) -> None:
    context.verify_flags = VERIFY_FLAGS
    authorities, auth = material.authorities, material.policy.client_auth
    if authorities is None:
        context.verify_mode = ssl.CERT_NONE
        return
    # One file for both, because `load_verify_locations(cadata=...)` would pass over the revocation lists.
    with path_of(authorities.ca_pem + (authorities.crl_pem or b"")) as path:
        try:
            context.load_verify_locations(cafile=path)
        except ssl.SSLError as error:
            reason = error.reason or str(error)
            raise CertificateError(f"{auth.ca}: OpenSSL does not take the client authorities: {reason}") from error
        if capabilities.client_authorities:
            openssl.name_client_authorities(context, path)
    if authorities.crl_pem is not None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if capabilities.verify_depth:  # else `client_certificates.examine` counts the chain
        openssl.set_verify_depth(context, auth.depth)
    context.verify_mode = ssl.CERT_REQUIRED if auth.mode == "require" else ssl.CERT_OPTIONAL
    if capabilities.messages:
        shown.watch(context)


def _set_resumption(
    context: ssl.SSLContext, material: HostMaterial, capabilities: Capabilities, tickets: Tickets | None
) -> None:
    """Tickets alone resume: a cache of session ids would be each worker's own, and one more thing to keep apart."""
    if capabilities.session_cache:
        openssl.switch_session_cache_off(context)
    if not material.policy.tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        return
    context.num_tickets = 1  # each costs 30 to 50 µs, and the client that resumes gets a new one
    if tickets is not None and capabilities.ticket_keys:
        openssl.set_ticket_keys(context, tickets.key(material.host, material.admission))
