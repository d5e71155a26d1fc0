"""Where people decide about payouts, and what else goes on in a program beside driving them."""

import asyncio
import contextlib
import random
from collections.abc import Iterator
from functools import partial
from typing import TYPE_CHECKING

from billblend_async.core.models import Doubt, Outcome, State
from billblend_async.errors import (
    BillblendError,
    ClosedError,
    DecisionRefused,
    JournalError,
    PayoutNotFound,
)
from billblend_async.orchestrator.orchestrator import Orchestrator

if TYPE_CHECKING:
    from .process import Process

__all__ = ["Office", "disturb"]


class Office:
    """Where people decide: about what waits for approval, and about what is parked.

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

    async def approve(self) -> None:
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
                with contextlib.suppress(BillblendError), self._process.decides(name):
                    await self._payouts.withdraw(name, who="ann", why="too late")

    async def _decide(self, client_orderid: str) -> None:
        lot = self._random.random()
        with contextlib.suppress(BillblendError):
            if lot < 0.15:
                with self._process.decides(client_orderid):
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

    async def withdraw(self) -> None:
        """Take payouts back at any time."""
        fate = self._fate
        while not fate.is_quiet:
            await asyncio.sleep(fate.between(0.5, 120.0))
            name = fate.one_of(sorted(self._world.requests))
            with contextlib.suppress(BillblendError), self._process.decides(name):
                await self._payouts.withdraw(name, who="ann", why="mistake")
                fate.hit("world", "withdraw")

    async def operate(self) -> None:
        """Decide about what is parked, mostly after a look at the ledger."""
        fate, world = self._fate, self._world
        while not fate.is_quiet:
            await asyncio.sleep(fate.between(5.0, 90.0))
            with contextlib.suppress(JournalError, ClosedError):
                for outcome in await self._payouts.attention():
                    await self._end_doubt(outcome)
                await self._acknowledge()
        world.fate.note(world.loop.now, "the operator goes home")

    async def _end_doubt(self, outcome: Outcome) -> None:
        fate, world, name = self._fate, self._world, outcome.client_orderid
        lot = fate.random.random()
        with contextlib.suppress(DecisionRefused), self._process.decides(name):
            if lot < 0.15:
                await self._payouts.close(name, who="ann", why="asked the bank")
                fate.hit("world", "close")
                return
            paid = world.gateway.may_pay(name)
            is_careless = paid and lot < 0.4
            if paid and not is_careless and outcome.doubt is not Doubt.BAD_REDIRECT:
                return
            if is_careless:
                world.invariants.careless.add(name)
            await self._payouts.release(name, who="ann", why="asked the bank")
            fate.hit("world", "wrong-release" if is_careless else "release")

    async def _acknowledge(self) -> None:
        """Take note of most that does not fit, and sometimes of a payout about which nothing is."""
        world = self._world
        shown = await self._payouts.flagged()
        if self._random.random() < 0.3:
            with contextlib.suppress(PayoutNotFound):
                name = self._random.choice(sorted(world.requests))
                shown.append(await self._payouts.status(name))
        for told in shown:
            lot = self._random.random()
            if lot < 0.2:
                continue
            if lot < 0.5:  # what is told in the meantime they have not seen
                await asyncio.sleep(self._random.choice((1.0, 30.0)) * self._random.random())
            words = [word for word, _ in told.details]
            alarms = words[:1] if self._random.random() < 0.3 else None
            # Each has a name of their own, by which the invariants know what they have seen.
            who = f"ann {len(world.invariants.shown)}"
            world.invariants.shown[who] = told, alarms
            known = world.store.payouts.get(told.client_orderid)
            with contextlib.suppress(DecisionRefused, PayoutNotFound):
                after = await self._payouts.acknowledge(
                    told.client_orderid,
                    who=who,
                    why="asked the bank",
                    alarms=alarms,
                    as_of=told.sequence,
                )
                is_again = known is not None and bool(known.acknowledged)
                self._fate.hit("world", "acknowledge-again" if is_again else "acknowledge")
                if after.details:
                    self._fate.hit("world", "acknowledge-some")


async def _jump(process: "Process") -> None:
    """Let the machine's time of day jump, back and forward."""
    fate = process.world.fate
    while True:
        await asyncio.sleep(fate.between(1.0, 120.0))
        if fate.is_quiet:
            return
        error = fate.between(-1.0, 1.0) * fate.one_of((5.0, 60.0, 300.0))
        fate.hit("world", "clock-forward" if error > process.clock_error else "clock-back")
        process.clock_error = error


def disturb(process: "Process", payouts: Orchestrator) -> Iterator["asyncio._CoroutineLike[None]"]:
    """Begin all that goes on beside the driving of payouts, until it is quiet."""
    office, faults = Office(process, payouts), process.world.fate.faults
    if process.world.fate.is_quiet:
        return
    for name, goes_on in (
        ("clock-jump", partial(_jump, process)),
        ("withdraw", office.withdraw),
        ("operator", office.operate),
        ("holds", office.approve),
    ):
        if name in faults:
            yield goes_on()
