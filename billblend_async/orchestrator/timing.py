"""When the next command of one payout is due, and the naps until then."""

import asyncio
import math
from collections.abc import Callable
from typing import Final

from ..core.commands import Ask, next_command
from ..core.machine import NOT_SEEN_FOR
from ..core.models import Pace, Polling, State
from ..core.payout import Payout, deadline
from .alarms import Alarms
from .questions import BETWEEN

__all__ = ["Timing", "clock"]

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
