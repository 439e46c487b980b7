"""Log lines for people: `log: {format: text}`. One line per event; no client can break it or forge another.

The two lines that matter most have a fixed layout; all others are `event  key=value …`. A character that is not
printable (line feeds, escape sequences, bidirectional overrides) is written as its escape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

Fields = Mapping[str, object]

_HEAD = ("time", "level", "event", "worker")
_HANDSHAKE_PHASES = ("first_byte", "hello", "select", "flight", "client")
_REQUEST_PHASES = ("idle", "head", "queue", "connect", "response", "transfer")


def text_line(fields: Fields) -> bytes:
    """The line, with its line feed. `fields` are those of the JSON line, `time` `level` `event` `worker` first."""
    time = str(fields["time"])
    event = str(fields["event"])
    worker = fields.get("worker")
    head = (
        f"{time[:10]} {time[11:23]} {fields['level']:<7} {'-' if worker is None else _plain(worker)!s:<2} {event:<13} "
    )
    return (head + _LAYOUTS.get(event, _any)(fields) + "\n").encode("utf-8", "backslashreplace")


def _handshake(fields: Fields) -> str:
    name = _client(fields) + " " + _word(fields.get("server.name", "-"))
    used = {"client.address", "client.port", "server.name", "tls.established", *_HEAD}
    if fields.get("tls.established"):
        what = " ".join(
            _plain(fields[key]) for key in ("tls.protocol.version", "tls.cipher", "tls.group") if key in fields
        )
        used |= {"tls.protocol.version", "tls.cipher", "tls.group", "tls.resumed"}
        text = f"{name} TLS {what}{' resumed' if fields.get('tls.resumed') else ''}"
    else:
        used |= {"error.type", "error.phase"}
        reason, phase = fields.get("error.type", "internal"), fields.get("error.phase", "?")
        text = f"{name} FAILED {_word(reason)} in {_word(phase)}"
    return text + _timing(fields, "handshake", _HANDSHAKE_PHASES, used) + _rest(fields, used)


def _request(fields: Fields) -> str:
    target = f"{fields.get('http.request.host', '-')}{fields.get('url.path', '-')}"
    if "url.query" in fields:
        target += f"?{fields['url.query']}"
    used = {
        *_HEAD,
        "client.address",
        "client.port",
        "http.request.host",
        "http.request.method",
        "url.path",
        "url.query",
        "http.response.status_code",
        "http.response.body.size",
    }
    status, size = fields.get("http.response.status_code", "-"), fields.get("http.response.body.size", 0)
    text = f"{_client(fields)} {_word(fields.get('http.request.method', '-'))} {_word(target)} {status} {size}B"
    return text + _timing(fields, "total", _REQUEST_PHASES, used) + _rest(fields, used)


def _any(fields: Fields) -> str:
    return _rest(fields, set(_HEAD)).lstrip()


_LAYOUTS: dict[str, Callable[[Fields], str]] = {"tls.handshake": _handshake, "http.request": _request}


def _client(fields: Fields) -> str:
    address, port = _plain(fields.get("client.address", "-")), fields.get("client.port")
    if port is None:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _timing(fields: Fields, total: str, phases: tuple[str, ...], used: set[str]) -> str:
    """` 12.345ms (hello 0.1, client 12.2)`; a phase that took nothing is left out."""
    used |= {f"timing.{name}_ms" for name in (total, *phases)}
    parts = [f"{name} {fields[key]}" for name in phases if fields.get(key := f"timing.{name}_ms")]
    whole = fields.get(f"timing.{total}_ms")
    return ("" if whole is None else f" {whole}ms") + (f" ({', '.join(parts)})" if parts else "")


def _rest(fields: Fields, used: set[str]) -> str:
    return "".join(f" {key}={_value(value)}" for key, value in fields.items() if key not in used)


def _value(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(_value(part) for part in value) + "]"
    text = _word(value)
    return f'"{text}"' if not text or ("=" in text and text[0] != '"') else text


def _word(value: object) -> str:
    """The value as one word: quoted when it has a space in it, or anything that had to be escaped."""
    text = _plain(value)
    return f'"{text}"' if " " in text or "\\" in text else text


def _plain(value: object) -> str:
    """The value without anything that could move a cursor, end a line or close a quote."""
    text = str(value)
    if text.isprintable() and "\\" not in text and '"' not in text:
        return text
    return "".join(_escape(character) for character in text)


def _escape(character: str) -> str:
    if character in '\\"':
        return "\\" + character
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        code -= 0xDC00
    short = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}.get(character)
    return short or (f"\\x{code:02x}" if code < 256 else f"\\u{code:04x}" if code < 65536 else f"\\U{code:08x}")
