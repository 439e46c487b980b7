"""Sessions to be offered where they do not belong: got from one host, and proved to be good there."""

from __future__ import annotations

import ssl

from terminator.selftest.caller import Caller, Shown
from terminator.selftest.target import Subject


class Tickets:
    """Sessions begun with hosts that let us in, each got once and proved to be good where it is from."""

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._known: dict[tuple[str, str], ssl.SSLSession | None] = {}

    def shown_to(self, subject: Subject) -> Shown:
        """The certificate with which this host is visited where nothing else is being tried."""
        return "own" if subject.requires_certificate and self._caller.identity is not None else "nothing"

    def of(self, subject: Subject, version: str) -> ssl.SSLSession | None:
        """A session of this host that it resumes itself; None when there is none to be had."""
        show = self.shown_to(subject)
        if subject.requires_certificate and show == "nothing":
            return None
        if not subject.policy.tickets or version not in subject.versions:
            return None
        key = (subject.name, version)
        if key not in self._known:
            session = self._caller.meet(subject.sni, version, show=show).session
            good = session is not None and self._caller.meet(subject.sni, version, session=session, show=show).resumed
            self._known[key] = session if good else None
        return self._known[key]

    def why_not(self, subjects: list[Subject], *versions: str) -> str:
        reasons = []
        for subject in subjects:
            if subject.requires_certificate and self._caller.identity is None:
                reasons.append(f"{subject.name} requires a certificate")
            elif not subject.policy.tickets:
                reasons.append(f"{subject.name} issues none")
            elif not set(versions) & set(subject.versions):
                reasons.append(f"{subject.name} does not speak TLS {' or '.join(versions)}")
            else:
                reasons.append(f"{subject.name} does not resume its own")
        return f"no ticket of another host is to be had: {', '.join(reasons)}"
