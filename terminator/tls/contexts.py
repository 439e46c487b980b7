"""A host's material to its `SSLContext`: certificates, policy, client authorities, tickets; nothing is read from disk.

Every host has a context of its own, and a connection is wrapped in it from its first byte (the ClientHello is read
before): so the host's versions and client certificates are enforced, which a switch in `sni_callback` would silently
not do, and a session of one host does not resume on another, because tickets are under keys of that host alone and
the cache of session ids is off.
"""

from __future__ import annotations

import ssl
import warnings
from collections.abc import Callable, Iterator, Mapping

from terminator.errors import CertificateError, ConfigError
from terminator.tls import openssl, policy
from terminator.tls.material import HostMaterial, Materials
from terminator.tls.memory import load_pair_bytes, path_of
from terminator.tls.openssl import Capabilities

TicketKey = Callable[[HostMaterial], bytes]
"""The 80 bytes under which a host's tickets stand at present; see `tickets.TicketKeys`."""

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
    ticket_key: TicketKey | None = None,
    key_log_file: str | None = None,
) -> ssl.SSLContext:
    """The context of one host. Takes about 1 ms; the result is never changed but for its ticket key.

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
    _set_client_authentication(context, material, capabilities)
    _set_resumption(context, material, capabilities, ticket_key)
    if key_log_file is not None:
        try:
            context.keylog_filename = key_log_file
        except OSError as error:
            raise CertificateError(f"{key_log_file}: the key log cannot be written: {error.strerror}") from error
    return context


class ContextStore(Mapping[str, ssl.SSLContext]):
    """The contexts of one generation by the host's first name. A host whose material is unchanged keeps its object."""

    def __init__(self) -> None:
        self._contexts: dict[str, tuple[HostMaterial, ssl.SSLContext]] = {}
        self._key_log_file: str | None = None
        self.built = 0
        """How many contexts the last `update` had to build."""

    def update(
        self,
        materials: Materials,
        *,
        capabilities: Capabilities,
        ticket_key: TicketKey | None = None,
        key_log_file: str | None = None,
    ) -> ContextStore:
        """A new store for `materials`; this one, and every context in it, stays as it is.

        Raises ConfigError with one text per host that cannot be built. May run in a thread: OpenSSL's part, nearly all
        of it, is without the interpreter's lock.
        """
        after = ContextStore()
        after._key_log_file = key_log_file
        problems: list[str] = []
        for material in materials:
            known = self._contexts.get(material.host)
            if known is not None and known[0].digest == material.digest and self._key_log_file == key_log_file:
                after._contexts[material.host] = (material, known[1])
                continue
            try:
                context = build(material, capabilities=capabilities, ticket_key=ticket_key, key_log_file=key_log_file)
            except ConfigError as error:
                problems += [f"host {material.host}: {problem}" for problem in error.problems]
            except CertificateError as error:
                problems.append(f"host {material.host}: {error}")
            else:
                after._contexts[material.host] = (material, context)
                after.built += 1
        if problems:
            raise ConfigError(problems)
        return after

    def rotate(self, ticket_key: TicketKey) -> None:
        """Sets every host's present ticket key, some 10 µs each. Needs `Capabilities.ticket_keys`."""
        for material, context in self._contexts.values():
            if material.policy.tickets:
                openssl.set_ticket_keys(context, ticket_key(material))

    def __getitem__(self, host: str) -> ssl.SSLContext:
        return self._contexts[host][1]

    def __iter__(self) -> Iterator[str]:
        return iter(self._contexts)

    def __len__(self) -> int:
        return len(self._contexts)


def _set_protocol(context: ssl.SSLContext, resolved: policy.ResolvedPolicy) -> None:
    with warnings.catch_warnings():
        # Python deprecates TLS 1.0 and 1.1; the operator who set them is told by `check` and `explain`.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSION[resolved.min_version]
    context.maximum_version = _VERSION[resolved.max_version]
    context.set_ciphers(resolved.cipher_string)
    on = ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_SINGLE_DH_USE | ssl.OP_SINGLE_ECDH_USE
    # An end of the connection without close_notify must be seen as what it may be: a truncation.
    off = getattr(ssl, "OP_IGNORE_UNEXPECTED_EOF", 0)
    if resolved.server_order:
        on |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        off |= ssl.OP_CIPHER_SERVER_PREFERENCE
    context.options = (context.options | on) & ~off


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
    if authorities.crl_pem is not None:
        context.verify_flags |= ssl.VERIFY_CRL_CHECK_LEAF
    if capabilities.verify_depth:  # else `client_certificates.judge` counts the chain
        openssl.set_verify_depth(context, auth.depth)
    context.verify_mode = ssl.CERT_REQUIRED if auth.mode == "require" else ssl.CERT_OPTIONAL


def _set_resumption(
    context: ssl.SSLContext, material: HostMaterial, capabilities: Capabilities, ticket_key: TicketKey | None
) -> None:
    """Tickets alone resume: a cache of session ids would be each worker's own, and one more thing to keep apart."""
    if capabilities.session_cache:
        openssl.switch_session_cache_off(context)
    if not material.policy.tickets:
        context.options |= ssl.OP_NO_TICKET
        context.num_tickets = 0
        return
    context.num_tickets = 1  # each costs 30 to 50 µs, and the client that resumes gets a new one
    if ticket_key is not None and capabilities.ticket_keys:
        openssl.set_ticket_keys(context, ticket_key(material))
