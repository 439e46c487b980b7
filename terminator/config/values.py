"""The small languages inside configuration values: durations, sizes, addresses; each read once into a typed value.

No error text repeats the value: it may come from `${SECRET}`, and the loader shows the source line beside it.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass

_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0, "y": 31536000.0}
_BYTES = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "KiB": 2**10, "MiB": 2**20, "GiB": 2**30}

MAX_SECONDS = 100 * _SECONDS["y"]
"""Nobody means more; 100y stands for ever."""
_NUMBER = r"[0-9]{1,15}(?:\.[0-9]{1,9})?"  # bounded, so that no value becomes infinite
DURATION = re.compile(rf"(?:{_NUMBER}(?:ms|s|m|h|d|w|y))+")
SIZE = re.compile(rf"({_NUMBER})(B|[kKMG]B|[KMG]iB)")
_PART = re.compile(rf"({_NUMBER})(ms|s|m|h|d|w|y)")


def parse_duration(value: object) -> float:
    """Seconds of `500ms`, `10s`, `1m30s`, `12h`, `2y` (a year is 365 days). A bare number is refused, save 0."""
    if value == 0 and not isinstance(value, (bool, str)):
        return 0.0
    if isinstance(value, str) and value == "0":
        return 0.0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("a duration needs its unit; write for example 500ms, 10s, 1m30s or 12h")
    if not isinstance(value, str) or not DURATION.fullmatch(value):
        raise ValueError("not a duration; write for example 500ms, 10s, 1m30s or 12h")
    seconds = sum(float(number) * _SECONDS[unit] for number, unit in _PART.findall(value))
    if seconds > MAX_SECONDS:
        raise ValueError("longer than 100 years")
    return seconds


def parse_size(value: object) -> int:
    """Bytes of `64KiB`, `10MiB`, `1GB` (KiB = 1024, kB = 1000). A bare number is refused, save 0."""
    if value == 0 and not isinstance(value, (bool, str)):
        return 0
    if isinstance(value, str) and value == "0":
        return 0
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        raise ValueError("a size needs its unit; write for example 512B, 32KiB, 10MiB or 1GB")
    found = SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        raise ValueError("not a size; write for example 512B, 32KiB, 10MiB or 1GB")
    return int(float(found[1]) * _BYTES[found[2]])


def duration_text(seconds: float) -> str:
    """The shortest text that `parse_duration` reads as `seconds`, to the millisecond: 43200 is `12h`, 90 is `90s`."""
    for unit in ("y", "w", "d", "h", "m", "s"):
        if seconds and seconds % _SECONDS[unit] == 0:
            return f"{seconds / _SECONDS[unit]:.0f}{unit}"
    milliseconds = round(seconds * 1000)
    return f"{milliseconds}ms" if milliseconds else "0"


def size_text(size_bytes: int) -> str:
    """The shortest text that `parse_size` reads as `size_bytes`: 32768 is `32KiB`."""
    for unit in ("GiB", "GB", "MiB", "MB", "KiB", "kB"):
        if size_bytes and size_bytes % _BYTES[unit] == 0:
            return f"{size_bytes // _BYTES[unit]}{unit}"
    return f"{size_bytes}B" if size_bytes else "0"


@dataclass(frozen=True, slots=True)
class TcpAddress:
    """`host:port`. An IPv6 host stands without its brackets; an empty host or `*` means every address."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str

    def __str__(self) -> str:
        return f"unix:{self.path}"


@dataclass(frozen=True, slots=True)
class SystemdSocket:
    """A listening socket handed over by systemd under this FileDescriptorName."""

    name: str

    def __str__(self) -> str:
        return f"systemd:{self.name}"


Address = TcpAddress | UnixAddress

_HOST_LABEL = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)")


def parse_tcp_address(text: str) -> TcpAddress:
    """`127.0.0.1:80`, `[::1]:80`, `name.example:80`, `*:80`; ValueError says what is wrong."""
    host, colon, port = text.rpartition(":")
    if not colon:
        raise ValueError("the address has no port; write host:port, for example 127.0.0.1:8000")
    if not (port.isascii() and port.isdigit() and 1 <= int(port) <= 65535):
        raise ValueError("what follows the last colon is not a port number from 1 to 65535")
    if host.startswith("[") and host.endswith("]"):
        try:
            host = str(ipaddress.IPv6Address(host[1:-1]))
        except ValueError:
            raise ValueError("what stands in the brackets is not an IPv6 address") from None
    elif ":" in host:
        raise ValueError("an IPv6 address stands in brackets, for example [::1]:8000")
    elif host not in ("", "*") and not all(_HOST_LABEL.fullmatch(label) for label in host.rstrip(".").split(".")):
        raise ValueError("what stands before the port is neither a host name nor an address")
    return TcpAddress("" if host == "*" else host, int(port))


def parse_backend_address(text: str) -> Address:
    """The address of a backend server: `host:port`, `[v6]:port` or `unix:/path`."""
    if text.startswith("unix:"):
        return UnixAddress(_unix_path(text[5:]))
    if "://" in text:
        raise ValueError("write host:port without a scheme; backends are spoken to in plain HTTP/1.1")
    address = parse_tcp_address(text)
    if not address.host:
        raise ValueError("a backend needs a host, for example 127.0.0.1")
    return address


def parse_bind_address(text: str) -> Address | SystemdSocket:
    """Where a listener binds: `host:port`, `[v6]:port`, `unix:/path` or `systemd:NAME`."""
    if text.startswith("systemd:"):
        if not text[8:]:
            raise ValueError("systemd: needs the FileDescriptorName of the socket, for example systemd:https")
        return SystemdSocket(text[8:])
    if text.startswith("unix:"):
        return UnixAddress(_unix_path(text[5:]))
    return parse_tcp_address(text)


def _unix_path(path: str) -> str:
    if not path:
        raise ValueError("unix: needs a path, for example unix:/run/web.sock")
    if len(path.encode()) > 107:
        raise ValueError("the path of a unix socket may have at most 107 bytes")
    return path
