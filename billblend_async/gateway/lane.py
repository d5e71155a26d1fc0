"""One way to the gateway: so many exchanges at once, each whole whoever gives up on it."""

import asyncio
import logging
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from ..core.logs import fields
from ..errors import ClaimLost
from .departure import Departure
from .exchange import Failure, Reply, Sender

__all__ = ["Lane"]

T = TypeVar("T")

log = logging.getLogger("billblend_async.lane")


class _Exchange:
    """One exchange with the gateway.

    Attributes:
        task: What sends and reads.
        end: Done when that has ended, or had all of its time.
        until: When its time is over, by the event loop's clock.
        holds_permit: Whether its permit is free only when it has ended.
    """

    __slots__ = ("end", "holds_permit", "task", "until")

    def __init__(
        self, task: "asyncio.Task[Reply | Failure]", end: "asyncio.Future[None]", until: float
    ) -> None:
        self.task = task
        self.end = end
        self.until = until
        self.holds_permit = False


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
        self._exchanges: dict[asyncio.Task[Reply | Failure], _Exchange] = {}
        self._sweeper: asyncio.TimerHandle | None = None
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
        asking = self._begin(url, body)
        asking.holds_permit = True
        self.in_flight.add(asking.end)
        await asyncio.shield(asking.end)
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
        sending = self._begin(url, body, departure)
        await sending.end
        if not sending.task.done():
            if departure is not None:
                departure.is_over = True
            self._owed += 1
            sending.holds_permit = True
        return self._told(sending)

    def _begin(self, url: str, body: bytes, departure: Departure | None = None) -> _Exchange:
        loop = asyncio.get_running_loop()
        task = loop.create_task(self._sender.post(url, body, departure))
        exchange = _Exchange(task, loop.create_future(), loop.time() + self._sender.longest)
        self._exchanges[task] = exchange
        task.add_done_callback(self._ended)
        if self._sweeper is None:
            self._sweeper = loop.call_at(exchange.until, self._sweep, loop)
        return exchange

    def _told(self, exchange: _Exchange) -> Reply | Failure:
        if exchange.task.done():
            return exchange.task.result()
        return Failure(f"no whole answer in {self._sender.longest:g} s", may_have_left=True)

    def _ended(self, task: "asyncio.Task[Reply | Failure]") -> None:
        exchange = self._exchanges.pop(task)
        self._settle(exchange)
        if not self._exchanges and self._sweeper is not None:
            self._sweeper.cancel()
            self._sweeper = None
        if exchange.holds_permit:
            self._permits.release()
            if not task.cancelled():
                task.exception()  # nobody else may look at it

    def _sweep(self, loop: asyncio.AbstractEventLoop) -> None:
        """End the wait for what had all of its time; one timer is enough, for all have the same."""
        self._sweeper = None
        for exchange in self._exchanges.values():
            if exchange.until > loop.time():
                self._sweeper = loop.call_at(exchange.until, self._sweep, loop)
                return
            self._settle(exchange)

    def _settle(self, exchange: _Exchange) -> None:
        self.in_flight.discard(exchange.end)
        if not exchange.end.done():
            exchange.end.set_result(None)

    def _landed(self, task: asyncio.Task[Any]) -> None:
        self.in_flight.discard(task)
        if self._owed:
            self._owed -= 1  # the request that it has left to itself still needs its place
        else:
            self._permits.release()


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
