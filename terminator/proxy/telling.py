"""An explanation as a JSON value: what `terminator explain --format json` prints and its text is made from."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import orjson

from terminator.errors import ConfigError
from terminator.proxy.explanation import Explanation
from terminator.proxy.question import Question
from terminator.tls import policy
from terminator.tls.openssl import Capabilities


def tell(asked: Question, story: Explanation, capabilities: Capabilities) -> dict[str, Any]:
    """What is empty or unknown is left out."""
    told: dict[str, Any] = {name: getattr(story, name) for name in Explanation.__dataclass_fields__ if name != "policy"}
    told["tls"] = dict(_policy(story, capabilities))
    kept = {name: value for name, value in told.items() if value not in (None, [], (), {})}
    url = f"{asked.scheme}://{asked.authority}{asked.target}"
    body = {"url": url, "method": asked.method, **({"client": asked.client} if asked.client else {}), **kept}
    value: dict[str, Any] = orjson.loads(orjson.dumps(body))
    return value


def _policy(story: Explanation, capabilities: Capabilities) -> Iterable[tuple[str, str]]:
    """The TLS policy, word by word; nothing when no host was found."""
    if story.policy is None:
        return
    try:
        yield from policy.describe(story.policy, policy.resolve(story.policy, capabilities))
    except ConfigError as error:
        yield "unusable", "; ".join(error.problems)


def with_states(body: dict[str, Any], rows: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Adds to the servers of the backend how the workers see them; rows: `BackendGroup.status` of all workers."""
    backend = body.get("backend")
    if backend is None:
        return body
    by_server: dict[str, list[Mapping[str, Any]]] = {}
    for row in rows:
        if row.get("backend") == backend["name"]:
            by_server.setdefault(str(row.get("server")), []).append(row)
    for server in backend["servers"]:
        seen = by_server.get(server["address"], [])
        if not seen:
            continue
        states = sorted({str(row.get("state")) for row in seen}, key=lambda state: state == "up")
        server["state"] = states[0] if len(states) == 1 else "/".join(states) + ", not the same in all workers"
        reasons = [str(row["reason"]) for row in seen if row.get("reason")]
        if reasons:
            server["reason"] = reasons[0]
        server["in_flight"] = sum(int(row.get("in_flight") or 0) for row in seen)
    return body
