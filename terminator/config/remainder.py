"""What of a configuration with faults in its form can be judged all the same, so that no fault hides another.

Whatever cannot be read is replaced, by something that is allowed and collides with nothing or by its default, and is
suspect from then on: what is found at or below it may come from the replacement, and is not to be told. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from pydantic import ValidationError

from terminator.config.model import Config
from terminator.config.places import KeyPath
from terminator.config.sentences import near

_SNI: KeyPath = ("tls", "unknown_sni")
_GATES = ("backends", "request_id")
"""Without them much else would be blamed for what it names."""


def remainder(error: ValidationError, values: dict[str, Any]) -> tuple[Config, set[KeyPath]] | None:
    """A configuration without what `error` complains of, and the paths that are suspect in it; None where too much is
    wrong for that.

    values: what was to be the configuration, for this function to change
    """
    faults = [
        (_standing(detail["loc"], values, missing=detail["type"] == "missing"), detail["type"] == "extra_forbidden")
        for detail in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    suspects: set[KeyPath] = set()
    # First what is only taken out, then from below: what is replaced is no more what the other paths lead through.
    for path, unknown in sorted(faults, key=lambda fault: (not fault[1], -len(fault[0]))):
        if len(path) == 1 and (path[0] in _GATES or (unknown and near(str(path[0]), _GATES))):
            return None
        suspects |= _forget(path, values) if unknown else _replace(path, values)
    try:
        config = Config.model_validate(values)
    except ValidationError:
        return None
    if any(path[0] == "tls" for path in suspects):
        suspects |= {("hosts", number, "tls") for number, _ in enumerate(config.hosts)}  # which inherit it
    return config, suspects


def is_suspect(path: KeyPath, suspects: Iterable[KeyPath]) -> bool:
    """Whether what was found at `path` may be the doing of a replacement."""
    return any(path[: len(one)] == one for one in suspects)


def _standing(loc: tuple[str | int, ...], values: Any, *, missing: bool) -> KeyPath:
    """Pydantic's location without its names for types; with the name of what is missing."""
    node = values
    for position, step in enumerate(loc):
        if not (step in node if isinstance(node, dict) else isinstance(node, list) and isinstance(step, int)):
            return loc if missing else loc[:position]
        node = node[step]
    return loc


def _forget(path: KeyPath, values: Any) -> set[KeyPath]:
    """Takes out an unknown key. It may be a misspelt one, whose absence must not be told as well."""
    *above, key = path
    for step in above:
        values = values[step]
    values.pop(key, None)
    whole = not above or (above[0] == "hosts" and len(above) == 2)
    return set() if whole else {tuple(above)}


def _replace(path: KeyPath, values: dict[str, Any]) -> set[KeyPath]:
    """Makes what stands at `path` harmless; returns what is suspect then."""
    match path:
        case ("version",):
            values["version"] = 1
            return set()
        case ("backends", name, *_):
            values["backends"][name] = {"servers": ["unread:1"]}
            return {path[:2]}
        case ("listeners", int(number), *_):
            values["listeners"][number] = _listener(number)
            return {path[:2]}
        case ("listeners",):
            values["listeners"] = [_listener(0)]
            return {path}
        case ("hosts", int(number), *below):
            return _replace_in_host(number, below, values["hosts"])
        case ("hosts",):
            values["hosts"] = [_host(0)]
            return {path, _SNI}
        case (str(section), key, *_) if isinstance(values.get(section), dict):
            values[section].pop(key, None)
            return {(section,)}
        case _:
            values.pop(str(path[0]), None)
            return {path[:1]}


def _replace_in_host(number: int, below: list[str | int], hosts: list[Any]) -> set[KeyPath]:
    host, here = hosts[number], ("hosts", number)
    match below:
        case ["routes", int(place), *_]:
            host["routes"][place] = _route(place)
            return {(*here, "routes", place)}
        case ["names", *_]:
            host["names"] = _host(number)["names"]
            return {(*here, "names"), _SNI}
        case [("routes" | "certificates") as key, *_]:
            host[key] = _host(number)[key]
            return {(*here, key)}
        case [key, *_]:
            host.pop(key, None)
            return {(*here, key)}
        case _:
            hosts[number] = _host(number)
            return {here, _SNI}


def _listener(number: int) -> dict[str, Any]:
    return {"name": f"unread-{number}", "bind": f"systemd:unread-{number}"}


def _host(number: int) -> dict[str, Any]:
    return {
        "names": [f"unread-{number}.invalid"],
        "certificates": [{"chain": "unread", "key": "unread"}],
        "routes": [_route(0)],
    }


def _route(place: int) -> dict[str, Any]:
    return {"exact": f"/unread-{place}", "respond": {}}
