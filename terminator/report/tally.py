"""What one pass over a log adds up to. Its memory is bounded by what is configured, not by how long the log is.

Keys that clients choose (networks, JA4, offers) stand in tables that drop what is rare (`leaders`); keys that the
configuration gives (hosts, routes, backends) are bounded by a limit that no configuration should meet. Lines that a
sampled log kept (`log.sample`) count for as many as they stand for.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable
from functools import lru_cache
from ipaddress import ip_address, ip_network
from typing import Any

from terminator.report.leaders import Leaders
from terminator.report.sketch import Sketch
from terminator.report.timeline import Timeline

PHASES = ("first_byte", "hello", "select", "flight", "client", "handshake")
"""`handshake` is the sum of the others, `timing.handshake_ms`."""
MAX_GROUPS = 512
MAX_ROUTES = 2048
MAX_NETWORKS = 4096
MAX_CLIENTS = 2048
MAX_OFFERS = 8192
MAX_JOINED = 20_000
MAX_LIFECYCLE = 20
OTHER = "other"

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
        self.failures: Counter[str] = Counter()
        self.software: Counter[str] = Counter()
        """What its requests call themselves (User-Agent)."""


class Failure:
    """One class of failed handshakes."""

    __slots__ = ("count", "example", "openssl", "phases")

    def __init__(self) -> None:
        self.count = 0.0
        self.phases: Counter[str] = Counter()
        self.openssl: Counter[str] = Counter()
        self.example: Event = {}
        """The last one."""


class Route:
    """Requests of one host and route."""

    __slots__ = ("count", "errors", "statuses", "total_ms")

    def __init__(self) -> None:
        self.count = 0.0
        self.statuses: Counter[int | None] = Counter()
        self.errors: Counter[str] = Counter()
        self.total_ms = Sketch()


class Server:
    """Requests that one server of a backend answered, or failed to."""

    __slots__ = ("connect_ms", "count", "errors", "queue_ms", "response_ms", "retries", "reused", "transfer_ms")

    def __init__(self) -> None:
        self.count = 0.0
        self.reused = 0.0
        self.retries = 0.0
        self.errors: Counter[str] = Counter()
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
        self.first = self.last = ""
        self.groups: dict[GroupKey, Group] = {}
        self.failures: dict[str, Failure] = {}
        self.failed = 0.0
        self.negotiated: Counter[str] = Counter()
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
        self.tunnels: Counter[str] = Counter()
        """By who closed them."""
        self.tunnel_ms = Sketch()
        self.timeline = Timeline()
        self.malformed = 0
        self.lost_lines = 0
        self.lifecycle: Counter[str] = Counter()
        self.reloads: list[Event] = []
        self._joined: dict[str, str] = {}
        self._takers: dict[str, Callable[[Event], None]] = {
            "tls.handshake": self._handshake,
            "http.request": self._request,
            "tunnel.closed": self._tunnel,
            "config.reload": self._reload,
            "server.log_dropped": self._dropped,
        }

    def add(self, event: Event) -> None:
        """Raises nothing for a line that is not as it should be: it is counted as far as it makes sense."""
        self.events += 1
        moment = event.get("time")
        if isinstance(moment, str):
            if moment > self.last:
                self.last = moment
            if not self.first or moment < self.first:
                self.first = moment
        kind = str(event["event"])
        taker = self._takers.get(kind)
        if taker is not None:
            try:
                taker(event)
            except (TypeError, ValueError, AttributeError, KeyError, ZeroDivisionError):
                self.malformed += 1
        elif kind in self.lifecycle or len(self.lifecycle) < MAX_GROUPS:
            self.lifecycle[kind] += 1

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
            self.clients.at(ja4).count += 1
            if len(self._joined) >= MAX_JOINED:
                del self._joined[next(iter(self._joined))]
            self._joined[event["conn.id"]] = ja4
        if self.offers is not None:
            offer.established += 1
            key_type, known = get("certificate.key"), str(host) in self.key_types
            if key_type is not None and (known or len(self.key_types) < MAX_ROUTES):
                self.key_types.setdefault(str(host), set()).add(key_type)
        if (exchange := get("tls.group")) is not None:
            self.negotiated[exchange] += 1
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
        kind = str(event.get("error.type"))
        weight = 1 / event.get("log.sample", 1.0)
        found = self.failures.get(kind)
        if found is None:
            found = self.failures.setdefault(kind if len(self.failures) < MAX_GROUPS else OTHER, Failure())
        found.count += weight
        found.phases[str(event.get("error.phase"))] += 1
        reason = event.get("error.openssl")
        if reason is not None and (reason in found.openssl or len(found.openssl) < MAX_GROUPS):
            found.openssl[reason] += 1
        found.example = event
        self.failed += weight
        self.timeline.at(event["time"]).failed += weight
        if ja4 is not None:
            client = self.clients.at(ja4)
            client.count += weight
            client.failures[kind] += 1

    # ---------------------------------------------------------------------------------------------------- requests

    def _request(self, event: Event) -> None:
        get = event.get
        status, error, total = get("http.response.status_code"), get("error.type"), get("timing.total_ms")
        route = self._route((get("host") or "-", get("route") or "-"))
        route.count += 1
        route.statuses[status] += 1
        if error is not None:
            route.errors[error] += 1
        if total is not None:
            route.total_ms.add(total)
        slice = self.timeline.at(event["time"])
        slice.requests += 1
        if status is not None and status >= 500:
            slice.server_errors += 1
        backend = get("backend")
        if backend is not None:
            self._served(event, backend, error)
        if (agent := get("user_agent.original")) is not None and (ja4 := self._joined.pop(event["conn.id"], None)):
            software = self.clients.at(ja4).software
            name = product(agent)
            if name in software or len(software) < MAX_LIFECYCLE:
                software[name] += 1

    def _served(self, event: Event, backend: str, error: str | None) -> None:
        get = event.get
        key = (backend, get("backend.server") or "-")
        server = self.servers.get(key)
        if server is None:
            server = self.servers.setdefault(key if len(self.servers) < MAX_ROUTES else (OTHER, OTHER), Server())
        server.count += 1
        server.retries += get("backend.retries", 0)
        if error is not None:
            server.errors[error] += 1
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
        self.tunnels[str(event.get("tunnel.closed_by"))] += 1
        self.tunnel_ms.add(event["timing.tunnel_ms"])

    def _reload(self, event: Event) -> None:
        self.lifecycle["config.reload"] += 1
        self.reloads = [*self.reloads, event][-MAX_LIFECYCLE:]

    def _dropped(self, event: Event) -> None:
        self.lost_lines += event["log.dropped"]


_PHASE_FIELDS = tuple((phase, f"timing.{phase}_ms") for phase in PHASES)


@lru_cache(maxsize=8192)
def network_of(address: str) -> str:
    """The /24 or /48 of a client address; what is no address stays as it is."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address
    return str(ip_network(f"{address}/{24 if parsed.version == 4 else 48}", strict=False))


_PRODUCTS = re.compile(r"(Edg|OPR|Firefox|SamsungBrowser|Chrome|Version)(?:[A-Za-z]*)/(\d+)")
_NAMES = {"Edg": "Edge", "OPR": "Opera", "Version": "Safari"}


@lru_cache(maxsize=4096)
def product(agent: str) -> str:
    """`Firefox 120`, `curl/8.5.0`: what a User-Agent calls itself, browsers by their real name."""
    if agent.startswith("Mozilla/"):
        for wanted in ("Edg", "OPR", "Firefox", "SamsungBrowser", "Chrome", "Version"):
            for name, version in _PRODUCTS.findall(agent):
                if name == wanted:
                    return f"{_NAMES.get(name, name)} {version}"
    words = agent.split()
    return words[0][:40] if words else "-"
