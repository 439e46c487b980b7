"""Real sockets: bound for each worker, adopted from a manager, refused with a remedy."""

from __future__ import annotations

import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from terminator.config.model import Listener
from terminator.config.values import SystemdSocket, TcpAddress, UnixAddress
from terminator.errors import StartError
from terminator.service import listeners
from terminator.service.listeners import Inherited

NONE = Inherited({})


@pytest.fixture
def port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        number: int = sock.getsockname()[1]
    return number


@pytest.fixture
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("s")


@pytest.fixture
def bind() -> Iterator[Any]:
    made = []

    def make(address: Any, workers: int = 1, inherited: Inherited = NONE, **options: Any) -> listeners.Bound:
        config = Listener.model_construct(name="https", bind=address, backlog=16, tls=True)
        made.append(listeners.bind(config, workers, inherited, **options))
        made[-1].listen()
        return made[-1]

    yield make
    for bound in made:
        bound.close()


def connect(address: tuple[str, int]) -> None:
    with socket.create_connection(address, 5):
        pass


def test_every_worker_has_a_socket_of_its_own_that_listens(bind: Any, port: int) -> None:
    bound = bind(TcpAddress("127.0.0.1", port), workers=3)
    sockets = [sock for worker in range(3) for sock in bound.sockets_of(worker)]
    assert len({sock.fileno() for sock in sockets}) == 3
    for sock in sockets:
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
        assert not sock.getblocking()
        assert not os.get_inheritable(sock.fileno())
    connect(("127.0.0.1", port))
    assert bound.address() == f"127.0.0.1:{port}"


def test_what_is_bound_takes_no_connection_until_it_listens(bind: Any, port: int) -> None:
    """Not even those that sockets of the same port, but of a less specific address, serve."""
    serving = bind(TcpAddress("0.0.0.0", port))
    config = Listener.model_construct(name="new", bind=TcpAddress("127.0.0.1", port), backlog=7)
    fresh = listeners.bind(config, 1, NONE, beside_our_own=True)
    connect(("127.0.0.1", port))
    accepted, _ = serving.sockets_of(0)[0].accept()
    accepted.close()
    fresh.listen()
    connect(("127.0.0.1", port))
    accepted, _ = fresh.sockets_of(0)[0].accept()
    accepted.close()
    fresh.close()


def test_to_listen_again_changes_the_length_of_the_queue(bind: Any, port: int) -> None:
    bound = bind(TcpAddress("127.0.0.1", port))

    def length() -> str:
        lines = subprocess.run(["ss", "-Hltn", f"sport = :{port}"], capture_output=True, text=True, check=True).stdout
        return lines.split()[2]

    assert length() == "16"
    bound.with_config(Listener.model_construct(name="https", bind=bound.config.bind, backlog=5)).listen()
    assert length() == "5"


def test_connections_of_a_dead_worker_s_socket_wait_in_its_queue(bind: Any, port: int) -> None:
    bound = bind(TcpAddress("127.0.0.1", port))
    (held,) = bound.sockets_of(0)
    with held.dup():  # the worker's copy, which dies with it
        client = socket.create_connection(("127.0.0.1", port), 5)
    held.setblocking(True)
    accepted, _ = held.accept()
    accepted.close()
    client.close()


@pytest.mark.parametrize("host", ["::", ""])
def test_all_addresses_means_ipv4_too(bind: Any, port: int, host: str) -> None:
    bind(TcpAddress(host, port))
    connect(("127.0.0.1", port))
    connect(("::1", port))


def test_one_ipv6_address_does_not_serve_ipv4(bind: Any, port: int) -> None:
    bind(TcpAddress("::1", port))
    connect(("::1", port))
    with pytest.raises(ConnectionRefusedError):
        connect(("127.0.0.1", port))


def test_a_host_name_is_bound_on_all_its_addresses(bind: Any, port: int) -> None:
    bound = bind(TcpAddress("localhost", port), workers=2)
    found = {each[4][0] for each in socket.getaddrinfo("localhost", port, type=socket.SOCK_STREAM)}
    assert {sock.getsockname()[0] for sock in bound.sockets_of(1)} == found


@pytest.mark.parametrize("reuse_port", [False, True])
def test_an_address_in_use_is_refused_even_if_the_other_one_would_share_it(port: int, reuse_port: bool) -> None:
    with socket.socket() as other:
        if reuse_port:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        other.bind(("127.0.0.1", port))
        other.listen()
        config = Listener.model_construct(name="https", bind=TcpAddress("127.0.0.1", port), backlog=16)
        with pytest.raises(StartError, match=rf"127.0.0.1:{port}: the address is in use .*ss -ltnp"):
            listeners.bind(config, 2, NONE)


def test_our_own_old_sockets_are_no_strangers(bind: Any, port: int) -> None:
    """A reload from one address to an overlapping one."""
    bind(TcpAddress("127.0.0.1", port), workers=2)
    bind(TcpAddress("0.0.0.0", port), workers=2, beside_our_own=True)


@pytest.mark.parametrize(
    ("address", "complaint"),
    [
        (TcpAddress("192.0.2.1", 8443), "does not have the address"),
        (TcpAddress("no-such-host.invalid", 8443), "has no address"),
        (UnixAddress("/nonexistent/folder/x.sock"), "folder does not exist"),
        (SystemdSocket("https"), "FileDescriptorName=https"),
    ],
)
def test_what_cannot_be_bound_is_told_with_its_address(address: Any, complaint: str) -> None:
    config = Listener.model_construct(name="https", bind=address, backlog=16)
    with pytest.raises(StartError, match=complaint) as caught:
        listeners.bind(config, 1, NONE)
    assert str(caught.value).startswith(str(address))


@pytest.mark.skipif(os.geteuid() != 0, reason="to become somebody without rights one must be root")
def test_a_port_that_needs_a_right_says_which_remedies_there_are() -> None:
    config = Listener.model_construct(name="https", bind=TcpAddress("127.0.0.1", 81), backlog=16)
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setresuid(65534, 65534, 65534)
        try:
            listeners.bind(config, 1, NONE)
        except StartError as error:
            os.write(writer, str(error).encode())
        os._exit(0)
    os.close(writer)
    text = os.read(reader, 4096).decode()
    os.close(reader)
    os.waitpid(pid, 0)
    if not text:
        pytest.skip("this machine lets everybody bind low ports (net.ipv4.ip_unprivileged_port_start)")
    assert "CAP_NET_BIND_SERVICE" in text
    assert "systemd:NAME" in text


# --------------------------------------------------------------------------------------------------- unix sockets


def test_a_unix_socket_is_open_to_all_and_removed_at_the_end(bind: Any, folder: Path) -> None:
    path = folder / "x.sock"
    bound = bind(UnixAddress(str(path)), workers=2)
    assert stat.S_IMODE(path.stat().st_mode) == listeners.LISTENER_MODE
    assert bound.sockets_of(0) == bound.sockets_of(1)
    assert bound.address() == f"unix:{path}"
    bound.close()
    assert not path.exists()


def test_the_file_of_a_dead_process_is_replaced_and_of_a_live_one_is_not(bind: Any, folder: Path) -> None:
    path = str(folder / "x.sock")
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(path)
    bind(UnixAddress(path))
    with pytest.raises(StartError, match="another process listens here"):
        listeners.bind_unix(path, 0o600, 5)


def test_a_file_that_is_no_socket_is_never_removed(folder: Path) -> None:
    path = folder / "precious"
    path.write_text("data")
    with pytest.raises(StartError, match="is no socket"):
        listeners.bind_unix(str(path), 0o600, 5)
    assert path.read_text() == "data"


def test_the_socket_of_a_successor_stays(bind: Any, folder: Path) -> None:
    path = folder / "x.sock"
    bound = bind(UnixAddress(str(path)))
    path.unlink()
    with socket.socket(socket.AF_UNIX) as successor:
        keep = folder / "inode-taken"
        keep.write_text("so that the inode is not used again")
        successor.bind(str(path))
        bound.close()
        assert path.exists()


# ------------------------------------------------------------------------------------------------ inherited ones


@pytest.fixture
def handed_over(tmp_path: Path) -> Iterator[Any]:
    """In a child process, since the protocol is about fixed descriptor numbers: runs `look` there."""

    def run(names: str, look: Any, *, pid: str | None = None, count: int = 3) -> str:
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            text = "nothing"
            try:
                made = [socket.socket() for _ in range(2)]
                for sock in made:
                    sock.bind(("127.0.0.1", 0))
                    sock.listen()
                file = os.open(tmp_path, os.O_RDONLY)
                moved = [os.dup2(fd, 50 + n) for n, fd in enumerate((made[0].fileno(), made[1].fileno(), file))]
                writer = os.dup2(writer, 60)
                for n, fd in enumerate(moved):
                    os.dup2(fd, 3 + n)
                environ = {"LISTEN_FDS": str(count), "LISTEN_FDNAMES": names, "LISTEN_PID": pid or str(os.getpid())}
                text = look(Inherited(environ), environ)
            except BaseException as error:
                text = f"{type(error).__name__}: {error}"
            finally:
                os.write(writer, text.encode())
                os._exit(0)
        os.close(writer)
        with os.fdopen(reader) as answer:
            text = answer.read()
        os.waitpid(child, 0)
        return text

    return run


def test_inherited_sockets_are_found_by_name(handed_over: Any) -> None:
    def look(inherited: Inherited, environ: dict[str, str]) -> str:
        sockets = inherited.named("https")
        flags = [sock.getblocking() or os.get_inheritable(sock.fileno()) for sock in sockets]
        return f"{inherited.names} {[sock.fileno() for sock in sockets]} {flags} {inherited.other_fds} {environ}"

    assert handed_over("https:http:keys", look) == "['https', 'http'] [3] [False] {'keys': 5} {}"


def test_a_name_may_stand_for_several_sockets(handed_over: Any) -> None:
    def look(inherited: Inherited, environ: dict[str, str]) -> str:
        config = Listener.model_construct(name="https", bind=SystemdSocket("https"), backlog=16)
        bound = listeners.bind(config, 4, inherited)
        bound.close()
        return f"{[sock.fileno() for sock in bound.sockets_of(3)]}"

    assert handed_over("https:https:keys", look) == "[3, 4]", "and they stay open when the listener goes"


def test_a_name_that_was_not_given_says_which_were(handed_over: Any) -> None:
    def look(inherited: Inherited, environ: dict[str, str]) -> str:
        return str(inherited.named("smtp"))

    text = handed_over("https:http:keys", look)
    assert "it gave http, https" in text
    assert "FileDescriptorName=smtp" in text


def test_sockets_meant_for_another_process_are_left_alone(handed_over: Any) -> None:
    assert handed_over("https:http:keys", lambda inherited, environ: str(inherited.names), pid="1") == "[]"


def test_descriptors_that_are_announced_but_not_open_are_refused_with_a_sentence(handed_over: Any) -> None:
    text = handed_over("https", lambda inherited, environ: "taken", count=99_999)
    assert text.startswith("StartError: LISTEN_FDS=99999, but descriptor "), text
    assert "is not open" in text
