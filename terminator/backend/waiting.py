"""The requests that wait for a server of one backend, in the order in which they came.

Whoever frees a server asks them in turn, and gives what is free to the first that can use it, then and there: one that
has tried this very server before, say, is passed over and keeps its place. So nothing that is free stays unused while
somebody waits who could use it, and nobody who comes later takes it before the one that it was given to has run.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

import trio

from terminator.errors import NoServer

Found = TypeVar("Found")


class Waiting(Generic[Found]):
    """Belongs to one backend in one worker, and outlives generations as it does."""

    def __init__(self) -> None:
        self._waiters: dict[_Waiter[Found], None] = {}

    def __len__(self) -> int:
        return len(self._waiters)

    async def turn(self, ask: Callable[[], Found | None], alike: Hashable) -> Found:
        """What `ask` finds as soon as it finds something; None means that there is nothing for it yet.

        ask:    called by whoever frees a server. What it finds is taken from then on, for the caller to give back; when
                it raises `NoServer`, so does this
        alike:  where `ask` finds nothing, it finds nothing for others with the same value either

        Cancelled, it has taken nothing.
        """
        waiter = _Waiter(trio.lowlevel.current_task(), ask, alike)
        self._waiters[waiter] = None

        def abort(_: object) -> trio.lowlevel.Abort:
            del self._waiters[waiter]
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)
        if waiter.found is None:
            raise waiter.refusal
        return waiter.found

    def offer(self, *, most: float = 1) -> None:
        """There may be a server for some that wait: for the first `most` of those that can use one."""
        fruitless: set[Hashable] = set()
        for waiter in tuple(self._waiters):
            if waiter.alike in fruitless:
                continue
            if not self._answered(waiter):
                fruitless.add(waiter.alike)
            elif waiter.found is not None:
                most -= 1
                if not most:
                    return

    def _answered(self, waiter: _Waiter[Found]) -> bool:
        """Whether it waits no longer. From here on it cannot be cancelled before it runs."""
        try:
            waiter.found = waiter.ask()
            if waiter.found is None:
                return False
        except NoServer as error:
            waiter.refusal = error
        del self._waiters[waiter]
        trio.lowlevel.reschedule(waiter.task)
        return True


class _Waiter(Generic[Found]):
    __slots__ = ("alike", "ask", "found", "refusal", "task")

    def __init__(self, task: trio.lowlevel.Task, ask: Callable[[], Found | None], alike: Hashable) -> None:
        self.task = task
        self.ask = ask
        self.alike = alike
        self.found: Found | None = None
        self.refusal = NoServer("nothing was found")
