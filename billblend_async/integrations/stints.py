"""Advances payouts for an engine: again and again while the pauses are short, and never raises."""

import asyncio
import logging
from typing import Final

from ..core.logs import fields
from ..errors import BillblendError, ClosedError, JournalUnavailable
from ..orchestrator.orchestrator import Orchestrator
from ..orchestrator.steps import Done, Waiting

__all__ = ["Round", "Stints", "warn"]

log = logging.getLogger("billblend_async.engines.stints")

_SOON: Final = 1.0
_LATE: Final = 300.0
"""Seconds until what went wrong is tried again: at first, and for what only a person can mend."""

Round = tuple[str, float | None]
"""A word for where a payout stands, and seconds until the next round; None for no more."""


class Stints:
    """What one process does for the payouts that an engine gives it.

    Args:
        orchestrator: Advances them.
        length: Seconds that one stint goes on for at most.
        nap: Seconds that a stint waits through; a longer pause ends it.
    """

    def __init__(self, orchestrator: Orchestrator, *, length: float, nap: float) -> None:
        self._orchestrator = orchestrator
        self._length = length
        self._nap = nap
        self._news: dict[str, asyncio.Event] = {}

    def wake(self, client_orderid: str) -> bool:
        """End the nap of a payout; False when it has no stint here."""
        news = self._news.get(client_orderid)
        if news is not None:
            news.set()
        return news is not None

    async def go_on(self, client_orderid: str) -> Round:
        """Advance a payout as long as its pauses are short.

        An engine would write an error down, with whatever it holds, and end the workflow: so
        whatever goes wrong is logged, and tried again.
        """
        now = asyncio.get_running_loop().time
        until, soon = now() + self._length, _SOON
        self._news[client_orderid] = news = asyncio.Event()
        try:
            while True:
                news.clear()
                longest = self._nap
                try:
                    step = await self._orchestrator.advance(client_orderid)
                except (JournalUnavailable, ClosedError) as failed:  # it passes
                    warn(client_orderid, failed, "it is tried again")
                    word, seconds, longest = "trouble", soon, self._length
                    soon = min(2 * soon, _LATE)
                except Exception as failed:  # noqa: BLE001 - of the host's code, or a bug of ours
                    warn(client_orderid, failed, "it is tried again")
                    word, seconds = "trouble", _LATE
                else:
                    word, soon = step.outcome.state.value, _SOON
                    match step:
                        case Done():
                            return word, None
                        case Waiting():
                            seconds = step.seconds
                if seconds > min(longest, until - now()):
                    return word, seconds
                await _rest(news, seconds)
        finally:
            if self._news.get(client_orderid) is news:
                del self._news[client_orderid]


def warn(client_orderid: str, failed: Exception, then: str) -> None:
    """Say what keeps a payout; of an error that is not ours its class alone."""
    reason = type(failed).__name__
    told = (
        str(failed) if isinstance(failed, BillblendError) else f"payout {client_orderid}: {reason}"
    )
    log.warning("%s (%s)", told, then, extra=fields(client_orderid, reason=reason))


async def _rest(news: asyncio.Event, seconds: float) -> None:
    """Wait; news ends it."""
    try:
        async with asyncio.timeout(seconds):
            await news.wait()
    except TimeoutError:
        pass
