"""Guards new sends: a wrong key, a wrong endpoint or an outage costs a few payouts' doubt at most.

A signed question comes first: if the gateway refuses us, nothing is sent. Then sends ramp up, and
they stop again when access is refused or when answers get lost in a row. Questions share a back-off
of their own. Instants are those of the event loop's clock.
"""

import asyncio
import logging
import math
from collections import deque
from collections.abc import Awaitable, Callable
from typing import Final

from ..core.payout import fields
from ..core.responses import Accepted, NoAnswer, NotSent, Refused, SendAnswer, StatusAnswer, Unknown

__all__ = ["BackOff", "Breaker"]

MOST_UNKNOWN: Final = 10
"""Lost answers in a row that stop a stream of sends."""
MOST_UNKNOWN_AT_FIRST: Final = 3
"""Lost answers in a row that stop sends as long as they ramp up."""
_SHORTEST_PAUSE: Final = 5.0
_LONGEST_PAUSE: Final = 60.0
_SHORTEST_BACK_OFF: Final = 2.0
_ACCESS_REFUSED: Final = (401, 403)
_NOBODY_THERE: Final = (404, 405, 410, 501)
_UNREACHABLE: Final = "the gateway cannot be reached ({}); check the network and the base URL"
_LOST: Final = "the gateway's answers get lost ({}); sending goes on, one by one, once they come"
_UNANSWERED: Final = (
    "the gateway leaves questions unanswered ({}); they are asked again, and payouts go on once it "
    "answers"
)

log = logging.getLogger("billblend_async.breaker")

Probe = Callable[[], Awaitable[StatusAnswer]]


class Breaker:
    """Lets sends go, one, two, four at once and more, as long as their answers come.

    It starts half open: the first send waits for ``probe``, a signed question that moves nothing.

    Args:
        probe: Asks the gateway something that only somebody whom it knows is answered.
        most: Sends at once when all is well. Whoever waits for a connection may grow too old to
            be sent, so nobody is let go who would have to wait for one.

    Attributes:
        trouble: A sentence that says why nothing is sent, and what to do; None while all is well.
        is_barred: Whether the trouble is a setting of ours, which waiting will not mend.
    """

    def __init__(self, probe: Probe, most: int) -> None:
        self.trouble: str | None = None
        self.is_barred = False
        self._probe = probe
        self._most = most
        self._probing: asyncio.Task[None] | None = None
        self._is_closed = False
        self._limit = 0
        self._under_way = 0
        self._unknown = 0
        self._most_unknown = MOST_UNKNOWN_AT_FIRST
        self._pause = 0.0
        self._open_until = -math.inf
        self._down_since: float | None = None
        self._queue: deque[asyncio.Future[bool]] = deque()

    @property
    def is_proven(self) -> bool:
        """Whether the gateway has shown that it knows us and sends may go."""
        return self._limit > 0

    @property
    def retry_at(self) -> float:
        """The instant before which no send is let go."""
        return self._open_until

    def is_hopeless(self, patience: float) -> bool:
        """Tell whether nobody should wait for a send any longer.

        Args:
            patience: Seconds for which an outage is waited out.
        """
        if self.is_barred:
            return True
        down = self._down_since
        return not self.is_proven and down is not None and _clock() - down >= patience

    async def prove(self) -> None:
        """Ask the gateway whether it knows us, if nothing has shown it yet; callers share it."""
        if self.is_proven or self._is_closed or _clock() < self._open_until:
            return
        if self._probing is None:
            self._probing = asyncio.create_task(self._ask())
            self._probing.add_done_callback(self._end_probing)
        # A caller that is cancelled leaves the question to the others.
        await asyncio.wait([self._probing])

    async def admit(self) -> bool:
        """Wait for a turn to send; False when nothing may be sent now. Pair True with ``leave``."""
        while not self._is_closed and _clock() >= self._open_until:
            if not self.is_proven:
                await self.prove()
            elif self._under_way < self._limit and not self._queue:
                self._under_way += 1
                return True
            elif await self._turn():
                return True
        return False

    def leave(self) -> None:
        """End a turn."""
        self._under_way -= 1
        self._grant()

    def learn(self, answer: SendAnswer) -> None:
        """Take in what became of a send."""
        match answer:
            case Accepted():
                self._succeed()
            case Refused():
                barrier = _barrier(answer)
                self._succeed() if barrier is None else self._stop(barrier, is_barred=True)
            case NotSent() | Unknown():
                self._fail(answer)

    def close(self) -> None:
        """Let nothing go any more and send everybody home who waits for a turn."""
        self._is_closed = True
        self._send_home()
        if self._probing is not None:
            self._probing.cancel()

    def _succeed(self) -> None:
        self._unknown = 0
        if not self.is_proven:
            return  # an answer from before the stop: the next probe decides
        self._down_since, self.trouble, self._pause = None, None, 0.0
        self._limit = min(self._limit + 1, self._most)
        is_up = self._limit == self._most
        self._most_unknown = MOST_UNKNOWN if is_up else MOST_UNKNOWN_AT_FIRST
        self._grant()

    def _fail(self, answer: NotSent | Unknown) -> None:
        self._unknown += 1
        is_refused = isinstance(answer, Unknown) and answer.http_status in _ACCESS_REFUSED
        if is_refused or self._unknown >= self._most_unknown:
            trouble = _LOST if isinstance(answer, Unknown) else _UNREACHABLE
            self._stop(trouble.format(answer.reason), is_barred=False)

    def _stop(self, trouble: str, *, is_barred: bool) -> None:
        if not self.is_proven and _clock() < self._open_until:
            return  # it has stopped already
        self._limit, self._unknown = 0, 0
        self._most_unknown = 1  # what fails again right after a stop stops at once
        self._pause = min(max(_SHORTEST_PAUSE, 2 * self._pause), _LONGEST_PAUSE)
        self._open_until = _clock() + self._pause
        if self._down_since is None:
            self._down_since = _clock()
        self.trouble, self.is_barred = trouble, is_barred
        log.warning(
            "sending stops for %.0f s: %s",
            self._pause,
            trouble,
            extra=fields(reason=trouble, seconds=self._pause),
        )
        self._send_home()

    async def _ask(self) -> None:
        answer = await self._probe()
        if isinstance(answer, NoAnswer) and (not answer.readable or answer.is_about_settings):
            if barrier := _barrier(answer):
                self._stop(barrier, is_barred=True)
                return
            # What it answers about an unknown order is not documented: one send may find out.
            self._most_unknown = 1
        self._limit = 1
        self.is_barred = False

    def _end_probing(self, task: asyncio.Task[None]) -> None:
        self._probing = None
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stop(f"the gateway cannot be asked: {error}", is_barred=False)

    async def _turn(self) -> bool:
        """Wait in line; False when everybody is sent home."""
        turn: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        self._queue.append(turn)
        try:
            return await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                if turn.result():
                    self.leave()
            elif turn in self._queue:
                self._queue.remove(turn)
            raise

    def _grant(self) -> None:
        """Give turns to those who have waited longest."""
        while self._queue and self._under_way < self._limit:
            turn = self._queue.popleft()
            if not turn.done():  # one that was cancelled may not have left the queue yet
                self._under_way += 1
                turn.set_result(True)

    def _send_home(self) -> None:
        while self._queue:
            turn = self._queue.popleft()
            if not turn.done():
                turn.set_result(False)


class BackOff:
    """Spaces the questions out while the gateway answers none of them, for all payouts alike.

    Attributes:
        trouble: A sentence that says why no news comes, once several questions in a row were not
            answered; None while answers come.
    """

    def __init__(self) -> None:
        self.trouble: str | None = None
        self._pause = 0.0
        self._until = -math.inf
        self._since: float | None = None

    def is_hopeless(self, patience: float) -> bool:
        """Tell whether no question has been answered for so many seconds."""
        return self._since is not None and _clock() - self._since >= patience

    def delay(self, chance: float) -> float:
        """Say how many seconds a question must still wait; 0 when it may go.

        Args:
            chance: A number from 0 to 1 that spreads those who wait.
        """
        rest = self._until - _clock()
        return 0.0 if rest <= 0 else rest + chance * self._pause

    def learn(self, answer: StatusAnswer) -> None:
        """Take in what became of a question."""
        if not isinstance(answer, NoAnswer) or (answer.readable and not answer.is_about_settings):
            self._pause, self._until, self._since = 0.0, -math.inf, None
            self.trouble = None
            return
        if self._since is None:
            self._since = _clock()
        else:
            barrier = _barrier(answer) if answer.is_about_settings else None
            self.trouble = barrier or _UNANSWERED.format(answer.reason)
        if _clock() >= self._until:
            self._pause = min(max(_SHORTEST_BACK_OFF, 2 * self._pause), _LONGEST_PAUSE)
            self._until = _clock() + self._pause


def _clock() -> float:
    return asyncio.get_running_loop().time()


def _barrier(answer: NoAnswer | Refused) -> str | None:
    """Say which setting of ours keeps the gateway from serving us; None if it is none of them."""
    if answer.is_about_settings:
        told = answer.error_message if isinstance(answer, Refused) else answer.reason
        problem = f"the gateway does not know this merchant, endpoint or control ({told})"
        return f"{problem}; check the login, the merchant control and the endpoint id"
    if isinstance(answer, Refused):
        return None
    if answer.http_status in _ACCESS_REFUSED:
        problem = f"the gateway refuses access (HTTP {answer.http_status})"
        remedy = "check the login, the endpoint id and that this private key's public half is"
        return f"{problem}; {remedy} registered with the gateway"
    if answer.http_status in _NOBODY_THERE:
        problem = f"there is no gateway at this address (HTTP {answer.http_status})"
        return f"{problem}; check the base URL and the endpoint id"
    return None
