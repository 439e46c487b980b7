"""JA4 by its published specification, with the values that it publishes (FoxIO, technical_details/JA4.md)."""

from __future__ import annotations

from hashlib import sha256

import pytest

from terminator.wire.ja4 import fingerprint


def numbers(text: str) -> list[int]:
    return [int(part, 16) for part in text.split(",")] if text else []


CIPHERS = "1301,1302,1303,c02b,c02f,c02c,c030,cca9,cca8,c013,c014,009c,009d,002f,0035"
EXTENSIONS = "001b,0000,0033,0010,4469,0017,002d,000d,0005,0023,0012,002b,ff01,000b,000a,0015"
ALGORITHMS = "0403,0804,0401,0503,0805,0501,0806,0601"


def of(
    *,
    version: int = 0x0304,
    has_server_name: bool = True,
    ciphers: str = CIPHERS,
    extensions: str = EXTENSIONS,
    algorithms: str = ALGORITHMS,
    alpn: bytes = b"h2",
) -> str:
    return fingerprint(
        version=version,
        has_server_name=has_server_name,
        ciphers=numbers(ciphers),
        extensions=numbers(extensions),
        signature_algorithms=numbers(algorithms),
        alpn=alpn,
    )


def test_the_published_example() -> None:
    assert of() == "t13d1516h2_8daaf6152771_e5627efa2ab1"


def test_the_published_example_without_signature_algorithms() -> None:
    assert of(algorithms="").endswith("_6d807ffa2a79")


def test_the_order_of_ciphers_and_extensions_is_noise() -> None:
    shuffled = ",".join(reversed(CIPHERS.split(","))), ",".join(reversed(EXTENSIONS.split(",")))
    assert of(ciphers=shuffled[0], extensions=shuffled[1]) == of()


def test_the_order_of_signature_algorithms_is_not() -> None:
    assert of(algorithms=",".join(reversed(ALGORITHMS.split(",")))) != of()


def test_a_chrome_that_adds_a_psk_has_one_extension_more() -> None:
    """Published for a capture of Chrome: pre_shared_key makes 17 extensions of 16, and h1 stands for http/1.1."""
    value = of(extensions=f"{EXTENSIONS},0029", alpn=b"http/1.1")
    assert value == "t13d1517h1_8daaf6152771_6cdcb247c39b"


def test_a_chrome_without_alpn() -> None:
    """Published for the same capture: no ALPN (0010), and no 4469 that goes with it."""
    value = of(extensions=EXTENSIONS.replace("0010,4469,", ""), alpn=b"")
    assert value == "t13d151400_8daaf6152771_de4a06bb82e3"


@pytest.mark.parametrize(
    ("version", "text"),
    [
        (0x0304, "13"),
        (0x0303, "12"),
        (0x0302, "11"),
        (0x0301, "10"),
        (0x0300, "s3"),
        (0x0002, "s2"),
        (0, "00"),
        (0x7F1C, "00"),
    ],
)
def test_versions(version: int, text: str) -> None:
    assert of(version=version)[1:3] == text


@pytest.mark.parametrize(
    ("name", "letters"),
    [
        (b"", "00"),
        (b"h2", "h2"),
        (b"http/1.1", "h1"),
        (b"x", "xx"),
        (b"\xab", "ab"),
        (b"\xab\xcd", "ad"),
        (b"\x30\xab", "3b"),
        (b"\x30\x31\xab\xcd", "3d"),
        (b"\x30\xab\xcd\x31", "01"),
    ],
)
def test_alpn_letters(name: bytes, letters: str) -> None:
    """The published table; the last row's letters are the first and last of the name itself."""
    assert of(alpn=name)[8:10] == letters


def test_no_name_counts_as_an_address() -> None:
    assert of(has_server_name=False).startswith("t13i")


def test_counts_stop_at_99() -> None:
    many = ",".join(f"{n:04x}" for n in range(1, 151))
    assert of(ciphers=many, extensions=many)[4:8] == "9999"


def test_nothing_is_zeros_and_not_the_hash_of_nothing() -> None:
    assert of(ciphers="", extensions="", algorithms="", alpn=b"") == "t13d000000_000000000000_000000000000"
    assert of(extensions="0000,0010").endswith("_000000000000")
    assert not of(ciphers="").split("_")[1].startswith(sha256(b"").hexdigest()[:12])
