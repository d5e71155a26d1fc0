"""One way to the gateway: so many exchanges at once, each whole whoever gives up on it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .errors import ClaimLost
from .logs import fields
from .transport import Departure, Failure, Reply, Sender

__all__ = ["Lane"]

T = TypeVar("T")

log = logging.getLogger(__name__)


class Lane:
    """One way to the gateway, with as many permits as its pool has connections.

    Args:
        sender: What sends.

    Attributes:
        in_flight: The exchanges that are under way.
    """

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self._permits = asyncio.Semaphore(sender.connections)
        self._owed = 0
        self._abandoned: set[asyncio.Task[Reply | Failure]] = set()
        self.in_flight: set[asyncio.Task[Any]] = set()

    async def run(self, exchange: Callable[[], Coroutine[Any, Any, T]]) -> T:
        """Run an exchange in a task of its own, so that a cancelled caller leaves it whole.

        Waiting for a permit can be cancelled; nothing has begun then. A request that is cancelled
        inside httpcore may hold its place in the pool for ever, so none is.
        """
        await self._permits.acquire()
        task = asyncio.create_task(exchange())
        self.in_flight.add(task)
        task.add_done_callback(self._landed)
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            task.add_done_callback(_log_failure)
            raise

    async def drain(self) -> None:
        """Wait for every exchange that is under way now."""
        if self.in_flight:
            await asyncio.wait(set(self.in_flight))

    async def post(
        self, url: str, body: bytes, departure: Departure | None = None
    ) -> Reply | Failure:
        """Send one request and read its answer, in a bounded time.

        Each part of an answer may keep its time and the whole still take for ever. What takes too
        long is left to itself, with its permit: cancelled, it could hold its place in the pool.

        Raises:
            BaseException: What ``before_send`` raised; then nothing was sent.
        """
        sending = asyncio.create_task(self._sender.post(url, body, departure))
        await asyncio.wait([sending], timeout=self._sender.longest)
        if sending.done():
            return sending.result()
        if departure is not None:
            departure.is_over = True
        self._owed += 1
        self._abandoned.add(sending)
        sending.add_done_callback(self._forget)
        return Failure(f"no whole answer in {self._sender.longest:g} s", may_have_left=True)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self.in_flight.discard(task)
        if self._owed:
            self._owed -= 1  # the request that it has left to itself still needs its place
        else:
            self._permits.release()

    def _forget(self, sending: asyncio.Task[Reply | Failure]) -> None:
        self._abandoned.discard(sending)
        self._permits.release()
        if not sending.cancelled():
            sending.exception()  # nobody else will look at it


def _log_failure(task: asyncio.Task[Any]) -> None:
    """Tell the log what nobody waits for any more; a lost claim is the order of the day."""
    if not task.cancelled() and (error := task.exception()) is not None:
        level = logging.INFO if isinstance(error, ClaimLost) else logging.ERROR
        log.log(
            level,
            "an exchange whose caller was cancelled failed: %s",
            error,
            extra=fields(reason=type(error).__name__),
        )
