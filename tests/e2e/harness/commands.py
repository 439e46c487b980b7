"""Command-line clients and the `terminator` command itself."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from harness.conversation import Head


@dataclass(frozen=True)
class CurlResult:
    exit_code: int
    head: Head | None
    heads: list[Head]
    body: bytes
    complaint: str

    @property
    def status(self) -> int:
        assert self.head is not None, f"curl exited {self.exit_code}: {self.complaint}"
        return self.head.status


def curl(port: int, url: str, *options: str, ca_file: Path, folder: Path, address: str = "127.0.0.1") -> CurlResult:
    """curl to `url`, whatever host it names, at `address`:`port`."""
    heads_file, body_file = folder / "curl-heads", folder / "curl-body"
    for file in (heads_file, body_file):
        file.unlink(missing_ok=True)
    command = ["curl", "--silent", "--show-error", "--max-time", "60", "--cacert", str(ca_file), "--http1.1"]
    command += ["--connect-to", f"::{address}:{port}", "--dump-header", str(heads_file), "--output", str(body_file)]
    done = subprocess.run([*command, *options, url], capture_output=True, text=True, stdin=subprocess.DEVNULL)
    heads = []
    if heads_file.exists():
        for text in heads_file.read_bytes().decode("latin-1").split("\r\n\r\n"):
            if text.startswith("HTTP/"):
                start_line, *lines = text.split("\r\n")
                fields = tuple((n.lower(), v.strip()) for n, _, v in (line.partition(":") for line in lines))
                heads.append(Head(start_line, fields))
    body = body_file.read_bytes() if body_file.exists() else b""
    return CurlResult(done.returncode, heads[-1] if heads else None, heads, body, done.stderr)


def openssl_client(
    port: int, *options: str, typed: bytes = b"", seconds: float = 30
) -> subprocess.CompletedProcess[str]:
    """`openssl s_client` to 127.0.0.1; `typed` is its standard input."""
    command = ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", *options]
    done = subprocess.run(command, input=typed, capture_output=True, timeout=seconds)
    return subprocess.CompletedProcess(
        command, done.returncode, done.stdout.decode(errors="replace"), done.stderr.decode(errors="replace")
    )


def terminator(*arguments: str, folder: Path | None = None) -> subprocess.CompletedProcess[str]:
    """A `terminator` command that ends by itself."""
    command = [sys.executable, "-W", "error", "-m", "terminator", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, cwd=folder, stdin=subprocess.DEVNULL)
