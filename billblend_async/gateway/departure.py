"""Watches one request leave: the proof that nothing was sent, or that it may have been."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final

__all__ = ["LONGEST_STAND", "BeforeSend", "Departure", "MayNotLeave", "is_cancelled"]

BeforeSend = Callable[[], Awaitable[None]]
"""Awaited right before the first byte; if it raises, nothing is sent."""

LONGEST_STAND: Final = 10.0
"""Seconds that may lie between the leave to go and the last part of a request."""
_HEAD: Final = ".send_request_headers.started"
_BODY: Final = ".send_request_body.started"
_FOLLOWED: Final = (_HEAD, _BODY)
_NOBODY_WAITS: Final = "nobody waits for this request any more"


class MayNotLeave(Exception):
    """Keeps a request from leaving a second time, too late, or for nobody."""


class Departure:
    """Watches one request leave: whether it may have, and what is done right before.

    Put it into a request's extensions under ``Departure.EXTENSION``. Over httpx's own transport it
    listens to httpcore's awaited event ``send_request_headers.started``, which comes when the
    connection is open and before the first byte. Over one that calls a handler in this process, the
    request counts as leaving before that transport is called.

    A transport may send copies, one after the other or at the same moment: one of them leaves. Its
    body is given out once, to whoever was just seen to begin with it (see ``give_body``).

    A program may stand still for minutes at any moment, as when its machine is paused, and others
    may decide meanwhile what becomes of the payout. So the clocks are looked at once more when the
    head has left and the body has not: a head alone does nothing.

    Args:
        before_send: Awaited right before the first byte.
        wall_clock: Seconds since the epoch, which goes on while a machine sleeps.

    Attributes:
        has_begun: Whether somebody has asked to let it go, so that nobody else may.
        may_have_left: Whether the first byte may have left this machine.
        refusal: What ``before_send`` raised, or why it may not leave; then nothing was sent.
        is_over: Whether nobody waits for the request any more; set it, and it does not leave.
        is_shielded: Whether a transport may give up by itself; set it, and ``before_send`` is not
            cut off by that.
    """

    EXTENSION: Final = "billblend.departure"

    __slots__ = (
        "_before_send",
        "_claiming",
        "_is_body_due",
        "_left_at",
        "_wall_clock",
        "has_begun",
        "is_over",
        "is_shielded",
        "may_have_left",
        "refusal",
    )

    def __init__(
        self,
        before_send: BeforeSend | None = None,
        *,
        wall_clock: Callable[[], float] = time.time,
    ) -> None:
        self._before_send = before_send
        self._wall_clock = wall_clock
        self._left_at = (0.0, 0.0)
        self._is_body_due = False
        self._claiming: asyncio.Future[None] | None = None
        self.has_begun = False
        self.may_have_left = False
        self.is_over = False
        self.is_shielded = False
        self.refusal: BaseException | None = None

    async def leave(self) -> None:
        """Do what must be done before the first byte, then let the request go, once.

        Whoever cancels this keeps the request from leaving; that is no refusal, for the claim may
        be on record.

        Raises:
            MayNotLeave: Somebody else has asked before, or nobody waits any more.
            BaseException: What ``before_send`` raised.
        """
        if self.has_begun or self.refusal is not None:
            # A transport that repeats requests by itself must not repeat one that moves money.
            raise MayNotLeave("a request leaves only once")
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)  # before a claim is made that nobody takes back
        self.has_begun = True  # before anything is awaited: copies come at the same moment
        try:
            if self._before_send is not None:
                await self._claim(self._before_send)
        except asyncio.CancelledError as error:
            if not is_cancelled():
                self.refusal = error
            raise
        except BaseException as error:
            self.refusal = error
            raise
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)
        self.may_have_left = True
        self._left_at = self._now()

    async def _claim(self, before_send: BeforeSend) -> None:
        if not self.is_shielded:
            await before_send()
            return
        self._claiming = asyncio.ensure_future(before_send())
        try:
            await asyncio.shield(self._claiming)
        except asyncio.CancelledError:
            await self.settle()
            raise

    async def settle(self) -> None:
        """Wait until what is done before the first byte has ended, whoever gave it up meanwhile."""
        if self._claiming is None:
            return
        await asyncio.wait([self._claiming])
        if not self._claiming.cancelled() and self.refusal is None:
            self.refusal = self._claiming.exception()

    def refuse(self, refusal: BaseException) -> None:
        """Let it never leave, unless it has begun to."""
        if not self.has_begun and self.refusal is None:
            self.refusal = refusal

    def go_on(self) -> None:
        """Let the rest of the request go, unless its head has left too long ago.

        Raises:
            MayNotLeave: The program stood still in between, or nobody waits any more.
        """
        if self.is_over:
            raise MayNotLeave(_NOBODY_WAITS)
        passed = [now - then for now, then in zip(self._now(), self._left_at, strict=True)]
        if max(map(abs, passed)) > LONGEST_STAND:
            raise MayNotLeave("the program stood still while the request was leaving")

    def give_body(self) -> None:
        """Let the body be read, once, by whoever was just seen to begin with sending it.

        Raises:
            MayNotLeave: It would be read before its head has left, or for another copy.
        """
        if not self._is_body_due:
            raise MayNotLeave("a request's body is read only while it leaves")
        self._is_body_due = False

    def _now(self) -> tuple[float, float]:
        return asyncio.get_running_loop().time(), self._wall_clock()

    async def on_trace(self, name: str, info: Mapping[str, Any]) -> None:
        """Follow httpcore's trace; a proxy's CONNECT carries nothing of the request."""
        self._is_body_due = False
        if not name.endswith(_FOLLOWED) or info["request"].method == b"CONNECT":
            return
        if name.endswith(_HEAD):
            await self.leave()
        else:
            self.go_on()
            self._is_body_due = self.may_have_left


def is_cancelled() -> bool:
    """Tell whether the running task itself was cancelled, rather than something it waits for."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
