"""One way to the gateway: so many exchanges at once, each whole whoever gives up on it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from .departure import Departure
from .errors import ClaimLost
from .exchange import Failure, Reply, Sender
from .logs import fields

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
        self._exchanges: set[asyncio.Task[Reply | Failure]] = set()
        self.in_flight: set[asyncio.Future[Any]] = set()

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

    async def ask(self, url: str, body: bytes, may_begin: Callable[[], None]) -> Reply | Failure:
        """Ask something that moves nothing, when its turn comes; first come, first served.

        Whoever is cancelled leaves the question whole; one that takes too long keeps its permit.

        Args:
            url: Where to.
            body: The question.
            may_begin: Called when it has its permit; raises if it shall not be asked any more.
        """
        await self._permits.acquire()
        try:
            may_begin()
        except BaseException:
            self._permits.release()
            raise
        asking, end = self._begin(url, body)
        asking.add_done_callback(self._forget)
        self.in_flight.add(end)
        end.add_done_callback(self.in_flight.discard)
        await asyncio.shield(end)
        return self._told(asking)

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
        sending, end = self._begin(url, body, departure)
        await end
        if not sending.done():
            if departure is not None:
                departure.is_over = True
            self._owed += 1
            sending.add_done_callback(self._forget)
        return self._told(sending)

    def _begin(
        self, url: str, body: bytes, departure: Departure | None = None
    ) -> tuple[asyncio.Task[Reply | Failure], asyncio.Future[None]]:
        """Begin an exchange, and give what is done when it has ended, or had all of its time."""
        loop = asyncio.get_running_loop()
        exchange = asyncio.create_task(self._sender.post(url, body, departure))
        self._exchanges.add(exchange)
        end: asyncio.Future[None] = loop.create_future()
        timer = loop.call_later(self._sender.longest, _settle, end)

        def ended(exchange: asyncio.Task[Reply | Failure]) -> None:
            timer.cancel()
            self._exchanges.discard(exchange)
            _settle(end)

        exchange.add_done_callback(ended)
        return exchange, end

    def _told(self, exchange: asyncio.Task[Reply | Failure]) -> Reply | Failure:
        if exchange.done():
            return exchange.result()
        return Failure(f"no whole answer in {self._sender.longest:g} s", may_have_left=True)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self.in_flight.discard(task)
        if self._owed:
            self._owed -= 1  # the request that it has left to itself still needs its place
        else:
            self._permits.release()

    def _forget(self, exchange: asyncio.Task[Reply | Failure]) -> None:
        """Let go of an exchange that holds a permit of its own."""
        self._permits.release()
        if not exchange.cancelled():
            exchange.exception()  # nobody else may look at it


def _settle(end: asyncio.Future[None]) -> None:
    if not end.done():
        end.set_result(None)


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
