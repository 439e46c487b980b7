"""What is known of one handshake, whether it succeeds or not: offers, agreement, and where its time went."""

from __future__ import annotations

import socket
import struct
from collections import defaultdict
from typing import Final

import trio

from terminator.errors import HandshakeError
from terminator.telemetry.events import TlsHandshake
from terminator.tls.shown import Shown
from terminator.wire.client_hello import ClientHello
from terminator.wire.client_side import ClientCertificate
from terminator.wire.proxy_header import ProxyHeader


class HandshakeFacts:
    """Filled as the handshake goes; final once it is over.

    The phase clock is one stopwatch that is always running for exactly one span, so the spans add up to the whole:
    first_byte, hello, select, then flight (we compute) and client (we wait) in turn.
    """

    hello: ClientHello | None = None
    host: str | None = None
    certificate_serial: str | None = None
    certificate_key: str | None = None
    protocol_version: str | None = None
    cipher: str | None = None
    group: str | None = None
    resumed: bool | None = None
    alpn: str | None = None
    client_certificate: ClientCertificate | None = None
    shown: Shown | None = None
    """What a client showed that was not let in."""
    rtt_ms: float | None = None

    def __init__(self, accepted_at: float) -> None:
        """accepted_at: by trio's clock."""
        self.spans: defaultdict[str, float] = defaultdict(float)
        """Seconds by span; a span that was never reached is absent."""
        self._span = "first_byte"
        self._since = accepted_at
        self._now = trio.lowlevel.current_clock().current_time  # a third of the way that `trio.current_time` takes

    @property
    def ja4(self) -> str | None:
        return None if self.hello is None else self.hello.offer.ja4

    @property
    def phase(self) -> str:
        """first_byte, hello, select or handshake: what is under way, or where it ended."""
        return "handshake" if self._span in ("flight", "client") else self._span

    def turn(self, span: str) -> None:
        """From now on the time belongs to `span`."""
        now = self._now()
        self.spans[self._span] += now - self._since
        self._span = span
        self._since = now

    @property
    def turned_at(self) -> float:
        """When the last span began, or the clock was stopped; by trio's clock."""
        return self._since

    def finish(self) -> None:
        """Stops the clock."""
        self.turn(self._span)

    def ask_kernel(self, sock: socket.socket) -> None:
        """For the round-trip time, while the socket is open; for whoever tells of it."""
        self.rtt_ms = round_trip_ms(sock)


class HandshakeFailed(HandshakeError):
    """A handshake that failed, with what was learnt of it until then."""

    def __init__(self, error: HandshakeError, facts: HandshakeFacts) -> None:
        super().__init__(
            error.error_type,
            error.phase,
            str(error),
            openssl=error.openssl,
            alert_sent=error.alert_sent,
            alert_received=error.alert_received,
        )
        self.facts = facts


def handshake_event(
    facts: HandshakeFacts,
    *,
    conn_id: str,
    listener: str,
    client_address: str | None,
    client_port: int | None,
    proxy_address: str | None = None,
    proxy_header: ProxyHeader | None = None,
    generation: int | None = None,
    error: HandshakeError | None = None,
) -> TlsHandshake:
    """The log line of a handshake; with `error` that of a failed one. proxy_address: who sent proxy_header."""
    spans = {span: round(seconds * 1000, 3) for span, seconds in facts.spans.items()}
    hello, certificate = facts.hello, facts.client_certificate or facts.shown
    offer = None if hello is None else hello.offer
    return TlsHandshake(
        conn_id=conn_id,
        listener=listener,
        established=error is None,
        protocol_version=facts.protocol_version,
        cipher=facts.cipher,
        group=facts.group,
        resumed=facts.resumed,
        alpn=facts.alpn,
        server_name=None if hello is None else hello.server_name,
        host=facts.host,
        certificate_serial=facts.certificate_serial,
        certificate_key=facts.certificate_key,
        client_address=client_address,
        client_port=client_port,
        proxy_address=proxy_address,
        proxy_authority=None if proxy_header is None else proxy_header.authority,
        proxy_unique_id=None if proxy_header is None else _printable(proxy_header.unique_id),
        ja4=None if offer is None else offer.ja4,
        offered_versions=None if offer is None else offer.versions_text,
        offered_groups=None if offer is None else offer.groups_text or None,
        offered_ciphers=None if offer is None else offer.ciphers_hex,
        offered_alpn=None if offer is None else offer.alpn_text or None,
        offered_pq=None if offer is None else offer.post_quantum,
        client_subject=None if certificate is None else certificate.subject,
        client_issuer=None if certificate is None else certificate.issuer,
        client_serial=None if certificate is None else certificate.serial,
        first_byte_ms=spans.get("first_byte"),
        hello_ms=spans.get("hello"),
        select_ms=spans.get("select"),
        flight_ms=spans.get("flight"),
        client_ms=spans.get("client"),
        handshake_ms=round(sum(spans.values()), 3),
        rtt_ms=facts.rtt_ms,
        error_type=None if error is None else error.error_type,
        error_phase=None if error is None else error.phase,
        error_openssl=None if error is None else error.openssl,
        error_message=None if error is None else str(error),
        alert_sent=None if error is None else error.alert_sent,
        alert_received=None if error is None else error.alert_received,
        generation=generation,
    )


def _printable(value: bytes | None) -> str | None:
    if value is None:
        return None
    text = value.decode("latin-1")
    return text if text.isascii() and text.isprintable() else value.hex()


def round_trip_ms(sock: socket.socket) -> float | None:
    """The kernel's smoothed round-trip time; None where there is no TCP, or no measurement yet."""
    try:
        info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _RTT_OFFSET + 4)
    except OSError:
        return None
    microseconds: int = _u32.unpack_from(info, _RTT_OFFSET)[0]
    return microseconds / 1000 if microseconds else None


_RTT_OFFSET: Final = 68
"""tcpi_rtt in struct tcp_info of <linux/tcp.h>: behind eight bytes and fifteen 32-bit numbers."""
_u32: Final = struct.Struct("=I")
