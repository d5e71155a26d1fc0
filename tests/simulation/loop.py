"""An event loop in virtual time: what is ready runs in a seeded order, and programs may die."""

import asyncio
import contextlib
import heapq
import random
import sys
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from contextvars import Context, ContextVar, copy_context
from typing import Any, TypeVar

import attrs

T = TypeVar("T")

_GRAIN = 1e-6
MOST_TURNS = 500_000
"""Callbacks that one world may run; more is a loop that never ends."""


@attrs.define(eq=False)
class Mortal:
    """Something that can die or freeze at any turn of the loop, with all that it has under way.

    A dead one's callbacks are dropped: not one more line of its code runs, no ``finally`` and no
    ``except``, as when a process is killed. A frozen one's callbacks wait until it wakes, as when
    its machine is paused: all that came meanwhile is there at once, and its timers are late.

    Attributes:
        turns: How many callbacks of it have run.
        dies_after: The turn after which it dies; None for never.
        freezes_after: The turn after which it freezes; None for never.
        is_dead: Whether it has died.
        is_frozen: Whether it stands still.
        was_frozen: Whether it has ever stood still.
    """

    turns: int = 0
    dies_after: int | None = None
    freezes_after: int | None = None
    is_dead: bool = False
    is_frozen: bool = False
    was_frozen: bool = False

    def die(self) -> None:
        """Die."""
        self.is_dead = True

    def freeze(self) -> None:
        """Stand still until somebody thaws it."""
        self.is_frozen = self.was_frozen = True


WHOSE: ContextVar[Mortal | None] = ContextVar("WHOSE", default=None)
"""Whose code is running; None for the world around the programs."""


class Stuck(Exception):
    """Every task waits for something that never comes, or something never ends."""


class _Task(asyncio.Task[Any]):
    """A task whose place in a set does not depend on its address."""

    def __init__(self, serial: int, coro: Any, **options: Any) -> None:
        self.serial = serial
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self.serial


class _Future(asyncio.Future[Any]):
    """A future whose place in a set does not depend on its address."""

    def __init__(self, serial: int, loop: asyncio.AbstractEventLoop) -> None:
        self.serial = serial
        super().__init__(loop=loop)

    def __hash__(self) -> int:
        return self.serial


class SeededLoop(asyncio.AbstractEventLoop):
    """A loop without clock, threads and sockets; of all that is ready it runs one by lot.

    Args:
        seed: Decides every lot.

    Attributes:
        now: The virtual clock, in seconds from 0.
        tasks: Every task that was made, with whose it is.
        verdict: What ends the run at once, if it is set.
    """

    def __init__(self, seed: object) -> None:
        self.now = 0.0
        self.turns = 0
        self.tasks: list[tuple[Mortal | None, _Task]] = []
        self.verdict: Exception | None = None
        self._lot = random.Random(f"{seed}/loop").random
        self._serial = 0
        self._ready: list[tuple[Mortal | None, asyncio.Handle]] = []
        self._timers: list[tuple[float, int, Mortal | None, asyncio.TimerHandle]] = []
        self._held: list[tuple[Mortal, asyncio.Handle]] = []

    def _next_serial(self) -> int:
        self._serial += 1
        return self._serial

    def time(self) -> float:
        """Tell the virtual time."""
        return self.now

    def get_debug(self) -> bool:
        """Say no."""
        return False

    def is_running(self) -> bool:
        """Say yes: nobody asks otherwise."""
        return True

    def is_closed(self) -> bool:
        """Say no."""
        return False

    def call_soon(  # type: ignore[override] # the base class binds the arguments' types
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """Make a callback ready."""
        whose = WHOSE.get() if context is None else context.get(WHOSE)
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append((whose, handle))
        return handle

    def call_later(  # type: ignore[override] # likewise
        self,
        delay: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a callback ready after some seconds."""
        return self.call_at(self.now + max(0.0, delay), callback, *args, context=context)

    def call_at(  # type: ignore[override] # likewise
        self,
        when: float,
        callback: Callable[..., object],
        *args: Any,
        context: Context | None = None,
    ) -> asyncio.TimerHandle:
        """Make a callback ready at an instant."""
        whose = WHOSE.get() if context is None else context.get(WHOSE)
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (when, self._next_serial(), whose, handle))
        return handle

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """Leave it in the heap; it is passed over when its time comes."""

    def create_future(self) -> asyncio.Future[Any]:
        """Make a future."""
        return _Future(self._next_serial(), self)

    def create_task(
        self,
        coro: Generator[Any, None, T] | Coroutine[Any, Any, T],
        *,
        name: object = None,
        context: Context | None = None,
    ) -> asyncio.Task[T]:
        """Make a task."""
        whose = WHOSE.get() if context is None else context.get(WHOSE)
        task = _Task(self._next_serial(), coro, loop=self, name="task", context=context)
        self.tasks.append((whose, task))
        return task

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        """End the run on what a callback raised; what nobody retrieved is no news."""
        if "handle" in context and self.verdict is None:
            self.verdict = context["exception"]

    def run(self, main: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine to its end, then take every task that is left out of memory."""
        old_hooks = sys.get_asyncgen_hooks()
        sys.set_asyncgen_hooks(firstiter=_ignore, finalizer=_ignore)
        asyncio._set_running_loop(self)
        try:
            task = self.create_task(main, context=copy_context())
            while not task.done():
                self._turn()
                if self.verdict is not None:
                    raise self.verdict
            return task.result()
        finally:
            self._bury()
            asyncio._set_running_loop(None)
            sys.set_asyncgen_hooks(*old_hooks)

    def thaw(self, whose: Mortal) -> None:
        """Let a frozen one go on: all that it has missed is ready now."""
        whose.is_frozen = False
        held = [each for each in self._held if each[0] is whose]
        self._held = [each for each in self._held if each[0] is not whose]
        self._ready += held

    def alive(self, whose: Mortal) -> list[str]:
        """Name the tasks of a mortal that are not done."""
        return [
            getattr(task.get_coro(), "__qualname__", "?")
            for owner, task in self.tasks
            if owner is whose and not task.done()
        ]

    def _turn(self) -> None:
        """Run one callback that is ready; jump to the next timer when none is."""
        ready = self._ready
        if not ready:
            self._jump()
        if len(ready) > 1:
            lot = int(self._lot() * len(ready))
            ready[lot], ready[-1] = ready[-1], ready[lot]
        whose, handle = ready.pop()
        if handle._cancelled:
            return
        self.turns += 1
        if self.turns > MOST_TURNS:
            raise Stuck("it never ends")
        if whose is None:
            handle._run()
        elif whose.is_frozen and not whose.is_dead:
            self._held.append((whose, handle))
        elif not whose.is_dead:
            handle._run()
            whose.turns += 1
            if whose.turns == whose.dies_after:
                whose.die()
            elif whose.turns == whose.freezes_after:
                whose.freeze()

    def _jump(self) -> None:
        timers = self._timers
        while timers:
            when, _, whose, handle = heapq.heappop(timers)
            if handle._cancelled or (whose is not None and whose.is_dead):
                continue
            # A real clock never stands still: a nap of less than its grain must end some time.
            self.now = max(self.now + _GRAIN, when)
            self._ready.append((whose, handle))
            while timers and timers[0][0] <= self.now:
                _, _, whose, handle = heapq.heappop(timers)
                if not handle._cancelled:
                    self._ready.append((whose, handle))
            return
        raise Stuck("every task waits for something that never comes")

    def _bury(self) -> None:
        """Unwind the coroutines of the dead, after the end, so that none is found in memory later.

        Their cleanup code runs now, when nothing that it does has an effect any more.
        """
        for _, task in self.tasks:
            if task.done():
                if not task.cancelled():
                    task.exception()  # retrieved, so that nothing is logged
                continue
            task._log_destroy_pending = False  # type: ignore[attr-defined] # asyncio's own switch
            coro = task.get_coro()
            for _ in range(20):
                with contextlib.suppress(BaseException):
                    coro.close()
                    break
        self.tasks.clear()
        self._ready.clear()
        self._timers.clear()
        self._held.clear()


def make_loop(seed: object) -> SeededLoop:
    """Make a loop."""
    return SeededLoop(seed)  # type: ignore[abstract] # what it lacks is for threads and sockets


def _ignore(_: AsyncGenerator[Any, Any]) -> None:
    """Let an abandoned generator go as a killed process does: unfinished."""
