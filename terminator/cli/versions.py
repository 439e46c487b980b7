"""Which terminator this is, and what it stands on."""

from __future__ import annotations

from importlib import metadata


def version() -> str:
    """Version of the installed distribution; `unknown` when the source tree runs without being installed."""
    try:
        return metadata.version("terminator-proxy")
    except metadata.PackageNotFoundError:
        return "unknown"


def long_version() -> str:
    """`terminator 0.1.0 (Python 3.11.2, OpenSSL 3.0.19 27 Jan 2026, trio 0.35.0, h11 0.16.0; X25519MLKEM768 no)`."""
    import platform
    import ssl

    from terminator.tls import proofs

    parts = [f"Python {platform.python_version()}", ssl.OPENSSL_VERSION]
    parts += [f"{name} {metadata.version(name)}" for name in ("trio", "h11")]
    post_quantum = "yes" if "X25519MLKEM768" in proofs.prove().groups else "no"
    return f"terminator {version()} ({', '.join(parts)}; X25519MLKEM768 {post_quantum})"
