"""One TLS handshake under a deadline: ClientHello first, then the host's own context, with a clock on every phase.

Host and policy are chosen before OpenSSL sees a byte, because a context that is exchanged in `sni_callback` silently
keeps the first one's client authentication and versions (the class of CVE-2025-23419). OpenSSL then works on the socket
itself; it reads the same bytes again, and its alerts go straight to the wire.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

import trio

from terminator.errors import ClientGone, HandshakeError
from terminator.record import record
from terminator.tls import openssl, shown
from terminator.tls.alerts import alert_record
from terminator.tls.failures import classify
from terminator.tls.handshake_facts import HandshakeFacts, HandshakeFailed
from terminator.tls.openssl import Capabilities
from terminator.tls.preface import EndOfInput, look
from terminator.tls.stream import TlsStream
from terminator.transport.alarms import Alarm, Alarms
from terminator.transport.stream import Stream
from terminator.wire import client_hello, proxy_header, replies
from terminator.wire.client_hello import MAX_BYTES, ClientHello, HelloError
from terminator.wire.client_side import ClientCertificate

LINGER_SECONDS = 1.0
"""How long a refused client may take to read why. Its unread bytes would turn our close into a reset, which destroys
the alert on its way (RFC 9112 §9.6 describes it for HTTP)."""


@dataclass(frozen=True, slots=True, eq=False)
class Choice:
    """The host that answers this hello; the same for all its connections.

    host: its name for the log. alpn: what it speaks; a client that offers only other protocols is refused, one that
    offers none is not. certificates: serial number by key type. admit: looks at the established connection, returns
    the client's certificate if any, may raise HandshakeError. in_thread: its key is so slow that one signature would
    hold up the loop.
    """

    context: ssl.SSLContext
    host: str
    alpn: tuple[bytes, ...] = ()
    certificates: Mapping[str, str] = field(default_factory=dict)
    admit: Callable[[ssl.SSLSocket], ClientCertificate | None] | None = None
    in_thread: bool = False


@dataclass(frozen=True, slots=True)
class Refusal:
    """Nobody answers this hello. reason: a class of `failures.FAILURES`; its alert is sent where it has one."""

    reason: str
    detail: str
    host: str | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Passthrough:
    """The connection is for somebody else, untouched (`acme-tls/1`)."""

    tag: Any
    host: str | None = None


Choose = Callable[[ClientHello], Choice | Refusal | Passthrough]


@record
class Established:
    """alarm: the handshake's, off now; whoever goes on with the connection uses it on, and ends it at last."""

    stream: TlsStream
    choice: Choice
    facts: HandshakeFacts
    alarm: Alarm


@dataclass(frozen=True, slots=True, eq=False)
class PassedThrough:
    """Nothing has been consumed: whoever reads `sock` next sees the ClientHello."""

    sock: socket.socket
    choice: Passthrough
    facts: HandshakeFacts


async def handshake(
    sock: socket.socket,
    *,
    accepted_at: float,
    deadline_seconds: float,
    alarms: Alarms,
    choose: Choose,
    capabilities: Capabilities | None = None,
) -> Established | PassedThrough:
    """Takes over `sock` (connected, non-blocking); hands it on inside the result, or has closed it when it raises.

    accepted_at is by trio's clock, and deadline_seconds count from it, watched by `alarms`. Raises HandshakeFailed,
    which carries the facts for the log; by then the client has been told as far as it can be. What `choose` raises is
    passed on as it is.
    """
    attempt = _Attempt(sock, HandshakeFacts(accepted_at), capabilities or NOTHING_PROVED, deadline_seconds, alarms)
    attempt.alarm.set(accepted_at + deadline_seconds)
    try:
        try:
            hello = await attempt.read_hello()
            choice = attempt.select(hello, choose)
            if isinstance(choice, Passthrough):
                return attempt.pass_on(choice)
            return await attempt.shake_hands(hello, choice)
        except HandshakeError as caught:
            error = caught
            attempt.alarm.end()
        attempt.facts.finish()
        attempt.facts.ask_kernel(attempt.sock)
        await attempt.say_goodbye(error)
    except BaseException:
        attempt.alarm.end()
        attempt.sock.close()
        raise
    attempt.sock.close()
    raise HandshakeFailed(error, attempt.facts) from error.__cause__


class _Attempt:
    """`sock` is replaced when OpenSSL takes the descriptor over; `answer` is what we ourselves send to a failure."""

    __slots__ = ("alarm", "answer", "capabilities", "deadline_seconds", "facts", "late", "sock")

    def __init__(
        self,
        sock: socket.socket,
        facts: HandshakeFacts,
        capabilities: Capabilities,
        deadline_seconds: float,
        alarms: Alarms,
    ) -> None:
        self.sock = sock
        self.alarm = Alarm(alarms, self.time_is_up)
        self.deadline_seconds = deadline_seconds
        self.late = False
        self.facts = facts
        self.capabilities = capabilities
        self.answer = b""

    async def read_hello(self) -> ClientHello:
        facts = self.facts
        try:
            hello = await look(self.sock, client_hello.parse, self._hello_begins, self._wait_readable)
        except HelloError as refusal:
            raise self._unreadable(refusal) from refusal
        except EndOfInput:
            text = "the client closed before its ClientHello was whole"
            if facts.phase == "first_byte":
                text = "the client closed without a word"
            raise HandshakeError("client_closed", facts.phase, text) from None
        except OSError as broken:
            raise classify(broken, facts.phase) from broken
        facts.hello = hello
        facts.turn("select")
        return hello

    def _hello_begins(self) -> None:
        self.facts.turn("hello")

    def select(self, hello: ClientHello, choose: Choose) -> Choice | Passthrough:
        choice = choose(hello)
        self.facts.host = choice.host
        if isinstance(choice, Refusal):
            raise self._refused(choice.reason, "select", choice.detail)
        if isinstance(choice, Choice):
            offered = hello.offer.alpn
            if offered and choice.alpn and set(offered).isdisjoint(choice.alpn):
                theirs, ours = hello.offer.alpn_text or "nothing known", b", ".join(choice.alpn).decode()
                text = f"the client offers {theirs}, the host speaks {ours}"
                raise self._refused("no_application_protocol", "select", text)
        return choice

    def pass_on(self, choice: Passthrough) -> PassedThrough:
        self.facts.finish()
        self.alarm.end()
        return PassedThrough(self.sock, choice, self.facts)

    async def shake_hands(self, hello: ClientHello, choice: Choice) -> Established:
        facts = self.facts
        facts.turn("flight")
        try:
            tls = choice.context.wrap_socket(
                self.sock, server_side=True, do_handshake_on_connect=False, suppress_ragged_eofs=False
            )
            self.sock = tls
            while True:
                try:
                    if choice.in_thread:
                        await trio.to_thread.run_sync(tls.do_handshake)
                    else:
                        tls.do_handshake()
                    break
                except ssl.SSLWantReadError:
                    facts.turn("client")
                    await self._wait(trio.lowlevel.wait_readable)
                except ssl.SSLWantWriteError:
                    facts.turn("client")
                    await self._wait(trio.lowlevel.wait_writable)
                facts.turn("flight")
        except OSError as broken:
            if isinstance(self.sock, ssl.SSLSocket):
                facts.shown = shown.shown(self.sock)
            raise classify(broken, "handshake", tls13=_would_be_tls13(hello, choice.context)) from broken
        self._note_agreement(tls, hello, choice)
        if choice.admit is not None:
            self._admit(tls, choice.admit)
        facts.finish()
        facts.spans.setdefault("client", 0.0)  # its answer was there before OpenSSL had asked for it: no wait at all
        self.alarm.off()
        return Established(TlsStream(tls, ends_alone=self.capabilities.close_notify), choice, facts, self.alarm)

    def _admit(self, tls: ssl.SSLSocket, admit: Callable[[ssl.SSLSocket], ClientCertificate | None]) -> None:
        try:
            self.facts.client_certificate = admit(tls)
        except HandshakeError:
            self.facts.shown = shown.shown(tls)
            raise
        if self.capabilities.messages and tls.context.verify_mode != ssl.CERT_NONE:
            shown.ignore(tls)

    def _note_agreement(self, tls: ssl.SSLSocket, hello: ClientHello, choice: Choice) -> None:
        facts = self.facts
        cipher = tls.cipher()
        facts.cipher = cipher[0] if cipher else None
        version = tls.version() or ""
        facts.protocol_version = VERSIONS.get(version, version) or None
        facts.resumed = tls.session_reused
        if hello.offer.alpn:
            facts.alpn = tls.selected_alpn_protocol()
        if self.capabilities.group_name:
            facts.group = openssl.group_name(tls)
        if not facts.resumed:  # else no certificate was shown
            self._note_certificate(tls, choice.certificates)

    def _note_certificate(self, tls: ssl.SSLSocket, certificates: Mapping[str, str]) -> None:
        """Which one was served, when there is a choice and it can be known."""
        facts = self.facts
        if len(certificates) == 1:
            [(facts.certificate_key, facts.certificate_serial)] = certificates.items()
        elif self.capabilities.served_key_type:
            facts.certificate_key = openssl.served_key_type(tls)
            facts.certificate_serial = certificates.get(facts.certificate_key or "")

    def _unreadable(self, refusal: HelloError) -> HandshakeError:
        reason: str = refusal.reason
        if reason == "not_tls" and proxy_header.could_be(self.sock.recv(16, socket.MSG_PEEK)):
            return HandshakeError("proxy_header_unexpected", "hello", "a PROXY header from a peer that is not trusted")
        if reason in ("plain_http", "http_proxy_request"):
            self.answer = replies.PLAIN_HTTP_ON_TLS_PORT
            return HandshakeError(reason, "hello", str(refusal))
        return self._refused(reason, "hello", str(refusal))

    def _refused(self, reason: str, phase: str, detail: str) -> HandshakeError:
        """A refusal of our own, with the alert that says so."""
        alert = OWN_ALERTS.get(reason)
        if alert is not None:
            self.answer = alert_record(alert)
        return HandshakeError(reason, phase, detail, alert_sent=alert)

    def time_is_up(self) -> None:
        """Whoever waits for the client waits no longer."""
        self.late = True
        if self.sock.fileno() >= 0:
            trio.lowlevel.notify_closing(self.sock)

    async def _wait(self, until: Callable[[socket.socket], Awaitable[None]]) -> None:
        if not self.late:
            try:
                return await until(self.sock)
            except trio.ClosedResourceError:
                if not self.late:
                    raise
        phase = self.facts.phase
        raise HandshakeError(
            "timeout", phase, f"not done within {self.deadline_seconds:g} s, waiting for {WAITS[phase]}"
        )

    async def _wait_readable(self) -> None:
        await self._wait(trio.lowlevel.wait_readable)

    async def say_goodbye(self, error: HandshakeError) -> None:
        """Sends our answer if there is one, and sees to it that it, or OpenSSL's alert, arrives."""
        if not self.answer and error.alert_sent is None and error.error_type != "protocol_error":
            return  # OpenSSL does not always tell which alert it has sent for a breach
        stream = Stream(self.sock, ClientGone)
        if self.answer:
            try:
                self.sock.send(self.answer)  # the first bytes of the connection: there is room for them
            except OSError:
                return  # reset meanwhile: there is nobody left to tell
        await stream.end()
        await stream.linger(LINGER_SECONDS, max_bytes=MAX_BYTES * 2)


def _would_be_tls13(hello: ClientHello, context: ssl.SSLContext) -> bool:
    highest = context.maximum_version
    return 0x0304 in hello.offer.versions and highest in (ssl.TLSVersion.TLSv1_3, ssl.TLSVersion.MAXIMUM_SUPPORTED)


NOTHING_PROVED: Final = Capabilities()
VERSIONS: Final = {"TLSv1": "1.0", "TLSv1.1": "1.1", "TLSv1.2": "1.2", "TLSv1.3": "1.3"}
WAITS: Final = {
    "first_byte": "the first byte",
    "hello": "the whole ClientHello",
    "select": "the choice of a host",
    "handshake": "the client's answer",
}
OWN_ALERTS: Final = {
    "unrecognized_name": "unrecognized_name",  # RFC 6066 §3
    "no_application_protocol": "no_application_protocol",  # RFC 7301 §3.2
    "unsupported_version": "protocol_version",
    "malformed_hello": "decode_error",
    "hello_too_large": "illegal_parameter",
    "server_error": "internal_error",
}
