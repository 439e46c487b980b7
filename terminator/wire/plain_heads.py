"""Heads that need no reading, found out by one match each: the express lane sends them on almost as they came.

A request whose field lines are, byte for byte, those of the request before on its connection means what that one meant;
only its request line is new. A response's head is sent on as it is when every name stands in its customary case (or
all in lower case, which is mended), every value as `writing` would write it, and no field asks for anything but a
Content-Length, or chunks in its place. What differs in the least from that is None here, and is read by `request_head`
and `response_head`: this module decides nothing that they would decide otherwise (tests/wire/test_plain_heads.py).
"""

from __future__ import annotations

import re
from collections.abc import Callable

from terminator.wire.client_side import HOP_BY_HOP
from terminator.wire.framing import VALUE
from terminator.wire.request_head import PATH_BYTES, QUERY_BYTES
from terminator.wire.writing import CUSTOMARY, LAST_CHUNK, spell

_METHODS = rb"GET|POST|PUT|PATCH|DELETE|OPTIONS"  # not HEAD, whose response is framed in a way of its own
_LINE = re.compile(rb"((%b) (/%b)(?:\?(%b))?) HTTP/1\.1\r\n" % (_METHODS, PATH_BYTES, QUERY_BYTES))

# Of at most 7 * 32 + 6 bytes, below `framing.MAX_NAME_BYTES`.
_PART = rb"[A-Z0-9][a-z0-9]{0,31}"
_REGULAR = rb"%b(?:-%b){0,6}" % (_PART, _PART)


def _names(names: set[bytes]) -> bytes:
    return b"|".join(re.escape(name) for name in sorted(names))


_IRREGULAR = _names({name for name in CUSTOMARY.values() if not re.fullmatch(_REGULAR, name)} - {b"TE"})
_SPELLED_OTHERWISE = {b"-".join(part.capitalize() for part in name.split(b"-")) for name in CUSTOMARY}
_OURS = {spell(name) for name in HOP_BY_HOP | {b"content-length", b"strict-transport-security"}}
_NAME = rb"(?!(?:%b):)(?:%b|%b)" % (
    _names(_OURS | (_SPELLED_OTHERWISE - set(CUSTOMARY.values()))),
    _REGULAR,
    _IRREGULAR,
)
_VISIBLE = rb"[!-~\x80-\xff]"
_FIELDS = rb"(?:%b: %b(?:%b*%b)?\r\n){0,100}" % (_NAME, _VISIBLE, VALUE, _VISIBLE)
_ANSWER = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9]{2}) %b*\r\n%b"
    rb"((?:Content-Length: (0|[1-9][0-9]{0,17})|Transfer-Encoding: chunked)\r\n)(%b)\r\n" % (VALUE, _FIELDS, _FIELDS)
)
_LOWER_CASE = re.compile(rb"(?<=\r\n)[a-z][a-z0-9-]{0,63}(?=: )")
_PERSISTENCE = re.compile(rb"\r\n(?:Connection: [Kk]eep-[Aa]live|Keep-Alive: [!-~ ]*)(?=\r\n)")
_VIA = b"Via: 1.1 terminator\r\n"
_CLOSING = b"Connection: close\r\n\r\n"
_WITHOUT_CONTENT = {b"204", b"304"}
_SIZE_LINE = re.compile(rb"([1-9a-f][0-9a-f]{0,7})\r\n")
_END_OF_CHUNKS = b"\r\n" + LAST_CHUNK


def field_lines_of(head: bytes) -> bytes | None:
    """The field lines of a request head with its empty line, for `same_fields`; None when its request line is not a
    common one (an absolute-form target also says which host is asked for)."""
    line = _LINE.match(head)
    return None if line is None else head[line.end() :]


SameFields = tuple[bytes, str, str, str | None, int]
"""Method and target as sent, method, path, query, and the length of the whole head."""


def same_fields(data: bytes | bytearray, fields: bytes) -> SameFields | None:
    """What is new of the request that `data` begins with, when its line is a common one and followed by `fields`, which
    are all field lines of an earlier request with its empty line; else None."""
    line = _LINE.match(data)
    if line is None or not data.startswith(fields, line.end()):
        return None
    beginning, method, path, query = line.groups()
    if b"%" in beginning:
        return None
    return (
        beginning,
        method.decode("ascii"),
        path.decode("ascii"),
        None if query is None else query.decode("ascii"),
        line.end() + len(fields),
    )


PlainAnswer = tuple[int, int | None, bytes, bytes]
"""Status, length of the content or None where it comes in chunks, the head as the client gets it, and what has come
behind the backend's."""


def plain_answer(data: bytes, date: Callable[[], bytes], hsts: bytes, *, closing: bool) -> PlainAnswer | None:
    """What `data`, the beginning of what a backend says to a request that was not HEAD, is when it begins with a whole
    and plain head; else None. Another request may follow on such a backend's connection when all content has come.

    date: asked for an IMF-fixdate where it has no Date
    hsts: the line of Strict-Transport-Security, b"" for none
    closing: no other request will be read on the client's connection
    """
    head, blank, content = data.partition(b"\r\n\r\n")
    head += blank
    if b"\r\ncontent-length: " in head or b"\r\ntransfer-encoding: " in head:
        head = _LOWER_CASE.sub(_spelled, head, 100)  # as hyper and uvicorn write all names
    if b"\r\nConnection: " in head:
        # One line of each: the ordinary way refuses too many.
        head = _PERSISTENCE.sub(b"", head, 2)
    found = _ANSWER.match(head)
    if found is None:
        return None
    status, framing, length, after = found.groups()
    if status in _WITHOUT_CONTENT:
        return None
    dated = b"" if b"\r\nDate: " in head else b"Date: %b\r\n" % date()
    end = _CLOSING if closing else b"\r\n"
    answer = b"".join((head[: found.start(2)], after, _VIA, dated, hsts, framing, end))
    return int(status), None if length is None else int(length), answer, content


def sole_chunk(body: bytes) -> int | None:
    """The length of the content when `body` is all of a chunked body, one chunk that is framed as `writing` would frame
    it; else None."""
    line = _SIZE_LINE.match(body)
    if line is None:
        return None
    length, start = int(line[1], 16), line.end()
    return length if body[start + length :] == _END_OF_CHUNKS else None


def _spelled(name: re.Match[bytes]) -> bytes:
    return spell(name[0])
