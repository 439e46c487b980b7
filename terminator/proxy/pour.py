"""The express lane of bulk: a body of known length from backend to client through one buffer that all share.

A read of 256 KiB into fresh memory costs four times as much as one into memory that is warm already. Nothing waits
while the buffer is in use: what the client cannot take at once is copied out first. The plain path is
`relay.relay_body` with one piece after the other; both put the same bytes on the wire.
"""

from __future__ import annotations

from collections.abc import Callable

from terminator.errors import BackendTruncated
from terminator.transport.stream import Stream

SCRATCH_BYTES = 262144
_scratch = memoryview(bytearray(SCRATCH_BYTES))
"""One per process: each is a single thread of trio tasks, and no task waits between filling and emptying it."""

WORTHWHILE_BYTES = 131072
"""Shorter rests go the plain way: the saving would be less than the effort."""


async def pour(
    source: Stream,
    sink: Stream,
    length: int,
    *,
    before_wait: Callable[[], None],
    after_wait: Callable[[], None],
    moved: Callable[[int], None],
) -> None:
    """Moves exactly `length` bytes. `before_wait` and `after_wait` are called around waiting for the source, `moved`
    with the count of each portion that the sink has taken.

    Raises `BackendTruncated` when the source ends or is reset before, and what `sink.send` raises.
    """
    left = length
    while left:
        try:
            count = source.sock.recv_into(_scratch, min(left, SCRATCH_BYTES))
        except source.wants_read:
            before_wait()
            await source.wait_readable()
            after_wait()
            continue
        except OSError as error:
            source.ended = source.broken = True
            raise BackendTruncated(f"the backend reset the connection amid its response: {error.strerror}") from error
        if not count:
            source.ended = True
            raise BackendTruncated("the backend closed the connection amid its response")
        left -= count
        sent = sink.send_now(_scratch[:count])
        if sent < count:
            await sink.send(bytes(_scratch[sent:count]))
        moved(count)
        await sink.give_way(count)
