"""When the status of a payout is asked for: due times, timers, the rate limit and the retry policy.

All sleeps share one timer of the event loop. A timer for each sleep would be a handle and a copy of
the context, which the garbage collector visits again and again while ten thousand payouts wait.
The retry policies are tenacity's, at a third of the cost of its own loop.
"""

import asyncio
import math
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from heapq import heapify, heappop, heappush
from itertools import count
from typing import Any, Final, TypeVar

import attrs
from tenacity import BaseRetrying, RetryCallState

from ..core.machine import NOT_SEEN_FOR, Ask, next_command
from ..core.models import Pace, Polling, State
from ..core.payout import Payout, deadline

__all__ = [
    "BETWEEN",
    "Alarms",
    "Questions",
    "Repeating",
    "Timing",
    "clock",
]

_FEW: Final = 64

_Entry = tuple[float, int, "asyncio.Future[None]"]


class Alarms:
    """Futures that are done at an instant of the event loop's clock; one timer serves all."""

    def __init__(self) -> None:
        self._entries: list[_Entry] = []
        self._numbers = count()
        self._timer: asyncio.TimerHandle | None = None
        self._rings_at = math.inf
        self._ended = 0

    def set(self, at: float) -> "asyncio.Future[None]":
        """Make a future that is done at an instant, unless somebody ends it before.

        Whoever waits for it and is cancelled ends it.
        """
        loop = asyncio.get_running_loop()
        alarm: asyncio.Future[None] = loop.create_future()
        heappush(self._entries, (at, next(self._numbers), alarm))
        if at < self._rings_at:
            self._arm(loop)
        return alarm

    def end(self, alarm: "asyncio.Future[None]") -> None:
        """End one before its instant. It leaves the list then, or when half of that has ended."""
        if not alarm.done():
            alarm.set_result(None)
        self._ended += 1
        if self._ended > _FEW and 2 * self._ended > len(self._entries):
            self._entries = [entry for entry in self._entries if not entry[2].done()]
            heapify(self._entries)
            self._ended = 0

    def _arm(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer, self._rings_at = None, math.inf
        if self._entries:
            self._rings_at = self._entries[0][0]
            self._timer = loop.call_at(self._rings_at, self._ring, loop)

    def _ring(self, loop: asyncio.AbstractEventLoop) -> None:
        now = loop.time()
        while self._entries and (self._entries[0][0] <= now or self._entries[0][2].done()):
            alarm = heappop(self._entries)[2]
            if alarm.done():
                self._ended = max(0, self._ended - 1)
            else:
                alarm.set_result(None)
        self._arm(loop)


BETWEEN: Final = 0.25
"""Seconds from the answer to one question to the next about the same payout, at least.

So short a time is never reached but by what a callback tells for the first time.
"""
_REMEMBERED: Final = 10_000
"""Payouts whose last question is remembered: more are not asked about within a few seconds."""


@attrs.define(eq=False)
class Questions:
    """The questions of one process, whoever asks them: a driver comes and goes, this stays.

    Attributes:
        shortest: The shortest gap between two questions that are asked without a hint.
    """

    shortest: float
    _last: OrderedDict[str, float] = attrs.field(factory=OrderedDict, init=False)

    def note(self, client_orderid: str) -> None:
        """Take note that a question leaves, or that it has come to its end."""
        self._last[client_orderid] = asyncio.get_running_loop().time()
        self._last.move_to_end(client_orderid)
        if len(self._last) > _REMEMBERED:
            self._last.popitem(last=False)

    def delay(self, client_orderid: str, between: float = BETWEEN) -> float:
        """Say how many seconds the next question about a payout must still wait; 0 for none.

        Args:
            client_orderid: The payout.
            between: Seconds that must lie between two; never more than the shortest gap.
        """
        last, between = self._last.get(client_orderid), min(between, self.shortest)
        if last is None:
            return 0.0
        return max(0.0, last + between - asyncio.get_running_loop().time())


_LONG_ENOUGH: Final = 2 * NOT_SEEN_FOR


class Timing:
    """The timetable of one payout, by the event loop's clock.

    Attributes:
        due: When the next command is due.
        was_hinted: Whether a hint has ever come in.
    """

    __slots__ = (
        "_alarms",
        "_asked_at",
        "_chance",
        "_is_hinted",
        "_naps",
        "_now",
        "_polling",
        "_waited_in",
        "_waited_since",
        "_wall_clock",
        "due",
        "was_hinted",
    )

    def __init__(
        self,
        polling: Polling,
        alarms: Alarms,
        wall_clock: Callable[[], float],
        chance: Callable[[], float],
    ) -> None:
        self.due = 0.0
        self.was_hinted = False
        self._now = asyncio.get_running_loop().time
        self._polling = polling
        self._alarms = alarms
        self._wall_clock = wall_clock
        self._chance = chance
        self._asked_at: float | None = None
        self._is_hinted = False
        self._naps: set[asyncio.Future[None]] = set()
        self._waited_in: State | None = None
        self._waited_since = 0.0

    @property
    def is_due(self) -> bool:
        """Whether the next command is due now."""
        return self._now() >= self.due

    @property
    def seconds(self) -> float:
        """Seconds until the next command is due."""
        return max(0.0, self.due - self._now())

    def ask(self) -> None:
        """Take note that a question leaves; it is not asked again at once if its caller leaves."""
        self._is_hinted = False
        self.due = self._now() + self._polling.shortest

    def asked(self) -> None:
        """Take note that a question has come to its end.

        Until ``schedule`` chooses, which an answer that cannot be journaled never comes to, the
        next one waits for the shortest gap.
        """
        self._asked_at = self._now()
        self.due = self._asked_at + self._polling.shortest

    def rest(self, payout: Payout) -> float:
        """Seconds until the deadline of the present wait; endless where nothing is waited for.

        It is the wall clock's, which survives a restart, but never later than this process would
        put it: a wall clock that is set back does not make anybody wait longer.
        """
        wait = deadline(payout)
        if wait is None:
            return math.inf
        waited = self._waited(payout)
        rest = min(wait[1] - self._wall_clock(), wait[1] - payout.since - waited)
        if payout.state is State.CHECKING or payout.refused:
            # Whether the gateway has the order takes a while to find out: each run has that long.
            return max(rest, _LONG_ENOUGH - waited)
        return rest

    def pause(self, payout: Payout) -> float:
        """Seconds until the next command is due, or until the deadline if that is sooner."""
        return max(0.0, min(self.due - self._now(), self.rest(payout)))

    def schedule(self, payout: Payout, *, is_urgent: bool, is_announced: bool) -> None:
        """Choose when the next command is due: a send right after news, a question after a gap.

        Args:
            payout: The payout as it is now.
            is_urgent: Whether there was news.
            is_announced: Whether callbacks come in, so that one is likely to tell its end first.
        """
        now, at = self._now(), self._wall_clock()
        command = next_command(payout, at)
        waited = max(0.0, at - payout.since)
        if payout.state is State.CHECKING or payout.refused:
            waited = self._waited(payout)  # after a long time away it is still worth asking often
        if isinstance(command, Ask):
            awaits_end = is_announced and payout.pays > 0
            gap = self._polling.gap(command.pace, waited, self._chance(), is_announced=awaits_end)
            # A send between two questions does not push the second one out of the gap.
            asked = now if self._asked_at is None else self._asked_at
            self.due = max(asked + gap, now + self._polling.shortest / 3)
            if self._is_hinted:  # while the question was under way, so its answer may be too old
                self._hasten(payout)
        elif is_urgent:
            self.due = now
        else:
            self.due = now + self._polling.gap(Pace.NORMAL, waited, self._chance())

    def hint(self, payout: Payout) -> None:
        """Bring the next question forward."""
        self._is_hinted = self.was_hinted = True
        self._hasten(payout)
        self.wake()

    async def nap(self, seconds: float) -> None:
        """Wait; ``wake`` can end it early."""
        if seconds <= 0:
            return
        nap = self._alarms.set(self._now() + seconds)
        self._naps.add(nap)
        try:
            await nap
        except asyncio.CancelledError:
            self._alarms.end(nap)
            raise
        finally:
            self._naps.discard(nap)

    def wake(self) -> None:
        """End every nap that is taken over this payout."""
        for nap in self._naps:
            if not nap.done():
                self._alarms.end(nap)

    def _hasten(self, payout: Payout) -> None:
        """Bring a question forward; what is sent is not hastened."""
        if isinstance(next_command(payout, self._wall_clock()), Ask):
            now = self._now()
            soonest = now if self._asked_at is None else max(now, self._asked_at + BETWEEN)
            self.due = min(self.due, soonest)

    def _waited(self, payout: Payout) -> float:
        """Seconds that this process has seen the payout in its present state."""
        if self._waited_in is not payout.state:
            self._waited_in, self._waited_since = payout.state, self._now()
        return self._now() - self._waited_since


def clock() -> float:
    """Seconds by the event loop's own clock, which a test replaces together with its timers."""
    return asyncio.get_running_loop().time()


T = TypeVar("T")


class Repeating(BaseRetrying):
    """Repeats a step as tenacity's policies say, by what it gives; one object for all waits.

    ``tenacity.AsyncRetrying`` lets every policy be a coroutine and collects anew, for each
    repetition, what is to be called: that costs more than the question that is repeated. Here the
    step and the nap are awaited, and ``retry``, ``stop`` and ``wait`` are plain functions. What
    one repetition knows is in its own ``RetryCallState``, so any number may share the object.
    Whatever the step raises ends the repetition and is raised.

    Args:
        retry: Whether what a step gave asks for another one.
        stop: Whether to give up instead.
        wait: Seconds until the next step.
        nap: Awaited between two steps; ``upcoming_sleep`` says how long.
    """

    def __init__(
        self,
        *,
        retry: Callable[[RetryCallState], bool],
        stop: Callable[[RetryCallState], bool],
        wait: Callable[[RetryCallState], float],
        nap: Callable[[RetryCallState], Awaitable[None]],
    ) -> None:
        super().__init__(sleep=_never, retry=retry, stop=stop, wait=wait)
        self._nap = nap

    async def __call__(  # type: ignore[override]  # awaited, as AsyncRetrying's is
        self,
        fn: Callable[..., Awaitable[T]],
        *args: Any,  # noqa: ANN401 - handed on
        **kwargs: Any,  # noqa: ANN401 - handed on
    ) -> T:
        """Repeat a step until a policy ends that; give what the last one gave."""
        state = RetryCallState(self, fn, args, kwargs)
        while True:
            result = await fn(*args, **kwargs)
            state.set_result(result)
            if not self.retry(state):
                return result
            state.upcoming_sleep = seconds = self.wait(state)
            if self.stop(state):
                return result
            del result  # and what ``state`` has of it: thousands wait at once
            state.prepare_for_next_attempt()
            state.upcoming_sleep = seconds
            state.idle_for += seconds
            await self._nap(state)


def _never(_seconds: float) -> None:
    raise AssertionError("a step that is awaited naps; it does not sleep")
