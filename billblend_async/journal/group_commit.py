"""Group commit: jobs that share one transaction, gathered while the one before them is under way.

``Groups`` does that with asyncio, for a server; ``Writer`` with one thread, for a file. Futures are
resolved a few at a time, so that the event loop is not blocked.
"""

import asyncio
import contextlib
import queue
import threading
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from ..errors import (
    BillblendError,
    ClosedError,
    ConfigurationError,
    JournalDamaged,
    JournalMismatch,
    JournalUnavailable,
)

__all__ = [
    "GROUP",
    "Groups",
    "Job",
    "Storage",
    "Teller",
    "Writer",
]

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


"""Most jobs that share one commit."""
GATHER: Final = 0.005
"""Seconds that a job which comes alone waits for others: a commit costs what ten jobs cost."""
_LONGEST_BREAK: Final = 64

S_contra = TypeVar("S_contra", contravariant=True)
T = TypeVar("T")


@attrs.frozen(eq=False)
class Job(Generic[S_contra]):
    """One thing to do inside a transaction.

    Attributes:
        work: Does it. A claim that is lost, or damage that it finds, is its own result and leaves
            the group alone, so it must come before anything is written.
        writes: Whether it may change the storage.
    """

    work: Callable[[S_contra], object]
    writes: bool


class Storage(Protocol):
    """What the thread drives. Nothing here raises: what failed is handed back as an error."""

    def open(self) -> BillblendError | None:
        """Open the storage and say what keeps it from opening."""
        ...

    def transact(self, jobs: Sequence[Job[Any]]) -> list[object]:
        """Do all jobs in one transaction; each one's result or error, once they are durable."""
        ...

    def rest(self) -> None:
        """Tidy up while nobody waits."""
        ...

    def close(self) -> None:
        """Let go of the storage."""
        ...


class Writer:
    """A thread that owns a storage, and the queue of the jobs that wait for it.

    It takes what waits, up to a bound, into one transaction and tells nobody of success before the
    commit. The results of a group reach the event loop in one call. A waiter that was cancelled is
    passed over; what it wanted may have happened.

    While jobs come close together, one that comes alone waits for others. Where nobody joined it,
    the next ones do not wait, twice as many each time, so that whoever writes one after the other
    is not held up.
    """

    def __init__(self, storage: Storage) -> None:
        self._storage = storage
        self._queue: queue.SimpleQueue[tuple[Job[Any], asyncio.Future[Any]] | None]
        self._queue = queue.SimpleQueue()
        self._loop = asyncio.get_running_loop()
        self._opened: asyncio.Future[None] = self._loop.create_future()
        # A daemon, so that a program which forgets to close can end; to the file that is a crash.
        self._thread = threading.Thread(target=self._run, name="billblend journal", daemon=True)
        self._stopping = False
        self._teller = Teller()
        self._rests = 0
        self._break = 1

    async def open(self) -> None:
        """Start the thread and open the storage; when that fails or is cancelled, stop again."""
        self._thread.start()
        try:
            await self._opened
        except BaseException:
            self._stop()
            raise

    async def submit(self, work: Callable[[Any], T], *, writes: bool) -> T:
        """Hand in a job and wait until it is done and durable."""
        if self._stopping:
            raise ClosedError("journal")
        if asyncio.get_running_loop() is not self._loop:
            raise ConfigurationError(
                "the journal was opened in another event loop; make one journal for each loop"
            )
        future: asyncio.Future[T] = self._loop.create_future()
        self._queue.put((Job(work, writes), future))
        return await future

    async def aclose(self) -> None:
        """Finish what was handed in and end the thread."""
        self._stop()
        if self._thread.ident is not None:
            await asyncio.to_thread(self._thread.join)
        if asyncio.get_running_loop() is self._loop:
            self._teller.finish()
            await asyncio.sleep(0)  # so that those who waited have heard it

    def _stop(self) -> None:
        if not self._stopping:
            self._stopping = True
            self._queue.put(None)

    def _run(self) -> None:
        problem = self._storage.open()
        if problem is None:
            self._deliver([(self._opened, None)])
            while group := self._next_group():
                results = self._storage.transact([job for job, _ in group])
                futures = [future for _, future in group]
                self._deliver(list(zip(futures, results, strict=True)))
        self._storage.close()
        self._deliver([(self._opened, problem)])

    def _next_group(self) -> list[tuple[Job[Any], asyncio.Future[Any]]]:
        """Wait for a job and take what waits behind it; empty at the end."""
        if self._queue.empty():
            self._storage.rest()
        group = []
        item = self._queue.get()
        if item is not None and self._queue.empty():
            self._gather()
        while item is not None:
            group.append(item)
            if len(group) == GROUP or self._queue.empty():
                return group
            item = self._queue.get()
        if group:
            self._queue.put(None)  # the end was met: end after this group
        return group

    def _gather(self) -> None:
        """Wait for others, unless it was in vain lately."""
        if self._rests:
            self._rests -= 1
            return
        time.sleep(GATHER)
        self._break = min(2 * self._break, _LONGEST_BREAK) if self._queue.empty() else 1
        self._rests = self._break - 1

    def _deliver(self, results: list[tuple[asyncio.Future[Any], object]]) -> None:
        self._teller.add(results)
        with contextlib.suppress(RuntimeError):  # the loop is gone, and every waiter with it
            self._loop.call_soon_threadsafe(self._teller.tell)
