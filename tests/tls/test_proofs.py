"""All calls are proved on this interpreter, and switched off with a reason where they cannot be."""

from __future__ import annotations

import pickle
import ssl
import subprocess
import sys
import textwrap
from collections.abc import Iterator

import pytest

from terminator.tls import libssl, proofs
from terminator.tls.openssl import Capabilities


def test_everything_is_proved_here(capabilities: Capabilities) -> None:
    """On the Pythons and OpenSSLs we know; elsewhere the daemon runs with less, and says so."""
    assert capabilities.problems == ()
    assert capabilities.ticket_keys
    assert capabilities.given_chain
    assert capabilities.session_cache
    assert capabilities.close_notify
    assert capabilities.verify_depth
    assert capabilities.client_authorities
    assert capabilities.group_name
    assert capabilities.served_key_type
    assert {"X25519", "P-256", "P-384"} <= set(capabilities.groups)
    assert ("X25519MLKEM768" in capabilities.groups) is (ssl.OPENSSL_VERSION_INFO >= (3, 5))
    assert pickle.loads(pickle.dumps(capabilities)) == capabilities


@pytest.fixture
def sealed(monkeypatch: pytest.MonkeyPatch) -> Iterator[pytest.MonkeyPatch]:
    libssl.loaded.cache_clear()
    yield monkeypatch
    libssl.loaded.cache_clear()


def test_without_the_library_all_is_off_with_the_reason(sealed: pytest.MonkeyPatch) -> None:
    sealed.setattr(libssl._ssl, "__file__", "")
    found = proofs.prove()
    assert found == Capabilities(problems=found.problems)
    assert "OpenSSL built in" in found.problems[0]

    sealed.setattr(libssl._ssl, "__file__", "/nonexistent.so")
    assert "is missing" in proofs.prove().problems[0]

    sealed.setattr(libssl._ssl, "__file__", libssl.ctypes.__file__.replace("__init__.py", "util.py"))
    assert "is missing" in proofs.prove().problems[0]


@pytest.mark.parametrize(
    ("shift", "said"),
    [
        ("_CONTEXT_OFFSET", "does not hold its pointer where it used to"),
        ("_CONNECTION_OFFSET", "a connection does not hold its pointer where it used to"),
    ],
)
def test_a_moved_pointer_is_found_out_and_never_followed(shift: str, said: str) -> None:
    """In a process of its own, so that a crash would be seen as one."""
    program = f"""
        from terminator.tls import libssl, proofs
        for distance in range(-8, 65, 8):
            if distance:
                before = libssl.{shift}
                libssl.{shift} = before + distance
                found = proofs.prove()
                libssl.{shift} = before
                print(found.ticket_keys, found.groups, found.problems)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert len(lines) == 9
    assert all(line.startswith("False ()") for line in lines)
    assert any(said in line for line in lines)
