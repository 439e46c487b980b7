"""Fixtures of the end-to-end tests: certificates, backends and the daemon, each ended and judged with its test."""

from __future__ import annotations

import os
import random
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

# The harness is a package of its own beside the tests, which pytest imports without touching sys.path.
sys.path.insert(0, str(Path(__file__).parent))

from harness.backends import AnsweringBackend, PlayedBackend
from harness.certificates import Certificates
from harness.commands import CurlResult, curl
from harness.daemon import Daemon

# Below the ephemeral ports, so that no outgoing connection takes a port between its choice and its use; in an order of
# its own for each test process, so that parallel ones do not choose the same.
_ports = list(range(20_000, 32_000))
random.Random(os.getpid()).shuffle(_ports)


def free_port() -> int:
    while _ports:
        port = _ports.pop()
        with socket.socket(socket.AF_INET6) as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
            try:
                sock.bind(("::", port))
            except OSError:
                continue
            return port
    raise RuntimeError("no free port left")


@pytest.fixture(scope="session")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return Certificates(tmp_path_factory.mktemp("certificates"))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short path: the path of a unix socket may have 107 bytes only."""
    path = Path(tempfile.mkdtemp(prefix="terminator-"))
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture(scope="session")
def port() -> Callable[[], int]:
    """Chooses a free port at each call."""
    return free_port


@pytest.fixture
def cleanup() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def played(cleanup: ExitStack) -> Callable[..., PlayedBackend]:
    """Makes backends that the test plays by hand."""

    def make(*arguments: Any, **options: Any) -> PlayedBackend:
        backend = PlayedBackend(*arguments, **options)
        cleanup.callback(backend.close)
        return backend

    return make


@pytest.fixture
def answering(cleanup: ExitStack) -> Callable[..., AnsweringBackend]:
    """Makes backends that answer by themselves."""

    def make(*arguments: Any, **options: Any) -> AnsweringBackend:
        backend = AnsweringBackend(*arguments, **options)
        cleanup.callback(backend.close)
        return backend

    return make


class Site:
    """Builds configurations: the parts a test does not speak of have a plain default."""

    def __init__(self, certificates: Certificates, folder: Path) -> None:
        self._certificates = certificates
        self._folder = folder

    def host(self, *names: str, backend: str = "b", **keys: Any) -> dict[str, Any]:
        """A host with a certificate for its names and one route."""
        return {
            "names": list(names),
            "certificates": [self._certificates.pair(*names).as_config()],
            "routes": [{"path": "/", "backend": backend}],
            **keys,
        }

    def listener(self, name: str = "https", address: str = "127.0.0.1", **keys: Any) -> dict[str, Any]:
        return {"name": name, "bind": f"{address}:{free_port()}", **keys}

    def config(self, *servers: str, backend: dict[str, Any] | None = None, **sections: Any) -> dict[str, Any]:
        """Host a.test before one backend `b` with these servers; `sections` extend mappings and replace the rest."""
        config: dict[str, Any] = {
            "version": 1,
            "workers": 1,
            "listeners": [self.listener()],
            "hosts": [self.host("a.test")],
            "backends": {"b": {"servers": list(servers) or ["127.0.0.1:9"], **(backend or {})}},
            "timeouts": {"drain": "5s"},
            "admin": {"socket": str(self._folder / "admin.sock")},
        }
        for key, value in sections.items():
            extends = isinstance(value, dict) and key != "backends"
            config[key] = {**config.get(key, {}), **value} if extends else value
        return config


@pytest.fixture
def site(certificates: Certificates, folder: Path) -> Site:
    return Site(certificates, folder)


Start = Callable[..., Daemon]


@pytest.fixture
def prepare(site: Site, folder: Path, certificates: Certificates, played: Any, answering: Any) -> Iterator[Start]:
    """Makes daemons from `Site.config` arguments without starting them; at the end each must stop well.

    Asks for the backends' fixtures so that the daemon is stopped before them."""
    made = 0
    stops = ExitStack()

    def make(*servers: str, prefix: tuple[str, ...] = (), **sections: Any) -> Daemon:
        nonlocal made
        made += 1
        own = folder / f"daemon{made}"
        own.mkdir()
        config = site.config(*servers, **sections)
        config["admin"] = {"socket": str(own / "admin.sock")} | sections.get("admin", {})
        daemon = Daemon(config, own, certificates.client_context(), prefix=prefix)
        stops.callback(daemon.stop)
        return daemon

    with stops:
        yield make


@pytest.fixture
def start(prepare: Start) -> Start:
    """Starts daemons from `Site.config` arguments and waits until they serve."""
    return lambda *servers, **sections: prepare(*servers, **sections).start()


@pytest.fixture
def get(certificates: Certificates, folder: Path) -> Callable[..., CurlResult]:
    """`get(daemon, url, *curl_options)`: curl, trusting the test authority, to the daemon's https listener."""

    def run(daemon: Daemon, url: str, *options: str, listener: str = "https", address: str = "127.0.0.1") -> CurlResult:
        ca = certificates.ca_file
        return curl(daemon.ports[listener], url, *options, ca_file=ca, folder=folder, address=address)

    return run
