"""Real processes under real signals: start, watch, replace, drain, end."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from harness.daemon import Daemon, eventually

from terminator.service.supervision import STUCK_SECONDS

Make = Callable[..., Daemon]


def answers(daemon: Daemon) -> bool:
    with daemon.connect() as client:
        client.request()
        return bool(client.receive_response().body == b"served")


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


# ------------------------------------------------------------------------------------------------ service manager


@pytest.fixture
def manager(folder: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
        sock.bind(str(folder / "notify"))
        sock.settimeout(20)
        yield sock


def told(manager: socket.socket) -> dict[str, str]:
    return dict(line.partition("=")[::2] for line in manager.recv(65536).decode().split("\n"))


def until(manager: socket.socket, key: str) -> dict[str, str]:
    while key not in (message := told(manager)):
        pass
    return message


def test_the_service_manager_hears_the_whole_life(daemon: Make, manager: socket.socket) -> None:
    prefix = ("env", f"NOTIFY_SOCKET={manager.getsockname()}", "WATCHDOG_USEC=200000")
    running = daemon(prefix=prefix).start()
    ready = until(manager, "READY")
    assert ready["STATUS"].startswith("Serving 1 listener, 1 certificate, the first expires in ")
    assert until(manager, "WATCHDOG") == {"WATCHDOG": "1"}
    running.signal(signal.SIGHUP)
    assert until(manager, "RELOADING")["MONOTONIC_USEC"].isdigit()
    assert "nothing had changed" in until(manager, "READY")["STATUS"]
    running.config_file.write_text("hosts: 3")
    running.signal(signal.SIGHUP)
    until(manager, "RELOADING")
    assert "reload refused" in (status := until(manager, "READY")["STATUS"])
    assert "generation 1 serves on" in status
    running.signal(signal.SIGTERM)
    assert until(manager, "STOPPING")["STATUS"] == "Draining, at most 5 s (SIGTERM)"
    assert int(until(manager, "EXTEND_TIMEOUT_USEC")["EXTEND_TIMEOUT_USEC"]) > 5_000_000
    assert until(manager, "STATUS")["STATUS"] == "Draining 0 connections, at most 5 s (SIGTERM)"
    assert running.wait() == 0


def test_a_service_manager_s_sockets_are_served_by_name(daemon: Make, port: Callable[[], int]) -> None:
    number = port()
    script = (
        "import os,socket,sys\n"
        f"s=socket.socket(); s.setsockopt(1,2,1); s.bind(('127.0.0.1',{number})); s.listen()\n"
        "os.dup2(os.dup2(s.fileno(), 50), 3)\n"
        "os.environ.update(LISTEN_FDS='1', LISTEN_FDNAMES='web', LISTEN_PID=str(os.getpid()))\n"
        "os.execvp(sys.argv[1], sys.argv[1:])\n"
    )
    running = daemon(
        prefix=(sys.executable, "-c", script), listeners=[{"name": "https", "bind": "systemd:web"}], workers=2
    )
    running.start()
    running.ports["https"] = number
    assert answers(running)
    assert running.wait_for("server.ready")["server.listeners"] == [f"https=127.0.0.1:{number}"]


# -------------------------------------------------------------------------------------------------------- workers


def test_children_hold_nothing_that_is_not_theirs(daemon: Make, folder: Path, port: Callable[[], int]) -> None:
    listeners = [{"name": f"l{n}", "bind": f"127.0.0.1:{port()}"} for n in range(2)]
    log = {"handshakes": str(folder / "h.log"), "requests": "stdout", "lifecycle": "stderr"}
    running = daemon(workers=3, listeners=listeners, log=log).start()
    sockets = {pid: _sockets(pid) for pid in running.processes()}
    master, *children = running.processes()
    workers = running.workers()
    assert set(workers) < set(children)
    for pid in children:
        others = set().union(*(sockets[other] for other in children if other != pid))
        assert not sockets[pid] & others, "two children share a socket"
        shared_with_master = len(sockets[pid] & sockets[master])
        assert shared_with_master == (2 if pid in workers else 1), "its listening sockets alone"
        files = [os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")]
        assert not [name for name in files if name.endswith(".pem")]
    assert len({frozenset(sockets[pid] & sockets[master]) for pid in workers}) == 3
    assert Path(f"/proc/{workers[0]}/comm").read_text() == "terminator-w0\n"


def _sockets(pid: int) -> set[str]:
    found = set()
    for fd in os.listdir(f"/proc/{pid}/fd"):
        try:
            name = os.readlink(f"/proc/{pid}/fd/{fd}")
        except FileNotFoundError:
            continue
        if name.startswith("socket:"):
            found.add(name)
    return found


def test_a_killed_worker_is_replaced_and_its_queue_served(daemon: Make) -> None:
    running = daemon(workers=1).start()
    (worker,) = running.workers()
    os.kill(worker, signal.SIGSTOP)
    with running.connect_plain() as waiting:  # in the queue of the worker's socket
        os.kill(worker, signal.SIGKILL)
        event = running.wait_for("server.worker_exited")
        assert event["error.message"] == "killed by SIGKILL"
        assert event["level"] == "error"
        assert (event["server.expected"], event["server.restart_s"]) == (False, 0.0)
        running.wait_for("server.worker_started", count=2)
        secured = running.secure(waiting.sock, "a.test")
        secured.close()
    assert answers(running)


def test_a_worker_asked_to_end_is_replaced_without_an_alarm(daemon: Make) -> None:
    running = daemon(workers=1).start()
    os.kill(running.workers()[0], signal.SIGTERM)
    event = running.wait_for("server.worker_exited")
    assert (event["level"], event["server.expected"], event["error.message"]) == ("info", True, "exit code 0")
    running.wait_for("server.worker_started", count=2)
    assert answers(running)


@pytest.mark.slow
def test_a_stuck_worker_is_replaced(daemon: Make) -> None:
    running = daemon(workers=1).start()
    (worker,) = running.workers()
    os.kill(worker, signal.SIGSTOP)  # SIGABRT does not reach it: the whole way to SIGKILL
    assert "event loop stands still" in running.wait_for("server.notice", {"server.topic": "worker_killed"})["message"]
    assert running.wait_for("server.worker_exited")["error.message"] == "killed by SIGKILL"
    running.wait_for("server.worker_started", count=2)
    assert answers(running)


@pytest.mark.slow
def test_a_reload_that_takes_long_costs_no_worker(daemon: Make, folder: Path) -> None:
    """The configuration includes a pipe that gives nothing for longer than a worker may be silent."""
    running = daemon(workers=2).start()
    pipe = folder / "pipe.yaml"
    os.mkfifo(pipe)
    with running.connect() as client:
        client.request()
        assert client.receive_response().body == b"served"
        running.config_file.write_text(yaml.safe_dump({**running.config, "include": [str(pipe)]}))
        running.signal(signal.SIGHUP)
        assert not threading.Event().wait(STUCK_SECONDS + 1.5), "so long the master listens to nobody"
        pipe.write_text("timeouts: {body_idle: 61s}")
        assert running.wait_for("config.reload")["reload.outcome"] == "ok"
        client.request()
        assert client.receive_response().body == b"served"
    assert not running.all("server.notice", {"server.topic": "worker_killed"})
    assert not running.all("server.worker_exited")


@pytest.mark.slow
def test_a_pause_of_the_whole_machine_costs_no_worker(daemon: Make) -> None:
    """As when a virtual machine or a container is frozen: the clock goes on, nobody beats, the master wakes first."""
    running = daemon(workers=2).start()
    with running.connect() as client:
        client.request()
        assert client.receive_response().body == b"served"
        processes = running.processes()
        for pid in processes:
            os.kill(pid, signal.SIGSTOP)
        assert not threading.Event().wait(STUCK_SECONDS + 2.5)
        os.kill(processes[0], signal.SIGCONT)
        assert not threading.Event().wait(0.5), "the others have not yet been woken"
        for pid in processes[1:]:
            os.kill(pid, signal.SIGCONT)
        client.request()
        assert client.receive_response().body == b"served"
    assert not running.all("server.notice")
    assert not running.all("server.worker_exited")


@pytest.mark.slow
def test_workers_that_keep_dying_end_the_service(daemon: Make) -> None:
    running = daemon(workers=1)
    running.expected_exit = 1
    running.start()
    for death in range(1, 9):
        os.kill(running.wait_for("server.worker_started", count=death)["process.pid"], signal.SIGKILL)
        running.wait_for("server.worker_exited", count=death)
    assert running.wait() == 1
    assert "died 8 times in a row" in running.wait_for("server.drain")["server.reason"]
    assert running.wait_for("server.stop")["process.exit_code"] == 1


def test_without_its_master_a_worker_ends_and_frees_the_socket(daemon: Make) -> None:
    running = daemon()
    running.expected_exit = -signal.SIGKILL
    running.start()
    children = running.processes()[1:]
    assert len(children) == 3
    with running.connect() as kept:
        kept.request()
        kept.receive_response()
        running.signal(signal.SIGKILL)
        eventually(lambda: not any(map(is_running, children)), seconds=10)
    with socket.socket() as sock:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", running.ports["https"]))
        sock.listen()


# ------------------------------------------------------------------------------------------------- logs and rights


def test_sigusr1_reopens_the_log_files_of_all_processes(daemon: Make, folder: Path) -> None:
    file = folder / "all.log"
    running = daemon(log={"handshakes": str(file), "requests": str(file), "lifecycle": "stderr"}).start()
    assert answers(running)
    eventually(lambda: "http.request" in file.read_text())
    file.rename(folder / "old.log")
    running.signal(signal.SIGUSR1)
    eventually(file.exists)
    eventually(lambda: answers(running) and "http.request" in file.read_text())


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
def test_workers_run_as_another_user_and_never_need_the_key(daemon: Make, folder: Path, pair: Any) -> None:
    file = folder / "logs" / "all.log"
    file.parent.mkdir()
    os.chown(file.parent, 65534, 65534)
    running = daemon(
        user="nobody",
        group="nogroup",
        log={"handshakes": str(file), "requests": str(file), "lifecycle": "stderr"},
        admin={"socket": str(folder / "admin.sock")},
    ).start()
    assert stat.S_IMODE(pair.key.stat().st_mode) == 0o600
    assert pair.key.stat().st_uid == 0
    for pid in running.processes()[1:]:
        status = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
        assert status["Uid"].split() == ["65534"] * 4
        assert status["Gid"].split() == ["65534"] * 4
        assert status["Groups"].split() == ["65534"]
        assert status["CapEff"].strip() == "0" * 16
    assert answers(running)
    sock = (folder / "admin.sock").stat()
    assert (stat.S_IMODE(sock.st_mode), sock.st_uid, sock.st_gid) == (0o660, 0, 65534)
    file.rename(file.with_suffix(".1"))
    running.signal(signal.SIGUSR1)
    eventually(lambda: answers(running) and file.exists() and "http.request" in file.read_text())
    assert file.stat().st_uid == 65534


@pytest.mark.parametrize("section", [{"user": "no-such-user"}, {"group": "no-such-group"}])
def test_a_user_that_does_not_exist_is_told(daemon: Make, section: dict[str, str]) -> None:
    running = daemon(**section)
    running.expected_exit = 1
    running.launch()
    assert running.wait() == 1
    assert f"this machine has no {next(iter(section))} 'no-such" in running.story()


def test_a_policy_that_openssl_refuses_leaves_no_socket_behind(daemon: Make, folder: Path) -> None:
    """It is found out when the contexts are built, and the sockets stand by then."""
    path = folder / "web.sock"
    running = daemon(
        listeners=[{"name": "https", "bind": f"unix:{path}"}],
        tls={"ciphers": ["ECDHE-NO-SUCH-SUITE"]},
    )
    running.expected_exit = 2
    running.launch()
    assert running.wait() == 2
    assert "ECDHE-NO-SUCH-SUITE" in running.story()
    assert not path.exists()
    assert not Path(running.config["admin"]["socket"]).exists()


# -------------------------------------------------------------------------------------------------------- the end


def test_a_second_signal_ends_at_once(daemon: Make) -> None:
    running = daemon(timeouts={"drain": "60s"}).start()
    with running.connect_plain() as silent:
        silent.send(b"\x16")
        running.signal(signal.SIGTERM)
        running.wait_for("server.drain")
        running.signal(signal.SIGTERM)
        assert running.wait(10) == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_stop_while_sockets_are_bound_takes_them_down_again(daemon: Make, folder: Path, number: int) -> None:
    """The stop comes while the admin socket is being bound, when the listener's stands already."""
    made = daemon(listeners=[{"name": "https", "bind": f"unix:{folder}/web.sock"}])
    script = (
        "import os, sys\n"
        "from terminator.cli import main\n"
        "from terminator.service import admin_link\n"
        "bind = admin_link.bind\n"
        "def stopped(*arguments):\n"
        f"    assert os.path.exists({str(folder / 'web.sock')!r})\n"
        f"    os.kill(os.getpid(), {int(number)})\n"
        "    return bind(*arguments)\n"
        "admin_link.bind = stopped\n"
        f"sys.exit(main(['run', '--config', {str(made.config_file)!r}]))"
    )
    done = subprocess.run([sys.executable, "-W", "error", "-c", script], capture_output=True, text=True, timeout=60)
    assert (done.returncode, '"event":"server.stop"' in done.stderr) == (0, True), done
    assert not (folder / "web.sock").exists()
    assert not Path(made.config["admin"]["socket"]).exists()


def test_nothing_is_left_behind(daemon: Make, folder: Path) -> None:
    path = folder / "web.sock"
    running = daemon(listeners=[{"name": "https", "bind": f"unix:{path}"}]).start()
    processes = running.processes()
    assert path.exists()
    running.signal(signal.SIGINT)
    assert running.wait() == 0
    assert not any(map(is_running, processes))
    assert not path.exists()
    assert not Path(running.config["admin"]["socket"]).exists()
