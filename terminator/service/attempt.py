"""The outcome of one reload, the same for everyone who asks: caller, log, service manager, status page."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal

from terminator.service.difference import Change
from terminator.telemetry.events import ConfigReload

Outcome = Literal["ok", "unchanged", "refused", "failed"]
Trigger = Literal["signal", "command", "watch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One reload, or what it would be (`dry_run`).

    refused: something the operator can mend is wrong; failed: it was right and could not be done. In both cases what
    served before serves on, wholly. `generation` is the one in force afterwards.
    """

    outcome: Outcome
    trigger: Trigger
    at: datetime
    generation: int
    duration_ms: float
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()
    needs_restart: tuple[str, ...] = ()
    dry_run: bool = False
    error_type: str | None = field(default=None)

    @property
    def good(self) -> bool:
        return self.outcome in ("ok", "unchanged")

    @property
    def may_pass(self) -> bool:
        """What went wrong may be gone the next time, with every file as it is: a busy worker, an address in use."""
        return self.error_type in ("prepare_failed", "start_failed")

    def event(self) -> ConfigReload:
        return ConfigReload(
            outcome=self.outcome,
            trigger=self.trigger,
            errors=list(self.errors) or None,
            warnings=list(self.warnings) or None,
            changes=[change.text for change in self.changes] or None,
            needs_restart=list(self.needs_restart) or None,
            duration_ms=self.duration_ms,
            error_type=self.error_type,
            generation=self.generation,
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "outcome": self.outcome,
            "dry_run": self.dry_run,
            "trigger": self.trigger,
            "at": self.at.isoformat(),
            "generation": self.generation,
            "duration_ms": self.duration_ms,
            "error_type": self.error_type,
            "errors": list(self.errors),
            "warnings": list(self.warnings),
            "changes": [change.as_json() for change in self.changes],
            "needs_restart": list(self.needs_restart),
        }

    def sentence(self) -> str:
        """For the service manager's STATUS line."""
        clock = f"{self.at:%H:%M:%S} UTC"
        if self.outcome == "ok":
            return f"reloaded {clock}, {len(self.changes)} changes"
        if self.outcome == "unchanged":
            return f"reloaded {clock}, nothing had changed"
        more = f" (and {len(self.errors) - 1} more)" if len(self.errors) > 1 else ""
        first = self.errors[0].splitlines()[0] if self.errors else "for an unknown reason"
        return f"reload {self.outcome} {clock}, generation {self.generation} serves on: {first}{more}"
