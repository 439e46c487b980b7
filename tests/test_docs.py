"""The README and the pages under docs/ are true: configurations load, commands run, links and names lead somewhere."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import trustme
import yaml

from terminator.telemetry import events

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
FENCE = re.compile(r"^```(\w+)([^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, the words behind it, its text and its place."""

    language: str
    words: tuple[str, ...]
    text: str
    place: str


def blocks(language: str) -> list[Block]:
    found = []
    for page in PAGES:
        source = page.read_text()
        for match in FENCE.finditer(source):
            line = source.count("\n", 0, match.start()) + 1
            place = f"{page.relative_to(ROOT)}:{line}"
            found.append(Block(match[1], tuple(match[2].split()), match[3], place))
    return [block for block in found if block.language == language]


class Stage:
    """A folder in which a documented configuration finds the files it names, on ports that are free."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._authority = trustme.CA()
        self._held: list[socket.socket] = []

    def place(self, text: str) -> Path:
        """Writes the configuration with its absolute paths and ports moved; its certificates are issued."""
        for prefix in ("/etc/", "/var/", "/run/"):
            text = re.sub(rf"(?<![\w/]){prefix}", f"{self.folder}{prefix}", text)
        config = yaml.safe_load(text)
        for host in config.get("hosts", []):
            for pair in host["certificates"]:
                self._issue(pair, host["names"])
        for path in re.findall(r"\b(?:ca|crl): ([^,}\s]+)", text):
            self._write(path, self._authority.cert_pem.bytes())
        for path in re.findall(rf"({self.folder}/[\w./-]+|(?<=acme_webroot: )[\w./-]+)", text):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
        for bind in re.findall(r'bind: "([^"]+)"', text):
            if not bind.startswith(("unix:", "systemd:")):
                text = text.replace(f'"{bind}"', f'"127.0.0.1:{self._free_port()}"')
        file = self.folder / "terminator.yaml"
        file.write_text(text)
        return file

    def _issue(self, pair: dict[str, str], names: list[str]) -> None:
        leaf = self._authority.issue_cert(*names)
        self._write(pair["chain"], b"".join(pem.bytes() for pem in leaf.cert_chain_pems))
        self._write(pair["key"], leaf.private_key_pem.bytes(), mode=0o600)

    def _write(self, path: str, content: bytes, mode: int = 0o644) -> None:
        file = self.folder / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch(mode)
        file.write_bytes(content)

    def _free_port(self) -> int:
        # Held until all are chosen, so that no two are the same.
        self._held.append(socket.create_server(("127.0.0.1", 0)))
        return int(self._held[-1].getsockname()[1])

    def release_ports(self) -> None:
        for sock in self._held:
            sock.close()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    made = Stage(tmp_path)
    yield made
    made.release_ports()


def terminator(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "terminator", *arguments]
    return subprocess.run(command, cwd=cwd, capture_output=True, text=True, timeout=60)


@pytest.mark.parametrize("block", [pytest.param(b, id=b.place) for b in blocks("yaml") if "version:" in b.text])
def test_a_documented_configuration_passes_the_check(stage: Stage, block: Block) -> None:
    done = terminator("check", str(stage.place(block.text)), cwd=stage.folder)
    assert done.returncode == 0, done.stdout + done.stderr


def test_the_readmes_commands_work_on_the_readmes_configuration(stage: Stage) -> None:
    """Runs every line of every `sh run` block beside a daemon on the page's first configuration."""
    first = next(block for block in blocks("yaml") if block.place.startswith("README.md"))
    config = stage.place(first.text)
    stage.release_ports()
    daemon = subprocess.Popen(
        [sys.executable, "-m", "terminator", "run", "--config", str(config)],
        cwd=stage.folder,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert daemon.stderr is not None
    told: list[str] = []
    for line in daemon.stderr:
        told.append(line)
        if '"server.ready"' in line:
            break
    drain = threading.Thread(target=lambda stream: told.extend(stream), args=(daemon.stderr,))
    drain.start()
    try:
        environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
        for block in blocks("sh"):
            if "run" not in block.words or not block.place.startswith("README.md"):
                continue
            for written in block.text.splitlines():
                # Where the reader's configuration stands in its default place, the test's does not.
                line = re.sub(
                    r"^terminator (reload|status|certs|explain|selftest)", r"\g<0> --config terminator.yaml", written
                )
                done = subprocess.run(
                    ["bash", "-c", line], cwd=stage.folder, env=environment, capture_output=True, text=True, timeout=60
                )
                assert done.returncode == 0, f"{block.place}: {line}\n{done.stdout}{done.stderr}{''.join(told)}"
    finally:
        daemon.send_signal(signal.SIGTERM)
        daemon.wait(30)
        drain.join(30)
        daemon.stderr.close()


@pytest.mark.parametrize("block", [pytest.param(b, id=b.place) for b in blocks("sh")])
def test_a_documented_command_exists(block: Block) -> None:
    """`make` targets stand in the Makefile, `terminator` commands and their options in the parser."""
    makefile = (ROOT / "Makefile").read_text()
    for line in block.text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["make"]:
            for target in words[1:]:
                assert "=" in target or re.search(rf"^{target}:", makefile, re.MULTILINE), line
        elif words and Path(words[0]).name == "terminator":
            usage = terminator(words[1], "--help", cwd=ROOT)
            assert usage.returncode == 0, line
            for option in (word for word in words if word.startswith("--")):
                assert option.partition("=")[0] in usage.stdout, line


@pytest.mark.parametrize("block", [pytest.param(b, id=b.place) for b in blocks("json")])
def test_a_documented_log_line_is_one_that_is_written(block: Block) -> None:
    kinds = {kind.event: kind for kind in vars(events).values() if isinstance(getattr(kind, "event", None), str)}
    for line in block.text.splitlines():
        shown = json.loads(line)
        names = {"time", "level", "event", "worker"} | {name for _, name, _ in events.log_names(kinds[shown["event"]])}
        assert set(shown) <= names


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_and_files_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    anchors = {
        re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.M)
    }
    for target in re.findall(r"\]\(([^)]+)\)", text):
        if target.startswith("#"):
            assert target[1:] in anchors, target
        elif "://" not in target:
            assert (page.parent / target.partition("#")[0]).exists(), target
    for named in re.findall(
        r"`((?:proxy|wire|routing|tls|backend|telemetry|config|service|tests)/[\w/]*(?:\.py)?)`", text
    ):
        assert (ROOT / named).exists() or (ROOT / "terminator" / named).exists(), named
