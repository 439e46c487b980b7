"""Hands bytes to OpenSSL where `ssl` wants a path: through an anonymous file in memory that no other process sees."""

from __future__ import annotations

import errno
import os
import ssl
from collections.abc import Iterator
from contextlib import contextmanager

_NOEXEC_SEAL = 0x0008  # MFD_NOEXEC_SEAL: demanded where sysctl vm.memfd_noexec is 2, unknown before Linux 6.3


@contextmanager
def path_of(data: bytes) -> Iterator[str]:
    """A path under which this process alone can read `data`, for the time of the block."""
    try:
        descriptor = os.memfd_create("terminator", os.MFD_CLOEXEC | _NOEXEC_SEAL)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        descriptor = os.memfd_create("terminator", os.MFD_CLOEXEC)
    try:
        view = memoryview(data)
        while view:
            view = view[os.write(descriptor, view) :]
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def load_pair_bytes(context: ssl.SSLContext, chain_pem: bytes, key_pem: bytes) -> None:
    """`load_cert_chain` from memory. Raises ssl.SSLError; never asks for a password."""
    with path_of(key_pem + b"\n" + chain_pem) as path:
        context.load_cert_chain(path, password=no_password)


def no_password() -> str:
    """Instead of OpenSSL's prompt on the terminal, which would wait for ever."""
    raise ssl.SSLError("the private key is encrypted")
