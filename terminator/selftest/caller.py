"""A stranger on the phone: connects to one listener, says what no honest client says, and tells what came back.

One connection at a time, closed before the next, and never more in a second than the daemon grants one address.
"""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from terminator.config.values import TcpAddress, UnixAddress
from terminator.errors import TerminatorError
from terminator.selftest.hello import Answer, Offer, answer_in, client_hello
from terminator.selftest.target import STRANGER, Door
from terminator.selftest.verdict import Fault, Skipped
from terminator.tls import openssl
from terminator.tls.failures import classify
from terminator.tls.memory import load_pair_bytes, no_password
from terminator.tls.throwaway import throwaway_pair
from terminator.wire.client_side import plain_address
from terminator.wire.proxy_header import encode_v2

PATIENCE_SECONDS = 5.0
ATTEMPTS = 3
LIMIT_SECONDS = 1.1
"""Limits of the daemon count by the second; what was closed without a word is tried again after one."""
SILENCE = "closed without a word"
ENDED_FIRST = "the first answer ended the connection"
MARK = "terminator-selftest"
PATH = f"/.well-known/{MARK}"
Shown = Literal["nothing", "own", "forged"]
"""Which client certificate is shown: none, the operator's, or one that its bearer has made himself."""
_VERSIONS = {
    "1.0": ssl.TLSVersion.TLSv1,
    "1.1": ssl.TLSVersion.TLSv1_1,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3": ssl.TLSVersion.TLSv1_3,
}


class Unreachable(TerminatorError):
    """Nobody answers at a listener's address."""

    reason = "not_reachable"


@dataclass(frozen=True, slots=True)
class Meeting:
    """What became of a TLS connection and the request on it.

    refused: how it ended before an HTTP answer, "" when there was one. agreed: our part of the handshake was done by
    then. status: of the answer. closing: the answer ends the connection. session: to be offered elsewhere, None when
    none was issued
    """

    refused: str
    agreed: bool = False
    resumed: bool = False
    status: int | None = None
    closing: bool = False
    session: ssl.SSLSession | None = None


class Caller:
    def __init__(
        self,
        door: Door,
        handshakes_per_second: int,
        patience_seconds: float = PATIENCE_SECONDS,
        identity: tuple[str, str] | None = None,
        groups: tuple[str, ...] = (),
    ) -> None:
        """handshakes_per_second: what the daemon grants one address; 0 = any number. identity: files of a client
        certificate and its key, to be shown to hosts that require one. groups: all that can be offered (see
        `Capabilities.groups`), so that nothing is refused for want of one; empty for OpenSSL's own choice."""
        self.door = door
        self.patience_seconds = patience_seconds
        self.identity = identity
        self._groups = ":".join(groups)
        self._pause_seconds = 1.25 / handshakes_per_second if handshakes_per_second else 0.0
        self._not_before = 0.0
        self._contexts: dict[tuple[str, bool, Shown], ssl.SSLContext] = {}

    # ------------------------------------------------------------------------------------------------- connecting

    @contextlib.contextmanager
    def connection(self, *, preamble: bool = True) -> Iterator[socket.socket]:
        """A connection on which TLS is to begin: where it is our part, the PROXY header has been sent. Unreachable."""
        delay = self._not_before - time.monotonic()
        if delay > 0:
            time.sleep(delay)
        self._not_before = time.monotonic() + self._pause_seconds
        with self._connect() as sock:
            if preamble and self.trusted(sock):
                sock.sendall(encode_v2(None, None))  # LOCAL: we speak for ourselves
            yield sock

    def _connect(self) -> socket.socket:
        address = self.door.address
        try:
            if isinstance(address, TcpAddress):
                sock = socket.create_connection((address.host, address.port), self.patience_seconds)
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                return sock
            return self._connect_unix(address)
        except OSError as error:
            reason = error.strerror or str(error)
            raise Unreachable(f"listener {self.door.name}: nobody answers at {address}: {reason}") from error

    def _connect_unix(self, address: UnixAddress) -> socket.socket:
        sock = socket.socket(socket.AF_UNIX)
        sock.settimeout(self.patience_seconds)
        try:
            sock.connect(address.path)
        except BaseException:
            sock.close()
            raise
        return sock

    def trusted(self, sock: socket.socket) -> bool:
        """Whether the listener takes the far end of this connection for one of its proxies."""
        if not self.door.speaks_proxy:
            return False
        if sock.family == socket.AF_UNIX:
            return True
        return self.door.trusts(plain_address(sock.getsockname()[0]))

    # -------------------------------------------------------------------------------------------------- plain bytes

    def say(self, data: bytes, *, preamble: bool = True, hang_up: bool = False) -> Answer:
        """What the listener says first to these bytes. hang_up: our end follows them."""
        with self.connection(preamble=preamble) as sock, contextlib.suppress(BrokenPipeError, ConnectionResetError):
            sock.sendall(data)
            if hang_up:
                sock.shutdown(socket.SHUT_WR)
            return self._first_answer(sock)
        return Answer("closed")

    def ask(self, offer: Offer) -> Answer:
        """What the listener says to this hello. One that is not answered at all is said again: a limit of connections
        per address answers so."""
        return self.insist(client_hello(offer, os.urandom(64)))

    def insist(self, data: bytes) -> Answer:
        """As `say`, for bytes that deserve an answer."""
        answer = self.say(data)
        for _ in range(ATTEMPTS - 1):
            if answer.kind != "closed":
                break
            time.sleep(LIMIT_SECONDS)
            answer = self.say(data)
        return answer

    def _first_answer(self, sock: socket.socket) -> Answer:
        data = b""
        while True:
            try:
                more = sock.recv(65536)
            except TimeoutError:
                return Answer("other", data=data) if data else Answer("silent")
            if not more:
                return Answer("other", data=data) if data else Answer("closed")
            data += more
            answer = answer_in(data)
            if answer is not None:
                return answer

    # ---------------------------------------------------------------------------------------------------------- TLS

    def meet(
        self,
        server_name: str | None,
        version: str,
        *,
        host: str = STRANGER,
        session: ssl.SSLSession | None = None,
        by_id: bool = False,
        show: Shown = "nothing",
        before: str | None = None,
    ) -> Meeting:
        """Connects under this SNI, asks for `host`, and hangs up. The certificate that is served is not judged.

        by_id: takes no tickets, so that a session can only be resumed by its id. show: the client certificate. before:
        a host that is asked for first, on the same connection. A session is good for the same version, by_id and show.
        """
        context = self._context(version, by_id, show)
        meeting = self._meet(context, server_name, session, before, host)
        for _ in range(ATTEMPTS - 1):
            if meeting.agreed or meeting.refused != SILENCE:
                break
            time.sleep(LIMIT_SECONDS)
            meeting = self._meet(context, server_name, session, before, host)
        return meeting

    def _meet(
        self,
        context: ssl.SSLContext,
        server_name: str | None,
        session: ssl.SSLSession | None,
        before: str | None,
        host: str,
    ) -> Meeting:
        agreed = resumed = False
        with self.connection() as sock:
            try:
                with context.wrap_socket(
                    sock, server_hostname=server_name, session=session, suppress_ragged_eofs=False
                ) as tls:
                    agreed, resumed = True, bool(tls.session_reused)
                    if before is not None and _request(tls, "HEAD", before)[1]:
                        return Meeting(ENDED_FIRST, agreed, resumed)
                    status, closing = _request(tls, "GET", host)
                    return Meeting("", agreed, resumed, status, closing, tls.session)
            except TimeoutError:
                return Meeting("no answer, and not closed", agreed, resumed)
            except OSError as error:
                return Meeting(_words(error), agreed, resumed)

    def renegotiate(self, server_name: str, show: Shown) -> str:
        """Asks for a second handshake within a connection of TLS 1.2: how that was refused, "" if it was not. Raises
        Skipped where this Python cannot ask, Fault where there was not even a first."""
        agreed = False
        with self.connection() as sock:
            try:
                with self._context("1.2", False, show).wrap_socket(sock, server_hostname=server_name) as tls:
                    agreed = True
                    if not openssl.renegotiate(tls):
                        raise Skipped("this Python's OpenSSL cannot be made to ask for it")
                    tls.do_handshake()
            except TimeoutError:
                return "no answer"
            except OSError as error:
                if not agreed:
                    raise Fault(f"there was no first handshake: {_words(error)}") from error
                return _words(error)
        return ""

    def _context(self, version: str, by_id: bool, show: Shown) -> ssl.SSLContext:
        """One for each kind of client: a session can be offered only by the context that got it."""
        key = (version, by_id, show)
        found = self._contexts.get(key)
        if found is None:
            found = self._contexts[key] = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
            found.check_hostname = False
            found.verify_mode = ssl.CERT_NONE  # whoever answers is attacked; nothing is told to him
            found.set_ciphers("ALL:@SECLEVEL=0")
            if self._groups:
                openssl.set_groups(found, self._groups)
            found.options &= ~ssl.OP_NO_RENEGOTIATION
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                found.minimum_version = found.maximum_version = _VERSIONS[version]
            if by_id:
                found.options |= ssl.OP_NO_TICKET
            if show == "forged":
                load_pair_bytes(found, *throwaway_pair())
            elif show == "own" and self.identity is not None:
                found.load_cert_chain(*self.identity, password=no_password)
        return found


def _request(tls: ssl.SSLSocket, method: str, host: str) -> tuple[int, bool]:
    """One request on an established connection: the status of its answer, and whether that ends the connection.
    OSError when there is none."""
    tls.sendall(f"{method} {PATH} HTTP/1.1\r\nHost: {host}\r\nUser-Agent: {MARK}\r\n\r\n".encode("ascii"))
    data = b""
    while True:
        head, end, rest = data.partition(b"\r\n\r\n")
        if end and head[9:10] == b"1":
            data = rest  # an interim response; the final one follows
        elif end:
            status = head[9:12]
            return int(status) if status.isdigit() else 0, b"\r\nconnection: close" in head.lower()
        else:
            more = tls.recv(65536)
            if not more:
                raise ConnectionResetError
            data += more


def _words(error: OSError) -> str:
    found = classify(error, "handshake")
    if found.alert_received is not None:
        return found.alert_received
    return SILENCE if found.error_type == "client_closed" else str(found)
