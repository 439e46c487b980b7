"""The attacks on one host. Each is a method: it returns what stood in its way, or raises Fault or Skipped.

Only one request may ever reach a backend: a HEAD of a path that nobody serves, to a host that anybody may ask, to see
what the same connection is allowed to do afterwards. Everything else is answered or refused by the daemon itself.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from terminator.selftest.caller import ENDED_FIRST, SILENCE, Caller, Meeting, Shown
from terminator.selftest.hello import (
    EVERY_GROUP,
    EVERY_OLDER_SUITE,
    GROUPS,
    OTHER_TLS13_SUITES,
    SSL3,
    TLS10,
    TLS11,
    TLS12,
    TLS13,
    TLS13_SUITES,
    VERSION_WORDS,
    Answer,
    Offer,
    ssl2_hello,
)
from terminator.selftest.target import STRANGER, Realm, Subject
from terminator.selftest.tickets import Tickets
from terminator.selftest.verdict import Fault, Skipped, Verdict, judge
from terminator.tls.failures import CERTIFICATE_ALERTS
from terminator.tls.suites import known_suites

MISDIRECTED = 421
_LIMITED: Final = "closed before the handshake without an alert, which a limit on connections does too"
_FOR_A_CERTIFICATE: Final = CERTIFICATE_ALERTS | {"handshake_failure", "certificate_required"}
_WIRE: Final = {"1.0": TLS10, "1.1": TLS11, "1.2": TLS12, "1.3": TLS13}


class HostTrial:
    """A host, and everything that is tried on it through one listener."""

    def __init__(self, realm: Realm, subject: Subject, caller: Caller, tickets: Tickets) -> None:
        """tickets: shared by the trials of one listener."""
        self._realm = realm
        self._subject = subject
        self._caller = caller
        self._tickets = tickets
        self._others = realm.others(subject)
        self._show: Shown = tickets.shown_to(subject)
        self._name = subject.sni or ""
        self._versions = [version for version in subject.versions if version in ("1.2", "1.3")]
        resolved = subject.resolved
        numbers = {suite.name: number for number, suite in known_suites().items()}
        self._older_suites = tuple(numbers[name] for name in resolved.ciphers if name in numbers)
        self._groups = tuple(GROUPS[name] for name in resolved.groups) or tuple(GROUPS.values())

    def verdicts(self) -> Iterator[Verdict]:
        for check, attack in self._attacks().items():
            yield judge(self._caller.door.name, self._subject.name, check, attack, nameless=self._subject.sni is None)

    def _attacks(self) -> dict[str, Callable[[], str]]:
        return {
            "serves": self.serves,
            "old-protocols": self.old_protocols,
            "other-ciphers": self.other_ciphers,
            "other-groups": self.other_groups,
            "other-alpn": self.other_alpn,
            "renegotiation": self.renegotiation,
            "other-host": self.other_host,
            "foreign-ticket-1.2": lambda: self.foreign_ticket("1.2"),
            "foreign-ticket-1.3": lambda: self.foreign_ticket("1.3"),
            "foreign-session-id": self.foreign_session_id,
            "no-certificate-fresh": self.no_certificate_fresh,
            "no-certificate-wildcard": self.no_certificate_wildcard,
            "no-certificate-resumed": self.no_certificate_resumed,
            "no-certificate-kept-alive": self.no_certificate_kept_alive,
            "no-certificate-unknown-sni": self.no_certificate_unknown_sni,
            "unknown-authority": self.unknown_authority,
        }

    # -------------------------------------------------------------------------------------------------- protocol

    def serves(self) -> str:
        """Not an attack: that the hellos below are refused means something only if this one is answered."""
        seen = []
        for version in self._subject.versions:
            answer = self._caller.ask(self._good_offer(version))
            if answer.kind != "agreed" or answer.version != _WIRE[version]:
                raise Fault(f"TLS {version} is in the policy, and was answered with: {answer}")
            if answer.cipher not in (self._older_suites if version != "1.3" else TLS13_SUITES.values()):
                raise Fault(f"TLS {version} with a suite that is not in the policy: {answer}")
            seen.append(f"TLS {version}")
        return ", ".join(seen)

    def old_protocols(self) -> str:
        tried = ["SSL 2"]
        self._refused("SSL 2", self._caller.insist(ssl2_hello(bytes(range(16)))))
        lowest = _WIRE[self._subject.resolved.min_version]
        for version in (SSL3, TLS10, TLS11, TLS12):
            if version < lowest:
                word = VERSION_WORDS[version]
                offer = Offer(self._name, version, EVERY_OLDER_SUITE, EVERY_GROUP)
                self._refused(word, self._caller.ask(offer))
                tried.append(word)
        return f"refused: {', '.join(tried)}"

    def other_ciphers(self) -> str:
        count = len(OTHER_TLS13_SUITES)
        offer = Offer(self._name, TLS13, OTHER_TLS13_SUITES, self._groups)
        self._refused("a suite outside the policy", self._caller.ask(offer))
        if "1.2" in self._versions:
            older = tuple(suite for suite in EVERY_OLDER_SUITE if suite not in self._older_suites)
            self._refused("a suite outside the policy", self._caller.ask(Offer(self._name, TLS12, older, EVERY_GROUP)))
            count += len(older)
        return f"refused: {count} suites"

    def other_groups(self) -> str:
        if not self._subject.resolved.groups:
            raise Skipped("groups cannot be set on this Python and OpenSSL")
        others = tuple(group for group in EVERY_GROUP if group not in self._groups)
        offer = Offer(self._name, TLS13, TLS13_SUITES.values(), others)
        self._refused("a group outside the policy", self._caller.ask(offer))
        return f"refused: {len(others)} groups"

    def other_alpn(self) -> str:
        offer = Offer(self._name, TLS13, TLS13_SUITES.values(), self._groups, alpn=("h2", "spdy/3"))
        return f"refused: {self._refused('h2', self._caller.ask(offer))}"

    def renegotiation(self) -> str:
        if "1.2" not in self._versions:
            raise Skipped("TLS 1.3 has none")
        self._need_admission()
        refused = self._caller.renegotiate(self._name, self._show)
        if not refused:
            raise Fault("a second handshake was begun and ended within the connection")
        return f"refused: {refused}"

    # ------------------------------------------------------------------------------------------------- isolation

    def other_host(self) -> str:
        """On a connection that was made for this host, at its first request and later."""
        self._need_others()
        self._need_admission()
        for other in self._others:
            for before in (None, self._name):
                meeting = self._caller.meet(
                    self._name, self._versions[0], host=other.sni or "", before=before, show=self._show
                )
                if meeting.status != MISDIRECTED and meeting.refused != ENDED_FIRST:
                    raise Fault(f"Host {other.sni} under the SNI {self._name}: {_told(meeting)}")
        return f"421 for {_names(self._others)}"

    def foreign_ticket(self, version: str) -> str:
        self._need_others()
        self._need_version(version)
        tried = []
        for other in self._others:
            ticket = self._tickets.of(other, version)
            if ticket is not None:
                show = self._tickets.shown_to(other)
                self._not_resumed(other, self._caller.meet(self._name, version, session=ticket, show=show))
                tried.append(other)
        if not tried:
            raise Skipped(self._tickets.why_not(self._others, version))
        return f"not resumed: tickets of {_names(tried)}"

    def foreign_session_id(self) -> str:
        self._need_others()
        self._need_version("1.2")
        tried = []
        for other in self._others:
            if other.requires_certificate or "1.2" not in other.versions:
                continue
            session = self._caller.meet(other.sni, "1.2", by_id=True).session
            if session is not None:
                self._not_resumed(other, self._caller.meet(self._name, "1.2", session=session, by_id=True))
                tried.append(other)
        if not tried:
            raise Skipped("no other host can be met in TLS 1.2 without a certificate")
        return f"not resumed: sessions of {_names(tried)}"

    def _not_resumed(self, other: Subject, meeting: Meeting) -> None:
        if meeting.resumed:
            raise Fault(f"a session of {other.name} was resumed here")
        if meeting.refused == SILENCE and not meeting.agreed:
            raise Fault(_LIMITED)

    # -------------------------------------------------------------------------------------- client certificates

    def no_certificate_fresh(self) -> str:
        self._need_requirement()
        return self._let_nobody_in(self._name)

    def no_certificate_wildcard(self) -> str:
        self._need_requirement()
        if self._subject.wildcard is None:
            raise Skipped("the host has no wildcard name")
        return self._let_nobody_in(self._subject.wildcard)

    def no_certificate_resumed(self) -> str:
        """With a session that was begun where no certificate is needed."""
        self._need_requirement()
        self._need_others()
        tried = []
        for other in self._others:
            for version in self._versions:
                ticket = None if other.requires_certificate else self._tickets.of(other, version)
                if ticket is not None:
                    self._shut_out(version, self._caller.meet(self._name, version, session=ticket, host=self._name))
                    tried.append(other)
        if not tried:
            raise Skipped(self._tickets.why_not(self._others, *self._versions))
        return f"refused with tickets of {_names(tried)}"

    def no_certificate_kept_alive(self) -> str:
        self._need_requirement()
        tried = []
        for other in self._others:
            if other.requires_certificate:
                continue
            version = next(version for version in other.versions if version in ("1.2", "1.3"))
            for before in (None, other.sni):
                meeting = self._caller.meet(other.sni, version, host=self._name, before=before)
                if meeting.status != MISDIRECTED and meeting.refused != ENDED_FIRST:
                    raise Fault(f"asked for on a connection to {other.name}: {_told(meeting)}")
            tried.append(other)
        if not tried:
            raise Skipped("there is no host that can be met without a certificate")
        return f"421 on connections to {_names(tried)}"

    def no_certificate_unknown_sni(self) -> str:
        self._need_requirement()
        told = ""
        for name in (STRANGER, None):
            for version in ("1.3", "1.2"):
                meeting = self._caller.meet(name, version, host=self._name)
                if meeting.status != MISDIRECTED and meeting.refused != "unrecognized_name":
                    self._shut_out(version, meeting)
                told = told or _told(meeting)
        return f"refused: {told}"

    def unknown_authority(self) -> str:
        """A certificate that its bearer has made himself."""
        if self._subject.policy.client_auth.mode == "none":
            raise Skipped("the host asks for no client certificate")
        told = ""
        for version in self._versions:
            meeting = self._caller.meet(self._name, version, host=self._name, show="forged")
            told = self._shut_out(version, meeting)
        return f"refused: {told}"

    def _let_nobody_in(self, name: str) -> str:
        told = [self._shut_out(version, self._caller.meet(name, version, host=name)) for version in self._versions]
        return f"refused: {', '.join(dict.fromkeys(told))}"

    def _shut_out(self, version: str, meeting: Meeting) -> str:
        """A request was sent, and must not have been answered, not even with an error: nobody was to read it. Whether
        it was for want of a certificate shows in TLS 1.3, where our part is done by then, and in the alert before."""
        if meeting.status is not None:
            raise Fault(f"let in{' by an old session' if meeting.resumed else ''}: {_told(meeting)}")
        if meeting.refused == SILENCE and not meeting.agreed:
            raise Fault(_LIMITED)
        if not meeting.agreed and (version == "1.3" or meeting.refused not in _FOR_A_CERTIFICATE):
            raise Fault(f"refused for another reason than the certificate: {meeting.refused}")
        return meeting.refused

    # ---------------------------------------------------------------------------------------------------- wants

    def _good_offer(self, version: str) -> Offer:
        if version == "1.3":
            return Offer(self._name, TLS13, TLS13_SUITES.values(), self._groups)
        # Before TLS 1.3 the groups also say which curves a certificate may be on (RFC 8422 §5.1), so all are offered.
        return Offer(self._name, _WIRE[version], self._older_suites, EVERY_GROUP)

    def _refused(self, what: str, answer: Answer) -> Answer:
        if not answer.refused:
            raise Fault(f"{what} was not refused: {answer}")
        if answer.kind == "closed":
            raise Fault(f"{what}: closed without an alert, which a limit on connections does too")
        return answer

    def _need_others(self) -> None:
        if not self._others:
            raise Skipped("there is no other host")

    def _need_version(self, version: str) -> None:
        if version not in self._versions:
            raise Skipped(f"the host does not speak TLS {version}")

    def _need_admission(self) -> None:
        if not self._subject.requires_certificate:
            return
        if self._show == "nothing":
            raise Skipped("the host lets nobody in without a certificate, and this test has none (see --cert)")
        if self._caller.meet(self._name, self._versions[0], show=self._show).status is None:
            raise Skipped("the host does not let the certificate in that was given")

    def _need_requirement(self) -> None:
        if not self._subject.requires_certificate:
            raise Skipped("the host requires no client certificate")


def _told(meeting: Meeting) -> str:
    return f"HTTP status {meeting.status}" if meeting.status is not None else meeting.refused


def _names(subjects: list[Subject]) -> str:
    return ", ".join(dict.fromkeys(subject.name for subject in subjects))
