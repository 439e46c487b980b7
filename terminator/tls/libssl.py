"""libssl as `_ssl` has it: its functions, and the pointers behind `SSLContext` and a connection.

The functions are reached through `ctypes` on the very libraries that `_ssl` is linked to. The `SSL_CTX *` is the first
field of an `SSLContext` after the object header, the `SSL *` the second of a `_ssl._SSLSocket`; both have been so from
CPython 3.11 to 3.13. That is private layout, so nothing here trusts it: `check` looks first whether the pointers lie in
mapped memory and agree with what Python says of the same objects.
"""

from __future__ import annotations

import _ssl
import ctypes
import functools
import ssl
from typing import Any

_POINTER_BYTES = ctypes.sizeof(ctypes.c_void_p)
_CONTEXT_OFFSET = object.__basicsize__
_CONNECTION_OFFSET = object.__basicsize__ + _POINTER_BYTES


class Unproved(Exception):
    """A call did not do what it should on this interpreter."""


def check() -> None:
    """Are the pointers where we think? Raises Unproved if not; no pointer is given to a function before that."""
    if not getattr(_ssl, "__file__", None):
        raise Unproved("this Python has OpenSSL built in, its functions cannot be reached")
    try:
        functions = loaded()
    except (OSError, AttributeError) as error:
        raise Unproved(f"a function of OpenSSL is missing: {error}") from error
    if functions.OpenSSL_version_num() != ssl.OPENSSL_VERSION_NUMBER:
        raise Unproved("the OpenSSL that was found is not the one that Python uses")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    pointer = context_pointer(context)
    if not _mapped(pointer, 4096):
        raise Unproved("an SSLContext does not hold its pointer where it used to")
    for extra in (ssl.OP_NO_COMPRESSION, ssl.OP_NO_TICKET, ssl.OP_NO_RENEGOTIATION):
        context.options ^= extra
        if functions.SSL_CTX_get_options(pointer) != context.options & 0xFFFFFFFFFFFFFFFF:
            raise Unproved("an SSLContext and its pointer disagree on the options")
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    pointer = connection_pointer(connection)
    if not _mapped(pointer, 1024):
        raise Unproved("a connection does not hold its pointer where it used to")
    if functions.SSL_get_SSL_CTX(pointer) != context_pointer(context):
        raise Unproved("a connection and its context disagree")


@functools.cache
def loaded() -> Any:
    """libssl and libcrypto as `_ssl` has them, with prototypes; a missing function is an AttributeError."""
    libraries = ctypes.CDLL(_ssl.__file__)
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
        function = getattr(libraries, name)
        function.restype, function.argtypes = result, arguments
    return libraries


def context_pointer(context: ssl.SSLContext) -> int:
    return ctypes.c_size_t.from_address(id(context) + _CONTEXT_OFFSET).value


def connection_pointer(connection: ssl.SSLSocket | ssl.SSLObject) -> int:
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
