"""Reading a file the operator named: once, bounded, never blocking; a refusal names the file and the remedy."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field

from terminator.errors import CertificateError

MAX_FILE_BYTES = 1024 * 1024
"""A chain of ten RSA-4096 certificates has 25 kB; a bundle of all public authorities 220 kB; large CRLs come close."""


@dataclass(frozen=True, slots=True)
class FileBytes:
    """What stood in a file at one moment. `mode` are its permission bits then."""

    path: str
    data: bytes = field(repr=False)
    mode: int


def read_file(path: str, what: str, *, max_bytes: int = MAX_FILE_BYTES) -> FileBytes:
    """The bytes of a regular file; CertificateError for everything else. `what` names its role in the message."""
    try:
        # O_NONBLOCK, because the open of a FIFO without a writer would wait for ever.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY)
    except FileNotFoundError as error:
        missing = os.path.lexists(path)
        remedy = "it is a symbolic link to nothing" if missing else "check the path; it is relative to its YAML file"
        raise CertificateError(f"{path}: {what} does not exist; {remedy}") from error
    except PermissionError as error:
        raise CertificateError(f"{path}: {what} is not readable by user {os.geteuid()}; {_remedy()}") from error
    except (OSError, ValueError) as error:
        raise CertificateError(f"{path}: {what} cannot be opened: {_reason(error)}") from error
    try:
        return _read(descriptor, path, what, max_bytes)
    except OSError as error:
        raise CertificateError(f"{path}: {what} cannot be read: {_reason(error)}") from error
    finally:
        os.close(descriptor)


def _read(descriptor: int, path: str, what: str, max_bytes: int) -> FileBytes:
    status = os.fstat(descriptor)
    if stat.S_ISDIR(status.st_mode):
        raise CertificateError(f"{path}: {what} is a directory; name the PEM file in it")
    if not stat.S_ISREG(status.st_mode):
        raise CertificateError(f"{path}: {what} is not a regular file")
    pieces = []
    left = max_bytes + 1
    # One read usually takes it all. Not `left` bytes each time: the buffer of a megabyte would cost more than the file.
    while left and (piece := os.read(descriptor, min(left, status.st_size + 4096))):
        pieces.append(piece)
        left -= len(piece)
    if not left:
        raise CertificateError(f"{path}: {what} is larger than {max_bytes} bytes; is it the right file?")
    data = b"".join(pieces)
    if not data.strip():
        raise CertificateError(f"{path}: {what} is empty; a renewal may have been interrupted")
    return FileBytes(path, data, stat.S_IMODE(status.st_mode))


def _remedy() -> str:
    """What lets this process read a file that it may not read."""
    if os.geteuid() == 0:
        return (
            "this root has no CAP_DAC_OVERRIDE (a service manager or a container took it away), so owner and mode bind "
            "it too: change those of the file or its folders, or give the capability back"
        )
    return "change its owner or mode, or start as root with `user:` set"


def _reason(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
