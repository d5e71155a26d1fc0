"""A journal whose store outlives the programs that write it, on a disk that fails as the seed says.

It behaves as the real one: one queue for each program, each step of a payout written once; a waiter
that is cancelled changes nothing of what is written; a failed write may have happened.
"""

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Collection
from typing import Final, Protocol, TypeVar

import attrs

from billblend_async.core.events import Event, Opened
from billblend_async.core.models import State
from billblend_async.core.payout import Payout, open_payout
from billblend_async.errors import ClaimLost, ClosedError, JournalUnavailable
from billblend_async.journal import Owner

from .coverage import JOURNAL_FAULTS
from .fate import Fate
from .loop import Mortal, SeededLoop

__all__ = ["SimulatedJournal", "Store"]

T = TypeVar("T")

_KEY: Final = b"k" * 32


class Witness(Protocol):
    """Looks at what becomes durable."""

    def sees_opened(self, opened: Opened) -> None:
        """Look at a payout that was accepted."""
        ...

    def sees_event(self, payout: Payout, event: Event, whose: Mortal) -> None:
        """Look at an event that was written, and what it made of its payout."""
        ...

    def sees_known(self, event: Event, client_orderid: str, whose: Mortal) -> None:
        """Look at an event of which its writer now knows that it is written."""
        ...


@attrs.define(eq=False)
class Store:
    """What is durable.

    Attributes:
        events: The events of each payout.
        payouts: What its writers say that they make of each payout; at the end of a world it is
            compared with what the events fold to.
    """

    events: dict[str, list[Event]] = attrs.field(factory=dict)
    payouts: dict[str, Payout] = attrs.field(factory=dict)

    def write(self, becomes: Payout, event: Event) -> None:
        """Write an event in the next place or not at all."""
        events = self.events.get(becomes.client_orderid, [])
        if len(events) != becomes.sequence:
            raise ClaimLost(becomes.client_orderid, becomes.sequence)
        events.append(event)
        self.payouts[becomes.client_orderid] = becomes


class SimulatedJournal:
    """One program's journal over the common store.

    Args:
        store: The store.
        loop: The loop.
        fate: What goes wrong.
        whose: The program that it belongs to.
        witness: Looks at what becomes durable.
    """

    def __init__(
        self, store: Store, loop: SeededLoop, fate: Fate, whose: Mortal, witness: Witness
    ) -> None:
        self._store = store
        self._loop = loop
        self._fate = fate
        self._whose = whose
        self._witness = witness
        self._queue: deque[Callable[[], None]] = deque()
        self._free_at = 0.0
        self._is_open = False

    @property
    def fingerprint_key(self) -> bytes:
        """The key that lies beside the store."""
        return _KEY

    async def open(self, owner: Owner) -> None:
        """Open; whose it is does not matter here."""
        assert owner.login
        await asyncio.sleep(0)
        self._is_open = True

    async def accept(self, opened: Opened) -> Payout:
        """Accept a payout once."""
        name = opened.client_orderid

        def work() -> Payout:
            if name not in self._store.events:
                self._store.events[name] = [opened]
                self._store.payouts[name] = open_payout(opened)
                self._fate.note(self._loop.now, f"{name} Opened")
                self._witness.sees_opened(opened)
            return self._store.payouts[name]

        payout = await self._submit("Opened", work)
        self._witness.sees_known(opened, name, self._whose)
        return payout

    async def append(self, becomes: Payout, event: Event) -> None:
        """Write an event in the next place or not at all."""

        def work() -> None:
            self._store.write(becomes, event)
            self._fate.note(
                self._loop.now, f"{becomes.client_orderid} {becomes.state.value} {event!r}"
            )
            self._witness.sees_event(becomes, event, self._whose)

        await self._submit(type(event).__name__, work)
        self._witness.sees_known(event, becomes.client_orderid, self._whose)

    async def load(self, client_orderid: str) -> Payout | None:
        """Read a payout."""

        def work() -> Payout | None:
            return self._store.payouts.get(client_orderid)

        return await self._submit("load", work)

    async def history(self, client_orderid: str) -> list[Event]:
        """Copy a payout's events."""
        return await self._submit("load", lambda: list(self._store.events.get(client_orderid, ())))

    async def payouts(self, states: Collection[State] | None = None) -> AsyncIterator[Payout]:
        """Read every payout."""
        for name in await self._submit("load", lambda: list(self._store.events)):
            payout = self._store.payouts[name]
            if states is None or payout.state in states:
                yield payout

    async def declare_restored(self, at: float) -> int:
        """Mark nothing: no copy is restored here."""
        raise AssertionError("no world restores a copy; the walks of test_model.py do")

    async def declare_complete(self) -> None:
        """Mark nothing."""
        raise AssertionError("no world restores a copy; the walks of test_model.py do")

    async def aclose(self) -> None:
        """Finish what was handed in and close."""
        self._is_open = False
        while self._queue:
            await asyncio.sleep(1.0)

    async def _submit(self, step: str, work: Callable[[], T]) -> T:
        """Hand in a job, first come first served, and wait until it is done and durable."""
        if not self._is_open:
            raise ClosedError("journal")
        done: asyncio.Future[T] = self._loop.create_future()
        fault = None if step == "load" else self._fate.pick(step, JOURNAL_FAULTS, is_request=False)

        def job() -> None:
            result: T | None = None
            problem: Exception | None = None
            if fault == "fails-before":
                problem = JournalUnavailable("simulated", "disk full")
            else:
                try:
                    result = work()
                except ClaimLost as lost:
                    problem = lost
            if fault == "fails-after":
                problem = JournalUnavailable("simulated", "the commit's outcome is not known")
            told_after = {"slow-after": 14.0, "freezes": 300.0}.get(fault or "", 0.0)
            told_after *= self._fate.between(0.01, 1.0)
            self._loop.call_later(told_after, _settle, done, result, problem)

        taken = self._fate.between(0.1, 14.0) if fault == "slow-before" else 0.0
        self._queue.append(job)
        self._free_at = max(self._free_at, self._loop.now) + taken
        self._loop.call_at(self._free_at, self._next)
        return await done

    def _next(self) -> None:
        self._queue.popleft()()


def _settle(done: "asyncio.Future[T]", result: T, problem: Exception | None) -> None:
    if done.done():
        return
    if problem is None:
        done.set_result(result)
    else:
        done.set_exception(problem)
