"""The fields that are sent on: what concerns one connection only is taken out, what we know is put in.

The law: *forwarded bytes are canonical*. Lists of fields are made from parsed values, framing fields are written anew
from the framing that was understood, and nothing a client sends can pass for something that we say. Names are in lower
case in every list here, so that rules compare them as they are; `writing` gives them their customary case
(`Content-Type`, `ETag`), which HTTP does not need and people who read a backend's log do.

What we say about the client, in every request:

  Via                 `1.1 terminator`, added behind those that are there (RFC 9110 §7.6.3)
  X-Forwarded-For     the client's address; X-Real-IP the same
  X-Forwarded-Proto   https or http; X-Forwarded-Host the Host asked for; X-Forwarded-Port the port connected to
  X-Forwarded-Prefix  the path prefix that was stripped, if any
  Forwarded           the same by RFC 7239
  Client-Cert, Client-Cert-Chain, X-Client-Cert-*   the verified client certificate (RFC 9440), if there is one

A client's own fields of these names are removed, all X-Forwarded-* among them. Of a trusted peer (another proxy of
ours) X-Forwarded-For and Forwarded are kept and ours appended; its other X-Forwarded-* and X-Real-IP stand, since it
saw the client and we did not. Its Client-Cert fields are removed all the same: only our own handshake proves one.

CGI and WSGI turn `X-Forwarded-For` and `X_Forwarded_For` into the same variable. Hence a client's field is compared
with every byte but letters and digits read as a hyphen; one that differs from a name of ours only in that is removed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import lru_cache

from terminator.errors import BadRequest, TerminatorError
from terminator.wire.client_side import (
    CLAIMED_PREFIXES,
    HOP_BY_HOP,
    ClientCertificate,
    ClientSide,
    comparable,
)
from terminator.wire.framing import TOKEN, VALUE, Fields, Framing, joined
from terminator.wire.header_rules import Rules
from terminator.wire.request_head import RequestHead
from terminator.wire.response_head import ResponseHead
from terminator.wire.writing import spelled

__all__ = [
    "ClientCertificate",
    "ClientSide",
    "Rules",
    "interim_fields",
    "request_fields",
    "response_fields",
    "spelled",
    "trailers",
]

Field = tuple[bytes, bytes]

_VIA = {"1.1": (b"via", b"1.1 terminator"), "1.0": (b"via", b"1.0 terminator")}
_CHUNKED = (b"transfer-encoding", b"chunked")
_CLOSE = (b"connection", b"close")
_PLAIN_OPTIONS = frozenset({b"close", b"keep-alive", b"upgrade", b"te"})


def request_fields(
    head: RequestHead,
    client: ClientSide,
    *,
    own: Sequence[Field] = (),
    prefix: str = "",
    authority: str = "",
) -> list[Field]:
    """The fields of the request to a backend, Host first.

    own:       further fields that we say, whose names `client.claims` holds, such as the request id
    prefix:    the path prefix that was taken off the target
    authority: the Host to send; default what the client sent. HTTP/1.0 may have sent none: then this must be given
    """
    host = (authority or head.authority).encode("ascii")
    if not host:
        raise ValueError("a request without Host needs an authority")
    asked = head.authority.encode("ascii") or host
    claimed = client.claimed
    kept = [field for field in head.fields if not _is_claimed(field[0], claimed)]
    if not head.connection <= _PLAIN_OPTIONS:
        nominated = set(map(comparable, head.connection))
        kept = [field for field in kept if comparable(field[0]) not in nominated]
    fields = [(b"host", host), *kept, _VIA[head.version]]
    if client.trusted:
        fields += _said_with_peer(head.fields, client, asked)
    else:
        fields += client.said
        fields.append((b"x-forwarded-host", asked))
        fields.append((b"forwarded", b'%b%b"' % (client.forwarded, asked)))
    fields += client.fixed
    fields += [(name.lower(), value) for name, value in own]
    if prefix:
        fields = [field for field in fields if field[0] != b"x-forwarded-prefix"]
        fields.append((b"x-forwarded-prefix", prefix.encode("ascii")))
    _append_hop_by_hop(fields, head)
    if head.framing is Framing.LENGTH:
        fields.append((b"content-length", b"%d" % (head.content_length or 0)))
    elif head.framing is Framing.CHUNKED:
        fields.append(_CHUNKED)
    return fields


@lru_cache(maxsize=1024)
def _is_claimed(name: bytes, claimed: frozenset[bytes]) -> bool:
    """Whether a field of this name is ours to say. There are as many sets of claims as configurations."""
    plain = comparable(name)
    return plain in claimed or plain.startswith(CLAIMED_PREFIXES)


def response_fields(
    head: ResponseHead,
    request: RequestHead,
    *,
    close: bool = False,
    date: bytes | None = None,
    hsts: bytes | None = None,
) -> list[Field]:
    """The fields of a final response to the client.

    close: no other request will be read on the client's connection; said also when the client does not want one
    date:  an IMF-fixdate for a response that has none (RFC 9110 §6.6.1)
    hsts:  value of Strict-Transport-Security; the backend's own is then replaced
    """
    fields = _end_to_end(head)
    fields.append(_VIA[head.version])
    if date is not None and not any(name == b"date" for name, _ in fields):
        fields.append((b"date", date))
    if hsts is not None:
        fields = [field for field in fields if field[0] != b"strict-transport-security"]
        fields.append((b"strict-transport-security", hsts))
    if head.framing is Framing.LENGTH or (head.framing is Framing.NONE and head.content_length is not None):
        fields.append((b"content-length", b"%d" % (head.content_length or 0)))
    elif head.framing is not Framing.NONE and request.version == "1.1":
        fields.append(_CHUNKED)
    if close or not request.keep_alive:
        fields.append(_CLOSE)
    return fields


def interim_fields(head: ResponseHead) -> list[Field]:
    """The fields of a 1xx response to the client; of a 101 with its Upgrade (RFC 9110 §7.8)."""
    fields = _end_to_end(head)
    if head.status == 101 and head.upgrade is not None:
        fields.append((b"connection", b"upgrade"))
        fields.append((b"upgrade", head.upgrade))
    return fields


def trailers(fields: Iterable[Field], refusal: type[TerminatorError] = BadRequest) -> list[Field]:
    """The trailer fields that may be sent on. Raises `refusal` for a line that is no field.

    Dropped are fields that frame, route, authenticate or change how the content is read, which a recipient might merge
    into the head it has acted on already (RFC 9110 §6.5.1), and those by which we tell of the client.
    """
    kept = []
    for raw_name, value in fields:
        name = raw_name.lower()
        if not _NAME.fullmatch(name) or not _VALUE.fullmatch(value):
            raise refusal("a trailer line is no field line (RFC 9112 §7.1.2)")
        plain = comparable(name)
        if plain not in _NOT_IN_TRAILERS and not plain.startswith(_NOT_BEGINNING_TRAILERS):
            kept.append((name, value.strip(b" \t")))
    return kept


_NAME = re.compile(rb"%b{1,256}" % TOKEN)
_VALUE = re.compile(rb"%b*" % VALUE)
_NOT_IN_TRAILERS = HOP_BY_HOP | frozenset(
    b"host content-length content-encoding content-type content-range content-location trailer max-forwards expect "
    b"cache-control pragma range authorization www-authenticate authentication-info cookie set-cookie age date expires "
    b"location retry-after vary warning via forwarded x-real-ip x-request-id client-cert client-cert-chain "
    b"strict-transport-security".split()
)
_NOT_BEGINNING_TRAILERS = (*CLAIMED_PREFIXES, b"if-", b"access-control-", b"sec-")


def _said_with_peer(sent: Fields, client: ClientSide, asked: bytes) -> list[Field]:
    """What a trusted peer has said about its client, with our part appended or put where it said nothing."""
    said = [
        field
        for field in sent
        if field[0] == b"x-real-ip" or (field[0].startswith(b"x-forwarded-") and field[0] == comparable(field[0]))
    ]
    names = {name for name, _ in said}
    chain = [value for value in (joined(sent, b"x-forwarded-for"), client.forwarded_for) if value]
    forwarded = [value for value in (joined(sent, b"forwarded"), b'%b%b"' % (client.forwarded, asked)) if value]
    fields = [field for field in said if field[0] != b"x-forwarded-for"]
    if chain:
        fields.append((b"x-forwarded-for", b", ".join(chain)))
    for name, value in (
        (b"x-real-ip", client.forwarded_for),
        (b"x-forwarded-proto", client.scheme.encode("ascii")),
        (b"x-forwarded-host", asked),
        (b"x-forwarded-port", b"%d" % client.server_port),
    ):
        if name not in names and value:
            fields.append((name, value))
    fields.append((b"forwarded", b", ".join(forwarded)))
    return fields


def _append_hop_by_hop(fields: list[Field], head: RequestHead) -> None:
    """What we say anew for the connection to the backend: an upgrade, `TE: trailers`, an awaited 100 (Continue)."""
    options = []
    if head.upgrade is not None:
        options.append(b"upgrade")
        fields.append((b"upgrade", head.upgrade))
    if b"te" in head.connection and _takes_trailers(head.fields):
        # "A sender of TE MUST also send a 'TE' connection option" (RFC 9110 §10.1.4). gRPC relies on it.
        options.append(b"TE")
        fields.append((b"te", b"trailers"))
    if options:
        fields.append((b"connection", b", ".join(options)))
    if head.expect_continue:
        fields.append((b"expect", b"100-continue"))


def _takes_trailers(sent: Fields) -> bool:
    value = joined(sent, b"te") or b""
    return any(part.strip(b" \t").lower() == b"trailers" for part in value.split(b","))


def _end_to_end(head: ResponseHead) -> list[Field]:
    removed = _FRAMED if head.connection <= _PLAIN_OPTIONS else _FRAMED | head.connection
    return [field for field in head.fields if field[0] not in removed]


_FRAMED = HOP_BY_HOP | {b"content-length"}
