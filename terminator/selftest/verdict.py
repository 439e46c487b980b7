"""What a check came to, and the words it is told in."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

Outcome = Literal["pass", "FAIL", "skipped"]


@dataclass(frozen=True, slots=True)
class Verdict:
    """host is None for what concerns a listener alone. detail: what was seen, or why nothing was tried."""

    listener: str
    host: str | None
    check: str
    outcome: Outcome
    detail: str

    def as_json(self) -> dict[str, str]:
        value = {"listener": self.listener, "host": self.host, "check": self.check}
        value |= {"outcome": self.outcome.lower(), "detail": self.detail}
        return {key: text for key, text in value.items() if text is not None}


class Fault(Exception):
    """The attack came through, or it cannot be told that it did not. The text says what was seen."""


class Skipped(Exception):
    """There is nothing to attack, or no way to try it from here. The text says why."""


def judge(listener: str, host: str | None, check: str, attack: Callable[[], str], *, nameless: bool = False) -> Verdict:
    """Carries one attack out."""
    try:
        if nameless:
            raise Skipped("the host has only IP addresses, which no client can name in its SNI")
        return Verdict(listener, host, check, "pass", attack())
    except Fault as fault:
        return Verdict(listener, host, check, "FAIL", str(fault))
    except Skipped as reason:
        return Verdict(listener, host, check, "skipped", str(reason))
