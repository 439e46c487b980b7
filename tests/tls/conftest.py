"""Fixtures of the TLS tests: an authority that issues what a test asks for, and what this OpenSSL can do."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

# The helpers stand beside the tests, which pytest imports without touching sys.path.
sys.path.insert(0, str(Path(__file__).parent))

from workshop import Authority, Workshop

from terminator.config.model import TlsPolicy
from terminator.tls.openssl import Capabilities
from terminator.tls.proofs import prove


@pytest.fixture(scope="session")
def capabilities() -> Capabilities:
    return prove()


@pytest.fixture(scope="session")
def authority() -> Authority:
    """One that issues the certificates of hosts."""
    return Authority("Host authority")


@pytest.fixture(scope="session")
def client_authority() -> Authority:
    """One that issues the certificates of clients."""
    return Authority("Client authority")


@pytest.fixture
def workshop(tmp_path: Path, authority: Authority, capabilities: Capabilities) -> Workshop:
    return Workshop(tmp_path, authority, capabilities)


@pytest.fixture
def plain_policy() -> TlsPolicy:
    return TlsPolicy()
