"""What outlives generations: health, connections and commands, whether seen here or told from elsewhere."""

from __future__ import annotations

from typing import Any

import trio

from terminator.backend.fleet import Fleet
from terminator.backend.private import PrivateConnections
from terminator.config import model

ONE, TWO = "127.0.0.1:1", "127.0.0.1:2"


async def test_a_server_keeps_its_record_over_generations(adopt: Any, fleet: Any) -> None:
    before = adopt(ONE, TWO, health_check={})
    fleet.hear("b", ONE, False, "check: refused")
    after = adopt(ONE, health_check={"interval": "1s"})
    assert after.members[0].server is before.members[0].server
    assert after.members[0].server.health.state == "down"
    assert after.members[0].server.reason == "check: refused"
    assert not fleet.events  # who found out has told of it


async def test_without_a_check_its_verdict_counts_no_more(adopt: Any, fleet: Any) -> None:
    adopt(ONE, health_check={})
    fleet.hear("b", ONE, False, "check")
    assert adopt(ONE).members[0].server.health.state == "up"
    assert adopt(ONE, health_check={}).members[0].server.health.checked is None


async def test_what_is_heard_before_the_generation_comes_is_kept(adopt: Any, fleet: Any) -> None:
    fleet.hear("b", ONE, False, "check")
    fleet.obey("b", TWO, "drain")
    group = adopt(ONE, TWO, health_check={})
    assert [member.server.health.state for member in group.members] == ["down", "drain"]
    adopt(TWO)
    assert adopt(ONE, TWO).members[0].server.health.state == "up"  # a server that was away begins anew


async def test_commands_hold_over_generations(adopt: Any, fleet: Any) -> None:
    adopt(ONE)
    fleet.obey("b", ONE, "down")
    health = adopt(ONE, balance="random_two").members[0].server.health
    assert health.state == "maintenance"
    fleet.obey("b", ONE, "up")
    assert health.state == "up"


async def test_a_server_that_leaves_ends_its_idle_connections(adopt: Any, connected: Any) -> None:
    server = adopt(ONE, TWO).members[0].server
    private, (shared, _), (own, _) = PrivateConnections(b"PROXY"), connected(), connected()
    server.keep(shared, trio.current_time(), 8)
    private.keep(server, own, trio.current_time())
    adopt(ONE)
    assert server.idle_connections == 2
    adopt(TWO)
    assert shared.stream.sock.fileno() == own.stream.sock.fileno() == -1
    private.close()


async def test_a_reload_forgives_no_failure(adopt: Any) -> None:
    group = adopt(ONE, TWO)
    health = group.members[0].server.health
    health.record_failure(trio.current_time(), "connect")
    adopt(ONE, TWO)
    assert len(health.failures) == 1


async def test_checks_here_settle_after_fall_and_rise(adopt: Any, fleet: Any) -> None:
    group = adopt(ONE, health_check={"fall": 2, "rise": 2})
    told = [fleet.probed("b", ONE, ok, "check") for ok in (True, False, False, True, True, True)]
    assert told == [True, False, True, False, True, False]
    assert group.members[0].server.health.state == "up"
    assert fleet.probed("b", "127.0.0.1:9", True, "check") is False


async def test_names_are_asked_anew_as_their_backend_says(fleet: Fleet) -> None:
    def backend(resolve: str) -> model.Backend:
        return model.Backend(servers=["Web.example:80", "unix:/x"], resolve=resolve)  # type: ignore[list-item, arg-type]

    fleet.adopt({name: fleet.group(name, backend(seconds)) for name, seconds in (("a", "60s"), ("b", "5s"))})
    assert fleet.resolver.lifetimes == {("web.example", 80): 5.0}
