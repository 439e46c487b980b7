"""What is in force, as the master holds it: new workers are forked from it, a reload replaces it whole."""

from __future__ import annotations

import pickle
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from terminator.config.values import TcpAddress
from terminator.proxy.generation import Plan
from terminator.service import admin_link, listeners, messages
from terminator.service.admin_link import AdminSockets
from terminator.service.candidate import Candidate
from terminator.service.listeners import Bound, Inherited


@dataclass(frozen=True, slots=True)
class Standing:
    """One generation with everything that a worker of it needs."""

    number: int
    candidate: Candidate
    bound: tuple[Bound, ...]
    since: datetime

    @property
    def plan(self) -> Plan:
        return Plan(self.number, self.candidate.config, self.candidate.materials)


@dataclass(frozen=True, slots=True)
class Rebound:
    """The listeners of another configuration: which are kept, which are new, which go."""

    bound: tuple[Bound, ...]
    added: tuple[Bound, ...]
    """New ones, and those whose settings changed; workers replace the latter."""
    removed: tuple[Bound, ...]
    opened: tuple[Bound, ...]
    """Those whose sockets were bound just now."""
    admin_before: AdminSockets
    admin: AdminSockets

    def listen(self) -> None:
        """Opens the queues of new sockets, and gives those that stay the length they are to have now; StartError."""
        for each in self.bound:
            each.listen()

    def abandon(self) -> None:
        """Closes what was opened in vain."""
        for each in self.opened:
            each.close()
        self.admin.close(keep=self.admin_before)

    def closing(self) -> Iterable[Bound]:
        """What nobody needs after the commit."""
        kept = {id(sock) for each in self.bound for sock in each.every_socket()}
        return [each for each in self.removed if not any(id(sock) in kept for sock in each.every_socket())]


def rebind(
    candidate: Candidate, standing: Standing, admin: AdminSockets, workers: int, inherited: Inherited, admin_gid: int
) -> Rebound:
    """Binds what `candidate` needs and `standing` has not; an address that stays keeps its sockets and their queues.
    Raises StartError and then has changed nothing."""
    old_by_address = {str(each.config.bind): each for each in standing.bound}
    wanted = {str(each.bind) for each in candidate.config.listeners}
    going_ports = {
        each.config.bind.port
        for address, each in old_by_address.items()
        if address not in wanted and isinstance(each.config.bind, TcpAddress)
    }
    bound: list[Bound] = []
    opened: list[Bound] = []
    try:
        for config in candidate.config.listeners:
            known = old_by_address.get(str(config.bind))
            if known is not None:
                bound.append(known if known.config == config else known.with_config(config))
                continue
            # From `[::]:443` to `0.0.0.0:443`: our own old sockets are no stranger's.
            ours = isinstance(config.bind, TcpAddress) and config.bind.port in going_ports
            fresh = listeners.bind(config, workers, inherited, beside_our_own=ours)
            opened.append(fresh)
            bound.append(fresh)
        before = (standing.candidate.config.admin, admin)
        new_admin = admin_link.bind(candidate.config.admin, inherited, admin_gid, before)
    except BaseException:
        for each in opened:
            each.close()
        raise
    known_objects = {id(each) for each in standing.bound}
    new_objects = {id(each) for each in bound}
    return Rebound(
        bound=tuple(bound),
        added=tuple(each for each in bound if id(each) not in known_objects),
        removed=tuple(each for each in standing.bound if id(each) not in new_objects),
        opened=tuple(opened),
        admin_before=admin,
        admin=new_admin,
    )


def prepare_frame(after: Standing, before: Standing, rebound: Rebound) -> bytes:
    """The `Prepare` for every worker, pickled once; materials that workers have already are left out."""
    old = before.candidate.materials
    changed = {
        host: material
        for host, material in after.candidate.materials.items()
        if host not in old or old[host] != material
    }
    message = messages.Prepare(
        number=after.number,
        config=after.candidate.config if after.candidate.config is not before.candidate.config else None,
        hosts=tuple(after.candidate.materials),
        changed=changed,
        added=tuple(messages.NewListener(each.config, len(each.sockets_of(0))) for each in rebound.added),
        removed=tuple(each.config.name for each in rebound.removed),
    )
    return pickle.dumps(message, protocol=pickle.HIGHEST_PROTOCOL)


def fds_for(worker: int, rebound: Rebound) -> list[int]:
    """The sockets that go with `prepare_frame`."""
    return [sock.fileno() for each in rebound.added for sock in each.sockets_of(worker)]
