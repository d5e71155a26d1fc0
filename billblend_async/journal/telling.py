"""Tells those who wait for a journal what came of it, and leaves the host its turn meanwhile."""

import asyncio
from collections import deque
from collections.abc import Iterable
from typing import Any, Final

from ..errors import BillblendError

__all__ = ["Teller"]

SLICE: Final = 8
"""Waiters who are told at once; what they do next may take each a quarter of a millisecond."""


class Teller:
    """Settles futures a few at a time, in the order in which it was handed them.

    A waiter that was cancelled is passed over. It belongs to the event loop in which it was made.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._untold: deque[tuple[asyncio.Future[Any], object]] = deque()

    def add(self, results: Iterable[tuple[asyncio.Future[Any], object]]) -> None:
        """Take in what to tell; any thread may call this, and it tells nothing yet."""
        self._untold.extend(results)

    def tell(self) -> None:
        """Tell a few, and the others in the next rounds of the loop."""
        for _ in range(min(SLICE, len(self._untold))):
            _settle(*self._untold.popleft())
        if self._untold:
            self._loop.call_soon(self.tell)

    def finish(self) -> None:
        """Tell everybody now."""
        while self._untold:
            _settle(*self._untold.popleft())


def _settle(future: asyncio.Future[Any], result: object) -> None:
    if future.done():
        return
    if isinstance(result, BillblendError):
        future.set_exception(result)
    else:
        future.set_result(result)
