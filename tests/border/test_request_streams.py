"""Where one request ends and the next begins: streams on one connection, verdicts, each request as the backend got it.

A refusal's status ends the row of statuses: the connection closes behind it, and what was sent behind it is dropped.
"""

from __future__ import annotations

import contextlib
import re
from typing import NamedTuple

import pytest

GET_NEXT = b"GET /next HTTP/1.1\r\nHost: shop.example\r\n\r\n"
SMUGGLED = b"GET /smuggled HTTP/1.1\r\nHost: shop.example\r\n\r\n"
HELLO = b"5\r\nhello\r\n"
END = b"0\r\n\r\n"


def post(*fields: bytes, version: bytes = b"1.1") -> bytes:
    return b"\r\n".join((b"POST /form HTTP/" + version, b"Host: shop.example", *fields, b"", b""))


CHUNKED = post(b"Transfer-Encoding: chunked")
FORM = b"POST /form"
NEXT = b"GET /next"


class Case(NamedTuple):
    claim: str
    stream: bytes
    statuses: tuple[int, ...]
    arrived: tuple[tuple[bytes, bytes], ...]
    """(method and path, body as framed to the backend) of each request that the backend got whole."""
    section: str

    def __str__(self) -> str:
        return self.claim


def both(claim: str, stream: bytes, body: bytes, section: str) -> Case:
    """A request with a body and the request behind it both arrive, each for itself."""
    return Case(claim, stream + GET_NEXT, (200, 200), ((FORM, body), (NEXT, b"")), section)


def refused(claim: str, stream: bytes, section: str, status: int = 400) -> Case:
    """The first request is refused; what stands behind it is never served."""
    return Case(claim, stream + SMUGGLED, (status,), (), section)


CASES = [
    # --------------------------------------------------------------------------------------------- where bodies end
    both("a counted body", post(b"Content-Length: 5") + b"hello", b"hello", "RFC 9112 §6.3"),
    both("leading zeros in Content-Length", post(b"Content-Length: 0005") + b"hello", b"hello", "RFC 9110 §8.6"),
    both("a request as a body", post(b"Content-Length: %d" % len(SMUGGLED)) + SMUGGLED, SMUGGLED, "RFC 9112 §6.3"),
    both("a body of length zero", post(b"Content-Length: 0"), b"", "RFC 9112 §6.3"),
    both("no length is no body", post(), b"", "RFC 9112 §6.3"),
    both("a chunked body", CHUNKED + HELLO + END, HELLO + END, "RFC 9112 §7.1"),
    both(
        "a request in a chunk",
        CHUNKED + b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + END,
        b"%x\r\n%b\r\n" % (len(SMUGGLED), SMUGGLED) + END,
        "RFC 9112 §7.1",
    ),
    both("chunks are written anew", CHUNKED + b"05;a=b\r\nhello\r\n" + b"000;x\r\n\r\n", HELLO + END, "RFC 9112 §7.1"),
    both("TE in another case", post(b"Transfer-Encoding: CHUNKED") + HELLO + END, HELLO + END, "RFC 9112 §7"),
    both(
        "a last chunk amid a counted body",
        post(b"Content-Length: 10") + END + HELLO[:5],
        END + HELLO[:5],
        "RFC 9112 §6.3",
    ),
    both("an empty line behind a body", post(b"Content-Length: 5") + b"hello\r\n", b"hello", "RFC 9112 §2.2"),
    Case(
        "a body on GET",
        b"GET /form HTTP/1.1\r\nHost: shop.example\r\nContent-Length: 5\r\n\r\nhello" + GET_NEXT,
        (200, 200),
        ((b"GET /form", b"hello"), (NEXT, b"")),
        "RFC 9110 §9.3.1",
    ),
    Case(
        "Upgrade with a body",
        post(b"Connection: upgrade", b"Upgrade: websocket", b"Content-Length: 5") + b"hello" + GET_NEXT,
        (200, 200),
        ((FORM, b"hello"), (NEXT, b"")),
        "RFC 9110 §7.8",
    ),
    Case(
        "Upgrade that is not granted",
        b"GET /form HTTP/1.1\r\nHost: shop.example\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n" + GET_NEXT,
        (200, 200),
        ((b"GET /form", b""), (NEXT, b"")),
        "RFC 9110 §7.8",
    ),
    Case("many at once", GET_NEXT * 50, (200,) * 50, ((NEXT, b""),) * 50, "RFC 9112 §9.3.2"),
    # -------------------------------------------------------------------------------------- nothing after the end
    Case(
        "a request after Connection: close",
        post(b"Connection: close") + SMUGGLED,
        (200,),
        ((FORM, b""),),
        "RFC 9112 §9.6",
    ),
    Case(
        "a request after an HTTP/1.0 one",
        post(b"Content-Length: 5", version=b"1.0") + b"hello" + SMUGGLED,
        (200,),
        ((FORM, b"hello"),),
        "RFC 9112 §9.3",
    ),
    Case(
        "HTTP/1.0 that asks to be kept",
        post(b"Connection: keep-alive", version=b"1.0") + SMUGGLED,
        (200,),
        ((FORM, b""),),
        "RFC 9112 §9.3",
    ),
    Case(
        "garbage behind a body",
        post(b"Content-Length: 5") + b"helloGARBAGE\r\n\r\n" + SMUGGLED,
        (200, 400),
        ((FORM, b"hello"),),
        "RFC 9112 §3",
    ),
    # ------------------------------------------------------------------------------------------- CL.TE, TE.CL, TE.TE
    refused("CL.TE", post(b"Content-Length: 5", b"Transfer-Encoding: chunked") + END, "RFC 9112 §6.1"),
    refused("TE.CL", post(b"Transfer-Encoding: chunked", b"Content-Length: 5") + HELLO + END, "RFC 9112 §6.1"),
    refused("CL.0 by a sign", post(b"Content-Length: +5") + b"hello", "RFC 9110 §8.6"),
    refused("two lengths", post(b"Content-Length: 5", b"Content-Length: 0") + b"hello", "RFC 9112 §6.3"),
    refused("two equal lengths", post(b"Content-Length: 5", b"Content-Length: 5") + b"hello", "RFC 9112 §6.3"),
    refused("a list of lengths", post(b"Content-Length: 5, 5") + b"hello", "RFC 9112 §6.3"),
    refused("a huge length", post(b"Content-Length: 18446744073709551621") + b"hello", "RFC 9110 §8.6"),
    refused("TE.TE", post(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + END, "RFC 9112 §6.1"),
    refused("TE by a tab before the colon", post(b"Transfer-Encoding\t: chunked") + END, "RFC 9112 §5.1"),
    refused("TE by a vertical tab", post(b"Transfer-Encoding: \x0bchunked") + END, "RFC 9110 §5.5"),
    refused("TE in a folded line", post(b"X: y", b" Transfer-Encoding: chunked") + END, "RFC 9112 §5.2"),
    refused("TE behind a bare CR", post(b"X: y\rTransfer-Encoding: chunked") + END, "RFC 9112 §2.2"),
    refused("TE behind a bare LF", post(b"X: y\nTransfer-Encoding: chunked") + END, "RFC 9112 §2.2"),
    refused("chunked in HTTP/1.0", post(b"Transfer-Encoding: chunked", version=b"1.0") + END, "RFC 9112 §6.1"),
    # ------------------------------------------------------------------------------------------------ broken chunks
    refused("a bare LF behind a size", CHUNKED + b"5\nhello\r\n" + END, "RFC 9112 §2.2"),
    refused("a bare LF behind a chunk", CHUNKED + b"5\r\nhello\n" + END, "RFC 9112 §7.1"),
    refused("a bare LF as the end", CHUNKED + HELLO + b"0\r\n\n", "RFC 9112 §2.2"),
    refused("a bare CR in an extension", CHUNKED + b"5;a\rb\r\nhello\r\n" + END, "RFC 9112 §7.1.1"),
    refused("a bare LF in an extension", CHUNKED + b"5;a\nb\r\nhello\r\n" + END, "RFC 9112 §7.1.1"),
    refused("an oversized chunk line", CHUNKED + b"5;" + b"a" * 5000 + b"\r\nhello\r\n" + END, "by decision"),
    refused("a chunk that is longer than its size", CHUNKED + b"3\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    refused("a negative size", CHUNKED + b"-5\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    refused("a size with 0x", CHUNKED + b"0x5\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    refused("a size that overflows", CHUNKED + b"10000000000000005\r\nhello\r\n" + END, "RFC 9112 §7.1"),
    refused("a folded trailer", CHUNKED + HELLO + b"0\r\nX: 1\r\n y\r\n\r\n", "RFC 9112 §5.2"),
    refused("a request in the trailers", CHUNKED + HELLO + b"0\r\nGET / HTTP/1.1\r\n\r\n", "RFC 9112 §7.1.2"),
]


@pytest.mark.parametrize("case", CASES, ids=str)
@pytest.mark.parametrize("step", [100_000, 7], ids=["at once", "in pieces"])
def test_stream(border, case, step) -> None:
    border.backend.forget()
    with border.connect() as client:
        # What stands behind the end of a connection may find it closed.
        with contextlib.suppress(OSError) if len(case.statuses) == 1 else contextlib.nullcontext():
            for at in range(0, len(case.stream), step):
                client.send(case.stream[at : at + step])
        for status in case.statuses:
            response = client.receive_response()
            assert response.status == status, case.section
        if case.statuses[-1] == 400:
            assert response.head["connection"] == "close"
            assert client.ending() == "clean"
        elif len(case.statuses) == 1:
            assert client.ending() == "clean"
        else:
            assert client.is_open()
        for start, body in case.arrived:
            head, _, rest = border.backend.next_request().partition(b"\r\n\r\n")
            assert head.startswith(start + b" HTTP/1.1\r\n")
            assert dechunked(rest) == dechunked(body)
            assert framing_lines(head) <= 1
    assert border.backend.nothing_came()


def framing_lines(head: bytes) -> int:
    return len(re.findall(rb"(?im)^(?:content-length|transfer-encoding)\s*:", head))


def dechunked(body: bytes) -> bytes:
    """A chunked body as its chunks of one byte: how it is divided is nobody's business, how it is written is."""
    if not body.endswith(END):
        return body
    if body == END + HELLO[:5]:
        return body
    content = b""
    while not body.startswith(END):
        size, _, body = body.partition(b"\r\n")
        assert re.fullmatch(rb"[1-9a-f][0-9a-f]*", size), "a size is not in its canonical form"
        content, body = content + body[: int(size, 16)], body[int(size, 16) + 2 :]
    assert body == END
    return b"chunked:" + content
