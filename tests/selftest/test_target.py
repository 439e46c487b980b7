from __future__ import annotations

from collections.abc import Callable

import pytest

from terminator.config.values import TcpAddress, UnixAddress
from terminator.errors import ConfigError
from terminator.selftest.target import Realm

Make = Callable[..., Realm]


def test_names_that_lead_to_a_host(realm: Make) -> None:
    found = realm("192.0.2.1, a.test", '"*.b.test"', '"*.c.test"', "terminator-selftest.c.test", "192.0.2.2")
    told = [(one.name, one.sni, one.wildcard) for one in found.subjects]
    assert told == [
        ("192.0.2.1", "a.test", None),
        ("*.b.test", "terminator-selftest.b.test", "terminator-selftest.b.test"),
        ("*.c.test", None, None),  # its only name from here belongs to the next host
        ("terminator-selftest.c.test", "terminator-selftest.c.test", None),
        ("192.0.2.2", None, None),
    ]


def test_the_policy_is_the_hosts_own(realm: Make) -> None:
    found = realm("a.test", ("b.test", "profile: old"), ("c.test", "profile: modern"))
    assert [one.versions for one in found.subjects] == [("1.3", "1.2"), ("1.3", "1.2", "1.1", "1.0"), ("1.3",)]
    assert [len(one.resolved.ciphers) > 0 for one in found.subjects] == [True, True, False]


def test_a_policy_that_cannot_be_is_told(realm: Make) -> None:
    with pytest.raises(ConfigError, match="forward secrecy"):
        realm(("a.test", "ciphers: [AES128-SHA]"))


def test_others_are_neighbours_and_first_those_that_let_anybody_in(realm: Make) -> None:
    wall = "client_auth: {mode: require, ca: ca.pem}"
    found = realm("a.test", ("b.test", wall), "c.test", "d.test", "e.test", "f.test")
    others = {one.name: [other.name for other in found.others(one)] for one in found.subjects}
    assert others["d.test"] == ["e.test", "c.test", "f.test", "b.test"]
    assert others["b.test"] == ["c.test", "a.test", "d.test"]
    two = realm("a.test", ("b.test", wall))
    assert [[other.name for other in two.others(one)] for one in two.subjects] == [["b.test"], ["a.test"]]
    alone = realm("a.test")
    assert alone.others(alone.subjects[0]) == []


LISTENERS = """
  - {name: tcp, bind: "0.0.0.0:8443", proxy_protocol: {trusted: [127.0.0.0/8]}}
  - {name: plain, bind: "127.0.0.1:8080", tls: false}
  - {name: unix, bind: "unix:/run/t.sock"}
  - {name: inherited, bind: "systemd:web"}
  - {name: v6, bind: "[::]:8444"}
"""


def test_where_listeners_are_reached(realm: Make) -> None:
    doors = realm("a.test", addresses={"https": "127.0.0.1:9443"}).doors
    assert [door.address for door in doors] == [TcpAddress("127.0.0.1", 9443)]
    found = {
        door.name: door for door in realm("a.test", listeners=LISTENERS, addresses={"inherited": "[::]:443"}).doors
    }
    assert {name: door.address for name, door in found.items()} == {
        "tcp": TcpAddress("127.0.0.1", 8443),
        "unix": UnixAddress("/run/t.sock"),
        "inherited": TcpAddress("::1", 443),
        "v6": TcpAddress("::1", 8444),
    }
    assert (found["tcp"].trusts("127.0.0.5"), found["tcp"].trusts("192.0.2.1")) == (True, False)
    assert (found["tcp"].speaks_proxy, found["v6"].speaks_proxy) == (True, False)


def test_an_inherited_socket_of_which_nobody_has_told(realm: Make) -> None:
    assert realm("a.test", listeners='[{name: web, bind: "systemd:web"}]').doors == ()


def test_who_answers_strangers(realm: Make) -> None:
    assert realm("a.test").fallback is None
    fallback = realm("a.test", "b.test", more="tls: {unknown_sni: b.test}\nlimits: {handshakes_per_ip: 7}\n")
    assert fallback.fallback is fallback.subjects[1]
    assert fallback.handshakes_per_second == 7
