"""From accept to an established connection on a TLS listener: who is there, may they come in, and by which host."""

from __future__ import annotations

import socket
from functools import partial
from typing import TYPE_CHECKING

import trio

from terminator.errors import BackendClosed, ClientGone, ConnectFailed
from terminator.proxy.acceptor import Listening
from terminator.proxy.client import serve_requests
from terminator.proxy.client_half import ClientHalf
from terminator.proxy.deadline import Deadline
from terminator.proxy.facts import Client, Origin, origin_of, parsed_networks
from terminator.proxy.tunnel import Tunnel
from terminator.telemetry.events import ServerNotice, TunnelClosed
from terminator.tls.handshake import Choice, Established, PassedThrough, Passthrough, Refusal, handshake
from terminator.tls.handshake_facts import HandshakeFacts, HandshakeFailed, handshake_event
from terminator.tls.preface import read_proxy_header
from terminator.transport.connect import connect
from terminator.transport.stream import Stream
from terminator.wire.client_hello import ClientHello
from terminator.wire.client_side import ClientSide
from terminator.wire.proxy_header import ProxyHeader

if TYPE_CHECKING:
    from terminator.proxy.traffic import Traffic


async def serve(
    traffic: Traffic, listening: Listening, sock: socket.socket, peer: object, accepted_at: float, connection_id: str
) -> None:
    """The connection handler of a TLS listener. Takes `sock` over: it is closed afterwards in every case."""
    arrival = _Arrival(traffic, listening, connection_id, origin_of(peer, listening.port))
    counted: str | None = None
    try:
        try:
            client = await arrival.shake_hands(sock, accepted_at)
        finally:
            counted = arrival.counted
            del arrival  # a connection that lasts shall not keep the generation that it came under
        if client is not None:
            await _serve_client(traffic, client)
    finally:
        if counted is not None:
            traffic.admission.leave(counted)


async def _serve_client(traffic: Traffic, client: Client) -> None:
    stream = client.half.stream
    try:
        traffic.departures.watch(stream.sock, partial(_gone, traffic, client))
        await serve_requests(traffic, client)
    except BaseException:
        stream.give_up()  # cut amid something, by the end of a drain most likely: no farewell shall call it whole
        raise
    finally:
        traffic.departures.forget(stream.sock)
        client.deadline.end()
        stream.close()
        if client.private is not None:
            client.private.close()


def _gone(traffic: Traffic, client: Client) -> None:
    client.gone = True
    if client.deadline not in traffic.idle:  # whoever waits for its next request sees the end by itself
        client.deadline.fail(ClientGone("the client closed the connection amid an exchange"))


class _Arrival:
    """From accept to an established connection: who is there, may they come in, and by which host."""

    def __init__(self, traffic: Traffic, listening: Listening, connection_id: str, origin: Origin) -> None:
        self._traffic = traffic
        self._generation = traffic.generation
        self._listening = listening
        self._connection_id = connection_id
        self._origin = origin
        self._proxy_address: str | None = None
        self._proxy_header: ProxyHeader | None = None
        self._trusted = False
        self.counted: str | None = None
        """The address that `admission` has counted the connection for."""
        self._authentication: tuple[object, ...] = ()

    async def shake_hands(self, sock: socket.socket, accepted_at: float) -> Client | None:
        """The client once its handshake is done, None if there is none to serve. Either way it has been recorded."""
        traffic, config = self._traffic, self._generation.config
        seconds = config.timeouts.handshake
        traffic.handshakes += 1
        try:
            settings = self._listening.config.proxy_protocol
            if settings is not None and self._origin.within(parsed_networks(tuple(settings.trusted))):
                await self._read_proxy_header(sock, accepted_at, seconds)
            address = self._origin.address
            if not traffic.admission.enter(address, config.limits.connections_per_ip):
                sock.close()
                traffic.turned_away("connections_per_ip")
                return None
            self.counted = address
            result = await handshake(
                sock,
                accepted_at=accepted_at,
                deadline_seconds=seconds,
                alarms=traffic.alarms,
                choose=self._choose,
                capabilities=traffic.capabilities,
            )
        except HandshakeFailed as error:
            self._record(error.facts, error, sock)
            return None
        finally:
            traffic.handshakes -= 1
        if isinstance(result, PassedThrough):
            await self._pass_through(result)
            return None
        self._record(result.facts, None, result.stream.sock)
        return self._client(result)

    async def _read_proxy_header(self, sock: socket.socket, accepted_at: float, seconds: float) -> None:
        """Required from the listener's trusted peers; from others the bytes would be no TLS, and are refused so."""
        header = await read_proxy_header(sock, accepted_at=accepted_at, deadline_seconds=seconds)
        self._trusted = True
        self._proxy_address, self._proxy_header = self._origin.address, header
        if not header.local and header.source is not None:
            server_address, server_port = header.destination or ("", 0)
            self._origin = Origin(*header.source, server_port=server_port, server_address=server_address)

    def _choose(self, hello: ClientHello) -> Choice | Refusal | Passthrough:
        config, address = self._generation.config, self._origin.address
        limit = config.limits.handshakes_per_ip
        if limit and not self._traffic.admission.may_shake_hands(address, trio.current_time(), limit):
            return Refusal("too_many_handshakes", f"more than {limit} handshakes within a second from {address}")
        acme = config.tls.acme_tls
        if acme is not None and b"acme-tls/1" in hello.offer.alpn:
            return Passthrough(acme)
        entry, _ = self._generation.host_for_sni(hello.server_name)
        if entry is None:
            asked = f"no host answers to {hello.server_name}" if hello.server_name else "the client sent no SNI"
            return Refusal("unrecognized_name", asked)
        self._authentication = entry.material.authentication
        return entry.choice

    def _client(self, established: Established) -> Client:
        """`established.facts` are not kept: a connection may last for days."""
        facts, config = established.facts, self._generation.config
        request_id = config.request_id
        side = ClientSide(
            address=self._origin.address,
            port=self._origin.port,
            scheme="https",
            server_port=self._origin.server_port,
            trusted=self._trusted,
            certificate=facts.client_certificate,
            ja4=facts.ja4 if config.ja4_header is not None else None,
            ja4_header=config.ja4_header,
            claims=(request_id.header,) if request_id is not None else (),
        )
        return Client(
            id=self._connection_id,
            listener=self._listening.config,
            half=ClientHalf(established.stream),
            origin=self._origin,
            side=side,
            server_name=facts.hello.server_name if facts.hello is not None else None,
            authentication=self._authentication,
            certificate=facts.client_certificate,
            tls_version=facts.protocol_version or "",
            tls_cipher=facts.cipher or "",
            alpn=facts.alpn,
            offer=facts.hello.offer if facts.hello is not None else None,
            deadline=Deadline(self._traffic.alarms, established.alarm),
            idle_since=facts.turned_at,
            proxied=self._proxy_header,
        )

    async def _pass_through(self, result: PassedThrough) -> None:
        """Joins the untouched connection with the address that answers TLS-ALPN-01 (RFC 8737)."""
        stream = Stream(result.sock, ClientGone)
        timeouts = self._generation.config.timeouts
        try:
            with trio.fail_after(timeouts.backend_connect):
                backend = Stream(await connect(result.choice.tag), BackendClosed)
        except (trio.TooSlowError, ConnectFailed) as error:
            text = f"acme-tls/1 could not be passed on to {result.choice.tag}: {error or 'no connection in time'}"
            self._traffic.emit(ServerNotice(topic="acme_tls", message=text, generation=self._generation.number))
            stream.close()
            return
        tunnel = Tunnel(stream, backend, timeouts.body_idle)
        began_at = trio.current_time()
        try:
            await tunnel.run(b"", b"")
        finally:
            backend.close()
            stream.close()
            self._traffic.emit(
                TunnelClosed(
                    conn_id=self._connection_id,
                    route="acme-tls/1",
                    server=str(result.choice.tag),
                    client_bytes=tunnel.client_bytes,
                    backend_bytes=tunnel.backend_bytes,
                    duration_ms=(trio.current_time() - began_at) * 1000,
                    closed_by=tunnel.closed_by or "drain",
                    generation=self._generation.number,
                )
            )

    def _record(self, facts: HandshakeFacts, error: HandshakeFailed | None, sock: socket.socket) -> None:
        """Counts a handshake and tells of it; of classes that are sampled the journal drops what is too many. sock: of
        an established connection, which the kernel is asked about."""
        traffic = self._traffic
        traffic.meters.handshake(self._listening.config.name, facts, error)
        if error is None:
            if not traffic.logs_handshakes:
                return
            facts.ask_kernel(sock)
        event = handshake_event(
            facts,
            conn_id=self._connection_id,
            listener=self._listening.config.name,
            client_address=self._origin.address or None,
            client_port=self._origin.port or None,
            proxy_address=self._proxy_address,
            proxy_header=self._proxy_header,
            generation=self._generation.number,
            error=error,
        )
        if error is not None:
            traffic.failure_examples.note(event)
        if traffic.logs_handshakes:
            traffic.emit(event)
