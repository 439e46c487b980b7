"""Forked for real: what a child keeps, what it is called, whom it runs as, how its end is told."""

from __future__ import annotations

import os
import resource
import signal
import socket
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from terminator.errors import StartError
from terminator.service import children
from terminator.service.children import Identity, describe_exit, identity


def run(look: Callable[[], str], *, keep: tuple[int, ...] = (), become: Identity | None = None) -> tuple[str, str]:
    """(what `look` returned in the child, how it ended)."""
    reader, writer = os.pipe()

    def child(channel: socket.socket) -> int:
        os.write(writer, look().encode())
        return 7

    pid, end = children.fork(child, title="terminator-test-long", keep=(*keep, writer), become=become)
    os.close(writer)
    with os.fdopen(reader) as answer:
        text = answer.read()
    _, status = os.waitpid(pid, 0)
    end.close()
    return text, describe_exit(status)


def test_it_ends_with_the_code_that_it_returns() -> None:
    assert run(lambda: "x") == ("x", "exit code 7")


def test_it_keeps_what_it_is_given_and_nothing_else() -> None:
    with socket.socket() as wanted, socket.socket() as unwanted:

        def look() -> str:
            fds = set()
            for name in os.listdir("/proc/self/fd"):
                try:
                    os.fstat(int(name))
                    fds.add(int(name))
                except OSError:
                    continue
            return f"{wanted.fileno() in fds} {unwanted.fileno() in fds} {len(fds)}"

        assert run(look, keep=(wanted.fileno(),))[0] == "True False 6", "with 0 to 2, its channel and the test's pipe"


def test_it_has_a_name_no_core_and_default_signals() -> None:
    def look() -> str:
        return repr(
            [
                Path("/proc/self/comm").read_text().strip(),
                resource.getrlimit(resource.RLIMIT_CORE),
                signal.getsignal(signal.SIGINT) is signal.SIG_IGN,
                signal.getsignal(signal.SIGTERM) is signal.SIG_DFL,
                signal.pthread_sigmask(signal.SIG_BLOCK, ()),
            ]
        )

    assert run(look)[0] == "['terminator-test', (0, 0), True, True, set()]"


def test_an_exception_is_told_and_is_an_exit_code(capfd: pytest.CaptureFixture[str]) -> None:
    def look() -> str:
        sys.stderr = os.fdopen(2, "w", closefd=False)  # pytest's own goes elsewhere, to a descriptor that is now closed
        raise RuntimeError("a defect")

    assert run(look)[1] == f"exit code {children.CRASHED}"
    assert "RuntimeError: a defect" in capfd.readouterr().err


@pytest.mark.root
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can change its user")
def test_root_is_given_up_for_good() -> None:
    def look() -> str:
        try:
            os.setuid(0)
        except PermissionError:
            return f"{os.getresuid()} {os.getresgid()} {os.getgroups()}"
        return "root again"

    become = identity("nobody", "nogroup")
    assert become is not None
    assert run(look, become=become)[0] == "(65534, 65534, 65534) (65534, 65534, 65534) [65534]"


def test_without_user_and_group_children_stay_what_the_master_is() -> None:
    assert identity(None, None) is None


@pytest.mark.parametrize(("user", "group"), [("no-such-user", None), (None, "no-such-group")])
def test_a_stranger_is_refused_with_the_remedy(user: str | None, group: str | None) -> None:
    with pytest.raises(StartError, match="create it"):
        identity(user, group)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody who is not root")
def test_only_root_can_start_others() -> None:
    def look() -> str:
        try:
            return str(identity("daemon", None))
        except StartError as error:
            return str(error)

    nobody = Identity(65534, 65534, (65534,))
    assert "only root can start workers as daemon" in run(look, become=nobody)[0]
    assert run(lambda: str(identity("nobody", "nogroup")), become=nobody)[0] == "None", "it is nobody already"


@pytest.mark.parametrize(
    ("status", "text"),
    [(0, "exit code 0"), (256, "exit code 1"), (9, "killed by SIGKILL"), (64, "killed by signal 64")],
)
def test_the_end_in_words(status: int, text: str) -> None:
    assert describe_exit(status) in (text, "killed by SIGRTMAX")
