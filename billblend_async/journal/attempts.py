"""Tries again what a lost connection has interrupted, for a bounded time."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final, TypeVar

from ..errors import JournalUnavailable

__all__ = ["Attempts", "Lost"]

T = TypeVar("T")

_FIRST_PAUSE: Final = 0.05
_LONGEST_PAUSE: Final = 1.0


class Lost(Exception):
    """An attempt has failed in a way that another one may not; what it wanted may have happened."""


class Attempts:
    """Makes attempts until one succeeds or the patience is used up.

    Args:
        name: The journal's, for errors.
        patience: Seconds after which whoever waits is told.
    """

    def __init__(self, name: str, patience: float) -> None:
        self._name = name
        self._patience = patience
        self._abandoned: set[asyncio.Future[Any]] = set()

    async def make(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do some work that may be done twice.

        Raises:
            JournalUnavailable: It did not succeed in time; what it wanted may have happened.
        """
        loop = asyncio.get_running_loop()
        until, pause = loop.time() + self._patience, _FIRST_PAUSE
        while True:
            task = asyncio.ensure_future(work())
            try:
                await asyncio.wait({task}, timeout=max(0.0, until - loop.time()))
            except asyncio.CancelledError:
                self._abandon(task)
                raise
            if not task.done():
                # It cannot be waited for: a connection that nobody answers on ends in minutes.
                self._abandon(task)
                raise self._unavailable(f"it has not answered for {self._patience:g} seconds")
            lost = task.exception()
            if not isinstance(lost, Lost):
                return task.result()
            if loop.time() + pause >= until:
                raise self._unavailable(str(lost))
            await asyncio.sleep(pause)
            pause = min(2 * pause, _LONGEST_PAUSE)

    def _abandon(self, task: asyncio.Future[Any]) -> None:
        task.cancel()
        self._abandoned.add(task)
        task.add_done_callback(self._forget)

    def _forget(self, task: asyncio.Future[Any]) -> None:
        self._abandoned.discard(task)
        if not task.cancelled():
            task.exception()  # nobody else looks at it

    def _unavailable(self, reason: str) -> JournalUnavailable:
        return JournalUnavailable(self._name, reason)
