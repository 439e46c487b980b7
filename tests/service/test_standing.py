"""From the listeners in force to those of another configuration: what is kept, opened and closed."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from terminator.config.model import Admin, Listener
from terminator.config.values import TcpAddress, UnixAddress
from terminator.errors import StartError
from terminator.service import admin_link, listeners
from terminator.service.standing import Rebound, Standing, fds_for, rebind

NONE = listeners.Inherited({})


def listener(name: str, bind: Any, **settings: Any) -> Listener:
    return Listener.model_construct(name=name, bind=bind, backlog=16, **{"tls": True, **settings})


def candidate(*configs: Listener, admin: Admin | None = None) -> Any:
    return SimpleNamespace(config=SimpleNamespace(listeners=list(configs), admin=admin or Admin()))


@pytest.fixture
def first(port: Callable[[], int]) -> Iterator[Standing]:
    configs = [listener(name, TcpAddress("127.0.0.1", port())) for name in ("a", "b")]
    bound = tuple(listeners.bind(each, 2, NONE) for each in configs)
    yield Standing(1, candidate(*configs), bound, datetime.now(UTC))
    for each in bound:
        each.close()


def to(first: Standing, *configs: Listener, admin: Admin | None = None) -> Rebound:
    return rebind(candidate(*configs, admin=admin), first, admin_link.NOTHING, 2, NONE, -1)


def names(bound: Any) -> list[str]:
    return [each.config.name for each in bound]


def test_what_is_the_same_is_kept_as_it_is(first: Standing) -> None:
    rebound = to(first, *(each.config for each in first.bound))
    assert rebound.bound == first.bound
    assert (rebound.added, rebound.removed, rebound.opened, rebound.closing()) == ((), (), (), [])


def test_one_goes_and_one_comes(first: Standing, port: Callable[[], int]) -> None:
    rebound = to(first, first.bound[0].config, listener("c", TcpAddress("127.0.0.1", port())))
    assert [names(part) for part in (rebound.added, rebound.removed, rebound.opened)] == [["c"], ["b"], ["c"]]
    assert names(rebound.closing()) == ["b"]
    own = [fds_for(worker, rebound) for worker in (0, 1)]
    assert [len(fds) for fds in own] == [1, 1]
    assert own[0] != own[1]
    rebound.abandon()
    assert rebound.opened[0].every_socket()[0].fileno() == -1
    assert first.bound[1].every_socket()[0].fileno() >= 0


def test_other_settings_on_the_same_address_keep_the_sockets(first: Standing) -> None:
    rebound = to(first, first.bound[0].config, listener("b", first.bound[1].config.bind, tls=False))
    assert [names(part) for part in (rebound.added, rebound.removed, rebound.opened)] == [["b"], ["b"], []]
    assert rebound.closing() == []
    assert rebound.bound[1].every_socket() == first.bound[1].every_socket()


def test_two_listeners_may_exchange_their_names(first: Standing) -> None:
    a, b = (each.config.bind for each in first.bound)
    rebound = to(first, listener("b", a), listener("a", b))
    assert rebound.closing() == []
    assert [each.every_socket() for each in rebound.bound] == [each.every_socket() for each in first.bound]


def test_an_overlapping_address_is_bound_beside_our_own(first: Standing) -> None:
    bind = first.bound[0].config.bind
    assert isinstance(bind, TcpAddress)
    rebound = to(first, listener("a", TcpAddress("0.0.0.0", bind.port)))
    assert names(rebound.opened) == ["a"]
    rebound.abandon()


def test_a_fault_closes_what_was_opened_before_it(first: Standing, folder: Path) -> None:
    path = folder / "x.sock"
    with pytest.raises(StartError):
        to(first, listener("x", UnixAddress(str(path))), listener("y", TcpAddress("192.0.2.1", 9)))
    assert not path.exists()
    with pytest.raises(StartError):
        to(first, listener("x", UnixAddress(str(path))), admin=Admin(socket="/nonexistent/folder/x"))
    assert not path.exists()


def test_an_admin_socket_opened_in_vain_is_removed(first: Standing, folder: Path) -> None:
    path = folder / "admin.sock"
    rebound = to(first, *(each.config for each in first.bound), admin=Admin(socket=str(path)))
    assert path.exists()
    rebound.abandon()
    assert not path.exists()
