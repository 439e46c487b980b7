"""Durations, sizes and addresses."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terminator.config.values import (
    SystemdSocket,
    TcpAddress,
    UnixAddress,
    duration_text,
    parse_backend_address,
    parse_bind_address,
    parse_duration,
    parse_size,
    size_text,
)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("500ms", 0.5), ("10s", 10), ("1m30s", 90), ("12h", 43200), ("1.5h", 5400), ("1d", 86400), ("2w", 1209600),
        ("2y", 63072000), ("0s", 0), ("0", 0), (0, 0), (0.0, 0),
    ],
)  # fmt: skip
def test_durations(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


def test_a_duration_ends_some_day() -> None:
    assert parse_duration("100y") == 3_153_600_000
    with pytest.raises(ValueError, match="longer than 100 years"):
        parse_duration("100y1s")


@pytest.mark.parametrize(
    "text", ["", "s", "10", "10 s", "-5s", "10S", "1e3s", "٣s", "1s\n", "10s5", "9" * 16 + "s", 10, 1.5, True, None, []]
)
def test_no_durations(text: object) -> None:
    with pytest.raises(ValueError, match="500ms, 10s, 1m30s or 12h"):
        parse_duration(text)


@pytest.mark.parametrize(
    ("text", "size_bytes"),
    [
        ("512B", 512), ("64KiB", 65536), ("64kB", 64000), ("64KB", 64000), ("10MiB", 10485760), ("1GB", 10**9),
        ("1.5MiB", 1572864), ("0", 0), (0, 0), ("0B", 0),
    ],
)  # fmt: skip
def test_sizes(text: object, size_bytes: int) -> None:
    assert parse_size(text) == size_bytes
    assert type(parse_size(text)) is int


@pytest.mark.parametrize(
    "text", ["", "64", "64K", "64k", "64 KiB", "-1B", "1TB", "٣B", "9" * 400 + "GiB", 64, False, None]
)
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match="512B, 32KiB, 10MiB or 1GB"):
        parse_size(text)


@given(st.integers(0, 10**9))
def test_a_duration_is_written_as_it_is_read(milliseconds: int) -> None:
    assert parse_duration(duration_text(milliseconds / 1000)) == pytest.approx(milliseconds / 1000)


@given(st.integers(0, 10**14))
def test_a_size_is_written_as_it_is_read(size_bytes: int) -> None:
    assert parse_size(size_text(size_bytes)) == size_bytes


@pytest.mark.parametrize(
    ("seconds", "text"), [(0, "0"), (0.5, "500ms"), (1, "1s"), (90, "90s"), (43200, "12h"), (31536000, "1y")]
)
def test_durations_are_written_short(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@pytest.mark.parametrize(
    ("text", "address", "written"),
    [
        ("127.0.0.1:80", TcpAddress("127.0.0.1", 80), "127.0.0.1:80"),
        ("[::1]:80", TcpAddress("::1", 80), "[::1]:80"),
        ("[0::0]:80", TcpAddress("::", 80), "[::]:80"),
        ("web.example:8000", TcpAddress("web.example", 8000), "web.example:8000"),
        ("a_b:1", TcpAddress("a_b", 1), "a_b:1"),
        ("unix:/run/s", UnixAddress("/run/s"), "unix:/run/s"),
    ],
)
def test_addresses(text: str, address: object, written: str) -> None:
    assert parse_backend_address(text) == parse_bind_address(text) == address
    assert str(parse_bind_address(text)) == written


@pytest.mark.parametrize(
    ("text", "address"),
    [(":80", TcpAddress("", 80)), ("*:80", TcpAddress("", 80)), ("systemd:https", SystemdSocket("https"))],
)
def test_addresses_to_listen_on(text: str, address: object) -> None:
    assert parse_bind_address(text) == address


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("127.0.0.1", "has no port"),
        ("a:0", "not a port number"),
        ("a:65536", "not a port number"),
        ("a:http", "not a port number"),
        ("a:٣", "not a port number"),
        ("::1:80", "in brackets"),
        ("[::x]:80", "not an IPv6 address"),
        ("-a:80", "neither a host name nor an address"),
        ("a b:80", "neither a host name nor an address"),
        ("http://a:80", "without a scheme"),
        (":80", "needs a host"),
        ("unix:", "needs a path"),
        ("unix:/" + "x" * 107, "at most 107 bytes"),
    ],
)
def test_no_addresses(text: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        parse_backend_address(text)
    assert "x" * 20 not in str(caught.value)


def test_a_systemd_socket_has_a_name() -> None:
    with pytest.raises(ValueError, match="FileDescriptorName"):
        parse_bind_address("systemd:")


@given(st.text(alphabet="0123456789abcdef.:[]*-/unix", max_size=30))
def test_any_text_is_an_address_or_refused_in_words(text: str) -> None:
    try:
        address = parse_bind_address(text)
    except ValueError:
        return
    assert parse_bind_address(str(address)) == address
