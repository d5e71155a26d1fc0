"""The one thread through which everything reaches a storage, in groups that share a commit."""

import asyncio
import contextlib
import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Generic, Protocol, TypeVar

import attrs

from ..errors import BillblendError, ClosedError, ConfigurationError
from .telling import Teller

__all__ = ["GROUP", "Job", "Storage", "Writer"]

GROUP: Final = 512
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
