"""The few OpenSSL calls that `ssl` does not offer: ticket keys, groups, the negotiated group, verify depth, a
close_notify that reads nothing.

`libssl` finds their arguments, in private layout. So nothing is called that has not been proved: `proofs` plays real
handshakes at the start to see each call work, and what does not is switched off with its reason (`Capabilities`).
"""

from __future__ import annotations

import _ssl
import ctypes
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from terminator.errors import CertificateError
from terminator.tls import libssl
from terminator.tls.libssl import connection_pointer, context_pointer, loaded

# Numbers of <openssl/ssl.h> and <openssl/tls1.h>; part of the ABI since 1.1.1.
MODE = 33
MODE_NO_AUTO_CHAIN = 8
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
    """What this interpreter and its OpenSSL can do; made once by `proofs.prove`, handed to workers by fork.

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
    if loaded().SSL_CTX_ctrl(context_pointer(context), _SET_TICKET_KEYS, TICKET_KEY_BYTES, key) != 1:
        raise CertificateError("OpenSSL did not take the ticket key")


def ticket_keys(context: ssl.SSLContext) -> bytes:
    """The 80 bytes in force. Needs `Capabilities.ticket_keys`."""
    buffer = ctypes.create_string_buffer(TICKET_KEY_BYTES)
    if loaded().SSL_CTX_ctrl(context_pointer(context), _GET_TICKET_KEYS, TICKET_KEY_BYTES, buffer) != 1:
        raise CertificateError("OpenSSL did not show its ticket key")
    return buffer.raw


def serve_given_chain(context: ssl.SSLContext) -> None:
    """Certificates are served as the chain file has them. Else OpenSSL looks in each handshake whether the authorities
    that client certificates are verified by could complete a chain of one. Needs `Capabilities.given_chain`."""
    loaded().SSL_CTX_ctrl(context_pointer(context), MODE, MODE_NO_AUTO_CHAIN, None)


def switch_session_cache_off(context: ssl.SSLContext) -> None:
    """TLS 1.2 sessions are then resumed by ticket only. Needs `Capabilities.session_cache`."""
    loaded().SSL_CTX_ctrl(context_pointer(context), _SET_SESS_CACHE_MODE, _SESS_CACHE_OFF, None)


def set_groups(context: ssl.SSLContext, groups: str) -> None:
    """Key exchange groups in order of preference, joined by `:`. Needs them in `Capabilities.groups`."""
    if loaded().SSL_CTX_ctrl(context_pointer(context), _SET_GROUPS_LIST, 0, groups.encode("ascii")) != 1:
        loaded().ERR_clear_error()  # else the next call of `ssl` on this thread would report our failure as its own
        raise CertificateError(f"this OpenSSL ({ssl.OPENSSL_VERSION}) does not know every group of {groups}")


def set_verify_depth(context: ssl.SSLContext, depth: int) -> None:
    """The most intermediate certificates in a client's chain. Needs `Capabilities.verify_depth`."""
    loaded().SSL_CTX_set_verify_depth(context_pointer(context), depth)


def name_client_authorities(context: ssl.SSLContext, path: str) -> None:
    """Tells clients whose certificates are asked for, so that a browser offers the right one and asks nothing when it
    has none: the subjects of the PEM file at `path`. Needs `Capabilities.client_authorities`."""
    functions = loaded()
    names = functions.SSL_load_client_CA_file(path.encode())
    if not names:
        functions.ERR_clear_error()
        raise CertificateError("OpenSSL cannot read the names of the client authorities")
    functions.SSL_CTX_set_client_CA_list(context_pointer(context), names)  # which then owns them


def group_name(connection: ssl.SSLSocket | ssl.SSLObject) -> str | None:
    """The key exchange group of an established connection by IANA's name (x25519, secp256r1, X25519MLKEM768).

    A resumed TLS 1.2 session names the one it began with; None where there was none (a DHE suite). Needs
    `Capabilities.group_name`.
    """
    pointer = connection_pointer(connection)
    functions = loaded()
    number = functions.SSL_ctrl(pointer, _GET_NEGOTIATED_GROUP, 0, None)
    if number <= 0:
        return None
    if (known := _group_names.get(number)) is not None:
        return known
    name = functions.SSL_group_to_name(pointer, number)
    if name is None:
        return f"0x{number & 0xFFFF:04x}"
    return _group_names.setdefault(number, name.decode("ascii"))


_group_names: dict[int, str] = {}
"""Those that this OpenSSL has told."""


def served_key_type(connection: ssl.SSLSocket | ssl.SSLObject) -> str | None:
    """Which of the host's certificates a full handshake was made with: `ecdsa`, `rsa`, `ed25519` or `ed448`.

    A resumed session was made with none, and what is said of it means nothing. Needs `Capabilities.served_key_type`.
    """
    functions = loaded()
    key = functions.SSL_get_privatekey(connection_pointer(connection))
    return _KEY_TYPES.get(functions.EVP_PKEY_get_base_id(key)) if key else None


def report_messages(context: ssl.SSLContext, to: Callable[[Any, str, int, int, int, bytes], None]) -> None:
    """Calls `to` with connection, direction, version, content type, message type and bytes of every message that a
    connection of this context reads or writes, in the clear. It must not raise. Needs `Capabilities.messages`."""
    # What `SSLContext._msg_callback` does, without the enum that it makes of each argument.
    _ssl._SSLContext._msg_callback.__set__(context, to)  # type: ignore[attr-defined]


def report_no_messages(connection: ssl.SSLSocket | ssl.SSLObject) -> None:
    """Ends the reports of `report_messages` for one connection; each costs some 1 µs. Needs `Capabilities.messages`."""
    loaded().SSL_set_msg_callback(connection_pointer(connection), None)


def send_close_notify(connection: ssl.SSLSocket | ssl.SSLObject) -> bool:
    """Ends our direction of a connection whose handshake is done, reading nothing; True if the peer has ended its own.

    `unwrap` goes on to read, for the peer's close_notify; data that arrives at that moment is lost, and an error.
    Where the socket takes nothing, or the peer is gone, nothing is sent. Needs `Capabilities.close_notify`.
    """
    functions = loaded()
    answer: int = functions.SSL_shutdown(connection_pointer(connection))
    if answer < 0:
        functions.ERR_clear_error()
    return answer == 1


def renegotiate(connection: ssl.SSLSocket | ssl.SSLObject) -> bool:
    """Has the client's next `do_handshake` ask for a second handshake (TLS 1.2 and lower); False where it cannot.

    Only the self-test plays such a client, hence it is proved when it is asked for.
    """
    try:
        libssl.check()
    except libssl.Unproved:
        return False
    begun: int = loaded().SSL_renegotiate(connection_pointer(connection))
    return begun == 1
