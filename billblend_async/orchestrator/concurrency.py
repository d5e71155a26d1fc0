"""Many pieces of work side by side, a bounded number at once, each outcome as it comes."""

import asyncio
from collections.abc import (
    AsyncGenerator,
    AsyncIterable,
    AsyncIterator,
    Awaitable,
    Callable,
    Iterable,
)
from contextvars import copy_context
from typing import TypeVar

__all__ = ["side_by_side"]

Item = TypeVar("Item")
Outcome = TypeVar("Outcome")


async def side_by_side(
    items: Iterable[Item] | AsyncIterable[Item],
    work: Callable[[Item], Awaitable[Outcome]],
    *,
    limit: int,
) -> AsyncGenerator[Outcome, None]:
    """Work on items and yield what came of each, in the order in which they end.

    What the source or a piece of work raises ends everything and reaches the caller, also when
    it is a cancellation of its own making. Whoever closes the iterator early cancels what is under
    way.

    Args:
        items: Taken one by one, as places get free.
        work: What is done with each.
        limit: The most that are worked on at once.

    Raises:
        ValueError: The limit is less than 1.
    """
    if limit < 1:
        raise ValueError("concurrency must be 1 or more")
    ends: asyncio.Queue[tuple[Outcome] | Exception | None] = asyncio.Queue()
    places = asyncio.Semaphore(limit)
    running: set[asyncio.Task[None]] = set()

    async def one(item: Item) -> None:
        try:
            ends.put_nowait((await work(item),))
        except Exception as error:  # noqa: BLE001 - raised to the caller below
            ends.put_nowait(error)
        except asyncio.CancelledError:
            ends.put_nowait(RuntimeError("a payout's task was cancelled from within"))
            raise
        finally:
            places.release()

    async def feed() -> None:
        gone, here = running.discard, copy_context()  # once for all, since thousands wait at once
        try:
            async for item in _each(items):
                await places.acquire()
                task = asyncio.create_task(one(item))
                running.add(task)
                task.add_done_callback(gone, context=here)
            while running:
                await asyncio.wait(running)
            ends.put_nowait(None)
        except Exception as error:  # noqa: BLE001 - raised to the caller below
            ends.put_nowait(error)
        except asyncio.CancelledError:
            ends.put_nowait(RuntimeError("the source of the payouts was cancelled from within"))
            raise

    feeder = asyncio.create_task(feed())
    try:
        while (end := await ends.get()) is not None:
            if isinstance(end, Exception):
                raise end
            yield end[0]
    finally:
        tasks = [feeder, *running]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _each(items: Iterable[Item] | AsyncIterable[Item]) -> AsyncIterator[Item]:
    if isinstance(items, AsyncIterable):
        async for item in items:
            yield item
    else:
        for item in items:
            yield item
            await asyncio.sleep(0)  # a thousand that begin at once would hold up the host
