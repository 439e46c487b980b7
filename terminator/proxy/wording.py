"""What is said to the backend and to the client about one request: fields, variables, the request's name."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from terminator.proxy.facts import Client, parsed_networks
from terminator.proxy.generation import Generation, HostEntry
from terminator.proxy.relay import Answer
from terminator.proxy.treatment import Treatment, host_variable
from terminator.wire import forwarding
from terminator.wire.framing import Framing
from terminator.wire.request_head import RequestHead
from terminator.wire.response_head import ResponseHead

Fields = list[tuple[bytes, bytes]]

MAX_REQUEST_ID_BYTES = 128
"""A longer one, even of a trusted client, is replaced: it goes into every log line on the way."""


class Wording:
    """Of one request that has found its host and its route."""

    __slots__ = ("_client", "_entry", "_generation", "_head", "_treatment", "request_id")

    def __init__(
        self, generation: Generation, client: Client, head: RequestHead, entry: HostEntry, treatment: Treatment
    ) -> None:
        self._generation = generation
        self._client = client
        self._head = head
        self._entry = entry
        self._treatment = treatment
        self.request_id: str | None = None
        """Set when it is first said, to the backend or in a configured text, if ids are configured."""

    def request_fields(self, prefix: str) -> Fields:
        """The fields of the request to the backend, the same each time. prefix: what was taken off its path."""
        request_id = self._name_request()
        fields = forwarding.request_fields(
            self._head,
            self._client.side,
            own=(request_id,) if request_id is not None else (),
            prefix=prefix,
            authority=self._head.authority or self._client.server_name or self._entry.name,
        )
        if self._treatment.request_rules is not None:
            fields = self._treatment.request_rules.apply(fields, self.variable)
        return fields

    def answer(self, answer: ResponseHead, date: bytes, *, draining: bool) -> Answer:
        """Fields and framing of a backend's final response to the client."""
        # Refused while it is still coming in, a request will be cut when the answer is complete. An answer of success
        # may be a conversation with the body that follows.
        cut = answer.status >= 400 and not self._client.half.request_complete
        close = cut or draining or not self._head.keep_alive
        fields = forwarding.response_fields(answer, self._head, close=close, date=date, hsts=self._entry.hsts)
        if (rules := self._treatment.response_rules) is not None:
            fields = rules.apply(fields, self.variable)
        framing = answer.framing
        if framing in (Framing.CHUNKED, Framing.UNTIL_CLOSE):  # of unknown length: framed as the client understands
            framing = Framing.CHUNKED if self._head.version == "1.1" else Framing.UNTIL_CLOSE
        return fields, framing, close

    def variable(self, name: str) -> str:
        """The value of a configured text's variable, "" for what does not exist in this request."""
        client, head = self._client, self._head
        values: dict[str, Callable[[], Any]] = {
            "client.address": lambda: client.origin.address,
            "client.port": lambda: client.origin.port,
            "host": lambda: host_variable(head.hostname),
            "path": lambda: head.path,
            "query": lambda: head.query,
            "uri": lambda: head.target,
            "method": lambda: head.method,
            "scheme": lambda: "https",
            "request.id": self._named,
            "tls.version": lambda: client.tls_version,
            "tls.cipher": lambda: client.tls_cipher,
            "tls.sni": lambda: client.server_name,
            "tls.ja4": lambda: client.offer.ja4 if client.offer is not None else None,
            "route": lambda: self._treatment.name,
            "backend": lambda: self._treatment.route.backend,
        }
        value = values[name]()
        return "" if value is None else str(value)

    def hash_key(self, source: str | None) -> bytes:
        """What `consistent_hash` hashes for this request: `client_address`, `header:NAME` or `cookie:NAME`; nothing for
        None."""
        if source is None:
            return b""
        kind, _, name = source.partition(":")
        if kind == "client_address":
            return self._client.origin.address.encode()
        wanted = name.lower().encode() if kind == "header" else b"cookie"
        for field, value in self._head.fields:
            if field != wanted:
                continue
            if kind == "header":
                return value
            for pair in value.split(b";"):
                key, _, content = pair.strip().partition(b"=")
                if key == name.encode():
                    return content
        return b""

    def _name_request(self) -> tuple[bytes, bytes] | None:
        """The request id as a field."""
        name = self._named()
        settings = self._generation.config.request_id
        return None if name is None or settings is None else (settings.header.encode(), name.encode("latin-1"))

    def _named(self) -> str | None:
        """The request id, None when none is configured: the client's own if it is trusted to give one, else a new one;
        the same each time."""
        settings = self._generation.config.request_id
        if settings is None or self.request_id is not None:
            return self.request_id
        own = next((value for field, value in self._head.fields if field == settings.header.lower().encode()), b"")
        trusted = parsed_networks(tuple(settings.trusted))
        if own and len(own) <= MAX_REQUEST_ID_BYTES and trusted and self._client.origin.within(trusted):
            self.request_id = own.decode("latin-1")
        else:
            self.request_id = os.urandom(16).hex()
        return self.request_id
