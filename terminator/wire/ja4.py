"""JA4, the fingerprint of a TLS client (FoxIO's published specification, technical_details/JA4.md).

The JA4 method for TLS clients is under the BSD 3-clause licence; its siblings (JA4S, JA4H, …) are not and have no place
here. GREASE is dropped by the caller, who knows where it may stand.
"""

from __future__ import annotations

from hashlib import sha256
from struct import pack

NOTHING = "000000000000"
VERSIONS = {0x0304: "13", 0x0303: "12", 0x0302: "11", 0x0301: "10", 0x0300: "s3", 0x0002: "s2"}
SERVER_NAME, ALPN = 0x0000, 0x0010


def fingerprint(
    *,
    version: int,
    has_server_name: bool,
    ciphers: list[int],
    extensions: list[int],
    signature_algorithms: list[int],
    alpn: bytes,
) -> str:
    """`t13d1516h2_8daaf6152771_e5627efa2ab1`: TLS over TCP, from values without GREASE; `alpn` is the first name."""
    return (
        f"t{VERSIONS.get(version, '00')}{'d' if has_server_name else 'i'}"
        f"{min(len(ciphers), 99):02d}{min(len(extensions), 99):02d}{_alpn_letters(alpn)}"
        f"_{_digest(_hex_list(sorted(ciphers)))}"
        f"_{_extensions_digest(extensions, signature_algorithms)}"
    )


def _alpn_letters(name: bytes) -> str:
    """First and last character of the name, or of its hex form when one of the two is not alphanumeric."""
    if not name:
        return "00"
    if name[:1].isalnum() and name[-1:].isalnum():  # bytes.isalnum is ASCII alone
        return chr(name[0]) + chr(name[-1])
    text = name.hex()
    return text[0] + text[-1]


def _extensions_digest(extensions: list[int], signature_algorithms: list[int]) -> str:
    """SNI and ALPN stand in the first part already; the order of extensions is noise, that of algorithms is not."""
    kinds = _hex_list(sorted(kind for kind in extensions if kind not in (SERVER_NAME, ALPN)))
    if not kinds:
        return NOTHING
    return _digest(f"{kinds}_{_hex_list(signature_algorithms)}" if signature_algorithms else kinds)


def _digest(text: str) -> str:
    return sha256(text.encode()).hexdigest()[:12] if text else NOTHING


def _hex_list(values: list[int]) -> str:
    """`1301,c02b`; several times faster than formatting number by number."""
    return pack(f">{len(values)}H", *values).hex(",", 2)
