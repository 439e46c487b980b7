"""Proves at the start which calls of `openssl` work on this interpreter, each by a real handshake in memory."""

from __future__ import annotations

import contextlib
import ssl
from typing import Any

from terminator.errors import CertificateError
from terminator.tls import libssl, openssl
from terminator.tls.libssl import Unproved, context_pointer, loaded
from terminator.tls.memory import load_pair_bytes, path_of
from terminator.tls.openssl import KNOWN_GROUPS, Capabilities


def prove() -> Capabilities:
    """Tries every call on this interpreter, with handshakes in memory; takes some 20 ms. Never raises, never crashes.

    Imports `cryptography` for a throwaway certificate: for the master and the commands, not for workers.
    """
    try:
        libssl.check()
    except Unproved as error:
        return Capabilities(problems=(f"ticket keys, groups and verify depth cannot be set: {error}",))
    problems: list[str] = []

    def attempt(what: str, proof: Any, *arguments: Any) -> bool:
        try:
            proof(*arguments)
        except (Unproved, CertificateError, ssl.SSLError, AttributeError, OSError) as error:
            problems.append(f"{what}: {error}")
            return False
        return True

    from terminator.tls.throwaway import throwaway_pair

    chain, key = throwaway_pair()

    def server() -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.num_tickets = 1
        load_pair_bytes(context, chain, key)
        return context

    ticket = attempt("ticket keys cannot be set", _prove_ticket_keys, server)
    cache = attempt("the session cache cannot be switched off", _prove_session_cache, server)
    given = attempt("short chains are completed from the client authorities", _prove_given_chain, chain, key)
    depth = attempt("the depth of client chains cannot be set", _prove_verify_depth)
    authorities = attempt("clients cannot be told the authorities", _prove_client_authorities, chain)
    name = attempt("the negotiated group cannot be read", _prove_group_name, server)
    served = attempt("the certificate that was served cannot be told", _prove_served_key_type, server)
    messages = attempt("what a refused client showed cannot be told", _prove_messages, server)
    goodbye = attempt("close_notify cannot be sent by itself", _prove_close_notify, server)
    groups: tuple[str, ...] = ()
    if attempt("groups cannot be set", _prove_groups, server, name):
        groups = tuple(group for group in KNOWN_GROUPS if _takes_group(group))
    return Capabilities(
        ticket_keys=ticket,
        given_chain=given,
        session_cache=cache,
        verify_depth=depth,
        client_authorities=authorities,
        group_name=name,
        served_key_type=served,
        messages=messages,
        close_notify=goodbye,
        groups=groups,
        problems=tuple(problems),
    )


def _prove_ticket_keys(server: Any) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        first, second, other = server(), server(), server()
        for context, key in ((first, b"a" * 80), (second, b"a" * 80), (other, b"b" * 80)):
            openssl.set_ticket_keys(context, key)
            if openssl.ticket_keys(context) != key:
                raise Unproved("a key that was set reads back differently")
        client = _client(version)
        session = _handshake(first, client)[1]
        if session is None or not _handshake(second, client, session)[0].session_reused:
            raise Unproved(f"a ticket does not resume under the same key ({version.name})")
        if _handshake(other, client, session)[0].session_reused:
            raise Unproved(f"a ticket resumes under another key ({version.name})")


def _prove_session_cache(server: Any) -> None:
    client = _client(ssl.TLSVersion.TLSv1_2)
    for cached in (True, False):
        context = server()
        context.options |= ssl.OP_NO_TICKET
        if not cached:
            openssl.switch_session_cache_off(context)
        # Kept to the end, because OpenSSL forgets the session of a connection that is freed without close_notify.
        first, session = _handshake(context, client)
        resumed = session is not None and _handshake(context, client, session)[0].session_reused
        del first
        if resumed != cached:
            raise Unproved(
                f"a session id {'resumes' if resumed else 'does not resume'} with the cache {'on' if cached else 'off'}"
            )


def _prove_given_chain(chain: bytes, key: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair_bytes(context, chain, key)
    openssl.serve_given_chain(context)
    if not loaded().SSL_CTX_ctrl(context_pointer(context), openssl.MODE, 0, None) & openssl.MODE_NO_AUTO_CHAIN:
        raise Unproved("a mode that was set reads back differently")
    _handshake(context, _client(ssl.TLSVersion.TLSv1_3))


def _prove_verify_depth() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for depth in (3, 7):
        openssl.set_verify_depth(context, depth)
        if loaded().SSL_CTX_get_verify_depth(context_pointer(context)) != depth:
            raise Unproved("a depth that was set reads back differently")


def _prove_client_authorities(pem: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with path_of(pem) as path:
        openssl.name_client_authorities(context, path)
    functions = loaded()
    if functions.OPENSSL_sk_num(functions.SSL_CTX_get_client_CA_list(context_pointer(context))) != 1:
        raise Unproved("a list of one authority reads back differently")


def _prove_group_name(server: Any) -> None:
    client = _client(ssl.TLSVersion.TLSv1_3)
    client.set_ecdh_curve("secp384r1")
    name = openssl.group_name(_handshake(server(), client)[0])
    if name != "secp384r1":
        raise Unproved(f"secp384r1 is reported as {name}")


def _prove_served_key_type(server: Any) -> None:
    kind = openssl.served_key_type(_handshake(server(), _client(ssl.TLSVersion.TLSv1_3))[0])
    if kind != "ecdsa":
        raise Unproved(f"an ECDSA certificate is reported as {kind}")


def _prove_messages(server: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    context = server()
    openssl.report_messages(
        context, lambda _, way, version, content, message, data: seen.append((way, content, message))
    )
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = context.wrap_bio(to_server, to_client, server_side=True)
    there = _client(ssl.TLSVersion.TLSv1_3).wrap_bio(to_client, to_server)
    _shake_hands(here, there)
    if not {("read", 22, 1), ("write", 22, 11)} <= set(seen):
        raise Unproved("the messages of a handshake are not reported")
    openssl.report_no_messages(here)
    seen.clear()
    here.write(b"?")
    if seen or there.read(1) != b"?":
        raise Unproved("the reports do not end")


def _prove_close_notify(server: Any) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server().wrap_bio(to_server, to_client, server_side=True)
    there = _client(ssl.TLSVersion.TLSv1_3).wrap_bio(to_client, to_server)
    _shake_hands(here, there)
    there.write(b"still here")  # before our goodbye is out: the piece that `unwrap` would lose
    if openssl.send_close_notify(here):
        raise Unproved("the peer is said to have ended, and has not")
    try:
        ended = there.read(1) == b""
    except ssl.SSLZeroReturnError:
        ended = True
    if not ended or here.read(16) != b"still here":
        raise Unproved("it does not end our direction alone")
    if not openssl.send_close_notify(there):
        raise Unproved("the peer's own end is not noticed")


def _prove_groups(server: Any, named: bool) -> None:
    context = server()
    openssl.set_groups(context, "P-521")
    connection = _handshake(context, _client(ssl.TLSVersion.TLSv1_3))[0]
    if named and openssl.group_name(connection) != "secp521r1":
        raise Unproved("a group that was set is not the one negotiated")


def _takes_group(group: str) -> bool:
    try:
        openssl.set_groups(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), group)
    except CertificateError:
        return False
    return True


def _client(version: ssl.TLSVersion) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE  # against our own throwaway certificate, in memory
    context.minimum_version = context.maximum_version = version
    return context


def _handshake(
    server: ssl.SSLContext, client: ssl.SSLContext, session: ssl.SSLSession | None = None
) -> tuple[ssl.SSLObject, ssl.SSLSession | None]:
    """A whole handshake in memory: the server's side, and the session with its ticket as the client got it."""
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server.wrap_bio(to_server, to_client, server_side=True)
    there = client.wrap_bio(to_client, to_server, session=session)
    _shake_hands(here, there)
    # Takes the tickets of TLS 1.3, which follow the handshake. No data follows: "want read" is the one good end.
    with contextlib.suppress(ssl.SSLWantReadError):
        there.read(1)
    return here, there.session


def _shake_hands(here: ssl.SSLObject, there: ssl.SSLObject) -> None:
    for side in (there, here, there, here):
        try:
            side.do_handshake()
        except ssl.SSLWantReadError:
            continue
