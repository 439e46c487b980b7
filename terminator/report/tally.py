"""What one pass over a log adds up to. Its memory is bounded by what is configured, not by how long the log is.

Keys that clients choose (networks, JA4, offers) stand in tables that drop what is rare (`leaders`); keys that the
configuration gives (hosts, routes, backends) are bounded by a limit that no configuration should meet. Lines that a
sampled log kept (`log.sample`) count for as many as they stand for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from terminator.report.counts import OTHER, Counts
from terminator.report.leaders import Leaders
from terminator.report.shape import SHAPES
from terminator.report.sketch import Sketch
from terminator.report.software import Joins
from terminator.report.timeline import Timeline

PHASES = ("first_byte", "hello", "select", "flight", "client", "handshake")
"""`handshake` is the sum of the others, `timing.handshake_ms`."""
MAX_GROUPS = 512
MAX_ROUTES = 2048
MAX_NETWORKS = 4096
MAX_CLIENTS = 2048
MAX_OFFERS = 8192
MAX_NAMES = 20
MAX_RELOADS = 20
MIN_SAMPLE = 1e-9

Event = dict[str, Any]
GroupKey = tuple[str | None, bool | None, str | None, str | None]
"""(version, resumed, key type of the certificate, host)"""
OfferKey = tuple[str | None, str | None, str | None, str | None, str | None]
"""(host, JA4, offered versions, groups, ciphers)"""


class Group:
    """Established handshakes that have version, resumption, key type and host in common."""

    __slots__ = ("count", "phases")

    def __init__(self) -> None:
        self.count = 0.0
        self.phases = {phase: Sketch() for phase in PHASES}


class Network:
    """Established handshakes of one client network."""

    __slots__ = ("count", "handshake_ms", "rtt_ms")

    def __init__(self) -> None:
        self.count = 0.0
        self.handshake_ms = Sketch()
        self.rtt_ms = Sketch()


class Client:
    """Client software, told apart by its JA4."""

    __slots__ = ("count", "failures", "software")

    def __init__(self) -> None:
        self.count = 0.0
        """Handshakes, failed ones included."""
        self.failures = Counts()
        self.software: Counter[str] = Counter()
        """What its requests call themselves (User-Agent)."""

    def called(self, name: str) -> None:
        if name in self.software or len(self.software) < MAX_NAMES:
            self.software[name] += 1


class Failure:
    """One class of failed handshakes."""

    __slots__ = ("count", "example", "openssl", "phases", "squares")

    def __init__(self) -> None:
        self.count = 0.0
        self.squares = 0.0
        """Of what each line stands for; more than `count` where the log is sampled."""
        self.phases = Counts()
        self.openssl = Counts()
        self.example: Event = {}
        """The last one."""


class Route:
    """Requests of one host and route."""

    __slots__ = ("count", "errors", "statuses", "total_ms")

    def __init__(self) -> None:
        self.count = 0.0
        self.statuses: Counter[int | None] = Counter()
        self.errors = Counts()
        self.total_ms = Sketch()


class Server:
    """Requests that one server of a backend answered, or failed to."""

    __slots__ = ("connect_ms", "count", "errors", "queue_ms", "response_ms", "retries", "reused", "transfer_ms")

    def __init__(self) -> None:
        self.count = 0.0
        self.reused = 0.0
        self.retries = 0.0
        self.errors = Counts()
        self.queue_ms = Sketch()
        self.connect_ms = Sketch()
        """Of new connections."""
        self.response_ms = Sketch()
        self.transfer_ms = Sketch()


class Offer:
    """Handshakes with the same offer to the same host."""

    __slots__ = ("count", "established")

    def __init__(self) -> None:
        self.count = 0.0
        self.established = 0.0


class Tally:
    """`add` each event; then read the attributes. offers: whether to gather what a policy preview needs."""

    def __init__(self, *, offers: bool = False) -> None:
        self.events = 0
        self.first = self.last = self._second = ""
        self.groups: dict[GroupKey, Group] = {}
        self.failures: dict[str, Failure] = {}
        self.failed = 0.0
        self.negotiated = Counts()
        """Key exchange groups."""
        self.post_quantum: Counter[bool] = Counter()
        """Whether a hybrid group was offered."""
        self.networks: Leaders[str, Network] = Leaders(MAX_NETWORKS, Network)
        self.clients: Leaders[str, Client] = Leaders(MAX_CLIENTS, Client)
        self.offers: Leaders[OfferKey, Offer] | None = Leaders(MAX_OFFERS, Offer) if offers else None
        self.key_types: dict[str, set[str]] = {}
        """Host → key types of the certificates it was seen to serve."""
        self.routes: dict[tuple[str, str], Route] = {}
        self.servers: dict[tuple[str, str], Server] = {}
        self.tunnels = Counts()
        """By who closed them."""
        self.tunnel_ms = Sketch()
        self.timeline = Timeline()
        self.malformed = 0
        self.lost_lines = 0
        self.lifecycle: Counter[str] = Counter()
        self.reloads: list[Event] = []
        self._joins = Joins()
        self._takers: dict[str, Callable[[Event], None]] = {
            "tls.handshake": self._handshake,
            "http.request": self._request,
            "tunnel.closed": self._tunnel,
            "config.reload": self._reload,
            "server.log_dropped": self._dropped,
        }

    def add(self, event: Event) -> None:
        """Raises nothing for a line that is not as it should be: it is `malformed`, and counted as far as it went."""
        self.events += 1
        kind = str(event["event"])
        taker = self._takers.get(kind)
        if taker is not None:
            try:
                if not SHAPES[kind].fits(event):
                    raise ValueError("a value of another type")
                self._note_time(event["time"])
                taker(event)
            except ValueError:
                self.malformed += 1
        else:
            if kind in self.lifecycle or len(self.lifecycle) < MAX_GROUPS:
                self.lifecycle[kind] += 1
            if isinstance(moment := event.get("time"), str):
                with suppress(ValueError):
                    self._note_time(moment)

    # -------------------------------------------------------------------------------------------------- handshakes

    def _handshake(self, event: Event) -> None:
        get = event.get
        host, ja4 = get("host"), get("tls.client.ja4")
        slice = self.timeline.at(event["time"])
        if self.offers is not None:
            versions, groups = get("tls.client.offered_versions"), get("tls.client.offered_groups")
            offer = self.offers.at((host, ja4, versions, groups, get("tls.client.offered_ciphers")))
            offer.count += 1
        if not event["tls.established"]:
            self._failure(event, ja4)
            return
        group = self._group((get("tls.protocol.version"), get("tls.resumed"), get("certificate.key"), host))
        group.count += 1
        total = get("timing.handshake_ms")
        phases = group.phases
        for phase, name in _PHASE_FIELDS:
            value = get(name)
            if value is not None:
                phases[phase].add(value)
        slice.established += 1
        if total is not None:
            slice.handshake_ms.add(total)
        if (address := get("client.address")) is not None:
            network = self.networks.at(network_of(address))
            network.count += 1
            if total is not None:
                network.handshake_ms.add(total)
            if (rtt := get("timing.rtt_ms")) is not None:
                network.rtt_ms.add(rtt)
        if ja4 is not None:
            client = self.clients.at(ja4)
            client.count += 1
            if (told := self._joins.handshake(get("conn.id"), ja4)) is not None:
                client.called(told)
        if self.offers is not None:
            offer.established += 1
            key_type, known = get("certificate.key"), str(host) in self.key_types
            if key_type is not None and (known or len(self.key_types) < MAX_ROUTES):
                self.key_types.setdefault(str(host), set()).add(key_type)
        if (exchange := get("tls.group")) is not None:
            self.negotiated.add(exchange)
        if (offered := get("tls.client.offered_pq")) is not None:
            self.post_quantum[offered] += 1

    def _group(self, key: GroupKey) -> Group:
        found = self.groups.get(key)
        if found is None:
            if len(self.groups) >= MAX_GROUPS:
                key = (key[0], key[1], key[2], OTHER)
            found = self.groups.setdefault(key, Group())
        return found

    def _failure(self, event: Event, ja4: str | None) -> None:
        weight = _weight(event)
        kind = str(event.get("error.type"))
        if kind not in self.failures and len(self.failures) >= MAX_GROUPS:
            kind = OTHER
        found = self.failures.setdefault(kind, Failure())
        found.count += weight
        found.squares += weight * weight
        found.phases.add(str(event.get("error.phase")), weight)
        if (reason := event.get("error.openssl")) is not None:
            found.openssl.add(reason, weight)
        found.example = event
        self.failed += weight
        self.timeline.at(event["time"]).failed += weight
        if ja4 is not None:
            client = self.clients.at(ja4)
            client.count += weight
            client.failures.add(kind, weight)

    # ---------------------------------------------------------------------------------------------------- requests

    def _request(self, event: Event) -> None:
        get = event.get
        status, error, total = get("http.response.status_code"), get("error.type"), get("timing.total_ms")
        if status is not None and not 100 <= status <= 999:
            raise ValueError("no status")
        route = self._route((get("host") or "-", get("route") or "-"))
        route.count += 1
        route.statuses[status] += 1
        if error is not None:
            route.errors.add(error)
        if total is not None:
            route.total_ms.add(total)
        slice = self.timeline.at(event["time"])
        slice.requests += 1
        if status is not None and status >= 500:
            slice.server_errors += 1
        backend = get("backend")
        if backend is not None:
            self._served(event, backend, error)
        agent = get("user_agent.original")
        if agent is not None and (joined := self._joins.request(get("conn.id"), agent)) is not None:
            ja4, name = joined
            self.clients.at(ja4).called(name)

    def _served(self, event: Event, backend: str, error: str | None) -> None:
        get = event.get
        key = (backend, get("backend.server") or "-")
        server = self.servers.get(key)
        if server is None:
            server = self.servers.setdefault(key if len(self.servers) < MAX_ROUTES else (OTHER, OTHER), Server())
        server.count += 1
        server.retries += get("backend.retries") or 0
        if error is not None:
            server.errors.add(error)
        if get("backend.reused"):
            server.reused += 1
        elif (connect := get("timing.connect_ms")) is not None:
            server.connect_ms.add(connect)
        if (queue := get("timing.queue_ms")) is not None:
            server.queue_ms.add(queue)
        if (response := get("timing.response_ms")) is not None:
            server.response_ms.add(response)
        if (transfer := get("timing.transfer_ms")) is not None:
            server.transfer_ms.add(transfer)

    def _route(self, key: tuple[str, str]) -> Route:
        found = self.routes.get(key)
        if found is None:
            found = self.routes.setdefault(key if len(self.routes) < MAX_ROUTES else (OTHER, OTHER), Route())
        return found

    # ------------------------------------------------------------------------------------------------------- others

    def _tunnel(self, event: Event) -> None:
        self.tunnel_ms.add(event["timing.tunnel_ms"])
        self.tunnels.add(str(event.get("tunnel.closed_by")))

    def _reload(self, event: Event) -> None:
        self.lifecycle["config.reload"] += 1
        self.reloads = [*self.reloads, event][-MAX_RELOADS:]

    def _dropped(self, event: Event) -> None:
        self.lost_lines += event["log.dropped"]

    def _note_time(self, moment: str) -> None:
        if (second := moment[:19]) != self._second:
            if not _SECOND.fullmatch(second):
                raise ValueError("no time")
            self._second = second
        if moment > self.last:
            self.last = moment
        if moment < self.first or not self.first:
            self.first = moment


_SECOND = re.compile(r"(?:19[7-9]|2\d\d)\d-\d\d-\d\dT\d\d:\d\d:\d\d", re.ASCII)
"""How a time begins, as the journal writes it."""


def _weight(failure: Event) -> float:
    """How many failures the line stands for. ValueError when it says what no configuration can have."""
    share = failure.get("log.sample")
    if share is None:
        return 1.0
    if not MIN_SAMPLE <= share <= 1:
        raise ValueError("no share")
    return 1 / float(share)


_PHASE_FIELDS = tuple((phase, f"timing.{phase}_ms") for phase in PHASES)


@lru_cache(maxsize=8192)
def network_of(address: str) -> str:
    """The /24 or /48 of a client address; what is no address stays as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network(f"{address}/{24 if parsed.version == 4 else 48}", strict=False))
