"""The attacks on a listener, before any host is known: strangers' names, and bytes that are no TLS."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Final

from terminator.selftest.caller import Caller
from terminator.selftest.hello import GROUPS, TLS12, TLS13, TLS13_SUITES, Answer, Offer, client_hello, record
from terminator.selftest.target import STRANGER, Realm
from terminator.selftest.verdict import Fault, Skipped, Verdict, judge

_SUITES: Final = (0xC02B, 0xC02F, 0xC02C, 0xC030, 0xCCA9, 0xCCA8)


class DoorTrial:
    """A listener, and everything that is tried on it by somebody who names no host."""

    def __init__(self, realm: Realm, caller: Caller) -> None:
        self._realm = realm
        self._caller = caller
        self._name = next((subject.sni for subject in realm.subjects if subject.sni is not None), STRANGER)

    def verdicts(self) -> Iterator[Verdict]:
        attacks: dict[str, Callable[[], str]] = {
            "unknown-sni": self.unknown_sni,
            "garbage": self.garbage,
            "malformed-hello": self.malformed_hello,
            "plain-http": self.plain_http,
            "forged-proxy-header": self.forged_proxy_header,
            "missing-proxy-header": self.missing_proxy_header,
        }
        for check, attack in attacks.items():
            yield judge(self._caller.door.name, None, check, attack)

    def unknown_sni(self) -> str:
        if self._realm.fallback is not None:
            raise Skipped(f"tls.unknown_sni lets {self._realm.fallback.name} answer")
        told: list[str] = []
        for name in (STRANGER, None):
            for offer in (
                Offer(name, TLS13, TLS13_SUITES.values(), GROUPS.values()),
                Offer(name, TLS12, _SUITES, GROUPS.values()),
            ):
                answer = self._caller.ask(offer)
                if answer.kind != "alert":
                    raise Fault(f"{'the SNI ' + name if name else 'no SNI'}: {answer}")
                told.append(answer.alert)
        return f"refused: {', '.join(dict.fromkeys(told))}"

    def garbage(self) -> str:
        """Each is refused at once; afterwards the listener answers as before."""
        pieces = (
            bytes(64),
            b"\xff" * 300,
            b"SSH-2.0-selftest\r\n",
            b"\x17\x03\x03\x00\x20" + bytes(32),
            os.urandom(500),
        )
        told = [self._driven_off(f"{piece[:8]!r}…", self._caller.say(piece)) for piece in pieces]
        self._still_there()
        return f"refused: {', '.join(dict.fromkeys(told))}"

    def malformed_hello(self) -> str:
        """Lengths that do not add up, an announced size that nobody sends, and a hello that stops half way."""
        hello = client_hello(Offer(self._name, TLS13, TLS13_SUITES.values(), GROUPS.values()), os.urandom(64))
        longer = bytearray(hello[5:])
        longer[38] += 1  # the length of the session id: everything behind it is read out of step
        cases = (
            ("a hello whose lengths do not add up", record(bytes(longer)), False),
            ("a hello of 16 MiB", b"\x16\x03\x01\x40\x00\x01\xff\xff\xff" + bytes(100), False),
            ("a record of 64 KiB", b"\x16\x03\x01\xff\xff\x01\x00\xff\xfb" + bytes(100), False),
            ("half a hello", hello[: len(hello) // 2], True),
        )
        told = [self._driven_off(what, self._caller.say(data, hang_up=up)) for what, data, up in cases]
        self._still_there()
        return f"refused: {', '.join(dict.fromkeys(told))}"

    def plain_http(self) -> str:
        answer = self._caller.say(f"GET / HTTP/1.1\r\nHost: {self._name}\r\n\r\n".encode("ascii"))
        if answer.kind == "other" and answer.data.startswith(b"HTTP/1.1 400 "):
            return "answered with 400 Bad Request"
        return f"refused: {self._driven_off('plain HTTP', answer)}"

    def forged_proxy_header(self) -> str:
        """Whoever may send one may name any address as his own."""
        with self._caller.connection(preamble=False) as sock:
            if self._caller.trusted(sock):
                raise Skipped("the listener takes this machine for one of its proxies")
        header = b"PROXY TCP4 192.0.2.1 192.0.2.2 50000 443\r\n"
        return f"refused: {self._driven_off('a PROXY header', self._caller.say(header + self._hello()))}"

    def missing_proxy_header(self) -> str:
        """A trusted peer without one: the address that would be logged and limited were the proxy's."""
        with self._caller.connection(preamble=False) as sock:
            if not self._caller.trusted(sock):
                raise Skipped("the listener expects none from this machine")
        answer = self._caller.say(self._hello(), preamble=False)
        return f"refused: {self._driven_off('no PROXY header', answer)}"

    def _hello(self) -> bytes:
        return client_hello(Offer(self._name, TLS13, TLS13_SUITES.values(), GROUPS.values()), os.urandom(64))

    def _driven_off(self, what: str, answer: Answer) -> str:
        if not answer.refused:
            raise Fault(f"{what}: {answer}")
        return str(answer)

    def _still_there(self) -> None:
        answer = self._caller.insist(self._hello())
        if answer.kind in ("closed", "silent", "other"):
            raise Fault(f"an ordinary hello afterwards: {answer}")
