"""All that one worker has learnt about backend servers, which outlives generations: what it saw, and what it was told.

Under backend name and server address: health, load, idle connections; under the backend's name whose turn it is, and
how many retries are left. Verdicts of health checks and operators' commands come from outside and may come before the
generation that knows their server, so they are kept.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import trio

from terminator.backend.group import BackendGroup, Standing
from terminator.backend.load import SharedLoad
from terminator.backend.server import Server
from terminator.config import model
from terminator.config.values import TcpAddress
from terminator.routing.balance import policy_named
from terminator.routing.health import Command
from terminator.routing.retries import Budget
from terminator.telemetry.events import Event
from terminator.transport.connect import RememberingResolver


@dataclass(slots=True)
class Heard:
    """What was said about a server elsewhere; kept as it may come before the generation that knows the server."""

    checked: bool | None = None
    command: Command = "up"
    reason: str = ""


class Fleet:
    """All that one worker has learnt about backend servers. `emit` takes events; set it before the first lease.

    shared: how the other workers' loads are known; None when there are no others
    """

    def __init__(self, emit: Callable[[Event], None] = lambda _: None, shared: SharedLoad | None = None) -> None:
        self.emit = emit
        self.shared = shared
        self.resolver = RememberingResolver(30.0)
        """For `trio.socket.set_custom_hostname_resolver`: answers live as long as each backend's `resolve` says."""
        self._heard: dict[tuple[str, str], Heard] = {}
        self._servers: dict[tuple[str, str], Server] = {}
        self._standings: dict[str, Standing] = {}
        self._groups: Mapping[str, BackendGroup] = {}

    def group(self, name: str, backend: model.Backend) -> BackendGroup:
        """The backend as a new generation configures it; nothing changes for the one in force until `adopt`."""
        return BackendGroup(name, backend, self)

    def adopt(self, groups: Mapping[str, BackendGroup]) -> None:
        """These groups are in force now: their rules apply, servers that are in none of them lose their idle
        connections. Requests under way on them finish."""
        self._groups = groups
        now = trio.current_time()
        named = {(name, member.key) for name, group in groups.items() for member in group.members}
        for key in self._servers.keys() - named:
            left = self._servers.pop(key)
            left.gauge = None
            left.configured = False
            left.close()
        for key in self._heard.keys() - named:
            del self._heard[key]
        for name in self._standings.keys() - groups.keys():
            del self._standings[name]
        for name, group in groups.items():
            standing = self._standings[name] = group.standing
            standing.budget.share = group.backend.retries.budget
            rules = group.rules()
            for member in group.members:
                server = member.server
                self._servers[name, member.key] = server
                server.configured = True
                server.health.rules = rules
                if self.shared is not None:
                    server.gauge = self.shared.gauge(name, member.key)
                self._remind(server, self._heard.get((name, member.key)), group, now)
            group.may_choose_anew()
        self.resolver.lifetimes = _lifetimes(groups)

    @staticmethod
    def _remind(server: Server, heard: Heard | None, group: BackendGroup, now: float) -> None:
        """Lets a server have what was heard of it, which it has not got if it is new in this generation."""
        if group.backend.health_check is None:
            server.health.adopt(now, None, "no longer checked")
            if heard is not None:
                heard.checked = None
        if heard is None:
            return
        if heard.checked is not None:
            server.health.adopt(now, heard.checked, heard.reason)
        if heard.command != (server.health.command or "up"):
            server.health.obey(now, heard.command)

    # ----------------------------------------------------------------------------------- health checks and commands

    def probed(self, backend: str, key: str, ok: bool, reason: str) -> bool:
        """A check by this process ended. True when that settles or changes what is thought of the server: the others
        are then to be told, who `hear`."""
        server = self._servers.get((backend, key))
        if server is None:
            return False
        before = server.health.checked
        transition = server.health.probe(trio.current_time(), ok, reason)
        if server.health.checked is before:
            return False
        if transition is not None:
            server.reason = reason
        self._note(backend, key).checked = ok
        self._groups[backend].may_choose_anew()
        return True

    def hear(self, backend: str, key: str, ok: bool, reason: str) -> None:
        """Takes over what the checks of another process found. Who found it has told of it."""
        heard = self._note(backend, key)
        heard.checked, heard.reason = ok, reason
        server = self._servers.get((backend, key))
        if server is not None and self._groups[backend].backend.health_check is not None:
            if server.health.adopt(trio.current_time(), ok, reason) is not None:
                server.reason = reason
            self._groups[backend].may_choose_anew()

    def obey(self, backend: str, key: str, command: Command) -> None:
        """Carries out an operator's command. Who gave it on has told of it."""
        self._note(backend, key).command = command
        server = self._servers.get((backend, key))
        if server is not None:
            if server.health.obey(trio.current_time(), command) is not None:
                server.reason = f"command {command}"
            self._groups[backend].may_choose_anew()

    def _note(self, backend: str, key: str) -> Heard:
        return self._heard.setdefault((backend, key), Heard())

    def server(self, backend: str, configured: model.Server) -> Server:
        """The server learnt under this backend and address, or a new one; `adopt` makes it known."""
        known = self._servers.get((backend, str(configured.address)))
        return known if known is not None else Server(backend, configured.address)

    def standing(self, name: str, backend: model.Backend) -> Standing:
        known = self._standings.get(name)
        if known is not None and known.balance == backend.balance:
            return known
        anew = Standing(
            policy=policy_named(backend.balance, random.random),
            budget=Budget(share=backend.retries.budget),
            balance=backend.balance,
        )
        if known is not None:
            anew.budget, anew.waiting = known.budget, known.waiting
        return anew

    def sweep(self, now: float) -> None:
        """Ends idle connections whose time is over, and gives requests that wait a server that has become available by
        time alone (`down_for` is over). Call about once a second."""
        for name, group in self._groups.items():
            for member in group.members:
                self._servers[name, member.key].sweep(now, group.backend.keepalive.idle_timeout)
            if group.queued:
                group.may_choose_anew()

    def close(self) -> None:
        for server in self._servers.values():
            server.close()


def _lifetimes(groups: Mapping[str, BackendGroup]) -> dict[tuple[str, int], float]:
    """How long the answers for host names are to be used; for a name in two backends the shorter time."""
    found: dict[tuple[str, int], float] = {}
    for group in groups.values():
        for configured in group.backend.servers:
            if isinstance(configured.address, TcpAddress):
                name = (configured.address.host.lower(), configured.address.port)
                found[name] = min(group.backend.resolve, found.get(name, group.backend.resolve))
    return found
