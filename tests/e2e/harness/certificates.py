"""A certificate authority of the test session, and certificates from it as files."""

from __future__ import annotations

import ssl
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import trustme


@dataclass(frozen=True)
class Pair:
    """A certificate chain and its key, as files."""

    chain: Path
    key: Path

    def as_config(self) -> dict[str, str]:
        return {"chain": str(self.chain), "key": str(self.key)}


class Certificates:
    """Issues from one authority; each set of names is issued once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._authority = trustme.CA()
        self._issued: dict[tuple[str, ...], Pair] = {}
        self.ca_file = folder / "ca.pem"
        self._authority.cert_pem.write_to_path(str(self.ca_file))

    def pair(self, *names: str) -> Pair:
        if names not in self._issued:
            self._issued[names] = self.issue(self._folder / names[0].replace("*", "_"), *names)
        return self._issued[names]

    def issue(self, folder: Path, *names: str, **options: Any) -> Pair:
        """A new certificate for `names` in `folder`; options are those of `trustme.CA.issue_cert`."""
        folder.mkdir(parents=True, exist_ok=True)
        leaf = self._authority.issue_cert(*names, **options)
        pair = Pair(folder / "fullchain.pem", folder / "privkey.pem")
        pair.chain.write_bytes(b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        pair.key.touch(mode=0o600)
        pair.key.write_bytes(leaf.private_key_pem.bytes())
        return pair

    def client_context(self) -> ssl.SSLContext:
        """A client's context that trusts this authority and tells an end without close_notify from a clean one."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.options &= ~ssl.OP_IGNORE_UNEXPECTED_EOF
        self._authority.configure_trust(context)
        return context
