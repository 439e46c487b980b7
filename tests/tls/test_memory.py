"""Bytes as a path, for this process alone and only for the time of the block."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization
from workshop import Authority

from terminator.tls.memory import load_pair_bytes, path_of


@pytest.mark.parametrize("size", [0, 1, 3_000_000])
def test_the_path_holds_the_bytes_and_goes_with_the_block(size: int) -> None:
    before = set(os.listdir("/proc/self/fd"))
    with path_of(b"x" * size) as path:
        assert Path(path).read_bytes() == b"x" * size
        assert Path(path).read_bytes() == b"x" * size, "it can be read again from its beginning"
    assert set(os.listdir("/proc/self/fd")) == before


def test_a_process_without_its_rights_can_still_read_it(authority: Authority) -> None:
    """A worker that was root is not dumpable, which closes its own /proc/self/fd to most, though not to itself."""
    if os.geteuid() != 0:
        pytest.skip("needs root to give rights up")
    issued = authority.issue("a.example")
    child = os.fork()
    if not child:
        os.setgroups([])
        os.setresgid(65534, 65534, 65534)
        os.setresuid(65534, 65534, 65534)
        try:
            load_pair_bytes(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), issued.chain_pem, issued.key_pem)
        except BaseException:
            os._exit(1)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


def test_an_encrypted_key_is_an_error_and_no_prompt(authority: Authority) -> None:
    issued = authority.issue("a.example")
    locked = issued.key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"word")
    )
    with pytest.raises(ssl.SSLError, match="encrypted"):
        load_pair_bytes(ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER), issued.chain_pem, locked)
