"""One timer of the event loop for the naps of all payouts.

A timer of its own for each nap is a handle and a copy of the context, which the garbage collector
visits again and again while ten thousand payouts wait, and which some loops allocate anew.
"""

import asyncio
import math
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Final

__all__ = ["Alarms"]

_FEW: Final = 64

_Entry = tuple[float, int, "asyncio.Future[None]"]


class Alarms:
    """Futures that are done at an instant of the event loop's clock; one timer serves all."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._ended = 0

    def set(self, at: float) -> "asyncio.Future[None]":
        """Make a future that is done at an instant, unless somebody ends it before.

        Whoever waits for it and is cancelled ends it.
        """
        loop = asyncio.get_running_loop()
        alarm: asyncio.Future[None] = loop.create_future()
        heappush(self._entries, (at, next(self._numbers), alarm))
        if at < self._rings_at:
            self._arm(loop)
        return alarm

    def end(self, alarm: "asyncio.Future[None]") -> None:
        """End one before its instant. It leaves the list then, or when half of that has ended."""
        if not alarm.done():
            alarm.set_result(None)
        self._ended += 1
        if self._ended > _FEW and 2 * self._ended > len(self._entries):
            self._entries = [entry for entry in self._entries if not entry[2].done()]
            heapify(self._entries)
            self._ended = 0

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings_at = None, math.inf
        if self._entries:
            self._rings_at = self._entries[0][0]
            self._timer = loop.call_at(self._rings_at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._entries and (self._entries[0][0] <= now or self._entries[0][2].done()):
            alarm = heappop(self._entries)[2]
            if alarm.done():
                self._ended = max(0, self._ended - 1)
            else:
                alarm.set_result(None)
        self._arm(loop)
