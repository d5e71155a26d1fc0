"""What stands around the library in a program: who takes links over, listens, and approves."""

import asyncio
import contextlib
import random
from typing import TYPE_CHECKING
from urllib.parse import urlencode

from billblend_async.callbacks import Callback
from billblend_async.endpoint import answer_callback
from billblend_async.errors import (
    BillblendError,
    ClosedError,
    DeliverAgain,
    JournalError,
    PayoutNotFound,
    VerificationFailed,
)
from billblend_async.feed import Events
from billblend_async.models import Outcome, State
from billblend_async.orchestrator import Orchestrator
from billblend_async.signing import control

from .frontdoor import CONTROL

if TYPE_CHECKING:
    from .process import Process

__all__ = ["Office", "Porch"]


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


class Office:
    """Where people approve what is held, withdraw it, or forget about it.

    Args:
        process: The program that they use.
        payouts: Its orchestrator.
    """

    def __init__(self, process: "Process", payouts: Orchestrator) -> None:
        self._process = process
        self._world = process.world
        self._fate = process.world.fate
        self._payouts = payouts
        self._random = random.Random(f"{process.world.plan.seed}/{process.number}/office")

    async def work(self) -> None:
        """Look again and again at what waits; each approval waits for its payout's end."""
        approvals: list[asyncio.Task[None]] = []
        try:
            while not self._fate.is_quiet:
                await asyncio.sleep(self._random.choice((1.0, 10.0, 100.0)) * self._random.random())
                with contextlib.suppress(JournalError, ClosedError):
                    names = [o.client_orderid for o in await self._payouts.awaiting_approval()]
                    if self._random.random() < 0.2:
                        names = sorted(self._world.plan.held)  # whatever state they are in
                    approvals += [
                        asyncio.create_task(self._decide(name))
                        for name in names
                        if name not in self._world.plan.forgotten
                    ]
        finally:
            for approval in approvals:
                approval.cancel()
            await asyncio.gather(*approvals, return_exceptions=True)

    async def tidy_up(self) -> None:
        """Approve or withdraw all that waits, except what is forgotten for good."""
        for outcome in await self._payouts.awaiting_approval():
            name = outcome.client_orderid
            if name in self._world.plan.forgotten:
                self._fate.hit("world", "forgotten")
            elif self._random.random() < 0.8:
                with contextlib.suppress(BillblendError):
                    await self._approve(name)
            else:
                with contextlib.suppress(BillblendError):
                    await self._payouts.withdraw(name, who="ann", why="too late")

    async def _decide(self, client_orderid: str) -> None:
        lot = self._random.random()
        with contextlib.suppress(BillblendError):
            if lot < 0.15:
                await self._payouts.withdraw(client_orderid, who="ann", why="a mistake")
                self._fate.hit("world", "withdraw-held")
                return
            held = self._world.store.payouts.get(client_orderid)
            if held is not None and held.state is not State.VALIDATED:
                self._fate.hit("world", "approve-early")
            if lot < 0.4:
                self._fate.hit("world", "approve-at-once")
                both = (self._approve(client_orderid), self._approve(client_orderid))
                await asyncio.gather(*both, return_exceptions=True)
                return
            await self._approve(client_orderid)
            if lot < 0.7:
                self._fate.hit("world", "approve-again")
                await self._approve(client_orderid)

    async def _approve(self, client_orderid: str) -> None:
        self._world.invariants.approving.add(client_orderid)
        self._fate.hit("world", "approve")
        with self._process.runs(client_orderid):
            self._process.hear(await self._payouts.approve(client_orderid, who="ann"))
