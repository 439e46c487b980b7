"""Variables in configured texts: `{client.address}` in a header's value, a redirect's target or a rewritten path.

A template is read once, when the configuration is; an unknown name is an error then. Braces around anything that does
not look like a name are plain text, so JSON in a header stays as it is; `{{host}}` is the plain text `{host}`.

What a variable says may come from a client. Each way of expanding therefore lets through only what its place can hold,
and percent-encodes everything else: no line break can enter a head, no quote a URL, no `?` a path.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import quote

KNOWN_VARIABLES: Mapping[str, str] = {
    "client.address": "address of the client",
    "client.port": "port of the client",
    "host": "host name of the request, lower case, without port",
    "path": "path of the request, as sent",
    "query": "query of the request, as sent, without the question mark",
    "uri": "path and query, as sent",
    "method": "method of the request",
    "scheme": "https or http",
    "request.id": "the request id, when `request_id` is configured",
    "tls.version": "negotiated TLS version, 1.2 or 1.3",
    "tls.cipher": "negotiated cipher suite, OpenSSL name",
    "tls.sni": "server name the client asked for in TLS",
    "tls.ja4": "JA4 fingerprint of the ClientHello",
    "route": "path of the route that matched",
    "backend": "name of the backend",
}
"""Every variable and what it says; docs/configuration.md lists them from here."""

Values = Callable[[str], str]
"""Gives the value of a known variable, "" for what does not exist in this request."""

_VARIABLE = re.compile(r"\{\{([A-Za-z][A-Za-z0-9_.-]*)\}\}|\{([A-Za-z][A-Za-z0-9_.-]*)\}")

_IN_FIELD = re.compile(r"[^\x20-\x7e]")
_IN_URL = re.compile(r"[^!#$&'()*+,\-./0-9:;=?@A-Z\[\]_a-z~%]|%(?![0-9A-Fa-f]{2})")
_IN_PATH = re.compile(r"[^!$&'()*+,\-./0-9:;=@A-Z_a-z~%]|%(?![0-9A-Fa-f]{2})")
_PATH = re.compile(r"(?:[!$&'()*+,\-./0-9:;=@A-Z_a-z~]|%[0-9A-Fa-f]{2})*")


class UnknownVariable(ValueError):
    """A name in braces that is no variable. `name` is what was written; write `{{name}}` for plain text."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"{{{name}}} is no variable; write {{{{{name}}}}} if it is meant as plain text")


def variable_names(text: str) -> tuple[str, ...]:
    """The names in braces of a text, known or not, in order."""
    return tuple(found[2] for found in _VARIABLE.finditer(text) if found[2] is not None)


@dataclass(frozen=True, slots=True)
class Template:
    """A configured text. `parts` alternates plain text and names of variables, plain text first and last."""

    text: str
    parts: tuple[str, ...]

    @classmethod
    def parse(cls, text: str) -> Template:
        """Raises UnknownVariable, a ValueError."""
        parts, plain, end = [], "", 0
        for found in _VARIABLE.finditer(text):
            plain += text[end : found.start()]
            end = found.end()
            literal, name = found.groups()
            if literal is not None:
                plain += f"{{{literal}}}"
            elif name not in KNOWN_VARIABLES:
                raise UnknownVariable(name)
            else:
                parts += [plain, name]
                plain = ""
        return cls(text, (*parts, plain + text[end:]))

    @classmethod
    def parse_path(cls, text: str) -> Template:
        """A template that gives a path, for `rewrite`. Raises ValueError, with the remedy."""
        template = cls.parse(text)
        for name in template.parts[1::2]:
            if name == "uri":
                raise ValueError("{uri} holds the query, which is kept by itself; write {path}")
        for plain in template.parts[::2]:
            if "?" in plain or "#" in plain:
                raise ValueError("a rewritten path holds no ? or #; the query is kept by itself")
            if not _PATH.fullmatch(plain):
                raise ValueError(f"a path cannot hold {plain!r}; percent-encode it, for example {quote(plain)}")
        if not text.startswith("/") and not text.startswith("{path}"):
            raise ValueError(f"a rewritten path begins with a slash or {{path}}: write /{text}")
        return template

    @property
    def constant(self) -> bool:
        """It holds no variable."""
        return len(self.parts) == 1

    def expand_field(self, values: Values) -> bytes:
        """The text as a field value. Bytes of variables that are not visible ASCII are percent-encoded."""
        return self._expanded(values, _IN_FIELD).strip(" \t").encode("utf-8")

    def expand_location(self, values: Values) -> bytes:
        """The text as a Location. A target that was meant to stay on this site does: `{path}` of a request for
        `//evil.example` would else name another host (RFC 3986 §4.2)."""
        location = self._expanded(values, _IN_URL)
        if location.startswith("//") and not self.parts[0].startswith("//"):
            location = "/" + location.lstrip("/")
        return _quoted(_IN_FIELD, location).replace(" ", "%20").encode("ascii")

    def expand_path(self, values: Values) -> str:
        """The text as a path: variables cannot begin a query or a fragment, nor make a path without its slash."""
        path = self._expanded(values, _IN_PATH)
        return path if path.startswith("/") else "/" + path

    def _expanded(self, values: Values, unfit: re.Pattern[str]) -> str:
        parts = self.parts
        if len(parts) == 1:
            return parts[0]
        out = list(parts)
        for index in range(1, len(parts), 2):
            out[index] = _quoted(unfit, values(parts[index]))
        return "".join(out)


def _quoted(unfit: re.Pattern[str], value: str) -> str:
    """`value` with every character that `unfit` finds as percent-encoded UTF-8."""
    return unfit.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), value)
