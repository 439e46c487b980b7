"""Answers `explain` for what is in force: the configuration and certificates as served, the servers as they are now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from terminator.errors import CertificateError
from terminator.proxy.explanation import ReadPair, explain
from terminator.proxy.question import Question, question
from terminator.proxy.telling import tell, with_states
from terminator.service.standing import Standing
from terminator.tls.material import Materials, Pair
from terminator.tls.openssl import Capabilities

Asked = Mapping[str, Any]


def question_of(query: Asked) -> Question:
    """The question that a query string asks, each of its parameters a list. Raises ValueError."""

    def last(name: str) -> str | None:
        values = query.get(name)
        return str(values[-1]) if isinstance(values, list) and values else None

    url = last("url")
    if url is None:
        raise ValueError("ask /explain?url=https://NAME/PATH, with method, header, sni and client if need be")
    headers = query.get("header")
    fields = [str(line).partition(":") for line in headers] if isinstance(headers, list) else []
    if any(not colon or not text.isprintable() for _, colon, text in fields):
        raise ValueError("a header is `Name: value`")
    return question(
        url,
        method=last("method") or "GET",
        headers=[(name.strip(), value.strip()) for name, _, value in fields],
        sni=last("sni"),
        client=last("client") or "",
    )


def explained(
    asked: Question, standing: Standing, capabilities: Capabilities, rows: Iterable[Mapping[str, Any]]
) -> dict[str, Any]:
    """The body of /explain. rows: the backends as the workers report them."""
    candidate = standing.candidate
    story = explain(candidate.config, asked, _served(candidate.materials), datetime.now(UTC))
    return {"generation": standing.number, **with_states(tell(asked, story, capabilities), rows)}


def _served(materials: Materials) -> ReadPair:
    """The certificates that are served, whatever lies on disk by now."""
    pairs: dict[tuple[str, str], Pair] = {
        (pair.chain_file, pair.key_file): pair for material in materials.values() for pair in material.pairs
    }

    def read(chain: str, key: str) -> Pair:
        found = pairs.get((chain, key))
        if found is None:
            raise CertificateError(f"{chain}: not served")
        return found

    return read
