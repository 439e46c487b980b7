"""The daemon with one of its guards switched off: `mutant.py GUARD … -m terminator run --config FILE`.

What stands between GUARD and `run` is the command that the harness would have started; it is dropped.
"""

from __future__ import annotations

import ctypes
import socket
import ssl
import sys
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from terminator.cli import main
from terminator.errors import HandshakeError
from terminator.proxy import arrival, exchange, express, generation
from terminator.tls import client_certificates, contexts, handshake, libssl, openssl, policy
from terminator.tls.tickets import KEY_BYTES, Tickets
from terminator.wire import client_hello, replies

ALLOW_CLIENT_RENEGOTIATION = 1 << 8  # SSL_OP_…; OpenSSL 3 asks for it on top of the absence of NO_RENEGOTIATION


def client_certificate_required() -> None:
    """Neither OpenSSL nor we refuse a client that has none."""
    after(contexts, "_set_client_authentication", lambda context, *_: ask_only(context))

    def examine(connection: Any, material: Any, now: Any) -> Any:
        try:
            return original(connection, material, now)
        except HandshakeError as error:
            if error.error_type == "client_cert_missing":
                return None
            raise

    original = client_certificates.examine
    client_certificates.examine = examine


def ask_only(context: ssl.SSLContext) -> None:
    if context.verify_mode == ssl.CERT_REQUIRED:
        context.verify_mode = ssl.CERT_OPTIONAL


def client_certificate_verified() -> None:
    """OpenSSL takes any certificate."""
    kind = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p)
    anything = kind(lambda ok, store: 1)
    ctypes.pythonapi.Py_IncRef(ctypes.py_object(anything))

    def accept(context: ssl.SSLContext, *_: Any) -> None:
        if context.verify_mode != ssl.CERT_NONE:
            library = libssl.loaded()
            library.SSL_CTX_set_verify.argtypes = [ctypes.c_void_p, ctypes.c_int, kind]
            mode = 3 if context.verify_mode == ssl.CERT_REQUIRED else 1  # SSL_VERIFY_PEER, _FAIL_IF_NO_PEER_CERT
            library.SSL_CTX_set_verify(libssl.context_pointer(context), mode, anything)

    after(contexts, "_set_client_authentication", accept)


def wildcard_names_its_host() -> None:
    """A name that only a wildcard leads to is served by the first host."""
    original = generation.Generation.host_for_sni

    def host_for_sni(self: Any, name: str | None) -> Any:
        found = self.hosts.find(name) if name else None
        return (first_host(self), False) if found is not None and found[0].wildcard else original(self, name)

    generation.Generation.host_for_sni = host_for_sni


def unknown_name_refused() -> None:
    original = generation.Generation.host_for_sni

    def host_for_sni(self: Any, name: str | None) -> Any:
        entry, by_default = original(self, name)
        return (entry or first_host(self), by_default)

    generation.Generation.host_for_sni = host_for_sni


def first_host(self: Any) -> Any:
    return next(iter(self.by_name.values()))


def host_must_match_sni() -> None:
    def admit(generation: Any, client: Any, head: Any) -> Any:
        served, _ = generation.host_for_sni(client.server_name)
        return generation.hosts.lookup(head.hostname) or served

    for module in (exchange, express):
        module.admit_host = admit


def ticket_keys_per_host() -> None:
    Tickets.key = lambda self, host, admission: bytes(KEY_BYTES)


def ticket_keys_per_host_and_certificate_looked_at_again() -> None:
    """OpenSSL still asks newcomers for a certificate; who comes back with a ticket is believed."""
    original = client_certificates.examine

    def examine(connection: Any, material: Any, now: Any) -> Any:
        return None if connection.session_reused else original(connection, material, now)

    client_certificates.examine = examine
    ticket_keys_per_host()


def context_per_host() -> None:
    """twin.test is served with the context of open.test, which keeps sessions by their ids."""
    openssl.switch_session_cache_off = lambda context: None
    original = arrival._Arrival._choose

    def choose(self: Any, hello: Any) -> Any:
        choice = original(self, hello)
        if choice.host == "twin.test":
            return replace(choice, context=self._generation.by_name["open.test"].choice.context)
        return choice

    arrival._Arrival._choose = choose


def lowest_version() -> None:
    def allow_tls12(context: ssl.SSLContext, *_: Any) -> None:
        if context.minimum_version == ssl.TLSVersion.TLSv1_3:
            context.minimum_version = ssl.TLSVersion.TLSv1_2

    after(contexts, "_set_protocol", allow_tls12)


def cipher_list() -> None:
    def all_of_them(context: ssl.SSLContext, *_: Any) -> None:
        context.set_ciphers("ALL:COMPLEMENTOFALL:@SECLEVEL=0")

    after(contexts, "_set_protocol", all_of_them)


def group_list() -> None:
    policy.ResolvedPolicy.group_string = property(lambda self: ":".join((*self.groups, "P-521", "X448")))


def protocol_list() -> None:
    original = arrival._Arrival._choose

    def choose(self: Any, hello: Any) -> Any:
        choice = original(self, hello)
        return replace(choice, alpn=()) if isinstance(choice, handshake.Choice) else choice

    arrival._Arrival._choose = choose


def no_renegotiation() -> None:
    def allow(context: ssl.SSLContext, *_: Any) -> None:
        context.options = (context.options & ~ssl.OP_NO_RENEGOTIATION) | ALLOW_CLIENT_RENEGOTIATION

    after(contexts, "_set_protocol", allow)


def garbage_refused() -> None:
    original = handshake._Attempt._unreadable

    def unreadable(self: Any, refusal: Any) -> Any:
        error = original(self, refusal)
        if error.error_type == "not_tls":
            self.answer = b"Whom do you wish to speak to?\r\n"
        return error

    handshake._Attempt._unreadable = unreadable


def hello_bounded() -> None:
    """What cannot become a ClientHello is waited for."""
    original = client_hello.parse

    def parse(data: bytes) -> Any:
        try:
            return original(data)
        except client_hello.HelloError as error:
            if error.reason in ("malformed_hello", "hello_too_large") and data[0] == 22:
                return client_hello.NeedMore(65536)
            raise

    client_hello.parse = parse


def plain_http_refused() -> None:
    replies.PLAIN_HTTP_ON_TLS_PORT = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"


def proxy_header_from_trusted_peers_only() -> None:
    """Whoever sends a PROXY header is believed."""
    original = arrival._Arrival.shake_hands

    async def shake_hands(self: Any, sock: socket.socket, accepted_at: float) -> Any:
        await arrival.trio.lowlevel.wait_readable(sock)
        if sock.recv(6, socket.MSG_PEEK) == b"PROXY ":
            await arrival.read_proxy_header(sock, accepted_at=accepted_at, deadline_seconds=10)
        return await original(self, sock, accepted_at)

    arrival._Arrival.shake_hands = shake_hands


def proxy_header_required() -> None:
    """Trusted peers may leave it out."""
    original = arrival._Arrival._read_proxy_header

    async def read(self: Any, sock: socket.socket, accepted_at: float, seconds: float) -> None:
        await arrival.trio.lowlevel.wait_readable(sock)
        if sock.recv(1, socket.MSG_PEEK) != b"\x16":
            await original(self, sock, accepted_at, seconds)

    arrival._Arrival._read_proxy_header = read


def after(module: Any, name: str, action: Callable[..., None]) -> None:
    """Has `action` follow a function of `module`, with the same arguments."""
    original = getattr(module, name)

    def both(*arguments: Any) -> None:
        original(*arguments)
        action(*arguments)

    setattr(module, name, both)


if __name__ == "__main__":
    guard, rest = sys.argv[1], sys.argv[2:]
    globals()[guard]()
    sys.exit(main(rest[rest.index("run") :]))
