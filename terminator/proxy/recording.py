"""The record of one request to a backend or to ourselves, as `http.request` tells it."""

from __future__ import annotations

from terminator.backend.group import Lease
from terminator.errors import TerminatorError
from terminator.proxy.facts import Client
from terminator.proxy.treatment import Treatment
from terminator.telemetry.events import HttpRequest
from terminator.wire.request_head import RequestHead


def http_request(
    client: Client,
    head: RequestHead,
    *,
    generation: int,
    request_id: str | None,
    host: str | None,
    treatment: Treatment | None,
    server: str | None,
    lease: Lease | None,
    retries: int,
    status: int | None,
    request_bytes: int,
    response_bytes: int,
    began_at: float,
    head_at: float,
    sent_at: float,
    answered_at: float,
    now: float,
    error: TerminatorError | None,
) -> HttpRequest:
    """Times are of the loop's clock, in seconds; 0 for what never came. host, treatment, server, lease: as far as the
    request got, the lease being its last one."""
    return HttpRequest(
        conn_id=client.id,
        request_id=request_id,
        listener=client.listener.name,
        client_address=client.origin.address or None,
        client_port=client.origin.port or None,
        server_name=client.server_name,
        host=host,
        method=head.method,
        authority=head.authority or None,
        path=head.path,
        query=head.query,
        version=head.version,
        user_agent=_field(head, b"user-agent"),
        status=status,
        route=treatment.name if treatment is not None else None,
        backend=treatment.route.backend if treatment is not None else None,
        server=server,
        backend_reused=lease.reused if lease is not None else None,
        retries=retries or None,
        request_bytes=request_bytes,
        response_bytes=response_bytes,
        idle_ms=_ms(began_at - client.idle_since),
        head_ms=_ms(head_at - began_at),
        queue_ms=_ms(lease.queue_seconds) if lease is not None else None,
        connect_ms=_ms(lease.connect_seconds) if lease is not None else None,
        response_ms=_ms(answered_at - sent_at) if answered_at and sent_at else None,
        transfer_ms=_ms(now - answered_at) if answered_at else None,
        total_ms=_ms(now - began_at),
        error_type=error.reason if error is not None else None,
        error_message=str(error) if error is not None else None,
        generation=generation,
    )


def _ms(seconds: float) -> float:
    """With three decimals; as `round` does it, in half of its time, six times a line."""
    return int(seconds * 1e6 + 0.5) / 1000 if seconds > 0 else 0.0


def _field(head: RequestHead, name: bytes) -> str | None:
    for field, value in head.fields:
        if field == name:
            return value.decode("utf-8", "surrogateescape")  # the journal shows what is no UTF-8
    return None
