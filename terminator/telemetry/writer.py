"""Writes a journal from inside a trio loop: one task, woken by the first line, never blocking the loop."""

from __future__ import annotations

import math

import trio
import trio.lowlevel

from terminator.telemetry.destination import Destination, Progress
from terminator.telemetry.journal import Journal

BATCH_SECONDS = 0.05
_RETRY_SECONDS = 1.0


async def write_behind(journal: Journal) -> None:
    """Runs until cancelled. Lines gather for 50 ms, or until half of the buffer is taken, and go out together.

    The owner calls `journal.close` afterwards.
    """
    wake = trio.Event()

    def on_wake() -> None:
        wake.set()

    journal.on_wake(on_wake)
    try:
        async with trio.open_nursery() as nursery:
            while True:
                await wake.wait()
                wake = trio.Event()
                for destination in journal.due():
                    nursery.start_soon(_write, journal, destination)
    finally:
        journal.on_wake(None)


async def _write(journal: Journal, destination: Destination) -> None:
    """Writes one destination until nothing is left in it. A reader that stands still holds up nobody else."""
    await _gathered(destination)
    while True:
        if destination.may_block:
            destination.gather()
            # All of it: each turn of the thread costs the loop a quarter of a millisecond.
            progress = await trio.to_thread.run_sync(destination.write_gathered, math.inf)
        else:
            progress = destination.write()
        journal.settle(destination)
        if progress is Progress.FAILED:
            await trio.sleep(_RETRY_SECONDS)
        elif progress is Progress.BLOCKED:
            # A second at most: the descriptor may be another file since, after a reopening.
            with trio.move_on_after(_RETRY_SECONDS):
                await trio.lowlevel.wait_writable(destination.fd)
        elif progress is Progress.MORE:
            await trio.lowlevel.checkpoint()
        elif destination.pending:
            await _gathered(destination)
        else:
            destination.scheduled = False
            return


async def _gathered(destination: Destination) -> None:
    """When it is time to write: a busy worker fills the buffer in less than 50 ms, and what finds it full is lost."""
    enough = trio.Event()
    destination.on_half_full = enough.set
    if not destination.roomy:
        enough.set()
    try:
        with trio.move_on_after(BATCH_SECONDS):
            await enough.wait()
    finally:
        destination.on_half_full = None
