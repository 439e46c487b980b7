"""The few OpenSSL calls that `ssl` does not offer: ticket keys, groups, the negotiated group, verify depth, a
close_notify that reads nothing.

They are reached through `ctypes` on the very libraries that `_ssl` is linked to. The `SSL_CTX *` is the first field of
an `SSLContext` after the object header, the `SSL *` the second of a `_ssl._SSLSocket`; both have been so from CPython
3.11 to 3.13. That is private layout, so nothing here trusts it: `prove` looks first whether the pointers lie in mapped
memory and agree with what Python says of the same objects, and then plays real handshakes to see each call work. What
cannot be proved is switched off with its reason, and never called.
"""

from __future__ import annotations

import _ssl
import contextlib
import ctypes
import functools
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from terminator.errors import CertificateError
from terminator.tls.memory import load_pair_bytes, path_of

_POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)
_CONTEXT_OFFSET = object.__basicsize__
_CONNECTION_OFFSET = object.__basicsize__ + _POINTER_BYTES

# Numbers of <openssl/ssl.h> and <openssl/tls1.h>; part of the ABI since 1.1.1.
_MODE = 33
_MODE_NO_AUTO_CHAIN = 8
_SET_SESS_CACHE_MODE = 44
_GET_TICKET_KEYS, _SET_TICKET_KEYS = 58, 59
_SET_GROUPS_LIST = 92
_GET_NEGOTIATED_GROUP = 134
_SESS_CACHE_OFF = 0
_KEY_TYPES = {6: "rsa", 408: "ecdsa", 1087: "ed25519", 1088: "ed448"}  # NIDs of <openssl/obj_mac.h>

TICKET_KEY_BYTES = 80
"""16 of name, 32 of HMAC key, 32 of AES key."""

KNOWN_GROUPS = (
    "X25519MLKEM768",
    "SecP256r1MLKEM768",
    "SecP384r1MLKEM1024",
    "X25519",
    "P-256",
    "P-384",
    "P-521",
    "X448",
)


@dataclass(frozen=True, slots=True)
class Capabilities:
    """What this interpreter and its OpenSSL can do; made once by `prove`, handed to workers by fork.

    ticket_keys: ticket keys can be set; else contexts made before the fork share OpenSSL's own random ones.
    given_chain: the chain that is served can be kept to what the file holds; else OpenSSL completes a short one.
    session_cache: the cache of session ids can be switched off; else it stays, per context, and ids never leave a host.
    groups: key exchange groups that can be set, by IANA's or NIST's name; empty when they cannot be set at all.
    messages: the messages of a handshake are reported, until they are no longer wanted.
    verify_depth, client_authorities (their names are sent), group_name, served_key_type, close_notify: as they say.
    problems: one sentence for each thing that is switched off.
    """

    ticket_keys: bool = False
    given_chain: bool = False
    session_cache: bool = False
    verify_depth: bool = False
    client_authorities: bool = False
    group_name: bool = False
    served_key_type: bool = False
    messages: bool = False
    close_notify: bool = False
    groups: tuple[str, ...] = ()
    problems: tuple[str, ...] = field(default=())


def set_ticket_keys(context: ssl.SSLContext, key: bytes) -> None:
    """Tickets are issued and accepted under `key` alone (80 bytes) from now on. Needs `Capabilities.ticket_keys`."""
    if len(key) != TICKET_KEY_BYTES:
        raise ValueError(f"a ticket key has {TICKET_KEY_BYTES} bytes, not {len(key)}")
    if _library().SSL_CTX_ctrl(_context_pointer(context), _SET_TICKET_KEYS, TICKET_KEY_BYTES, key) != 1:
        raise CertificateError("OpenSSL did not take the ticket key")


def ticket_keys(context: ssl.SSLContext) -> bytes:
    """The 80 bytes in force. Needs `Capabilities.ticket_keys`."""
    buffer = ctypes.create_string_buffer(TICKET_KEY_BYTES)
    if _library().SSL_CTX_ctrl(_context_pointer(context), _GET_TICKET_KEYS, TICKET_KEY_BYTES, buffer) != 1:
        raise CertificateError("OpenSSL did not show its ticket key")
    return buffer.raw


def serve_given_chain(context: ssl.SSLContext) -> None:
    """Certificates are served as the chain file has them. Else OpenSSL looks in each handshake whether the authorities
    that client certificates are verified by could complete a chain of one. Needs `Capabilities.given_chain`."""
    _library().SSL_CTX_ctrl(_context_pointer(context), _MODE, _MODE_NO_AUTO_CHAIN, None)


def switch_session_cache_off(context: ssl.SSLContext) -> None:
    """TLS 1.2 sessions are then resumed by ticket only. Needs `Capabilities.session_cache`."""
    _library().SSL_CTX_ctrl(_context_pointer(context), _SET_SESS_CACHE_MODE, _SESS_CACHE_OFF, None)


def set_groups(context: ssl.SSLContext, groups: str) -> None:
    """Key exchange groups in order of preference, joined by `:`. Needs them in `Capabilities.groups`."""
    if _library().SSL_CTX_ctrl(_context_pointer(context), _SET_GROUPS_LIST, 0, groups.encode("ascii")) != 1:
        _library().ERR_clear_error()  # else the next call of `ssl` on this thread would report our failure as its own
        raise CertificateError(f"this OpenSSL ({ssl.OPENSSL_VERSION}) does not know every group of {groups}")


def set_verify_depth(context: ssl.SSLContext, depth: int) -> None:
    """The most intermediate certificates in a client's chain. Needs `Capabilities.verify_depth`."""
    _library().SSL_CTX_set_verify_depth(_context_pointer(context), depth)


def name_client_authorities(context: ssl.SSLContext, path: str) -> None:
    """Tells clients whose certificates are asked for, so that a browser offers the right one and asks nothing when it
    has none: the subjects of the PEM file at `path`. Needs `Capabilities.client_authorities`."""
    library = _library()
    names = library.SSL_load_client_CA_file(path.encode())
    if not names:
        library.ERR_clear_error()
        raise CertificateError("OpenSSL cannot read the names of the client authorities")
    library.SSL_CTX_set_client_CA_list(_context_pointer(context), names)  # which then owns them


def group_name(connection: ssl.SSLSocket | ssl.SSLObject) -> str | None:
    """The key exchange group of an established connection by IANA's name (x25519, secp256r1, X25519MLKEM768).

    A resumed TLS 1.2 session names the one it began with; None where there was none (a DHE suite). Needs
    `Capabilities.group_name`.
    """
    pointer = _connection_pointer(connection)
    library = _library()
    number = library.SSL_ctrl(pointer, _GET_NEGOTIATED_GROUP, 0, None)
    if number <= 0:
        return None
    if (known := _group_names.get(number)) is not None:
        return known
    name = library.SSL_group_to_name(pointer, number)
    if name is None:
        return f"0x{number & 0xFFFF:04x}"
    return _group_names.setdefault(number, name.decode("ascii"))


_group_names: dict[int, str] = {}
"""Those that this OpenSSL has told."""


def served_key_type(connection: ssl.SSLSocket | ssl.SSLObject) -> str | None:
    """Which of the host's certificates a full handshake was made with: `ecdsa`, `rsa`, `ed25519` or `ed448`.

    A resumed session was made with none, and what is said of it means nothing. Needs `Capabilities.served_key_type`.
    """
    library = _library()
    key = library.SSL_get_privatekey(_connection_pointer(connection))
    return _KEY_TYPES.get(library.EVP_PKEY_get_base_id(key)) if key else None


def report_messages(context: ssl.SSLContext, to: Callable[[Any, str, int, int, int, bytes], None]) -> None:
    """Calls `to` with connection, direction, version, content type, message type and bytes of every message that a
    connection of this context reads or writes, in the clear. It must not raise. Needs `Capabilities.messages`."""
    # What `SSLContext._msg_callback` does, without the enum that it makes of each argument.
    _ssl._SSLContext._msg_callback.__set__(context, to)  # type: ignore[attr-defined]


def report_no_messages(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    """Ends the reports of `report_messages` for one connection; each costs some 1 µs. Needs `Capabilities.messages`."""
    _library().SSL_set_msg_callback(_connection_pointer(connection), None)


def send_close_notify(connection: ssl.SSLSocket | ssl.SSLObject) -> bool:
    """Ends our direction of a connection whose handshake is done, reading nothing; True if the peer has ended its own.

    `unwrap` goes on to read, for the peer's close_notify; data that arrives at that moment is lost, and an error.
    Where the socket takes nothing, or the peer is gone, nothing is sent. Needs `Capabilities.close_notify`.
    """
    library = _library()
    answer: int = library.SSL_shutdown(_connection_pointer(connection))
    if answer < 0:
        library.ERR_clear_error()
    return answer == 1


def renegotiate(connection: ssl.SSLSocket | ssl.SSLObject) -> bool:
    """Has the client's next `do_handshake` ask for a second handshake (TLS 1.2 and lower); False where it cannot.

    Only the self-test plays such a client, hence it is proved when it is asked for.
    """
    try:
        _check_pointers()
    except _Unproved:
        return False
    begun: int = _library().SSL_renegotiate(_connection_pointer(connection))
    return begun == 1


# ------------------------------------------------------------------------------------------------------- proving


def prove() -> Capabilities:
    """Tries every call on this interpreter, with handshakes in memory; takes some 20 ms. Never raises, never crashes.

    Imports `cryptography` for a throwaway certificate: for the master and the commands, not for workers.
    """
    try:
        _check_pointers()
    except _Unproved as error:
        return Capabilities(problems=(f"ticket keys, groups and verify depth cannot be set: {error}",))
    problems: list[str] = []

    def attempt(what: str, proof: Any, *arguments: Any) -> bool:
        try:
            proof(*arguments)
        except (_Unproved, CertificateError, ssl.SSLError, AttributeError, OSError) as error:
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


class _Unproved(Exception):
    """A call did not do what it should on this interpreter."""


def _check_pointers() -> None:
    """Are the pointers where we think? Nothing is called with a pointer that has not passed this."""
    if not getattr(_ssl, "__file__", None):
        raise _Unproved("this Python has OpenSSL built in, its functions cannot be reached")
    try:
        library = _library()
    except (OSError, AttributeError) as error:
        raise _Unproved(f"a function of OpenSSL is missing: {error}") from error
    if library.OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
        raise _Unproved("the OpenSSL that was found is not the one that Python uses")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pointer = _context_pointer(context)
    if not _mapped(pointer, 4096):
        raise _Unproved("an SSLContext does not hold its pointer where it used to")
    for extra in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_TICKET, ssl.OP_NO_RENEGOTIATION):
        context.options ^= extra
        if library.SSL_CTX_get_options(pointer) != context.options & 0xFFFFFFFFFFFFFFFF:
            raise _Unproved("an SSLContext and its pointer disagree on the options")
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    pointer = _connection_pointer(connection)
    if not _mapped(pointer, 1024):
        raise _Unproved("a connection does not hold its pointer where it used to")
    if library.SSL_get_SSL_CTX(pointer) != _context_pointer(context):
        raise _Unproved("a connection and its context disagree")


def _prove_ticket_keys(server: Any) -> None:
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        first, second, other = server(), server(), server()
        for context, key in ((first, b"a" * 80), (second, b"a" * 80), (other, b"b" * 80)):
            set_ticket_keys(context, key)
            if ticket_keys(context) != key:
                raise _Unproved("a key that was set reads back differently")
        client = _client(version)
        session = _handshake(first, client)[1]
        if session is None or not _handshake(second, client, session)[0].session_reused:
            raise _Unproved(f"a ticket does not resume under the same key ({version.name})")
        if _handshake(other, client, session)[0].session_reused:
            raise _Unproved(f"a ticket resumes under another key ({version.name})")


def _prove_session_cache(server: Any) -> None:
    client = _client(ssl.TLSVersion.TLSv1_2)
    for cached in (True, False):
        context = server()
        context.options |= ssl.OP_NO_TICKET
        if not cached:
            switch_session_cache_off(context)
        # Kept to the end, because OpenSSL forgets the session of a connection that is freed without close_notify.
        first, session = _handshake(context, client)
        resumed = session is not None and _handshake(context, client, session)[0].session_reused
        del first
        if resumed != cached:
            raise _Unproved(
                f"a session id {'resumes' if resumed else 'does not resume'} with the cache {'on' if cached else 'off'}"
            )


def _prove_given_chain(chain: bytes, key: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    load_pair_bytes(context, chain, key)
    serve_given_chain(context)
    if not _library().SSL_CTX_ctrl(_context_pointer(context), _MODE, 0, None) & _MODE_NO_AUTO_CHAIN:
        raise _Unproved("a mode that was set reads back differently")
    _handshake(context, _client(ssl.TLSVersion.TLSv1_3))


def _prove_verify_depth() -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    for depth in (3, 7):
        set_verify_depth(context, depth)
        if _library().SSL_CTX_get_verify_depth(_context_pointer(context)) != depth:
            raise _Unproved("a depth that was set reads back differently")


def _prove_client_authorities(pem: bytes) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    with path_of(pem) as path:
        name_client_authorities(context, path)
    library = _library()
    if library.OPENSSL_sk_num(library.SSL_CTX_get_client_CA_list(_context_pointer(context))) != 1:
        raise _Unproved("a list of one authority reads back differently")


def _prove_group_name(server: Any) -> None:
    client = _client(ssl.TLSVersion.TLSv1_3)
    client.set_ecdh_curve("secp384r1")
    name = group_name(_handshake(server(), client)[0])
    if name != "secp384r1":
        raise _Unproved(f"secp384r1 is reported as {name}")


def _prove_served_key_type(server: Any) -> None:
    kind = served_key_type(_handshake(server(), _client(ssl.TLSVersion.TLSv1_3))[0])
    if kind != "ecdsa":
        raise _Unproved(f"an ECDSA certificate is reported as {kind}")


def _prove_messages(server: Any) -> None:
    seen: list[tuple[str, int, int]] = []
    context = server()
    report_messages(context, lambda _, way, version, content, message, data: seen.append((way, content, message)))
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = context.wrap_bio(to_server, to_client, server_side=True)
    there = _client(ssl.TLSVersion.TLSv1_3).wrap_bio(to_client, to_server)
    _shake_hands(here, there)
    if not {("read", 22, 1), ("write", 22, 11)} <= set(seen):
        raise _Unproved("the messages of a handshake are not reported")
    report_no_messages(here)
    seen.clear()
    here.write(b"?")
    if seen or there.read(1) != b"?":
        raise _Unproved("the reports do not end")


def _prove_close_notify(server: Any) -> None:
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    here = server().wrap_bio(to_server, to_client, server_side=True)
    there = _client(ssl.TLSVersion.TLSv1_3).wrap_bio(to_client, to_server)
    _shake_hands(here, there)
    there.write(b"still here")  # before our goodbye is out: the piece that `unwrap` would lose
    if send_close_notify(here):
        raise _Unproved("the peer is said to have ended, and has not")
    try:
        ended = there.read(1) == b""
    except ssl.SSLZeroReturnError:
        ended = True
    if not ended or here.read(16) != b"still here":
        raise _Unproved("it does not end our direction alone")
    if not send_close_notify(there):
        raise _Unproved("the peer's own end is not noticed")


def _prove_groups(server: Any, named: bool) -> None:
    context = server()
    set_groups(context, "P-521")
    connection = _handshake(context, _client(ssl.TLSVersion.TLSv1_3))[0]
    if named and group_name(connection) != "secp521r1":
        raise _Unproved("a group that was set is not the one negotiated")


def _takes_group(group: str) -> bool:
    try:
        set_groups(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), group)
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


# ----------------------------------------------------------------------------------------------------- the library


@functools.cache
def _library() -> Any:
    """libssl and libcrypto as `_ssl` has them, with prototypes; a missing function is an AttributeError."""
    library = ctypes.CDLL(_ssl.__file__)
    pointer, number, text = ctypes.c_void_p, ctypes.c_long, ctypes.c_char_p
    for name, result, arguments in (
        ("OpenSSL_version_num", ctypes.c_ulong, []),
        ("ERR_clear_error", None, []),
        ("SSL_CTX_get_options", ctypes.c_uint64, [pointer]),
        ("SSL_get_SSL_CTX", pointer, [pointer]),
        ("SSL_CTX_ctrl", number, [pointer, ctypes.c_int, number, pointer]),
        ("SSL_ctrl", number, [pointer, ctypes.c_int, number, pointer]),
        ("SSL_CTX_set_verify_depth", None, [pointer, ctypes.c_int]),
        ("SSL_CTX_get_verify_depth", ctypes.c_int, [pointer]),
        ("SSL_group_to_name", text, [pointer, ctypes.c_int]),
        ("SSL_shutdown", ctypes.c_int, [pointer]),
        ("SSL_set_msg_callback", None, [pointer, pointer]),
        ("SSL_renegotiate", ctypes.c_int, [pointer]),
        ("SSL_get_privatekey", pointer, [pointer]),
        ("SSL_load_client_CA_file", pointer, [text]),
        ("SSL_CTX_set_client_CA_list", None, [pointer, pointer]),
        ("SSL_CTX_get_client_CA_list", pointer, [pointer]),
        ("OPENSSL_sk_num", ctypes.c_int, [pointer]),
        ("EVP_PKEY_get_base_id", ctypes.c_int, [pointer]),
    ):
        function = getattr(library, name)
        function.restype, function.argtypes = result, arguments
    return library


def _context_pointer(context: ssl.SSLContext) -> int:
    return ctypes.c_size_t.from_address(id(context) + _CONTEXT_OFFSET).value


def _connection_pointer(connection: ssl.SSLSocket | ssl.SSLObject) -> int:
    inner: Any = connection._sslobj  # type: ignore[union-attr]
    return ctypes.c_size_t.from_address(id(inner) + _CONNECTION_OFFSET).value


def _mapped(pointer: int, length: int) -> bool:
    """Does this memory belong to the process and may it be read and written? A wrong pointer is found out unused."""
    if pointer == 0 or pointer % _POINTER_BYTES:
        return False
    with open("/proc/self/maps") as maps:
        for line in maps:
            area, rights = line.split()[:2]
            start, end = (int(part, 16) for part in area.split("-"))
            if start <= pointer < end:
                return pointer + length <= end and rights.startswith("rw")
    return False
