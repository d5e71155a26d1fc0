"""Where a program hands links over, hears news, and takes callbacks in."""

import asyncio
import random
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from billblend_async.core.models import Outcome
from billblend_async.core.responses import Callback
from billblend_async.errors import (
    ClosedError,
    DeliverAgain,
    JournalError,
    PayoutNotFound,
    VerificationFailed,
)
from billblend_async.gateway.signing import control
from billblend_async.integrations.asgi import answer_callback
from billblend_async.orchestrator.observer import Events
from billblend_async.orchestrator.orchestrator import Orchestrator

from .frontdoor import CONTROL

if TYPE_CHECKING:
    from .process import Process

__all__ = ["Porch"]


class Porch:
    """Where a program hands links over, hears news, and takes callbacks in.

    Args:
        process: The program.
    """

    def __init__(self, process: "Process") -> None:
        self._process = process
        self._fate = process.world.fate
        self._invariants = process.world.invariants
        name = f"{process.world.plan.seed}/{process.number}/porch"
        self._random = random.Random(name)

    async def on_redirect(self, outcome: Outcome) -> None:
        """Take a link over; now and then that fails, or does not come to an end."""
        link = outcome.redirect_to or ""
        self._invariants.sees_handed_over(outcome.client_orderid, link, self._process)
        await asyncio.sleep(self._random.uniform(0.0, 0.3))
        if self._fate.strikes("hook-raises"):
            self._fate.hit("hook", "raises")
            raise ConnectionError(link)
        if self._fate.strikes("hook-hangs"):
            self._fate.hit("hook", "hangs")
            await asyncio.sleep(self._random.choice((20.0, 1e6)))

    async def listen(self, events: Events) -> None:
        """Hear what happens; some listeners are slow."""
        is_slow = self._random.random() < 0.3
        async for notice in events:
            self._fate.hit("listener", "slow" if is_slow else "quick")
            self._invariants.sees_notice(notice)
            if is_slow:
                await asyncio.sleep(self._random.uniform(0.0, 20.0))

    async def take(self, payouts: Orchestrator, callback: Callback) -> int:
        """Take a callback in and say how it is answered."""
        name = callback.client_orderid
        known = self._process.world.store.payouts.get(name)
        self._fate.hit("callback-in", known.state.value if known else "nothing")
        status = 200
        try:
            if self._process.verifies:
                status = await answer_callback(payouts, _write_query(callback))
            else:
                await payouts.deliver(callback)
        except (DeliverAgain, JournalError, ClosedError):
            return 503
        except VerificationFailed:
            return 403
        except PayoutNotFound:
            return 404
        if status == 200:
            self._invariants.sees_acknowledged(callback)
        return status


def _write_query(callback: Callback) -> str:
    """Write a callback as the gateway does, or as whoever can repeat its controls."""
    signed = (callback.status, callback.paynet_order_id, callback.client_orderid)
    fields = {
        "status": callback.status,
        "merchant_order": callback.client_orderid,
        "orderid": callback.paynet_order_id,
        "client_orderid": callback.client_orderid,
        "type": callback.transaction_type or "",
        "control": control(*signed, CONTROL),
    }
    return urlencode(fields)
