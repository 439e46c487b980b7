"""How a request's path is read before routes are compared with it, so that no spelling of it slips past a route.

Backends do not agree on what a path says: some merge `//`, some cut `;parameters`, some take `%2F` for a slash, some
read `//a/b` as host and path. terminator forwards the path as it was sent (percent-encoding is never decoded and
re-encoded), so it must not choose a route by one reading while the backend acts on another. The law therefore is:

    every reading that a backend may have of a path must lead to the same route, else the request is refused (400).

`readings` gives them all; `RouteTable.match` applies the law. A path with a single route in its way thus passes with
any sloppiness, GitLab's `/projects/group%2Fname` included, and one that would cross a border between routes does not.

  in the path                        what is done with it
  plain characters                   one reading, itself; letters' case counts
  %61, %3A … (visible ASCII)         decoded for matching: RFC 3986 §6.2.2.2, and every server that decodes agrees
  %C3%A9, %20, %25 …                 stay encoded, hex digits in upper case; %252e is data, once decoded it is %2e
  `/./`, `/../`, %2e for a dot       refused, also beside `;x`, %3B, %2F and %5C: honest clients resolve them before
                                     sending (RFC 3986 §5.2.4)
  `//`                               two readings: as it is, and merged
  `//` at the beginning              a third: a host up to the next slash, then the path (RFC 3986 §4.2)
  `;x` or %3Bx in a segment          two readings: as it is, and cut (RFC 3986 §3.3, servlet containers)
  %2F, %5C                           two readings: as data, and as a slash
  `\\` and other bytes no path has    refused (RFC 3986 §3.3)
  %00 to %1F, %7F                    refused: end of string or of line to a careless backend
  %C0%80 to %C1%BF                   refused: never UTF-8, and read as ASCII by a lax decoder
  `%` without two hex digits         refused (RFC 3986 §2.1)
  `*` (OPTIONS)                      one reading; only a route for the prefix `/` without more takes it
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from terminator.errors import BadRequest

# pchar of RFC 3986 §3.3 without `%` and `;`, and what browsers send beyond it, which `wire.request_head` lets in
_CHARACTER = r"A-Za-z0-9._~!$&'()*+,=:@\[\]^`{|}\-"
_PLAIN = re.compile(rf"(?:/(?!\.\.?(?:/|\Z))[{_CHARACTER}]+)*/?")
_WRONG = re.compile(rf"[^{_CHARACTER};/%]|%(?![0-9A-Fa-f]{{2}})")
_FORBIDDEN = re.compile(r"%[01][0-9A-Fa-f]|%7[Ff]|%[Cc][01]%[89ABab][0-9A-Fa-f]")
_ENCODED = re.compile(r"%[0-9A-Fa-f]{2}")
_SEPARATOR = re.compile(r"/|%2F|%5C")
_DOT_SEGMENT = re.compile(r"(?:/|%2F|%5C)\.\.?(?:/|%2F|%5C|;|%3B|\Z)")
_PARAMETERS = re.compile(r"(?:;|%3B)[^/]*")
_SLASHES = re.compile(r"//+")
_SAFE = "/:@!$&'()*+,=~"  # what a remedy leaves unencoded
_KEPT = frozenset("/\\%;?#")  # decoded, these would change what the path says


def readings(path: str) -> tuple[str, ...]:
    """Every way a backend may read `path` (without its query), the literal one first; comparable with `route_path`.

    Raises BadRequest for a path that no route may see (the table above).
    """
    if is_plain(path):
        return (path,)
    if not path.startswith("/") or _WRONG.search(path):
        raise BadRequest("the path holds what no path may (RFC 3986 §2.1, §3.3)")
    if _FORBIDDEN.search(path):
        raise BadRequest("the path holds an encoded control byte or an overlong UTF-8 sequence")
    literal = _decoded(path)
    if _DOT_SEGMENT.search(literal):
        raise BadRequest("the path holds a dot segment (RFC 3986 §5.2.4)")
    found = [literal]
    for rule in (_slashes_decoded, _parameters_cut, _host_cut, _slashes_merged):
        found += [other for reading in found if (other := rule(reading)) not in found]
    return tuple(dict.fromkeys(found))


def is_plain(path: str) -> bool:
    """Whether `path` has one reading only, itself. Most have, and this is the cheap way to know."""
    return bool(path) and (_PLAIN.fullmatch(path) is not None or path == "*")


def route_path(text: str) -> str:
    """The form in which a configured path is compared. ValueError, which says the remedy, when no request could be
    sure to match it."""
    if not text.startswith("/"):
        raise ValueError(f"a path begins with a slash: write /{text}")
    if not text.isascii():
        raise ValueError(f"{text!r} is not ASCII; write {quote(unquote(text), safe=_SAFE)}")
    for character in "?#":
        if character in text:
            raise ValueError(f"a path holds no {character!r}; for the query there is match_query")
    if text.endswith("/*") or "{" in text or "}" in text:
        raise ValueError(f"{text!r} looks like a pattern; a `path` is a prefix already and holds none")
    if _WRONG.search(text):
        raise ValueError(f"{text!r} is no path; write {quote(unquote(text), safe=_SAFE)}")
    if _FORBIDDEN.search(text):
        raise ValueError(f"{text!r} holds an encoded control byte; requests with one are refused")
    decoded = _decoded(text)
    if _SLASHES.search(decoded) or _DOT_SEGMENT.search(decoded):
        raise ValueError(f"{text!r} holds // or a dot segment; write the path without")
    if re.search(r";|%3B|%2F|%5C", decoded):
        raise ValueError(f"{text!r} holds ; or an encoded slash, which backends read in different ways")
    return decoded


def without_prefix(path: str, prefix: str) -> str:
    """`path`, as sent, without the configured `prefix` that it matched; the rest is left as it was written.

    What remains begins with one slash: more could be read as a host (RFC 3986 §4.2).
    """
    parts = path.split("/", prefix.rstrip("/").count("/") + 1)  # no reading of it has its borders elsewhere
    return "/" + parts[-1].lstrip("/") if len(parts) > prefix.rstrip("/").count("/") + 1 else "/"


def _decoded(path: str) -> str:
    return _ENCODED.sub(_decode, path) if "%" in path else path


def _decode(found: re.Match[str]) -> str:
    character = chr(int(found[0][1:], 16))
    return character if "!" <= character <= "~" and character not in _KEPT else found[0].upper()


def _slashes_decoded(reading: str) -> str:
    return _SEPARATOR.sub("/", reading) if "%" in reading else reading


def _parameters_cut(reading: str) -> str:
    return _PARAMETERS.sub("", reading)


def _host_cut(reading: str) -> str:
    return "/" + reading.lstrip("/").partition("/")[2] if reading.startswith("//") else reading


def _slashes_merged(reading: str) -> str:
    return _SLASHES.sub("/", reading)
