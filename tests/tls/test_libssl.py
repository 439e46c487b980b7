"""The pointers are checked against what Python says of the same objects."""

from __future__ import annotations

import ssl

import pytest

from terminator.tls import libssl


def test_the_pointers_agree_with_python() -> None:
    libssl.check()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    connection = context.wrap_bio(ssl.MemoryBIO(), ssl.MemoryBIO(), server_side=True)
    library = libssl.loaded()
    assert library.SSL_CTX_get_options(libssl.context_pointer(context)) == int(context.options)
    assert library.SSL_get_SSL_CTX(libssl.connection_pointer(connection)) == libssl.context_pointer(context)


@pytest.mark.parametrize("offset", ["_CONTEXT_OFFSET", "_CONNECTION_OFFSET"])
def test_what_is_no_pointer_is_refused_unused(monkeypatch: pytest.MonkeyPatch, offset: str) -> None:
    monkeypatch.setattr(libssl, offset, 0)  # there is the count of references
    with pytest.raises(libssl.Unproved, match="does not hold its pointer where it used to"):
        libssl.check()


@pytest.mark.parametrize(("pointer", "length"), [(0, 8), (4095, 8), (8, 8), (2**47 - 4096, 8)])
def test_only_memory_that_may_be_written_is_taken_for_an_object(pointer: int, length: int) -> None:
    assert not libssl._mapped(pointer, length)
