"""Real daemons for the tests of processes; the harness is that of the end-to-end tests."""

from __future__ import annotations

import os
import shutil
import socket
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent.parent / "e2e"))

from harness.certificates import Certificates, Pair
from harness.daemon import Daemon

_PROCESS = int(os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw"))
_ports = iter(range(9_000 + 500 * _PROCESS, 9_000 + 500 * (_PROCESS + 1)))


def free_port() -> int:
    """Below the ephemeral ports, so that no outgoing connection takes it between its choice and its use."""
    for port in _ports:
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                sock.bind(("127.0.0.1", port))
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
    path.chmod(0o755)
    yield path
    shutil.rmtree(path, ignore_errors=True)


@pytest.fixture
def pair(certificates: Certificates, folder: Path) -> Pair:
    """The certificate of a.test, in files of this test's own."""
    return certificates.issue(folder / "pair", "a.test")


@pytest.fixture
def port() -> Callable[[], int]:
    return free_port


@pytest.fixture
def daemon(certificates: Certificates, folder: Path, pair: Pair) -> Iterator[Callable[..., Daemon]]:
    """Makes daemons with host a.test, not started; each must stop well at the end."""
    stops = ExitStack()
    count = 0

    def make(prefix: tuple[str, ...] = (), **sections: Any) -> Daemon:
        nonlocal count
        count += 1
        own = folder / f"daemon{count}"
        own.mkdir()
        config: dict[str, Any] = {
            "version": 1,
            "workers": 2,
            "listeners": [{"name": "https", "bind": f"127.0.0.1:{free_port()}"}],
            "hosts": [
                {
                    "names": ["a.test"],
                    "certificates": [pair.as_config()],
                    "routes": [{"path": "/", "respond": {"body": "served"}}],
                }
            ],
            "timeouts": {"drain": "5s"},
            "admin": {"socket": str(own / "admin.sock")},
        }
        made = Daemon({**config, **sections}, own, certificates.client_context(), prefix=prefix)
        stops.callback(made.stop)
        return made

    with stops:
        yield make
