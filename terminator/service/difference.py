"""The difference between what runs and what a reload would put in force, as values and as texts. Pure.

The dry run, the reload's log event and the answer of the admin socket all show this one difference.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from terminator.config.model import Config, Host
from terminator.config.section import Section
from terminator.tls.material import HostMaterial, Pair

NEEDS_RESTART = ("workers", "user", "group")
"""Settings that only a restart changes: they are made of processes and rights that cannot be had again."""

Kind = Literal["certificate", "host", "route", "backend", "listener", "setting", "client authorities"]


@dataclass(frozen=True, slots=True)
class Change:
    """One thing that is added, removed or changed. `text` is the whole of it in words."""

    kind: Kind
    action: Literal["added", "removed", "changed"]
    name: str
    text: str

    def as_json(self) -> dict[str, str]:
        return {"kind": self.kind, "action": self.action, "name": self.name, "text": self.text}


def difference(
    old: Config, new: Config, old_materials: Mapping[str, HostMaterial], new_materials: Mapping[str, HostMaterial]
) -> list[Change]:
    """Every change, in the order of the configuration; empty when a reload would do nothing."""
    changes = list(_settings(old, new))
    changes += _named("listener", _by_name(old.listeners), _by_name(new.listeners))
    changes += _hosts(old, new, old_materials, new_materials)
    changes += _named("backend", dict(old.backends), dict(new.backends))
    return changes


def needs_restart(old: Config, new: Config) -> list[str]:
    """Keys whose change waits for a restart, each with both values."""
    return [
        f"{key}: runs with {_show(getattr(old, key))}, configured is {_show(getattr(new, key))}"
        for key in NEEDS_RESTART
        if getattr(old, key) != getattr(new, key)
    ]


def _settings(old: Config, new: Config) -> Iterator[Change]:
    apart = {"listeners", "hosts", "backends", "version", "include", *NEEDS_RESTART}
    for key in Config.model_fields:
        if key in apart:
            continue
        for path, before, after in _leaves(key, getattr(old, key), getattr(new, key)):
            yield Change("setting", "changed", path, f"{path}: {_show(before)} → {_show(after)}")


def _named(kind: Kind, old: Mapping[str, Section], new: Mapping[str, Section]) -> Iterator[Change]:
    for name, section in new.items():
        if name not in old:
            yield Change(kind, "added", name, f"{kind} {name}: added{_essence(section)}")
        elif old[name] != section:
            leaves = _leaves("", old[name], section)
            what = "; ".join(f"{path}: {_show(before)} → {_show(after)}" for path, before, after in leaves)
            yield Change(kind, "changed", name, f"{kind} {name}: {what}")
    for name, section in old.items():
        if name not in new:
            yield Change(kind, "removed", name, f"{kind} {name}: removed{_essence(section)}")


def _hosts(
    old: Config, new: Config, old_materials: Mapping[str, HostMaterial], new_materials: Mapping[str, HostMaterial]
) -> Iterator[Change]:
    before = {host.names[0]: host for host in old.hosts}
    after = {host.names[0]: host for host in new.hosts}
    for name, host in after.items():
        if name not in before:
            routes = "1 route" if len(host.routes) == 1 else f"{len(host.routes)} routes"
            yield Change("host", "added", name, f"host {name}: added, {routes}")
            yield from _certificates(name, (), new_materials[name].pairs)
            continue
        yield from _host(name, before[name], host)
        if before[name].tls.model_fields_set or host.tls.model_fields_set:
            # A key that a host writes out counts even when its value is the default: compare what is in force.
            for path, was, will in _leaves("tls", old.policy(before[name]), new.policy(host)):
                yield Change("host", "changed", name, f"host {name}: {path}: {_show(was)} → {_show(will)}")
        yield from _certificates(name, old_materials[name].pairs, new_materials[name].pairs)
        ours, theirs = old_materials[name].authorities, new_materials[name].authorities
        if (ours and ours.digest) != (theirs and theirs.digest):
            yield Change(
                "client authorities", "changed", name, f"host {name}: client authorities or revocation lists changed"
            )
    for name in before:
        if name not in after:
            yield Change("host", "removed", name, f"host {name}: removed")


def _host(name: str, old: Host, new: Host) -> Iterator[Change]:
    for key in Host.model_fields:
        if key in ("routes", "certificates", "tls"):
            continue
        for path, before, after in _leaves(key, getattr(old, key), getattr(new, key)):
            yield Change("host", "changed", name, f"host {name}: {path}: {_show(before)} → {_show(after)}")
    if old.routes == new.routes:
        return
    before_routes = [(_route_name(route), route) for route in old.routes]
    after_routes = [(_route_name(route), route) for route in new.routes]
    for label, route in after_routes:
        if (label, route) in before_routes:
            continue
        known = any(label == other for other, _ in before_routes)
        yield Change(
            "route",
            "changed" if known else "added",
            f"{name} {label}",
            f"host {name}: route {label} {'changed' if known else 'added'}{_essence(route)}",
        )
    labels = [label for label, _ in after_routes]
    for label, route in before_routes:
        if label not in labels:
            yield Change("route", "removed", f"{name} {label}", f"host {name}: route {label} removed{_essence(route)}")
    if [label for label, _ in before_routes] != labels and sorted(label for label, _ in before_routes) == sorted(
        labels
    ):
        yield Change("route", "changed", name, f"host {name}: the order of the routes changed")


def _certificates(name: str, old: tuple[Pair, ...], new: tuple[Pair, ...]) -> Iterator[Change]:
    gone = [pair for pair in old if pair.info.sha256 not in {other.info.sha256 for other in new}]
    for pair in new:
        same = next((other for other in old if other.info.sha256 == pair.info.sha256), None)
        if same is not None:
            if same.digest != pair.digest:
                text = (
                    f"host {name}: {pair.chain_file}: same certificate {_certificate(pair)}, other chain or key bytes"
                )
                yield Change("certificate", "changed", name, text)
            continue
        replaced = next((other for other in gone if other.info.key_type == pair.info.key_type), None)
        if replaced is None:
            yield Change("certificate", "added", name, f"host {name}: {pair.chain_file}: {_certificate(pair)} added")
        else:
            gone.remove(replaced)
            text = f"host {name}: {pair.chain_file}: {_certificate(replaced)} → {_certificate(pair)}"
            yield Change("certificate", "changed", name, text)
    for pair in gone:
        yield Change("certificate", "removed", name, f"host {name}: {pair.chain_file}: {_certificate(pair)} removed")


def _certificate(pair: Pair) -> str:
    return f"serial {pair.info.serial} ({pair.info.key_type}, until {pair.info.not_after:%Y-%m-%d %H:%M} UTC)"


def _route_name(route: Any) -> str:
    """What tells a route from its neighbours: all that it matches."""
    return " ".join(f"{key}={_show(value)}" for key, value in route if key in _MATCHERS and value) or "/"


_MATCHERS = ("path", "exact", "methods", "match_headers", "match_query")


def _by_name(sections: Any) -> dict[str, Any]:
    return {section.name: section for section in sections}


def _essence(section: Section) -> str:
    """What people know a thing by."""
    for key in ("bind", "servers", "backend"):
        value = getattr(section, key, None)
        if value:
            shown = ", ".join(str(server.address) for server in value) if key == "servers" else _show(value)
            return f" ({shown})"
    return ""


def _leaves(path: str, old: object, new: object) -> Iterator[tuple[str, object, object]]:
    """(path, old, new) of the smallest parts that differ."""
    if old == new:
        return
    if isinstance(old, Section) and type(old) is type(new):
        for key in type(old).model_fields:
            yield from _leaves(f"{path}.{key}" if path else key, getattr(old, key), getattr(new, key))
    elif isinstance(old, dict) and isinstance(new, dict):
        for key in dict.fromkeys((*old, *new)):
            yield from _leaves(f"{path}.{key}", old.get(key), new.get(key))
    else:
        yield path, old, new


def _show(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_show, value)) + "]"
    if isinstance(value, Section):
        return "{" + ", ".join(f"{k}: {_show(getattr(value, k))}" for k in sorted(value.model_fields_set)) + "}"
    return str(value)
