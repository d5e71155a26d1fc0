"""Groups of jobs that share one transaction, gathered while the one before them is under way."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final, Generic, TypeVar

import attrs

from ..errors import (
    BillblendError,
    ClosedError,
    JournalDamaged,
    JournalMismatch,
    JournalUnavailable,
)
from .telling import Teller

__all__ = ["GROUP", "Groups"]

GROUP: Final = 512
"""Most jobs in one group."""

J = TypeVar("J")
R = TypeVar("R")


class Groups(Generic[J, R]):
    """Takes jobs one by one and has them done in groups, one group at a time.

    Whoever comes while a group is under way is in the next one, so the busier it is the larger the
    groups are. Two jobs about one payout are never in one group; each payout's jobs are done in
    the order they came. A waiter that is cancelled changes nothing of what is done.

    Args:
        name: The journal's, for errors.
        do: Does a group: one result for each job, where an error of ours is a result too. What it
            raises instead is every job's result.
        about: Names the payout that a job is about.
    """

    def __init__(
        self,
        name: str,
        do: Callable[[Sequence[J]], Awaitable[Sequence[R | BillblendError]]],
        *,
        about: Callable[[J], str],
    ) -> None:
        self._name = name
        self._do = do
        self._about = about
        self._queue: deque[tuple[J, asyncio.Future[R]]] = deque()
        self._teller = Teller()
        self._task: asyncio.Task[None] | None = None
        self._is_closed = False

    async def submit(self, job: J) -> R:
        """Hand in a job and wait until it is done."""
        if self._is_closed:
            raise ClosedError("journal")
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((job, future))
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="billblend journal")
        return await future

    async def aclose(self) -> None:
        """Finish what was handed in."""
        self._is_closed = True
        if self._task is not None:
            await asyncio.wait({self._task})
        self._teller.finish()
        await asyncio.sleep(0)  # so that those who waited have heard it

    async def _run(self) -> None:
        try:
            while self._queue:
                group = self._next_group()
                results = await self._done([job for job, _ in group])
                waiting = [future for _, future in group]
                self._teller.add(zip(waiting, results, strict=True))
                self._teller.tell()
        finally:
            self._task = None
            for _, future in self._queue:  # only at the end of the loop is anybody left
                future.cancel()

    async def _done(self, jobs: list[J]) -> Sequence[Any]:
        problem: JournalUnavailable | JournalDamaged | JournalMismatch
        try:
            return await self._do(jobs)
        except (JournalUnavailable, JournalDamaged, JournalMismatch) as error:
            problem = error
        except Exception as error:  # noqa: BLE001 - whoever waits must be told, whatever it was
            problem = JournalUnavailable(self._name, f"unexpected {type(error).__name__}")
        return [attrs.evolve(problem) for _ in jobs]  # without the frames, which may hold data

    def _next_group(self) -> list[tuple[J, asyncio.Future[R]]]:
        """Take what waits, up to a bound; of each payout only one job."""
        group: list[tuple[J, asyncio.Future[R]]] = []
        later: deque[tuple[J, asyncio.Future[R]]] = deque()
        names: set[str] = set()
        while self._queue and len(group) < GROUP:
            item = self._queue.popleft()
            name = self._about(item[0])
            if name in names:
                later.append(item)
            else:
                names.add(name)
                group.append(item)
        self._queue.extendleft(reversed(later))
        return group
